"""Build the isolated environment in its own folder, test it, and only then make it the current one.

A small file names the current folder. Until it is rewritten, the previous environment stays usable.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sdxl_train_cli import files, gpu, process
from sdxl_train_cli.environment import environment, installer, network, ownership, toolchain, upstream
from sdxl_train_cli.environment.environment import (
    Abilities,
    Environment,
    EnvironmentFiles,
    EnvironmentLock,
    SetupRequest,
)
from sdxl_train_cli.environment.installer import Report
from sdxl_train_cli.environment.toolchain import InstallPlan, TorchBuild
from sdxl_train_cli.environment.upstream import Checkout
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.options import OptionTable

NEEDED_GIB = 8.0
"""Free disk needed for torch, its CUDA libraries and the rest: v0.10.1 was measured at 5.9 GB."""


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
        requirements = _requirements(checkout)
        row = toolchain.choose(requirements, brings_accelerate=(checkout.folder / "accelerate").is_dir())
        plan = toolchain.plan(row, requirements, request.torch, request.extras, gpu.devices())
        if plan.toolchain is not None:
            _require_space(home)
            plan = _within_reach(plan, request, report)
        tools = installer.Installer(log, home.setup_log, report)
        installer.make_venv(parts.venv, request.python, plan.toolchain, tools)
        _require_64_bit(parts.python)
        installer.install(parts.python, plan, tools)
        report("checking the environment")
        facts = (
            environment.run_script(parts, "probe.py", *(one.package for one in request.extras))
            if plan.toolchain
            else {}
        )
        _require_gpu_support(facts, plan)
        options = _options(parts)
        files.write(parts.options, options.model_dump_json(indent=1))
        kept = EnvironmentLock(
            request=request,
            ref=checkout.ref,
            commit=checkout.commit,
            toolchain=plan.toolchain.name if plan.toolchain else None,
            torch_build=plan.build,
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


def _contexts_gib(parts: EnvironmentFiles, facts: Mapping[str, Any]) -> dict[str, float]:
    """What CUDA's context takes of each GPU. Empty where that can't be measured, which is no reason to fail."""
    if not facts.get("torch", {}).get("devices"):
        return {}
    with contextlib.suppress(SetupError):
        found: dict[str, float] = environment.run_script(parts, "probe_context.py").get("contexts_gib", {})
        return found
    return {}


def _requirements(checkout: Checkout) -> str:
    try:
        return files.read_text(checkout.folder / "requirements.txt")
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the requirements.txt of sd-scripts at {checkout.ref} can't be read: {error}",
            "try `sdxl-train setup --ref sdxl`",
        ) from error


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


def _within_reach(plan: InstallPlan, request: SetupRequest, report: Report) -> InstallPlan:
    """Fall back to the default package index if PyTorch's own is unreachable and any build will do."""
    if plan.backend is None or network.is_reachable(toolchain.TORCH_INDEX):
        return plan
    windows_gpu = process.WINDOWS and plan.build is not TorchBuild.CPU
    if request.torch is not TorchBuild.AUTO or windows_gpu:
        raise SetupError(
            f"PyTorch's package index can't be reached, and only it has the {plan.build.value} build",
            "check the network or proxy, or use the default index's build with --torch default",
        )
    report(f"PyTorch's package index can't be reached: using the default index's build, not {plan.build.value}")
    return InstallPlan(plan.toolchain, TorchBuild.DEFAULT, plan.requirements, None)


def _require_space(home: Home) -> None:
    free_gib = shutil.disk_usage(home.path).free / gpu.GIB
    if free_gib < NEEDED_GIB:
        raise SetupError(
            f"{home.path} has {free_gib:.1f} GB free; torch and its libraries need {NEEDED_GIB:g}",
            "free some space, or choose another place with --home",
        )


def _require_64_bit(python: Path) -> None:
    try:
        bits = process.run([str(python), "-c", _BITS], timeout_seconds=_PYTHON_SECONDS).stdout.strip()
    except TimeoutError as error:
        raise SetupError(str(error), "give another with --python") from error
    if bits != "64":
        raise SetupError(f"{python} is not a 64-bit Python, and torch needs one", "install a 64-bit Python 3.11")


_BITS = "import struct; print(struct.calcsize('P') * 8)"
_PYTHON_SECONDS = 120.0


def _require_gpu_support(facts: Mapping[str, Any], plan: InstallPlan) -> None:
    """Refuse a torch that can't use the present GPU. Otherwise this would surface only when a run starts."""
    there = gpu.devices()
    if plan.toolchain is None or not there or plan.build is TorchBuild.CPU:
        return
    torch = facts["torch"]
    if not torch["cuda_available"]:
        raise SetupError(
            f"torch {torch['version']} sees no GPU, but this machine has {there[0].name} (driver {there[0].driver})",
            "update the NVIDIA driver, or choose a build: --torch cu124",
        )
    lacking = [device["name"] for device in torch["devices"] if not device["arch_supported"]]
    if lacking:
        raise SetupError(f"torch {torch['version']} has no code for {', '.join(lacking)}", "try --torch cu128")


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
