"""An environment beside a torch that is there already: a venv that sees the other Python's packages after its own.

Whatever clashes with sd-scripts' pins is installed into the venv and hides the other's. Nothing is written into the
other Python: compiled files of its packages go into the environment too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from sdxl_train_cli import files
from sdxl_train_cli.environment import toolchain
from sdxl_train_cli.environment.existing_torch import OtherPython
from sdxl_train_cli.environment.installer import Report
from sdxl_train_cli.environment.toolchain import Extra, InstallPlan, Toolchain, TorchBuild

TORCH_FAMILY = ("torch", "torchvision", "triton", "xformers")
"""Packages compiled for each other. Those that are there stay."""
_LINK = "torch_of_another_python.pth"


def plan(row: Toolchain, requirements: str, extras: Sequence[Extra], packages: Mapping[str, str]) -> InstallPlan:
    """What to install beside a Python with these packages."""
    pins = [pin.package for pin in row.pins if pin.extra is None or pin.extra in extras]
    pins = ["xformers" if pin.startswith("xformers") else pin for pin in pins]  # the one for the torch that is there
    wanted = [*toolchain.declared(requirements), *pins]
    left = [one for one in wanted if not _serves(row, Requirement(one), packages)]
    held = tuple(f"{name}=={packages[name]}" for name in TORCH_FAMILY if name in packages)
    return InstallPlan(row, TorchBuild.EXISTING, ("torch", "torchvision", *left), None, held)


def _serves(row: Toolchain, requirement: Requirement, packages: Mapping[str, str]) -> bool:
    """Whether a newer release of the other Python takes the place of a pinned one."""
    newer = next((one for one in row.newer if one.package == canonicalize_name(requirement.name)), None)
    if newer is None:
        return False
    pinned = [Version(one.version) for one in requirement.specifier if one.operator == "=="]
    there = [packages[name] for name in (newer.package, *newer.also) if name in packages]
    try:
        return any(Version(version) >= least for version in there for least in pinned)
    except InvalidVersion:
        return False


def unpinned(row: Toolchain, other: OtherPython) -> Iterator[str]:
    """What sd-scripts was not pinned to."""
    release = re.split(r"[+a-z]", other.torch.version)[0]
    pinned = [row.torch, *([row.rtx_50.torch] if row.rtx_50 else [])]
    if release not in pinned:
        yield f"torch {other.torch.version} is not the {row.torch} that {row.name} is pinned to"
    if not SpecifierSet(row.python_range).contains(other.version, prereleases=True):
        yield f"Python {other.version} is not in the range {row.python_range} that {row.name} was started with"


def report(row: Toolchain, other: OtherPython, tell: Report) -> None:
    """Say which torch is taken, and what was not tried with it."""
    tell(f"using torch {other.torch.version} of {other.torch.python}; nothing is written there")
    doubts = list(unpinned(row, other))
    for doubt in doubts:
        tell(f"{doubt}: `sdxl-train smoke` shows whether it trains")


def link(venv: Path, other: OtherPython, compiled: Path) -> None:
    """Let the venv see the other Python's packages after its own."""
    (packages,) = [*venv.glob("lib/python*/site-packages"), *venv.glob("Lib/site-packages")][:1]
    lines = [f"import sys; sys.pycache_prefix = {str(compiled)!r}", *other.torch.paths]
    files.write(packages / _LINK, "\n".join(lines) + "\n")
