"""The options of training, each with its name and help once, and what they set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any

import typer

from sdxl_train_cli.commands import completion, values, workspace
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import Problem, SdxlTrainError, UsageError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.ui import console


class OnOom(str, Enum):
    """Values of `--on-oom`."""

    STOP = "stop"
    STEP_DOWN = "step-down"


RUN = "What to train"
LEARNING = "How it learns"
FILES = "Checkpoints"
GPU = "GPU and memory"
WATCHING = "Start and watch"


def _text(*names: str, about: str, metavar: str, panel: str, complete: Any = None) -> Any:  # noqa: ANN401 - typer's
    return typer.Option(*names, metavar=metavar, help=about, rich_help_panel=panel, autocompletion=complete)


def _switch(name: str, about: str, panel: str) -> Any:  # noqa: ANN401 - typer's
    return typer.Option(name, help=about, rich_help_panel=panel)


def complete_setting(incomplete: str) -> list[str]:
    """Options of the installed sd-scripts that begin so, to be followed by a value."""
    try:
        table = environment.option_table(workspace.home(None))
    except (SdxlTrainError, OSError):
        return []
    names = {option.name for options in table.scripts.values() for option in options}
    return [f"{name}=" for name in sorted(names) if name.startswith(incomplete)]


Preset = Annotated[
    str | None,
    _text("--preset", "-p", metavar="PRESET", panel=RUN, complete=completion.preset_names,
          about="A name from `sdxl-train presets list`, or a file"),
]  # fmt: skip
Model = Annotated[
    str | None,
    _text("--model", "-m", metavar="MODEL", panel=RUN,
          about="SDXL base: .safetensors file, diffusers folder or Hugging Face id"),
]  # fmt: skip
Data = Annotated[
    str | None,
    _text("--data", "-d", metavar="FOLDER", panel=RUN, about="Folder of pictures; or a dataset config, or metadata"),
]
Reg = Annotated[
    str | None, _text("--reg", metavar="FOLDER", panel=RUN, about="Regularisation pictures, laid out like --data")
]
Output = Annotated[
    str | None,
    _text("--output", "-o", metavar="FOLDER", panel=RUN, about="Where the run's folder is made [default: output]"),
]
Name = Annotated[
    str | None,
    _text("--name", "-n", metavar="NAME", panel=RUN, about="Name of run and file [default: the data folder's]"),
]
Trigger = Annotated[
    str | None, _text("--trigger", "-t", metavar="WORDS", panel=RUN, about="Trigger word for your subject")
]
Repeats = Annotated[
    int | None, values.whole("--repeats", about="How often each picture is used in an epoch", panel=RUN)
]
Vae = Annotated[str | None, _text("--vae", metavar="VAE", panel=RUN, about="VAE to use instead of the model's own")]
PredictionOption = Annotated[
    Prediction | None,
    values.one_of("--prediction", Prediction, panel=RUN,
                  about="What the base predicts, where its header doesn't say [default: as it says]"),
]  # fmt: skip

Steps = Annotated[int | None, values.whole("--steps", metavar="STEPS", about="Length in steps", panel=LEARNING)]
Epochs = Annotated[
    int | None,
    values.whole("--epochs", metavar="EPOCHS", panel=LEARNING,
                 about="Length in epochs: passes over the pictures"),
]  # fmt: skip
BatchSize = Annotated[int | None, values.whole("--batch-size", "-b", about="Pictures per step", panel=LEARNING)]
Accumulate = Annotated[
    int | None,
    values.whole("--accumulate", metavar="BATCHES", about="Batches whose gradients make one step", panel=LEARNING),
]
Resolution = Annotated[
    str | None,
    values.sides(
        "Side in pixels of the square with a bucket's area; 768,1024 trains each picture at both", panel=LEARNING
    ),
]
LearningRate = Annotated[
    float | None,
    values.number("--learning-rate", metavar="RATE", example="1e-4", about="Learning rate, such as 1e-4",
                  panel=LEARNING),
]  # fmt: skip
Dim = Annotated[int | None, values.whole("--dim", metavar="DIM", about="Size (rank) of the network", panel=LEARNING)]
Alpha = Annotated[
    float | None,
    values.number("--alpha", metavar="ALPHA", example="16", panel=LEARNING,
                  about="Alpha: the network counts alpha / dim times"),
]  # fmt: skip
Optimizer = Annotated[
    str | None, _text("--optimizer", metavar="NAME", panel=LEARNING, about="Optimizer, such as AdamW8bit or Prodigy")
]
Scheduler = Annotated[
    str | None, _text("--scheduler", metavar="NAME", panel=LEARNING, about="How the rate falls: cosine, constant ...")
]
Warmup = Annotated[
    str | None,
    _text("--warmup", metavar="STEPS", panel=LEARNING, about="Steps of rising rate, or a share of all such as 0.05"),
]
MinSnrGamma = Annotated[
    float | None,
    values.number("--min-snr-gamma", metavar="GAMMA", example="5", about="Weigh steps by their noise; 5 is usual",
                  panel=LEARNING),
]  # fmt: skip
NoiseOffset = Annotated[
    float | None,
    values.number("--noise-offset", metavar="OFFSET", example="0.05", panel=LEARNING,
                  about="Learn dark and bright pictures better, such as 0.03"),
]  # fmt: skip
KeepTokens = Annotated[
    int | None,
    values.whole("--keep-tokens", metavar="TAGS", least=0, panel=LEARNING,
                 about="Tags at a caption's start that are not shuffled"),
]  # fmt: skip
ShuffleCaptions = Annotated[
    bool | None,
    _switch("--shuffle-captions/--no-shuffle-captions", "Shuffle the tags of a caption each time", LEARNING),
]
Seed = Annotated[int | None, values.whole("--seed", metavar="SEED", least=0, about="Random seed", panel=LEARNING)]
Set = Annotated[
    list[str] | None,
    _text("--set", "-s", metavar="OPTION=VALUE", panel=LEARNING, complete=complete_setting,
          about="Any option of sd-scripts, by its own name; repeatable"),
]  # fmt: skip

SaveEvery = Annotated[
    int | None,
    values.whole("--save-every", metavar="STEPS", about="Save a checkpoint every so many steps", panel=FILES),
]
SaveState = Annotated[
    bool | None,
    _switch("--save-state/--no-save-state", "Save the state that resuming needs [default: as the preset says]", FILES),
]

GpuIndex = Annotated[
    int | None,
    values.gpu_index("Number of the GPU, as in nvidia-smi [default: the one with most free memory]", panel=GPU),
]
GpuIndices = Annotated[
    Any,  # typer takes no tuple of any length
    values.gpu_indices(
        "Number of the GPU, as in nvidia-smi; 0,1 trains on both [default: the one with most free memory]", panel=GPU
    ),
]
Gpus = Annotated[
    int | None,
    values.whole("--gpus", about="How many GPUs train together, those with most free memory", panel=GPU),
]
GpuMemory = Annotated[
    float | None, values.gpu_memory("With --dry-run: pretend that the GPU has this many GB", panel=GPU)
]
GradientCheckpointing = Annotated[
    bool | None,
    _switch("--gradient-checkpointing/--no-gradient-checkpointing", "Less memory for more time", GPU),
]
Workers = Annotated[
    int | None,
    values.whole("--workers", metavar="COUNT", least=0, about="Processes that load pictures", panel=GPU),
]
OnOomOption = Annotated[
    OnOom, values.one_of("--on-oom", OnOom, about="When the GPU's memory runs out [default: stop]", panel=GPU)
]
StepDowns = Annotated[
    int, values.whole("--step-downs", about="Most times that --on-oom step-down may step down", panel=GPU)
]
Fast = Annotated[bool, _switch("--fast", "Train the same in less time, on a GPU (docs/speed.md)", GPU)]
NoVramCheck = Annotated[bool, _switch("--no-vram-check", "Start even if the GPU seems too small", GPU)]

Sample = Annotated[
    list[str] | None,
    _text("--sample", metavar="PROMPT", panel=WATCHING,
          about="Prompt of a sample picture; repeatable [default: three, made of trigger and captions]"),
]  # fmt: skip
NoSamples = Annotated[bool, _switch("--no-samples", "Draw no sample pictures", WATCHING)]
Validate = Annotated[
    bool | None,
    _switch("--validate/--no-validate",
            "Hold back pictures and watch the loss on them [default: with 40 pictures or more]", WATCHING),
]  # fmt: skip
KeepBest = Annotated[
    bool | None,
    _switch("--keep-best/--keep-all",
            "At the end, delete checkpoints that are clearly worse than the best by that loss", WATCHING),
]  # fmt: skip
NoGuard = Annotated[
    list[str] | None,
    _text("--no-guard", metavar="NAME", panel=WATCHING,
          about="Guard to switch off: nan, loss, stuck, rate, speed, silence, disk, samples"),
]  # fmt: skip
AsJson = Annotated[bool, _switch("--json", "Print events as JSON lines", WATCHING)]
DryRun = Annotated[bool, _switch("--dry-run", "Print the command line and write nothing", WATCHING)]

FLAGS: Mapping[str, str] = {
    "train_batch_size": "--batch-size",
    "max_train_steps": "--steps",
    "max_train_epochs": "--epochs",
    "resolution": "--resolution",
    "seed": "--seed",
    "gradient_accumulation_steps": "--accumulate",
    "learning_rate": "--learning-rate",
    "network_dim": "--dim",
    "network_alpha": "--alpha",
    "optimizer_type": "--optimizer",
    "lr_scheduler": "--scheduler",
    "lr_warmup_steps": "--warmup",
    "min_snr_gamma": "--min-snr-gamma",
    "noise_offset": "--noise-offset",
    "keep_tokens": "--keep-tokens",
    "shuffle_caption": "--shuffle-captions",
    "gradient_checkpointing": "--gradient-checkpointing",
    "max_data_loader_n_workers": "--workers",
    "save_every_n_steps": "--save-every",
    "save_state": "--save-state",
}
"""The flag of each option that has one."""
_STATES = ("save_state", "save_last_n_steps_state", "save_last_n_epochs_state")


def from_flags(options: Mapping[str, Value | None]) -> list[Override]:
    """Overrides from flags: the options that they set, None where a flag was not typed."""
    given = {option: value for option, value in options.items() if value is not None}
    if {"max_train_steps", "max_train_epochs"} <= given.keys():
        raise UsageError("--steps and --epochs both set the length of the run", "give one of them")
    return [override for option, value in given.items() for override in _set_by_flag(option, value)]


def _set_by_flag(option: str, value: Value) -> list[Override]:
    """What one flag sets: its option, and those that would contradict it."""
    if option == "resolution":
        return presets.with_sizes(*map(int, str(value).split(",")))
    flag = FLAGS[option]
    if value is False:
        origin = Origin(flag.replace("--", "--no-", 1))
        return [Override(each, None, origin) for each in (_STATES if option == "save_state" else (option,))]
    found = [Override(option, value, Origin(flag))]
    lengths = ("max_train_steps", "max_train_epochs")
    if option in lengths:
        found += [Override(other, None, Origin(flag)) for other in lengths if other != option]
    return found


def typed(flagged: Sequence[Override], texts: Sequence[str] | None) -> list[Override]:
    """What flags and `--set` say together. `--set` counts where both set an option, which is told."""
    chosen = [presets.parse_override(text) for text in texts or ()]
    by_flag = {override.option: str(override.origin) for override in flagged if FLAGS.get(override.option)}
    for override in chosen:
        flag = by_flag.get(override.option)
        if flag is not None and override.value is not None:
            setting = f"--set {override.option}={override.value}"
            console.warn(Problem(f"{flag} does not count: {setting} is for the same option", f"leave out {flag}"))
    return [*flagged, *chosen]
