"""The project file: `sdxl-train.yaml` in the current folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import Problem, RecipeError, UsageError
from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes import yaml_file
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.recipes.yaml_file import WrongValue, YamlDocument, YamlEntry
from sdxl_train_cli.sdscripts import other_names, sample_prompts, shipped
from sdxl_train_cli.sdscripts.base_model import Prediction

_TEXTS = ("kind", "preset", "model", "vae", "data", "reg", "output", "name", "trigger", "prediction")
_SET, _SAMPLES, _VALIDATE, _KEEP_BEST = "set", "samples", "validate", "keep_best"
USUAL_SHARE = 0.1
"""Share of the pictures to validate on, where nobody names one."""


@dataclass(frozen=True)
class Project:
    """Contents of the project file. None leaves a value to the command line."""

    kind: Kind | None = None
    preset: str | None = None
    model: str | None = None
    vae: str | None = None
    data: str | None = None
    reg: str | None = None
    output: str | None = None
    name: str | None = None
    trigger: str | None = None
    prediction: str | None = None
    samples: tuple[str, ...] | None = None
    """Prompts; none draws no samples."""
    validate: float | None = None
    """Share of the pictures; 0 validates on none."""
    keep_best: bool = False
    overrides: tuple[Override, ...] = ()


def load(folder: Path) -> Project:
    """Read the folder's project file. An empty Project if there is none. RecipeError if it is invalid."""
    path = folder / PROJECT_FILE
    return _read(yaml_file.load(path, PROJECT_FILE, nested=(_SET,))) if files.is_file(path) else Project()


def parse(text: str) -> Project:
    """What a project file of this text would say. RecipeError as `load`."""
    return _read(yaml_file.parse(text, PROJECT_FILE, nested=(_SET,)))


def _read(document: YamlDocument) -> Project:
    others = {_SAMPLES: _samples_problem, _VALIDATE: _validate_problem, _KEEP_BEST: _keep_best_problem}
    texts = yaml_file.texts(document, _TEXTS, nested=(_SET,), meant=_meant, others=others)
    kinds = {kind.value: kind for kind in Kind}
    kind = texts.pop("kind", None)
    if kind is not None and kind not in kinds:
        raise RecipeError(Problem(f"no kind '{kind}'", f"one of: {', '.join(kinds)}", PROJECT_FILE))
    known = [each.value for each in Prediction]
    if texts.get("prediction", known[0]) not in known:
        problem = Problem(f"no prediction '{texts['prediction']}'", f"one of: {', '.join(known)}", PROJECT_FILE)
        raise RecipeError(problem)
    chosen = document.get(_SET)
    overrides = tuple(
        Override.written(entry.key, entry.value, document.where(entry))
        for entry in (chosen.entries or () if chosen else ())
    )
    samples, validate, keep_best = (document.get(key) for key in (_SAMPLES, _VALIDATE, _KEEP_BEST))
    return Project(
        kind=kinds[kind] if kind else None,
        samples=None if samples is None else _prompts(samples.value),
        validate=None if validate is None else _share(validate.value),
        keep_best=keep_best is not None and keep_best.value is True,
        overrides=overrides,
        **texts,
    )


def _samples_problem(entry: YamlEntry) -> WrongValue | None:
    value = entry.value
    prompts = value if isinstance(value, tuple) else (value,) if isinstance(value, str) else ()
    is_known = bool(prompts) or isinstance(value, bool) or (value is None and entry.entries is None)
    if is_known and all(isinstance(each, str) and each.isprintable() and _is_prompt(each) for each in prompts):
        return None
    return "samples takes a list of prompts, or false", 'samples: ["ohwx woman, portrait", "ohwx woman on a beach"]'


def _is_prompt(text: str) -> bool:
    return bool(text.strip()) and sample_prompts.has_words(text)


def _prompts(value: Value | None) -> tuple[str, ...] | None:
    """The prompts that are written; none for false, None where nothing is said."""
    if value is None or value is True:
        return None
    if value is False:
        return ()
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _validate_problem(entry: YamlEntry) -> WrongValue | None:
    share = entry.value
    is_share = isinstance(share, int | float) and (isinstance(share, bool) or 0 <= share < 1)
    if entry.entries is None and (share is None or is_share):
        return None
    return "validate takes true, false, or a share of the pictures below 1", "validate: 0.1"


def _keep_best_problem(entry: YamlEntry) -> WrongValue | None:
    if entry.entries is None and (entry.value is None or isinstance(entry.value, bool)):
        return None
    return "keep_best takes true or false", "keep_best: true"


def _share(value: Value | None) -> float | None:
    if isinstance(value, bool):
        return USUAL_SHARE if value else 0.0
    return float(value) if isinstance(value, int | float) else None


def _meant(entry: YamlEntry) -> str | None:
    """What to write instead of an unknown key: an option of sd-scripts has a place of its own."""
    row = other_names.find(entry.key)
    if row is not None and row.flag is not None and row.flag.lstrip("-") in _TEXTS:
        return f"the key is {row.flag.lstrip('-')}"
    option, value = other_names.understood(entry.key, entry.value)
    if option in {each.name for options in shipped.table().scripts.values() for each in options}:
        return f"an option of sd-scripts stands under `{_SET}:`, indented: `  {option}: {value}`"
    return None


_TEMPLATE = """\
# What `sdxl-train` trains in this folder. The command line overrides every line.
kind: {kind}
preset: {preset}      # the others: sdxl-train presets list

# The base model: a .safetensors file, a diffusers folder, or a Hugging Face id
model: {model}

# A folder of pictures, each with a caption in a .txt file of the same name; or a parent of folders such as 10_cat
data: {data}

# The trigger word for your subject; pictures without a caption get it as their caption
{trigger}

# The folder for the runs, and their name (by default the data folder's)
output: {output}
{name}

# Prompts of sample pictures; without this line there are three, made of trigger and captions; false draws none
# samples: ["ohwx woman, portrait", "ohwx woman on a beach"]

# Hold back a share of the pictures, and watch the loss on them: true, false or 0.1; by default with 40 pictures or more
# validate: true

# At the end, delete the checkpoints that are clearly worse than the best by that loss
# keep_best: true

# Any option of sd-scripts, by its own name
set:
  # max_train_steps: 2000
  # learning_rate: 1.0e-4
"""


def write_template(folder: Path, texts: dict[str, str]) -> Path:
    """Write a commented project file. UsageError if one exists, as it is never overwritten."""
    lines = {
        "trigger": line("trigger", texts["trigger"]) if "trigger" in texts else "# trigger: ohwx woman",
        "name": line("name", texts["name"]) if "name" in texts else "# name: my-lora",
    }
    quoted = {key: _scalar(text) for key, text in texts.items()}
    require_absent(folder, "change it in an editor, or delete it first")
    return write(folder, _TEMPLATE.format(**{**quoted, **lines}))


def require_absent(folder: Path, hint: str) -> None:
    """UsageError if the folder has a project file."""
    path = folder / PROJECT_FILE
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists", hint)


def write(folder: Path, text: str) -> Path:
    """Write the folder's project file. UsageError if that can't be done."""
    path = folder / PROJECT_FILE
    try:
        files.write(path, text)
    except OSError as error:
        hint = f"go to a folder of your own; {PROJECT_FILE} is written where you are"
        raise UsageError(f"{path} can't be written: {error.strerror}", hint) from error
    return path


def line(key: str, text: str) -> str:
    """One line of a project file, which reads back as this text."""
    return f"{key}: {_scalar(text)}"


def _scalar(text: str) -> str:
    """The text as YAML that reads back as text: unquoted if unambiguous."""
    words = {"yes", "no", "on", "off", "true", "false", "null", "y", "n"}
    bare = re.fullmatch(r"[A-Za-z][\w./-]*", text, re.ASCII) and text.lower() not in words
    return text if bare else yaml_file.quoted(text)
