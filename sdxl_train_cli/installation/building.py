"""Make the isolated environment: built in a folder of its own, proven, and only then named as the one that counts.

One small file says which folder counts; the environment before stays usable until that moment.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sdxl_train_cli import gpu, process
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.installation import environment, installer, network, toolchain, upstream
from sdxl_train_cli.installation.environment import Environment, Files, Lock, Request
from sdxl_train_cli.installation.installer import Report
from sdxl_train_cli.installation.toolchain import Plan, TorchBuild
from sdxl_train_cli.layout import Home
from sdxl_train_cli.options import OptionTable
from sdxl_train_cli.rulebook import optimizer

NEEDED_GIB = 8.0
"""Free disk for torch, its CUDA libraries and the rest: 5.9 GB were measured for v0.10.1."""


def create(home: Home, request: Request, *, recreate: bool, report: Report) -> Environment:
    """Make the environment that `request` describes, unless it is there already.

    Raises SetupError with the cause; then nothing half-made is left and the environment before it still counts.
    """
    _make_folder(home.environments)
    with _disk_errors(home), _only_one(home, report):
        found = environment.find(home)
        if found is not None and found.lock.request == request and not recreate:
            return found
        _clear(home, keep=found)
        folder = home.environments / f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        try:
            built = _build(home, folder, request, report)
            _write(home.current, folder.name)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _clear(home, keep=built)
    return built


@contextmanager
def _only_one(home: Home, report: Report) -> Iterator[None]:
    from filelock import FileLock, Timeout  # noqa: PLC0415 - only setup needs it

    lock = FileLock(home.setup_lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("another setup is at work: waiting for it to end (Ctrl-C stops waiting)")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _clear(home: Home, keep: Environment | None) -> None:
    """Remove what killed setups left and environments that no longer count, unless a run still uses one."""
    for folder in home.environments.iterdir():
        if (keep is None or folder != keep.folder) and not process.running_from(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _build(home: Home, folder: Path, request: Request, report: Report) -> Environment:
    files = Files(folder)
    with home.setup_log.open("wb") as log:
        report(f"sd-scripts: taking {request.ref} from {request.source}")
        checkout = upstream.create(files.checkout, request.source, request.ref)
        if checkout.ref != request.ref:
            report(f"sd-scripts: this source has no branch '{request.ref}' (upstream merged it): using {checkout.ref}")
        requirements = (checkout.folder / "requirements.txt").read_text(encoding="utf-8")
        row = toolchain.choose(requirements, brings_accelerate=(checkout.folder / "accelerate").is_dir())
        plan = toolchain.plan(row, requirements, request.torch, request.extras, gpu.devices())
        if plan.toolchain is not None:
            _require_space(home)
            plan = _within_reach(plan, request, report)
        tools = installer.Tools(log, home.setup_log, report)
        installer.make_venv(files.venv, request.python, plan.toolchain, tools)
        _require_64_bit(files.python)
        installer.install(files.python, plan, tools)
        report("checking the environment")
        facts = environment.ask(files, "probe.py", *(one.package for one in request.extras)) if plan.toolchain else {}
        _require_gpu_support(facts, plan)
        options = OptionTable.model_validate(environment.ask(files, "flags.py", *_optimizers()))
        _write(files.options, options.model_dump_json(indent=1))
        lock = Lock(
            request=request,
            ref=checkout.ref,
            commit=checkout.commit,
            toolchain=plan.toolchain.name if plan.toolchain else None,
            torch_build=plan.build,
            python=str(facts.get("python", "")),
            packages=facts.get("packages", {}),
            eight_bit=facts.get("eight_bit", True),
            created=datetime.now(timezone.utc),
        )
        _write(files.lock, lock.model_dump_json(indent=1))
    return Environment(folder=folder, lock=lock)


def _optimizers() -> list[str]:
    """Whose arguments are asked: `name=module.Class`."""
    return [f"{name}={path}" for name, path in optimizer.CLASSES.items()]


def _within_reach(plan: Plan, request: Request, report: Report) -> Plan:
    """Fall back to the default package index where PyTorch's own can't be reached and any build will do."""
    if plan.backend is None or network.reachable(toolchain.TORCH_INDEX):
        return plan
    windows_gpu = process.WINDOWS and plan.build is not TorchBuild.CPU
    if request.torch is not TorchBuild.AUTO or windows_gpu:
        raise SetupError(
            f"PyTorch's package index can't be reached, and only it has the {plan.build.value} build",
            "check the network or proxy, or take the default index's build with --torch default",
        )
    report(f"PyTorch's package index can't be reached: using the default index's build, not {plan.build.value}")
    return Plan(plan.toolchain, TorchBuild.DEFAULT, plan.requirements, None)


def _require_space(home: Home) -> None:
    free_gib = shutil.disk_usage(home.path).free / gpu.GIB
    if free_gib < NEEDED_GIB:
        raise SetupError(
            f"{home.path} has {free_gib:.1f} GB free; torch and its libraries need {NEEDED_GIB:g}",
            "free some space, or choose another place with --home",
        )


def _require_64_bit(python: Path) -> None:
    facts = process.run([str(python), "-c", "import struct; print(struct.calcsize('P') * 8)"])
    if facts.stdout.strip() != "64":
        raise SetupError(f"{python} is not a 64-bit Python, and torch has no other", "install a 64-bit Python 3.11")


def _require_gpu_support(facts: Mapping[str, Any], plan: Plan) -> None:
    """A torch that can't use the GPU that is there would be found out only when a run has begun."""
    there = gpu.devices()
    if plan.toolchain is None or not there or plan.build is TorchBuild.CPU:
        return
    torch = facts["torch"]
    if not torch["cuda_available"]:
        raise SetupError(
            f"torch {torch['version']} sees no GPU, and there is {there[0].name} (driver {there[0].driver})",
            "update the NVIDIA driver, or choose a build: --torch cu124",
        )
    lacking = [device["name"] for device in torch["devices"] if not device["arch_supported"]]
    if lacking:
        raise SetupError(f"torch {torch['version']} holds no code for {', '.join(lacking)}", "try --torch cu128")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{folder} can't be made: {error.strerror}", "choose another place with --home or SDXL_TRAIN_HOME"
        ) from error


def _write(path: Path, text: str) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


@contextmanager
def _disk_errors(home: Home) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{error.filename or home.path} can't be written: {error.strerror}", "choose another place with --home"
        ) from error
