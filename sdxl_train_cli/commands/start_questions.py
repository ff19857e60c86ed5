"""The five questions of `sdxl-train start`: asked at a terminal, answered by flags, or by their defaults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from sdxl_train_cli.commands import asking, workspace
from sdxl_train_cli.commands.presets import listing
from sdxl_train_cli.dataset import overview
from sdxl_train_cli.dataset.caption_style import CaptionStyle
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.errors import ModelError, SdxlTrainError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.inspection import bases_on_disk
from sdxl_train_cli.inspection.bases_on_disk import FoundBase
from sdxl_train_cli.memory import preset_drafting
from sdxl_train_cli.memory.preset_drafting import Priority, TrainingSubject
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run import first_run
from sdxl_train_cli.run.first_run import FirstRun
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.ui import console

_SUBJECTS: list[str] = [one.value for one in TrainingSubject]
_AIMS: list[str] = [one.value for one in (Priority.QUALITY, Priority.SPEED)]
_RARE = "ohwx"
"""A token that means nothing to SDXL, which guides suggest as a trigger."""
_MOST_BASES, _MOST_TAGS = 9, 8
_NONE = "-"


@dataclass(frozen=True)
class Typed:
    """Answers that were typed as flags."""

    what: str | None
    model: str | None
    trigger: str | None
    aim: str | None
    preset: str | None
    prediction: Prediction | None
    samples: tuple[str, ...] | None = None
    """Prompts; none for no pictures, None where nothing was typed."""


def show_found(data: Path, checked: CheckedDataset, captions: CaptionStyle, device: Gpu | None) -> None:
    """What was found before anything is asked."""
    console.note(f"{data}: {captions.pictures} pictures; captions: {captions}")
    tags = overview.summarize(checked.survey).tags[:_MOST_TAGS] if captions.are_tags else ()
    if tags:
        console.note(f"commonest tags: {', '.join(f'{tag} ({count})' for tag, count in tags)}")
    if device is None:
        console.note("no NVIDIA GPU was found: the run is planned, and can be started where there is one")
    else:
        console.note(f"GPU: {device.name}, {device.free_gib:.1f} GB free of {device.total_gib:.1f}")


def answers(data: Path, captions: CaptionStyle, typed: Typed, *, asks: bool) -> FirstRun:
    """The answers to all questions. UsageError names each flag that is needed where nobody can be asked."""
    what = TrainingSubject(_what(typed.what, asks=asks))
    base = _base(typed.model, captions, asks=asks)
    prediction = _prediction(typed.prediction, base, asks=asks)
    trigger = _trigger(typed.trigger, what, captions, asks=asks)
    aim, preset = _aim(typed.aim, typed.preset, asks=asks)
    return FirstRun(
        data=data, subject=what, base=base, prediction=prediction, trigger=trigger, priority=Priority(aim),
        preset=preset, samples=_samples(typed.samples, trigger, asks=asks), captions=captions,
    )  # fmt: skip


def _what(typed: str | None, *, asks: bool) -> str:
    if typed is not None:
        return asking.require_one_of("--what", typed, _SUBJECTS)
    if not asks:
        return _SUBJECTS[0]
    return asking.ask(f"1. What do you train? {', '.join(_SUBJECTS)}", _SUBJECTS[0], asking.one_of(_SUBJECTS))


def _base(typed: str | None, captions: CaptionStyle, *, asks: bool) -> FoundBase:
    if typed is not None:
        return bases_on_disk.look(typed, os.environ)
    # What the captions are like is what the base should know; order within each is kept.
    found = sorted(bases_on_disk.find(os.environ), key=lambda base: base.is_anime is not captions.are_tags)
    if asks:
        return _asked_base(found)
    if not found:
        hint = f"name one: --model base.safetensors, or --model {checkpoint.SDXL_BASE}"
        raise UsageError("no SDXL base model was found on this computer", hint)
    return found[0]


def _asked_base(found: Sequence[FoundBase]) -> FoundBase:
    widest = max((len(base.name) for base in found[:_MOST_BASES]), default=0)
    for number, base in enumerate(found[:_MOST_BASES], 1):
        console.note(f"   {number}  {base.name:<{widest}}  {base.label}; {base.place}")
    if len(found) > _MOST_BASES:
        console.note(f"   and {len(found) - _MOST_BASES} more, which can be named by their path")
    words = "number, path or Hugging Face id" if found else "none was found here: a path or a Hugging Face id"

    def named(text: str) -> FoundBase:
        if text.strip().isdecimal():
            if not 1 <= int(text) <= len(found):
                raise typer.BadParameter(f"a number from 1 to {len(found)}" if found else "a path or a Hugging Face id")
            return found[int(text) - 1]
        try:
            return bases_on_disk.look(text.strip(), os.environ)
        except ModelError as error:
            raise typer.BadParameter(str(error.problems[0])) from error

    return asking.ask(f"2. Which base model? {words}", "1" if found else checkpoint.SDXL_BASE, named)


def _prediction(typed: Prediction | None, base: FoundBase, *, asks: bool) -> Prediction | None:
    """What the base predicts, where only a person can say."""
    if typed is not None or base.base.prediction is not None or not asks:
        return typed
    console.note(f"   {base.name}: {base.base.doubt}")
    choices = [each.value for each in Prediction]
    return Prediction(asking.ask(f"   What does it predict? {', '.join(choices)}", choices[0], asking.one_of(choices)))


def _trigger(typed: str | None, what: TrainingSubject, captions: CaptionStyle, *, asks: bool) -> str | None:
    needed = what in first_run.NEEDS_TRIGGER or not captions.captioned
    default = captions.trigger or (_RARE if needed and asks else None)

    def word(text: str) -> str:
        if text.strip() == _NONE and needed:
            raise typer.BadParameter(f"training {_words(what)} needs a word that calls it in prompts")
        return text.strip()

    if typed is None and asks:
        said = "which word calls it in prompts" if needed else f"a word that calls it in prompts, or {_NONE} for none"
        typed = asking.ask(f"3. Trigger: {said}?", default or _NONE, word)
    found = default if typed is None else typed.strip()
    if found in {None, "", _NONE} and needed:
        untold = ", and no captions tell one" if default is None else ""
        hint = f'--trigger "{captions.trigger or "ohwx woman"}"'
        raise UsageError(f"training {_words(what)} needs a trigger word{untold}", hint)
    return None if found in {"", _NONE} else found


def _words(what: TrainingSubject) -> str:
    return preset_drafting.CUSTOMS[what].words


def _aim(aim: str | None, preset: str | None, *, asks: bool) -> tuple[str, tuple[Kind, str] | None]:
    if aim is not None:
        asking.require_one_of("--for", aim, _AIMS)
    if preset is None and aim is None and asks:
        words = asking.ask("4. What matters more? quality or speed; or a preset's name", _AIMS[0], _aim_or_preset)
        aim, preset = (words, None) if words in _AIMS else (None, words)
    return aim or _AIMS[0], None if preset is None else _preset(preset)


def _preset(name: str) -> tuple[Kind, str]:
    """The preset of this name with its kind. RecipeError if there is none."""
    kind = listing.kind_for(name, None)
    presets.load(kind, name, (), workspace.user_presets())
    return kind, name


def _aim_or_preset(text: str) -> str:
    typed = text.strip()
    aims = [aim for aim in _AIMS if typed and aim.startswith(typed.lower())]
    if aims:
        return aims[0]
    try:
        _preset(typed)
    except SdxlTrainError as error:
        raise typer.BadParameter(str(error.problems[0])) from error
    return typed


def _samples(typed: tuple[str, ...] | None, trigger: str | None, *, asks: bool) -> tuple[str, ...] | None:
    """Prompts for sample pictures; None for those that the run chooses."""
    if typed is not None or not asks:
        return typed
    question = "5. Sample pictures on the way? yes, no, or a prompt of your own"
    said = asking.ask(question, "yes" if trigger else "no", str.strip)
    if said.lower() in {"yes", "y"}:
        return None
    return () if said.lower() in {"no", "n"} else (said,)
