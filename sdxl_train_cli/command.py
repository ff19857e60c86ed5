"""Recipe and paths become argv, a list of strings. Pure: no disk, no process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.options import Option
from sdxl_train_cli.recipe import Recipe, Scalar, Value


@dataclass(frozen=True)
class Trainer:
    """The installed training side."""

    python: Path
    script: Path
    """`sdxl_train.py` or `sdxl_train_network.py`."""
    options: Mapping[str, Option]
    """What that script understands."""
    shim: Path | None = None
    """A script that runs `script`, after it has scaled the model down (the tiny smoke)."""


@dataclass(frozen=True)
class Inputs:
    """What a run reads and where it writes."""

    model: str
    vae: str | None
    dataset_config: Path
    output_dir: Path
    output_name: str
    logging_dir: Path
    tokenizers: Path


def build(recipe: Recipe, inputs: Inputs, trainer: Trainer, gpu_index: int | None) -> list[str]:
    """The whole command line, every launch flag given so that accelerate asks no file of the user's.

    `gpu_index` None trains on the processor.
    """
    script = [str(trainer.script)] if trainer.shim is None else [str(trainer.shim), str(trainer.script)]
    return [*_launch(recipe, trainer.python, gpu_index), *script, *_given(inputs, trainer), *_chosen(recipe, trainer)]


@dataclass(frozen=True)
class GoingOn:
    """Where a run that was cut off is taken up again."""

    state: Path
    step: int
    """Steps that the state holds."""
    steps: int | None = None
    """A new length of the whole run; None keeps the old one."""
    shim: Path | None = None
    """The script that puts sd-scripts' count right (inside/resumed.py)."""


def resumed(argv: Sequence[str], python: Path, script: Path, going_on: GoingOn) -> list[str]:
    """The command line of an earlier start, made to go on; ValueError where it starts no script of this name."""
    names = [Path(word).name for word in argv]
    at = names.index(script.name)
    first = next(number for number, name in enumerate(names) if name.endswith(".py"))
    shim = [] if going_on.shim is None else [str(going_on.shim), "--from", str(going_on.step)]
    options = _without(argv[at + 1 :], {"--resume", "--initial_step", "--skip_until_initial_step"})
    if going_on.steps is not None:
        options = _without(options, {"--max_train_steps", "--max_train_epochs"})
        options += ["--max_train_steps", str(going_on.steps)]
    state = ["--resume", str(going_on.state), "--initial_step", str(going_on.step), "--skip_until_initial_step"]
    return [str(python), *argv[1:first], *shim, *argv[first:at], str(script), *options, *state]


def changed(argv: Sequence[str], script: str, values: Mapping[str, Value], options: Mapping[str, Option]) -> list[str]:
    """The same command line with these options of the script in place of what it says of them.

    ValueError where it starts no script of this name.
    """
    flags = {options[name].flag for name in values}
    behind = [Path(word).name for word in argv].index(script) + 1
    given = [word for name, value in values.items() for word in _words(options[name].flag, value)]
    return [*argv[:behind], *_without(argv[behind:], flags), *given]


def _without(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Leave flags out with all that stands behind them, up to the next flag."""
    kept, is_left_out = list[str](), False
    for word in words:
        if word.startswith("--"):
            is_left_out = word.partition("=")[0] in flags
        if not is_left_out:
            kept.append(word)
    return kept


def _launch(recipe: Recipe, python: Path, gpu_index: int | None) -> list[str]:
    return [
        str(python),
        "-m",
        "accelerate.commands.launch",
        "--num_processes=1",
        "--num_machines=1",
        f"--mixed_precision={recipe.get('mixed_precision') or 'no'}",
        "--dynamo_backend=no",
        "--num_cpu_threads_per_process=2",
        "--cpu" if gpu_index is None else f"--gpu_ids={gpu_index}",
    ]


def _given(inputs: Inputs, trainer: Trainer) -> list[str]:
    values: dict[str, Value | None] = {
        "pretrained_model_name_or_path": inputs.model,
        "vae": inputs.vae,
        "tokenizer_cache_dir": str(inputs.tokenizers),
        "dataset_config": str(inputs.dataset_config),
        "output_dir": str(inputs.output_dir),
        "output_name": inputs.output_name,
        "logging_dir": str(inputs.logging_dir),
        "console_log_simple": True,  # plain lines: the other form is cut at 80 columns
    }
    known = {name: value for name, value in values.items() if value is not None and name in trainer.options}
    return [word for name, value in known.items() for word in _words(trainer.options[name].flag, value)]


def _chosen(recipe: Recipe, trainer: Trainer) -> list[str]:
    return [
        word
        for name, setting in sorted(recipe.settings.items())
        for word in _words(trainer.options[name].flag, setting.value)
    ]


def _words(flag: str, value: Value) -> list[str]:
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, tuple):
        return [flag, *map(_text, value)]
    text = _text(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def _text(value: Scalar) -> str:
    return repr(value) if isinstance(value, float) else str(value)
