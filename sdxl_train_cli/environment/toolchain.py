"""Which Python, torch and pins a checkout of sd-scripts needs: one small table, chosen from what it declares itself."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.gpu import Gpu

MACOS = sys.platform == "darwin"

TORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
"""A page of PyTorch's own package index, to see whether it can be reached."""
BLACKWELL = (12, 0)
"""RTX 50: torch builds before CUDA 12.8 hold no kernels for it."""


class TorchBuild(str, Enum):
    """What `--torch` takes."""

    AUTO = "auto"
    CPU = "cpu"
    CU124 = "cu124"
    CU128 = "cu128"
    DEFAULT = "default"


class Extra(str, Enum):
    """What `--extra` takes."""

    XFORMERS = "xformers"
    LYCORIS = "lycoris"
    DADAPTATION = "dadaptation"
    WANDB = "wandb"
    TAGGER = "tagger"

    @property
    def package(self) -> str:
        """What it is imported as: if this is there, so is the rest."""
        return "onnxruntime" if self is Extra.TAGGER else self.value


@dataclass(frozen=True)
class Toolchain:
    """Python, torch and pins that one generation of sd-scripts runs with."""

    name: str
    transformers: tuple[tuple[int, int], tuple[int, int]]
    """The `transformers` pins of the checkout that this row is for: from, to (not included)."""
    python: str
    python_range: str
    torch: str
    torchvision: str
    pins: tuple[str, ...]
    """What the checkout's own requirements leave open and the field found out."""
    extras: tuple[tuple[Extra, str], ...]


MODERN = Toolchain(
    name="sd-scripts v0.10",
    transformers=((4, 50), (99, 0)),
    python="3.11",
    python_range=">=3.10,<3.13",
    torch="2.6.0",
    torchvision="0.21.0",
    pins=("bitsandbytes==0.50.2", "numpy<3"),
    extras=(
        (Extra.XFORMERS, "xformers==0.0.29.post3"),
        (Extra.LYCORIS, "lycoris-lora==3.2.0.post2"),  # version 4 does not import beside torch 2.6
        (Extra.DADAPTATION, "dadaptation==3.2"),
        (Extra.WANDB, "wandb>=0.19,<1"),
        (Extra.TAGGER, "onnx==1.18.0"),
        (Extra.TAGGER, "onnxruntime==1.22.1"),
    ),
)
CLASSIC = Toolchain(
    name="sd-scripts v0.7 to v0.9",
    transformers=((0, 0), (4, 50)),
    python="3.10",
    python_range=">=3.10,<3.12",
    torch="2.1.2",
    torchvision="0.16.2",
    # its OpenCV and torch were built against numpy 1; its pytorch-lightning needs pkg_resources
    pins=("bitsandbytes>=0.43,<0.46", "numpy<2", "setuptools<81"),
    extras=(
        (Extra.XFORMERS, "xformers==0.0.23.post1"),
        (Extra.LYCORIS, "lycoris-lora==3.2.0.post2"),
        (Extra.DADAPTATION, "dadaptation==3.2"),
        (Extra.WANDB, "wandb>=0.15,<1"),
        (Extra.TAGGER, "onnx>=1.12,<1.16"),  # before v0.9 tensorboard holds protobuf back, and only 1.12 takes that
        (Extra.TAGGER, "onnxruntime>=1.15,<1.18"),
    ),
)
TABLE = (MODERN, CLASSIC)

BLACKWELL_TORCH = ("2.8.0", "0.23.0", "xformers==0.0.32.post2")
"""torch, torchvision and xformers for RTX 50, in place of the modern row's."""


@dataclass(frozen=True)
class InstallPlan:
    """What to install: resolved for this checkout and this machine."""

    toolchain: Toolchain | None
    """None for a checkout that brings its own accelerate."""
    build: TorchBuild
    requirements: tuple[str, ...]
    backend: str | None
    """uv's name for the index of PyTorch's own builds; None is the default package index."""


def choose(requirements: str, *, brings_accelerate: bool) -> Toolchain | None:
    """Pick the row for a checkout from the text of its requirements.txt."""
    pin = re.search(r"^transformers==(\d+)\.(\d+)", requirements, re.MULTILINE)
    if pin is None:
        if brings_accelerate:
            return None
        raise SetupError(
            "its requirements.txt pins no transformers: this is not a release of sd-scripts that sdxl-train knows",
            "try `sdxl-train setup --ref sdxl`",
        )
    version = (int(pin[1]), int(pin[2]))
    return next(row for row in TABLE if row.transformers[0] <= version < row.transformers[1])


def plan(
    toolchain: Toolchain | None, requirements: str, torch: TorchBuild, extras: Sequence[Extra], gpus: Sequence[Gpu]
) -> InstallPlan:
    """Resolve the build of torch for this machine and list everything to install."""
    if toolchain is None:
        return InstallPlan(None, TorchBuild.DEFAULT, (), None)
    build = _build(torch, gpus)
    packages = [package for extra, package in toolchain.extras if extra in extras]
    version, vision = toolchain.torch, toolchain.torchvision
    if build is TorchBuild.CU128:
        version, vision, xformers = BLACKWELL_TORCH
        packages = [xformers if package.startswith("xformers") else package for package in packages]
    if build is TorchBuild.CU128 and toolchain is not MODERN:
        raise SetupError(
            f"{toolchain.name} needs torch {toolchain.torch}, which has no build for CUDA 12.8 and RTX 50 cards",
            "use a current release: `sdxl-train setup --ref sdxl`",
        )
    wanted = [f"torch=={version}", f"torchvision=={vision}", *_declared(requirements), *toolchain.pins, *packages]
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
    if build is TorchBuild.CU124 and toolchain is CLASSIC:
        return "cu121"  # torch 2.1 ended at CUDA 12.1, which every driver for 12.4 runs
    return str(build.value)


def _declared(requirements: str) -> list[str]:
    """The checkout's own requirements, less `-e .`: its scripts find their packages beside themselves."""
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in requirements.splitlines())
    return [line for line in lines if line and not line.startswith("-")]
