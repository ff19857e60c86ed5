"""Recipe and paths become argv, a list of strings. Pure: no disk, no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.recipe import Recipe, Scalar, Value
from sdxl_train_cli.sdscripts.options import Option

STARTS = ("resume", "resume_from_huggingface", "initial_step", "initial_epoch", "skip_until_initial_step")
"""Options that say where a run begins."""
_LENGTHS = ("max_train_steps", "max_train_epochs")
"""Options that a run which goes on may be told anew."""


@dataclass(frozen=True)
class InstalledTrainer:
    """The installed training side."""

    python: Path
    script: Path
    """`sdxl_train.py` or `sdxl_train_network.py`."""
    options: Mapping[str, Option]
    """What that script understands."""
    shim: Path | None = None
    """A script that runs `script`, after it has scaled the model down (the tiny smoke)."""
    fast: Path | None = None
    """A script that runs what follows faster (inside/fast.py)."""
    marking: tuple[str, ...] = ()
    """A script, and the tensors that it puts into what is saved (inside/marked.py); empty where none are needed."""


@dataclass(frozen=True)
class TrainerInputs:
    """What a run reads and where it writes."""

    model: str
    vae: str | None
    dataset_config: Path
    output_dir: Path
    output_name: str
    logging_dir: Path
    tokenizers: Path


@dataclass(frozen=True)
class Resumption:
    """Where a run that was cut off is taken up again."""

    state: Path
    step: int
    """Steps that the state holds."""
    steps: int | None = None
    """A new length of the whole run; None keeps the old one."""
    shim: Path | None = None
    """The script that puts sd-scripts' count right (inside/resumed.py)."""

    @property
    def words(self) -> list[str]:
        """What the trainer is told of it."""
        length = [] if self.steps is None else ["--max_train_steps", str(self.steps)]
        return [*length, "--resume", str(self.state), "--initial_step", str(self.step), "--skip_until_initial_step"]


def build(
    recipe: Recipe,
    inputs: TrainerInputs,
    trainer: InstalledTrainer,
    gpu_index: int | None,
    going_on: Resumption | None = None,
) -> list[str]:
    """The whole command line, every launch flag given so that accelerate asks no file of the user's.

    `gpu_index` None trains on the processor; with `going_on`, the run goes on from there.
    """
    shims = [] if trainer.fast is None else [str(trainer.fast), "default"]
    shims += trainer.marking
    shims += [] if trainer.shim is None else [str(trainer.shim)]
    if going_on is not None:
        recipe = recipe.replaced(dict.fromkeys(STARTS if going_on.steps is None else (*STARTS, *_LENGTHS)))
        shims = [*([] if going_on.shim is None else [str(going_on.shim), "--from", str(going_on.step)]), *shims]
    line = [*_launch(recipe, trainer.python, gpu_index), *shims, str(trainer.script)]
    return [*line, *_given(inputs, trainer), *_chosen(recipe, trainer), *(going_on.words if going_on else ())]


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


def _given(inputs: TrainerInputs, trainer: InstalledTrainer) -> list[str]:
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


def _chosen(recipe: Recipe, trainer: InstalledTrainer) -> list[str]:
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
