"""Build argv, a list of strings, from recipe and paths. Pure: no disk, no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.recipe import Recipe, Scalar, Value
from sdxl_train_cli.sdscripts.options import Option
from sdxl_train_cli.sdscripts.processes import Processes

STARTS = ("resume", "resume_from_huggingface", "initial_step", "initial_epoch", "skip_until_initial_step")
"""Options that define where a run begins."""
_LENGTHS = ("max_train_steps", "max_train_epochs")
"""Options that a resumed run may change."""


@dataclass(frozen=True)
class InstalledTrainer:
    """The installed training side."""

    python: Path
    script: Path
    """`sdxl_train_network.py`, `sdxl_train.py` or `sdxl_train_textual_inversion.py`."""
    options: Mapping[str, Option]
    """The script's options."""
    shim: Path | None = None
    """A script that scales the model down and then runs `script` (the tiny smoke test)."""
    several: Path | None = None
    """A script for one of several processes (inside/several.py)."""
    fast: Path | None = None
    """A script that makes the following script faster (inside/fast.py)."""
    marking: tuple[str, ...] = ()
    """A script, and the tensors that it puts into what is saved (inside/marked.py); empty where none are needed."""
    validating: Path | None = None
    """A script that keeps the validation loss of each picture (inside/validated.py)."""
    drawing: Path | None = None
    """A script that draws samples in little memory (inside/sampled.py)."""
    saving: Path | None = None
    """A script that saves a state when the run is asked to stop (inside/saving.py)."""
    counting: Path | None = None
    """A script that has saved states say how far they are (inside/counted.py). None where the trainer does so."""
    accelerate_config: Path | None = None
    """A config of accelerate in place of the user's, which it would merge into its flags."""


@dataclass(frozen=True)
class TrainerInputs:
    """The run's input and output paths."""

    model: str
    vae: str | None
    dataset_config: Path
    output_dir: Path
    output_name: str
    logging_dir: Path
    tokenizers: Path


@dataclass(frozen=True)
class Resumption:
    """Where an interrupted run is resumed."""

    state: Path
    step: int
    """Steps contained in the state."""
    steps: int | None = None
    """New total length. None keeps the old one."""
    shim: Path | None = None
    """The script that corrects sd-scripts' step count (inside/resumed.py, inside/counted.py)."""

    def words(self, options: Mapping[str, Option]) -> list[str]:
        """The trainer's arguments for resuming. `sdxl_train.py` has no option for the step."""
        length = [] if self.steps is None else ["--max_train_steps", str(self.steps)]
        step = ["--initial_step", str(self.step), "--skip_until_initial_step"] if "initial_step" in options else []
        return [*length, "--resume", str(self.state), *step]


def build(
    recipe: Recipe,
    inputs: TrainerInputs,
    trainer: InstalledTrainer,
    processes: Processes,
    resumption: Resumption | None = None,
) -> list[str]:
    """The complete command line, with every launch flag set so that accelerate reads no user config.

    `resumption` continues an earlier run.
    """
    shims = [] if trainer.fast is None else [str(trainer.fast), "default"]
    shims += trainer.marking
    shims += [] if trainer.saving is None else [str(trainer.saving)]
    shims += [] if trainer.drawing is None or recipe.get("sample_prompts") is None else [str(trainer.drawing)]
    shims += [] if trainer.shim is None else [str(trainer.shim)]
    shims += [] if trainer.validating is None else [str(trainer.validating)]  # the last: it imports the trainer
    counting, begun, resuming = trainer.counting, 0, list[str]()
    if resumption is not None:
        recipe = recipe.replaced(dict.fromkeys(STARTS if resumption.steps is None else (*STARTS, *_LENGTHS)))
        counting, begun, resuming = resumption.shim, resumption.step, resumption.words(trainer.options)
    several = [] if trainer.several is None else [str(trainer.several)]
    shims = [*several, *([] if counting is None else [str(counting), "--from", str(begun)]), *shims]
    line = [*_launch(recipe, trainer, processes), *shims, str(trainer.script)]
    return [*line, *_given(inputs, trainer), *_chosen(recipe, trainer), *resuming]


def _launch(recipe: Recipe, trainer: InstalledTrainer, processes: Processes) -> list[str]:
    config = trainer.accelerate_config
    return [
        str(trainer.python),
        "-m",
        "accelerate.commands.launch",
        *([] if config is None else [f"--config_file={config}"]),
        f"--num_processes={processes.total}",
        f"--num_machines={processes.machines}",
        f"--mixed_precision={recipe.get('mixed_precision') or 'no'}",
        "--dynamo_backend=no",
        "--num_cpu_threads_per_process=2",
        *processes.flags(),
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
        "console_log_simple": True,  # plain lines: rich output is cut at 80 columns
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
