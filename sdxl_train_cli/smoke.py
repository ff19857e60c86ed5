"""The proof that training works here: tiny pictures, a scaled-down SDXL of random weights, and the real code path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import checkpoint, environment, preparation
from sdxl_train_cli.environment import INSIDE, Environment
from sdxl_train_cli.errors import Problem, TrainingError
from sdxl_train_cli.preparation import Choices, Prepared
from sdxl_train_cli.presets import Override
from sdxl_train_cli.recipe import Kind, Scalar
from sdxl_train_cli.training import Outcome

U_NET_MODULES = {Kind.LORA: 722, Kind.LOCON: 788}
"""What sd-scripts' networks.lora adapts in SDXL's U-Net: 722 linear and 1x1 layers, and 66 more convolutions."""
_SIDE = 64
"""Pixels: the smallest square that SDXL's three levels and the VAE allow."""


@dataclass(frozen=True)
class Material:
    """What a smoke run trains on."""

    model: Path
    tokenizers: Path
    pictures: Path


@dataclass(frozen=True)
class Facts:
    """What a smoke's result was found to be."""

    path: Path
    summary: str


def make_material(installed: Environment, folder: Path, *, full_size: bool) -> Material:
    """Make the model, tokenizers and pictures in the training environment."""
    size = ["--without-weights"] if installed.is_rehearsal else ["--full-size"] if full_size else []
    made = environment.ask(installed, "tiny_sdxl.py", "--output", str(folder), *size)
    return Material(Path(made["model"]), Path(made["tokenizers"]), Path(made["pictures"]))


def can_scale(installed: Environment) -> str | None:
    """Why this sd-scripts can't be run scaled down, or None where it can."""
    if installed.is_rehearsal:
        return None
    answer = environment.ask(installed, "scaled.py", "--check")
    return None if answer["scalable"] else str(answer["reason"])


def choices(
    kind: Kind, material: Material, output: Path, *, steps: int, scaled: bool, gpu_index: int | None
) -> Choices:
    """The choices of the real command, with a smaller picture and fewer steps; the preset is the kind's default."""
    small: dict[str, Scalar] = {
        "resolution": f"{_SIDE},{_SIDE}",
        "min_bucket_reso": _SIDE,
        "max_bucket_reso": 2 * _SIDE,
        "max_train_steps": steps,
        "save_every_n_steps": max(1, steps // 2),
    }
    return Choices(
        kind=kind,
        preset=preparation.DEFAULT_PRESETS[kind],
        model=str(material.model),
        data=material.pictures,
        output=output,
        name=f"smoke-{kind.value}",
        overrides=tuple(Override(option, value, "smoke") for option, value in small.items()),
        gpu_index=gpu_index,
        on_processor=gpu_index is None,
        check_vram=False,
        shim=INSIDE / "scaled.py" if scaled else None,
        tokenizers=material.tokenizers,
    )


def examine(prepared: Prepared, outcome: Outcome, material: Material) -> Facts:
    """Look at the trained file; TrainingError names everything that is not as it must be."""
    kind, header = prepared.recipe.kind, checkpoint.read_header(outcome.result)
    if kind is Kind.DREAMBOOTH:
        base = checkpoint.read_header(material.model)
        found, expected, what = len(header.shapes), len(base.shapes), "tensors"
    else:
        found, expected, what = _u_net_modules(header.shapes), U_NET_MODULES[kind], "U-Net modules"
    wrong = [Problem(f"{outcome.result} holds {found} {what}, not {expected}")] if found != expected else []
    if not prepared.environment.is_rehearsal:
        wrong += [*_wrong_metadata(prepared, header.metadata), *_wrong_weights(prepared.environment, outcome.result)]
    if wrong:
        raise TrainingError(wrong)
    return Facts(outcome.result, f"{kind.label}: {found} {what}, {outcome.result.stat().st_size / 1e6:.1f} MB")


def _u_net_modules(names: Mapping[str, object]) -> int:
    return len({name.split(".")[0] for name in names if re.fullmatch(r"lora_unet_\w+\.lora_down\.weight", name)})


def _wrong_metadata(prepared: Prepared, metadata: Mapping[str, str]) -> list[Problem]:
    expected = {"modelspec.title": prepared.run.name}
    if prepared.recipe.kind is not Kind.DREAMBOOTH:
        expected |= {
            "ss_output_name": prepared.run.name,
            "ss_network_dim": str(prepared.recipe.get("network_dim")),
            "ss_steps": str(prepared.recipe.get("max_train_steps")),
        }
    return [
        Problem(f"its metadata says {key}={metadata.get(key)}, not {value}")
        for key, value in expected.items()
        if metadata.get(key) != value
    ]


def _wrong_weights(installed: Environment, path: Path) -> list[Problem]:
    facts = environment.ask(installed, "weights.py", str(path))["files"][0]
    wrong = []
    if not facts["finite"]:
        wrong.append(Problem(f"{path} holds weights that are no numbers: {', '.join(facts['nonfinite'])}"))
    if facts["zero_tensors"]:
        wrong.append(Problem(f"{facts['zero_tensors']} of {facts['tensors']} tensors are all zero: not trained"))
    return wrong


def run(  # noqa: PLR0913 - keyword-only, each is one flag
    installed: Environment,
    kinds: tuple[Kind, ...],
    folder: Path,
    *,
    prepare: Callable[[Choices], Prepared],
    carry_out: Callable[[Prepared], Outcome],
    report: Callable[[str], None],
    steps: int,
    full_size: bool,
    gpu_index: int | None,
) -> list[Facts]:
    """Train each kind in turn and examine what came out."""
    reason = None if full_size else can_scale(installed)
    if reason is not None:
        report(f"this sd-scripts can't be scaled down ({reason}): taking the full size, about 7 GB of disk and memory")
    full_size = full_size or reason is not None
    report("making a tiny SDXL of random weights" if not full_size else "making an SDXL of random weights, 6.9 GB")
    material = make_material(installed, folder / "material", full_size=full_size)
    found = []
    for kind in kinds:
        report(f"{kind.label}: {steps} steps")
        scaled = not full_size and not installed.is_rehearsal
        chosen = choices(kind, material, folder, steps=steps, scaled=scaled, gpu_index=gpu_index)
        prepared = prepare(chosen)
        found.append(examine(prepared, carry_out(prepared), material))
        report(found[-1].summary)
    return found
