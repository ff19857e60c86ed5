"""Build the isolated environment in its own folder, test it, and only then make it the current one.

A small file names the current folder. Until it is rewritten, the previous environment stays usable.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import environment, installing, ownership, upstream
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


def create(
    home: Home, request: SetupRequest, *, recreate: bool, report: Report, address: str | None = None
) -> Environment:
    """Create the environment that `request` describes, unless it exists.

    `address` is the source including the password, which the request does not store. Raises SetupError with the cause;
    then nothing half-made remains, and the previous environment is unchanged.
    """
    ownership.claim(home)
    with _disk_errors(home), _only_one(home, report):
        found = environment.find(home) or _recover_lost(home, report)
        if found is not None and found.lock.request == request and not recreate:
            _clear(home, [found.folder])
            return found
        counts = environment.current_folder(home)
        made = ownership.list_made(home)
        _clear(home, [folder for folder in made if folder == counts or ownership.was_finished(folder)])
        folder = home.environments / f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            ownership.make(folder)
            built = _build(home, folder, request, address or request.source, report)
            files.write(home.current, folder.name)
        except BaseException:
            if environment.current_folder(home) != folder:  # a signal may come just after
                ownership.remove(folder)
            raise
        _clear(home, [folder])
    return built


def _recover_lost(home: Home, report: Report) -> Environment | None:
    """Make the newest complete environment current if `current` names none."""
    found = environment.newest(home) if environment.current_folder(home) is None else None
    if found is not None:
        files.write(home.current, found.folder.name)
        report(f"{home.current} was unreadable: using environment {found.folder.name}")
    return found


@contextmanager
def _only_one(home: Home, report: Report) -> Iterator[None]:
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


def _clear(home: Home, keep: Sequence[Path]) -> None:
    """Remove environments made by setup, except those to keep and those that a run still uses."""
    for folder in ownership.list_made(home):
        if folder not in keep and not process.running_from(folder):
            ownership.remove(folder)


def _build(home: Home, folder: Path, request: SetupRequest, address: str, report: Report) -> Environment:
    parts = EnvironmentFiles(folder)
    with files.open_new(home.setup_log) as log:
        report(f"sd-scripts: fetching {request.ref} from {request.source}")
        checkout = upstream.create(parts.checkout, address, request.ref)
        if checkout.ref != request.ref:
            report(f"sd-scripts: this source has no branch '{request.ref}' (upstream merged it): using {checkout.ref}")
        made = installing.install(home, parts, checkout, request, Installer(log, home.setup_log, report))
        report("checking the environment")
        is_whole = made.plan.toolchain is not None
        extras = [one.package for one in request.extras]
        facts = environment.run_script(parts, "probe.py", *extras) if is_whole else {}
        installing.require_gpu_support(facts, made.plan)
        options = _options(parts)
        files.write(parts.options, options.model_dump_json(indent=1))
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
            abilities=_abilities(parts),
            created=datetime.now(timezone.utc),
        )
        _sync(folder)
        files.write(parts.lock, kept.model_dump_json(indent=1))
    return Environment(folder=folder, lock=kept)


def _options(parts: EnvironmentFiles) -> OptionTable:
    """The scripts' options and the optimizers' arguments. Each optimizer is passed as `name=module.Class`."""
    asked = [f"{name}={path}" for name, path in optimizer.ASKED.items()]
    try:
        return OptionTable.model_validate(environment.run_script(parts, "flags.py", *asked))
    except ValueError as error:
        raise SetupError("the options of this sd-scripts can't be read", "try `sdxl-train setup --ref sdxl`") from error


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
