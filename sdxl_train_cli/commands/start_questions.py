"""The five questions of `sdxl-train start`: asked at a terminal, answered by flags, or by their defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from sdxl_train_cli import formatting, language
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
from sdxl_train_cli.run import first_run, run_choices
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
    validates: bool | None = None
    """Whether pictures are held back. None leaves it to the run."""


def show_found(data: Path, checked: CheckedDataset, captions: CaptionStyle, device: Gpu | None) -> None:
    """What was found before anything is asked."""
    found = language.said(
        "start", "found", "{data}: {counted}; captions: {captions}", data=data, pictures=captions.pictures,
        counted=formatting.counted(captions.pictures, "picture"), captions=caption_words(captions),
    )  # fmt: skip
    console.note(found)
    tags = overview.summarize(checked.survey).tags[:_MOST_TAGS] if captions.are_tags else ()
    if tags:
        told = ", ".join(f"{tag} ({count})" for tag, count in tags)
        console.note(language.said("start", "tags", "commonest tags: {tags}", tags=told))
    if device is None:
        english = "no NVIDIA GPU was found: the run is planned, and can be started where there is one"
        console.note(language.said("start", "no-gpu", english))
    else:
        english = "GPU: {name}, {free:.1f} GB free of {total:.1f}"
        facts = {"name": device.name, "free": device.free_gib, "total": device.total_gib}
        console.note(language.said("start", "gpu", english, **facts))


def caption_words(captions: CaptionStyle) -> str:
    """How the captions are written."""
    if not captions.captioned:
        return language.said("start", "captions-none", "none")
    kind = (
        language.said("start", "captions-tags", "tags")
        if captions.are_tags
        else language.said("start", "captions-sentences", "sentences")
    )
    lacking, whole = captions.pictures - captions.captioned, captions.pictures
    english = "; {lacking} of {whole} pictures have none"
    some = language.said("start", "captions-lacking", english, lacking=lacking, whole=whole)
    return kind + (some if lacking else "")


def subject_word(subject: TrainingSubject) -> str:
    """The choice in the person's language."""
    words = {
        TrainingSubject.CHARACTER: language.said("start", "character", "character"),
        TrainingSubject.OBJECT: language.said("start", "object", "object"),
        TrainingSubject.STYLE: language.said("start", "style", "style"),
        TrainingSubject.CONCEPT: language.said("start", "concept", "concept"),
        TrainingSubject.SEVERAL: language.said("start", "several", "several"),
    }
    return words[subject]


def _shown(choices: Sequence[str], words: Mapping[str, str]) -> str:
    """The choices, each with its word in the person's language."""
    return ", ".join(one if words[one] == one else f"{one} ({words[one]})" for one in choices)


def answers(data: Path, captions: CaptionStyle, typed: Typed, *, asks: bool) -> FirstRun:
    """The answers to all questions. UsageError names each flag that is needed where nobody can be asked."""
    what = TrainingSubject(_what(typed.what, asks=asks))
    base = _base(typed.model, captions, asks=asks)
    prediction = _prediction(typed.prediction, base, asks=asks)
    trigger = _trigger(typed.trigger, what, captions, asks=asks)
    aim, preset = _aim(typed.aim, typed.preset, asks=asks)
    return FirstRun(
        data=data, subject=what, base=base, prediction=prediction, trigger=trigger, priority=Priority(aim),
        preset=preset, samples=_samples(typed.samples, trigger, asks=asks), validates=typed.validates,
        captions=captions,
    )  # fmt: skip


def _what(typed: str | None, *, asks: bool) -> str:
    if typed is not None:
        return asking.require_one_of("--what", typed, _SUBJECTS)
    if not asks:
        return _SUBJECTS[0]
    words = {one.value: subject_word(one) for one in TrainingSubject}
    question = language.said("start", "what", "1. What do you train? {choices}", choices=_shown(_SUBJECTS, words))
    return asking.ask(question, _SUBJECTS[0], asking.one_of(_SUBJECTS, words))


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
        english = "   and {count} more, which can be named by their path"
        console.note(language.said("start", "more-bases", english, count=len(found) - _MOST_BASES))
    question = (
        language.said("start", "base", "2. Which base model? number, path or Hugging Face id")
        if found
        else language.said("start", "no-base", "2. Which base model? none was found here: a path or a Hugging Face id")
    )

    def named(text: str) -> FoundBase:
        if text.strip().isdecimal():
            if not 1 <= int(text) <= len(found):
                wanted = (
                    language.said("start", "base-number", "a number from 1 to {count}", count=len(found))
                    if found
                    else language.said("start", "base-path", "a path or a Hugging Face id")
                )
                raise typer.BadParameter(wanted)
            return found[int(text) - 1]
        try:
            return bases_on_disk.look(text.strip(), os.environ)
        except ModelError as error:
            raise typer.BadParameter(str(error.problems[0])) from error

    return asking.ask(question, "1" if found else checkpoint.SDXL_BASE, named)


def _prediction(typed: Prediction | None, base: FoundBase, *, asks: bool) -> Prediction | None:
    """What the base predicts, where only a person can say."""
    if typed is not None or base.base.prediction is not None or not asks:
        return typed
    console.note(f"   {base.name}: {base.base.doubt}")
    choices = [each.value for each in Prediction]
    question = language.said("start", "predicts", "   What does it predict? {choices}", choices=", ".join(choices))
    return Prediction(asking.ask(question, choices[0], asking.one_of(choices)))


def _trigger(typed: str | None, what: TrainingSubject, captions: CaptionStyle, *, asks: bool) -> str | None:
    needed = what in first_run.NEEDS_TRIGGER or not captions.captioned
    default = captions.trigger or ((captions.common or _RARE) if needed and asks else None)

    def word(text: str) -> str:
        if text.strip() == _NONE and needed:
            english = "training {words} needs a word that calls it in prompts"
            facts = {"words": _words(what), "subject": subject_word(what)}
            raise typer.BadParameter(language.said("start", "trigger-needed", english, **facts))
        return text.strip()

    if typed is None and asks:
        question = (
            language.said("start", "trigger", "3. Trigger: which word calls it in prompts?")
            if needed
            else language.said(
                "start", "trigger-or-none", "3. Trigger: a word that calls it in prompts, or - for none?"
            )
        )
        typed = asking.ask(question, default or _NONE, word)
    found = default if typed is None else typed.strip()
    if found in {None, "", _NONE} and needed:
        hint = f"--trigger {_quoted(captions.common or 'ohwx woman')}"
        raise UsageError(f"training {_words(what)} needs a trigger word{_told_by(captions)}", hint)
    return None if found in {"", _NONE} else found


def _told_by(captions: CaptionStyle) -> str:
    """What the captions say about the trigger, where it is not simply taken from them."""
    if captions.trigger is not None:
        return ""
    return ", and no captions tell one" if captions.common is None else f"; all captions have the tag {captions.common}"


def _quoted(words: str) -> str:
    return f'"{words}"' if re.fullmatch(r"[\w .-]+", words) else formatting.shell_word(words)


def _words(what: TrainingSubject) -> str:
    return preset_drafting.CUSTOMS[what].words


def _aim(aim: str | None, preset: str | None, *, asks: bool) -> tuple[str, tuple[Kind, str] | None]:
    if aim is not None:
        asking.require_one_of("--for", aim, _AIMS)
    if preset is None and aim is None and asks:
        question = language.said("start", "aim", "4. What matters more? quality or speed; or a preset's name")
        words = asking.ask(question, _AIMS[0], _aim_or_preset)
        aim, preset = (words, None) if words in _AIMS else (None, words)
    return aim or _AIMS[0], None if preset is None else _preset(preset)


def _preset(name: str) -> tuple[Kind, str]:
    """The preset of this name with its kind. RecipeError if there is none."""
    kind = listing.kind_for(name, None)
    presets.load(kind, name, (), workspace.user_presets())
    return kind, name


def _aim_or_preset(text: str) -> str:
    typed = text.strip()
    words = {
        _AIMS[0]: language.said("start", "quality", "quality"),
        _AIMS[1]: language.said("start", "speed", "speed"),
    }
    said = typed.lower()
    aims = [aim for aim in _AIMS if said and (aim.startswith(said) or words[aim].startswith(said))]
    if aims:
        return aims[0]
    try:
        _preset(typed)
    except SdxlTrainError as error:
        first = error.problems[0]
        raise typer.BadParameter(f"{first}; {first.hint}" if first.hint else str(first)) from error
    return typed


def _samples(typed: tuple[str, ...] | None, trigger: str | None, *, asks: bool) -> tuple[str, ...] | None:
    """Prompts for sample pictures; None for those that the run chooses."""
    if typed is not None or not asks:
        return typed
    question = language.said("start", "samples", "5. Sample pictures on the way? yes, no, or a prompt of your own")
    yes, no = language.said("start", "yes", "yes"), language.said("start", "no", "no")
    answer = asking.ask(question, yes if trigger else no, _prompt_or_word)
    told = asking.is_yes(answer)
    return (answer,) if told is None else None if told else ()


def _prompt_or_word(text: str) -> str:
    typed = text.strip()
    try:
        return typed if asking.is_yes(typed) is not None else run_choices.prompts([typed])[0]
    except UsageError as error:
        raise typer.BadParameter(str(error.problems[0])) from error
