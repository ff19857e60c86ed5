"""Install what a checkout needs: with torch or beside one that is there, from an index or from a folder of wheels."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_train_cli import files, gpu, process
from sdxl_train_cli.environment import beside, existing_torch, installer, network, toolchain, wheel_folder
from sdxl_train_cli.environment.environment import EnvironmentFiles, SetupRequest
from sdxl_train_cli.environment.existing_torch import ExistingTorch
from sdxl_train_cli.environment.installer import Installer, Report
from sdxl_train_cli.environment.toolchain import InstallPlan, Toolchain, TorchBuild
from sdxl_train_cli.environment.unpacked import Checkout
from sdxl_train_cli.environment.wheel_folder import Target, WheelFolder
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home

NEEDED_GIB = 8.0
"""Free disk needed for torch, its CUDA libraries and the rest: v0.10.1 was measured at 5.9 GB."""
NEEDED_BESIDE_GIB = 1.0
"""Free disk needed beside a torch that is there."""


@dataclass(frozen=True)
class Installation:
    """What was installed, and how."""

    plan: InstallPlan
    torch: ExistingTorch | None = None
    """The torch of another Python, if that one is used."""


@dataclass(frozen=True)
class _Needs:
    """What a checkout asks for."""

    row: Toolchain | None
    requirements: str
    request: SetupRequest
    folder: WheelFolder | None
    """Where wheels are taken from instead of an index."""


def install(
    home: Home, parts: EnvironmentFiles, checkout: Checkout, request: SetupRequest, tools: Installer
) -> Installation:
    """Make the venv and install what the checkout needs. SetupError with the cause."""
    requirements = _requirements(checkout)
    row = toolchain.choose(requirements, brings_accelerate=(checkout.folder / "accelerate").is_dir())
    folder = wheel_folder.require(Path(request.wheels)) if request.wheels else None
    needs = _Needs(row, requirements, request, folder)
    if row is not None and request.torch is TorchBuild.EXISTING:
        made = _install_beside(home, parts, row, needs, tools)
    else:
        made = _install_whole(home, parts, needs, tools)
    if folder is not None and row is not None:
        for name in wheel_folder.take_tokenizers(folder, home):
            tools.report(f"{folder.path} has no tokenizers/{name}: the first run will want to fetch it")
    return made


def _install_beside(
    home: Home, parts: EnvironmentFiles, row: Toolchain, needs: _Needs, tools: Installer
) -> Installation:
    """Use the torch of another Python, and install the rest beside it."""
    other = existing_torch.find(needs.request.python)
    _require_space(home, NEEDED_BESIDE_GIB)
    beside.report(row, other, tools.report)
    plan = beside.plan(row, needs.requirements, needs.request.extras, other.packages)
    if needs.folder is not None:
        wheel_folder.require_complete(needs.folder, plan.requirements, Target(other.version), other.packages)
    installer.make_venv_beside(parts.venv, other, tools)
    _require_64_bit(parts.python)
    beside.link(parts.venv, other, parts.compiled)
    installer.install_beside(parts.python, plan, other, needs.folder, tools)
    return Installation(plan, other.torch)


def _install_whole(home: Home, parts: EnvironmentFiles, needs: _Needs, tools: Installer) -> Installation:
    """Install everything, torch included."""
    request = needs.request
    plan = toolchain.plan(needs.row, needs.requirements, request.torch, request.extras, gpu.devices())
    if plan.toolchain is not None:
        _require_space(home, NEEDED_GIB)
        if needs.folder is None:
            plan = _within_reach(plan, request, tools.report)
    installer.make_venv(parts.venv, request.python, plan.toolchain, tools)
    version = _require_64_bit(parts.python)
    if needs.folder is not None:
        wheel_folder.require_complete(needs.folder, plan.requirements, Target(version), {})
    installer.install(parts.python, plan, needs.folder, tools)
    return Installation(plan)


def _requirements(checkout: Checkout) -> str:
    try:
        return files.read_text(checkout.folder / "requirements.txt")
    except (OSError, ValueError) as error:
        raise SetupError(
            f"the requirements.txt of sd-scripts at {checkout.ref} can't be read: {error}",
            "leave --ref out for the newest known release",
        ) from error


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


def _require_space(home: Home, needed_gib: float) -> None:
    free_gib = shutil.disk_usage(home.path).free / gpu.GIB
    if free_gib < needed_gib:
        raise SetupError(
            f"{home.path} has {free_gib:.1f} GB free; torch and its libraries need {needed_gib:g}",
            "free some space, or choose another place with --home",
        )


def _require_64_bit(python: Path) -> str:
    """The Python's version. SetupError if it has 32 bits."""
    try:
        bits, _, version = (
            process.run([str(python), "-c", _BITS], timeout_seconds=_PYTHON_SECONDS).stdout.strip().partition(" ")
        )
    except TimeoutError as error:
        raise SetupError(str(error), "give another with --python") from error
    if bits != "64":
        raise SetupError(f"{python} is not a 64-bit Python, and torch needs one", "install a 64-bit Python 3.11")
    return version


_BITS = "import platform, struct; print(struct.calcsize('P') * 8, platform.python_version())"
_PYTHON_SECONDS = 120.0


def require_gpu_support(facts: Mapping[str, Any], plan: InstallPlan) -> None:
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
