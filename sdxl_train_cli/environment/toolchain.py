"""Python, torch and pins for a checkout of sd-scripts: a row of toolchain.toml, chosen by its requirements."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, TypeAdapter

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import SetupError

if TYPE_CHECKING:
    from sdxl_train_cli.gpu import Gpu  # the driver's library takes long to import

TABLE = Path(__file__).with_suffix(".toml")
MACOS = sys.platform == "darwin"

TORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
"""A page of PyTorch's package index, to check that it is reachable."""
BLACKWELL = (12, 0)
"""Compute capability of RTX 50. torch builds before CUDA 12.8 have no kernels for it."""


class TorchBuild(str, Enum):
    """Values of `--torch`."""

    AUTO = "auto"
    CPU = "cpu"
    CU124 = "cu124"
    CU128 = "cu128"
    DEFAULT = "default"
    EXISTING = "existing"


class Extra(str, Enum):
    """Values of `--extra`."""

    XFORMERS = "xformers"
    LYCORIS = "lycoris"
    DADAPTATION = "dadaptation"
    WANDB = "wandb"
    TAGGER = "tagger"

    @property
    def package(self) -> str:
        """Import name. If this package is present, so is the rest."""
        return "onnxruntime" if self is Extra.TAGGER else self.value


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Where the versions come from."""


class Pin(_Row):
    """A package version that the checkout's requirements leave open, found by experience."""

    package: str
    """Requirement as uv accepts it: name and versions."""
    extra: Extra | None = None
    """The extra that needs it. None if it is always installed."""


class Newer(_Row):
    """A package that the checkout pins, and of which sd-scripts uses only what newer releases have too."""

    package: str
    also: tuple[str, ...] = ()
    """Other packages that bring the same modules."""


class Rtx50Torch(_Row):
    """torch, torchvision and xformers for RTX 50, replacing the row's own."""

    torch: str
    torchvision: str
    xformers: str


class Toolchain(_Row):
    """Python, torch and pins for one generation of sd-scripts: a row of toolchain.toml."""

    name: str
    transformers: tuple[tuple[int, int], tuple[int, int]]
    """Range of the checkout's `transformers` pin that this row applies to; the end is exclusive."""
    python: str
    python_range: str
    torch: str
    torchvision: str
    backends: Mapping[TorchBuild, str] = {}
    """uv's name of a build's index, if it differs from the build's name."""
    pins: tuple[Pin, ...]
    newer: tuple[Newer, ...] = ()
    """What `--torch existing` takes from the other Python although it is newer there."""
    rtx_50: Rtx50Torch | None = None
    """None if this generation has no torch for RTX 50."""


@dataclass(frozen=True)
class InstallPlan:
    """What to install, resolved for this checkout and machine."""

    toolchain: Toolchain | None
    """None for a checkout with its own accelerate."""
    build: TorchBuild
    requirements: tuple[str, ...]
    backend: str | None
    """uv's name of PyTorch's index for the build. None is the default package index."""
    constraints: tuple[str, ...] = ()
    """Versions that are there already and stay, whoever asks for another."""


@cache
def load() -> tuple[Toolchain, ...]:
    """Every known generation of sd-scripts, newest first."""
    table = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return TypeAdapter(tuple[Toolchain, ...]).validate_python(table["toolchain"])


def choose(requirements: str, *, brings_accelerate: bool) -> Toolchain | None:
    """Pick the row for a checkout by its requirements.txt."""
    pin = re.search(r"^transformers==(\d+)\.(\d+)", requirements, re.MULTILINE)
    if pin is None:
        if brings_accelerate:
            return None
        raise SetupError(
            "its requirements.txt pins no transformers: this is not a release of sd-scripts that sdxl-train knows",
            "try `sdxl-train setup --ref sdxl`",
        )
    version = (int(pin[1]), int(pin[2]))
    return next(row for row in load() if row.transformers[0] <= version < row.transformers[1])


def plan(
    toolchain: Toolchain | None, requirements: str, torch: TorchBuild, extras: Sequence[Extra], gpus: Sequence[Gpu]
) -> InstallPlan:
    """Choose the torch build for this machine and list everything to install."""
    if toolchain is None:
        return InstallPlan(None, TorchBuild.DEFAULT, (), None)
    build = _build(torch, gpus)
    packages = [pin.package for pin in toolchain.pins if pin.extra is None or pin.extra in extras]
    version, vision = toolchain.torch, toolchain.torchvision
    if build is TorchBuild.CU128:
        if toolchain.rtx_50 is None:
            raise SetupError(
                f"{toolchain.name} needs torch {toolchain.torch}, which has no build for CUDA 12.8 and RTX 50 cards",
                "use a current release: `sdxl-train setup --ref sdxl`",
            )
        version, vision, xformers = toolchain.rtx_50.torch, toolchain.rtx_50.torchvision, toolchain.rtx_50.xformers
        packages = [xformers if package.startswith("xformers") else package for package in packages]
    wanted = [f"torch=={version}", f"torchvision=={vision}", *declared(requirements), *packages]
    return InstallPlan(toolchain, build, tuple(wanted), _backend(build, toolchain))


def _build(torch: TorchBuild, gpus: Sequence[Gpu]) -> TorchBuild:
    if torch is not TorchBuild.AUTO:
        return torch
    if any(gpu.capability >= BLACKWELL for gpu in gpus):
        return TorchBuild.CU128
    if gpus:
        return TorchBuild.CU124
    return TorchBuild.DEFAULT if MACOS else TorchBuild.CPU


def _backend(build: TorchBuild, toolchain: Toolchain) -> str | None:
    if build is TorchBuild.DEFAULT:
        return None
    return toolchain.backends.get(build, str(build.value))


def declared(requirements: str) -> list[str]:
    """The checkout's own requirements without `-e .`: its scripts find their packages next to themselves."""
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in requirements.splitlines())
    return [line for line in lines if line and not line.startswith("-")]
