"""Build the isolated environment in its own folder, test it, and only then make it the current one.

A small file names the current folder. Until it is rewritten, the previous environment stays usable.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import environment, installing, ownership, release_notes, switching, upstream
from sdxl_train_cli.environment.environment import (
    Abilities,
    Environment,
    EnvironmentFiles,
    EnvironmentLock,
    SetupRequest,
)
from sdxl_train_cli.environment.installer import Installer, Report
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.options import OptionTable


def create(  # noqa: PLR0913 - keyword-only, each is a flag of setup
    home: Home,
    request: SetupRequest,
    *,
    recreate: bool,
    report: Report,
    address: str | None = None,
    update: Update | None = None,
) -> Environment:
    """Create the environment that `request` describes, unless it exists, and make it the current one.

    `address` is the source including the password, which the request does not store. Raises SetupError with the cause;
    then nothing half-made remains, and the previous environment is unchanged. Others stay, but for one that was made
    for the same request and commit.
    """
    ownership.claim(home)
    with only_one(home, report):
        found = environment.find(home) or _recover_lost(home, report)
        _remove_unfinished(home)
        if not recreate and update is None and (there := _existing(home, found, request, report)) is not None:
            return there
        folder = home.environments / _name(datetime.now(timezone.utc))
        try:
            ownership.make(folder)
            built = _build(home, folder, request, address or request.source, report, is_update=update is not None)
            if update is not None:
                update.prove(replace(home, chosen=folder.name))
            switching.switch(home, folder.name)
        except _IsThereError as there:
            ownership.remove(folder)
            return _use_kept(home, there.installed, update)
        except BaseException:
            if environment.current_folder(home) != folder:  # a signal may come just after
                ownership.remove(folder)
            raise
        _remove_replaced(home, built)
    return built


_MICROSECONDS = 16
"""So that the rest of a second has four digits."""


def _name(now: datetime) -> str:
    """A name that sorts by time, however quickly one environment follows another."""
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // _MICROSECONDS:04x}"


def _use_kept(home: Home, kept: Environment, update: Update | None) -> Environment:
    """Switch to an environment that is there already, which an update proves first: its own proof may have been cut."""
    if update is not None and kept.folder != environment.current_folder(home):
        update.prove(replace(home, chosen=kept.folder.name))
    switching.switch(home, kept.folder.name)
    return kept


@dataclass(frozen=True)
class Update:
    """A setup that builds a newer environment beside the current one, if there is one."""

    prove: Callable[[Home], None]
    """Called with a home that uses the new environment, before it becomes the current one. Raises to keep the old."""


class _IsThereError(Exception):
    """The newest release that the source has is installed already."""

    def __init__(self, installed: Environment) -> None:
        super().__init__()
        self.installed = installed


def _existing(home: Home, found: Environment | None, request: SetupRequest, report: Report) -> Environment | None:
    """An environment that was made for the request. It becomes the current one."""
    if found is not None and found.lock.request == request:
        return found
    there = switching.matching(home, request)
    if there is not None:
        report(f"using environment {there.folder.name}, which is there already")
        switching.switch(home, there.folder.name)
    return there


def _recover_lost(home: Home, report: Report) -> Environment | None:
    """Make the newest complete environment current if `current` names none."""
    found = environment.newest(home) if environment.current_folder(home) is None else None
    if found is not None:
        files.write(home.current, found.folder.name)
        report(f"{home.current} was unreadable: using environment {found.folder.name}")
    return found


@contextmanager
def only_one(home: Home, report: Report) -> Iterator[None]:
    """Nobody else changes the home's environments meanwhile. Waits for whoever does. SetupError for a full disk."""
    with _disk_errors(home):
        lock = FileLock(home.setup_lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            report("another setup is running: waiting for it to end (Ctrl-C stops waiting)")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _remove_unfinished(home: Home) -> None:
    counts = environment.current_folder(home)
    for folder in ownership.list_made(home):
        if folder != counts and not ownership.was_finished(folder) and not process.running_from(folder):
            ownership.remove(folder)


def _remove_replaced(home: Home, built: Environment) -> None:
    """Remove what the new environment takes the place of, and what is damaged, unless a run still uses it."""
    whole = {one.folder: one.lock for one in environment.iter_whole(home)}
    for folder in ownership.list_made(home):
        lock = whole.get(folder)
        is_kept = lock is not None and (lock.request, lock.commit) != (built.lock.request, built.lock.commit)
        if folder != built.folder and not is_kept and not process.running_from(folder):
            ownership.remove(folder)


def _build(  # noqa: PLR0913 - each is used once
    home: Home, folder: Path, request: SetupRequest, address: str, report: Report, *, is_update: bool
) -> Environment:
    parts = EnvironmentFiles(folder)
    with files.open_new(home.setup_log) as log:
        report(f"sd-scripts: fetching {request.ref or 'the newest known release'} from {request.source}")
        checkout = upstream.create(parts.checkout, address, request.ref)
        if is_update and (there := _made_of(home, checkout.commit, request)) is not None:
            raise _IsThereError(there)
        for line in release_notes.of_checkout(checkout, request.ref):
            report(line)
        made = installing.install(home, parts, checkout, request, Installer(log, home.setup_log, report))
        report("checking the environment")
        is_whole = made.plan.toolchain is not None
        extras = [one.package for one in request.extras]
        facts = environment.run_script(parts, "probe.py", *extras) if is_whole else {}
        installing.require_gpu_support(facts, made.plan)
        options = read_options(parts)
        files.write(parts.options, options.model_dump_json(indent=1))
        for line in release_notes.of_options(checkout, options):
            report(line)
        kept = EnvironmentLock(
            request=request,
            ref=checkout.ref,
            commit=checkout.commit,
            toolchain=made.plan.toolchain.name if made.plan.toolchain else None,
            torch_build=made.plan.build,
            existing=made.torch,
            python=str(facts.get("python", "")),
            packages=facts.get("packages", {}),
            eight_bit=facts.get("eight_bit", True),
            contexts_gib=_contexts_gib(parts, facts),
            abilities=_abilities(parts),
            created=datetime.now(timezone.utc),
        )
        _sync(folder)
        files.write(parts.lock, kept.model_dump_json(indent=1))
    return Environment(folder=folder, lock=kept)


def _made_of(home: Home, commit: str, request: SetupRequest) -> Environment | None:
    """The environment of this commit that was made for the request, by whatever name the commit was asked for."""
    for one in environment.iter_whole(home):
        if one.lock.commit == commit and one.lock.request.model_copy(update={"ref": request.ref}) == request:
            return one
    return None


def _contexts_gib(parts: EnvironmentFiles, facts: Mapping[str, Any]) -> dict[str, float]:
    """What CUDA's context takes of each GPU. Empty where that can't be measured, which is no reason to fail."""
    if not facts.get("torch", {}).get("devices"):
        return {}
    with contextlib.suppress(SetupError):
        found: dict[str, float] = environment.run_script(parts, "probe_context.py").get("contexts_gib", {})
        return found
    return {}


def read_options(parts: EnvironmentFiles) -> OptionTable:
    """The scripts' options and the optimizers' arguments. Each optimizer is passed as `name=module.Class`."""
    asked = [f"{name}={path}" for name, path in optimizer.ASKED.items()]
    try:
        return OptionTable.model_validate(environment.run_script(parts, "flags.py", *asked))
    except ValueError as error:
        raise SetupError(
            "the options of this sd-scripts can't be read", "leave --ref out for the newest known release"
        ) from error


def _abilities(parts: EnvironmentFiles) -> Abilities | None:
    """None where it can't be told: training goes on without it, and whoever needs it asks again and hears why."""
    try:
        return environment.ask_abilities(parts)
    except SetupError:
        return None


def _sync(folder: Path) -> None:
    """Sync the whole file system, where Linux can, so that a current environment is complete even after a power cut."""
    sync = getattr(ctypes.CDLL(None), "syncfs", None) if sys.platform == "linux" else None
    if sync is not None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            sync(handle)
        finally:
            os.close(handle)


@contextmanager
def _disk_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{error.filename or home.path} can't be written: {error.strerror}", "choose another place with --home"
        ) from error
