"""Prove that training works here: tiny pictures, a scaled-down random SDXL, and the real code path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.errors import Problem, TrainingError, UsageError
from sdxl_train_cli.inspection import weight_facts
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Scalar
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.sdscripts import checkpoint, lycoris, results

U_NET_MODULES = {Kind.LORA: 722, Kind.LOCON: 788, Kind.LOHA: 722, Kind.LOKR: 722}
"""Layers of SDXL's U-Net that the kinds' default presets adapt: 722 linear and 1x1, 66 more for a LoCon."""
_TELLING = {
    Kind.LORA: r"lora_down\.weight",
    Kind.LOCON: r"lora_down\.weight",
    Kind.LOHA: "hada_w1_a",
    Kind.LOKR: "lokr_w1",
}
"""A tensor that every adapted layer of a kind has exactly once."""
_U_NET_SHARE = 0.5
"""Minimum share of a checkpoint's tensors that are U-Net layers and visibly change within a few steps."""
_WORD = "smoketest"
_TYPED = Origin("--steps")
"""Steps that are typed are made in several processes too."""
_SIDE = 64
"""Pixels. The smallest square that SDXL's three levels and the VAE allow."""


@dataclass(frozen=True)
class SmokeMaterial:
    """Model, tokenizers and pictures of a smoke run."""

    model: Path
    tokenizers: Path
    pictures: Path


@dataclass(frozen=True)
class SmokeFacts:
    """Findings about a smoke run's result."""

    path: Path
    summary: str


@dataclass(frozen=True)
class SmokeSize:
    """How much to train, and on what."""

    steps: int
    scaled: bool
    """Train a fraction of SDXL's width (inside/scaled.py). Otherwise its true shapes, 6.9 GB."""
    gpu_index: int | None
    """None trains on the processor."""
    processes: int = 1
    """How many train together, on the processor."""


@dataclass(frozen=True)
class SmokeActions:
    """The real commands' actions, so that the smoke test takes the same path."""

    prepare: Callable[[Choices], Prepared]
    carry_out: Callable[[Prepared], RunResult]
    report: Callable[[str], None]


def trainable(installed: Environment) -> tuple[list[Kind], list[Kind]]:
    """The kinds that can be trained here, and those that need LyCORIS first."""
    missing = [
        Kind(algo)
        for module, algo in lycoris.NATIVE.items()
        if module not in installed.networks and not installed.has(Extra.LYCORIS)
    ]
    there = [kind for kind in Kind if files.is_file(installed.checkout / kind.script)]
    return [kind for kind in there if kind not in missing], missing


_MARK = ".sdxl-train-smoke"


def make_material(installed: Environment, folder: Path, size: SmokeSize) -> SmokeMaterial:
    """Create the model, tokenizers and pictures in the training environment."""
    shapes = ["--without-weights"] if not installed.trains else [] if size.scaled else ["--full-size"]
    mark = folder / _MARK
    if files.exists(folder) and not files.is_file(mark):
        raise UsageError(f"{folder} holds files that are not from a smoke run", "give --output another folder")
    folder.mkdir(parents=True, exist_ok=True)
    files.write(mark, "sdxl-train smoke makes the files of this folder, and writes over them.\n")
    made = environment.run_script(installed, "tiny_sdxl.py", "--output", str(folder), *shapes)
    return SmokeMaterial(Path(made["model"]), Path(made["tokenizers"]), Path(made["pictures"]))


def choices(kind: Kind, material: SmokeMaterial, output: Path, size: SmokeSize, *, eight_bit: bool) -> Choices:
    """The choices of the real command with smaller pictures and fewer steps, and the kind's default preset.

    Without `eight_bit` the optimizer keeps 32-bit state: older releases of bitsandbytes need a GPU.
    """
    small: dict[str, Scalar] = {
        "resolution": f"{_SIDE},{_SIDE}",
        "min_bucket_reso": _SIDE,
        "max_bucket_reso": 2 * _SIDE,
        "max_train_steps": size.steps,
        "save_every_n_steps": max(1, size.steps // 2),
        "lr_warmup_steps": 0,  # the run is shorter than any warm-up
    }
    if kind is not Kind.DREAMBOOTH and not eight_bit and size.gpu_index is None:
        small["optimizer_type"] = "AdamW"
    if kind is Kind.EMBEDDING:
        small["token_string"] = _WORD
    if kind is Kind.DREAMBOOTH:
        small["learning_rate"] = 1e-3  # at the real rate, fp16 rounds most changes of a few steps away
    return Choices(
        kind=kind,
        preset=run_choices.DEFAULT_PRESETS[kind],
        model=str(material.model),
        data=material.pictures,
        output=output,
        name=f"smoke-{kind.value}",
        trigger=_WORD if kind is Kind.EMBEDDING else None,
        overrides=tuple(Override(option, value, _TYPED) for option, value in small.items()),
        gpu_index=size.gpu_index,
        on_processor=size.gpu_index is None,
        processes=size.processes,
        check_vram=False,
        shim=INSIDE / "scaled.py" if size.scaled else None,
        tokenizers=material.tokenizers,
        samples=(),
        validation=0.0,
    )


def examine(prepared: Prepared, outcome: RunResult, material: SmokeMaterial) -> SmokeFacts:
    """Examine the trained file. TrainingError lists everything that is not as expected."""
    kind, header = prepared.recipe.kind, checkpoint.read_header(outcome.result)
    if kind is Kind.DREAMBOOTH:
        base = checkpoint.read_header(material.model)
        found, expected, what = len(header.shapes), len(base.shapes), "tensors"
    elif kind is Kind.EMBEDDING:
        vectors = prepared.recipe.number("num_vectors_per_token") or 1
        found, expected, what = sum(shape[0] for shape in header.shapes.values()), 2 * int(vectors), "vectors"
    else:
        found, expected, what = _u_net_modules(kind, header.shapes), U_NET_MODULES[kind], "U-Net modules"
    wrong = [Problem(f"{outcome.result} holds {found} {what}, not {expected}")] if found != expected else []
    if prepared.environment.trains:
        wrong += [*_wrong_metadata(prepared, header.metadata), *_wrong_weights(prepared, outcome.result, material)]
    if wrong:
        raise TrainingError(wrong)
    return SmokeFacts(outcome.result, f"{kind.label}: {found} {what}, {formatting.size(outcome.result.stat().st_size)}")


def _u_net_modules(kind: Kind, names: Mapping[str, object]) -> int:
    return sum(re.fullmatch(rf"lora_unet_\w+\.{_TELLING[kind]}", name) is not None for name in names)


def _wrong_metadata(prepared: Prepared, metadata: Mapping[str, str]) -> list[Problem]:
    expected = {"modelspec.title": prepared.run.name}
    if prepared.recipe.kind.is_network:
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


def _wrong_weights(prepared: Prepared, path: Path, material: SmokeMaterial) -> list[Problem]:
    full = prepared.recipe.kind is Kind.DREAMBOOTH
    earlier = None if prepared.recipe.kind.is_network or full else _earlier(prepared, path)
    base = material.model if full else None
    facts = weight_facts.examine(prepared.environment, path, base=base, earlier=earlier, whole=True)
    wrong = []
    if facts.before and facts.before.moved < facts.before.compared:
        wrong.append(Problem(f"{facts.before.moved} of {facts.before.compared} tensors have moved: not trained"))
    if facts.against and facts.against.changed < _U_NET_SHARE * facts.tensors:
        wrong.append(
            Problem(f"only {facts.against.changed} of {facts.tensors} tensors differ from the base: not trained")
        )
    if facts.nonfinite:
        wrong.append(Problem(f"{path} holds weights that are not numbers: {', '.join(facts.nonfinite)}"))
    if facts.zero_tensors:
        wrong.append(Problem(f"{facts.zero_tensors} of {facts.tensors} tensors are all zero: not trained"))
    return wrong


def _earlier(prepared: Prepared, path: Path) -> Path | None:
    """The first checkpoint. What starts at no known place is compared with it."""
    made = [one.path for one in results.checkpoints(prepared.run.folder, prepared.run.name) if one.path != path]
    return made[0] if made else None


def run(
    installed: Environment, kinds: Sequence[Kind], folder: Path, size: SmokeSize, actions: SmokeActions
) -> list[SmokeFacts]:
    """Train each kind in turn and examine the results."""
    actions.report(f"making a {'tiny ' if size.scaled else ''}SDXL of random weights")
    material = make_material(installed, folder / "material", size)
    found = []
    for kind in kinds:
        actions.report(f"{kind.label}: {size.steps} steps")
        chosen = choices(kind, material, folder, size, eight_bit=installed.lock.eight_bit)
        prepared = actions.prepare(chosen)
        prepared = replace(prepared, warnings=())  # they concern settings for real pictures, not for these
        found.append(examine(prepared, actions.carry_out(prepared), material))
        actions.report(found[-1].summary)
    return found
