"""Draft a preset from answers: subject, GPU, number of pictures, priority, and name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli.dataset.fit_findings import MANY_PASSES
from sdxl_train_cli.errors import VramError
from sdxl_train_cli.memory import planning, requirement
from sdxl_train_cli.memory.planning import FittingRun, PlanRequest
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets, yaml_file


class TrainingSubject(str, Enum):
    """What is to be learned."""

    CHARACTER = "character"
    OBJECT = "object"
    STYLE = "style"
    CONCEPT = "concept"
    """A pose, a garment, a situation."""
    SEVERAL = "several"


class Priority(str, Enum):
    """Whether quality or speed matters more."""

    SPEED = "speed"
    QUALITY = "quality"


@dataclass(frozen=True)
class SubjectDefaults:
    """Settings that suit a subject, as guides agree."""

    words: str
    kind: Kind
    preset: str
    """Name prefix of the most suitable presets."""
    views: int
    """How often each picture is seen."""
    shortest: int
    longest: int
    """Upper limit of pictures seen in a whole run."""


CUSTOMS = {
    TrainingSubject.CHARACTER: SubjectDefaults("a character", Kind.LORA, "dim32", 100, 1_200, 4_000),
    TrainingSubject.OBJECT: SubjectDefaults("an object", Kind.LORA, "dim32", 100, 1_000, 3_000),
    TrainingSubject.STYLE: SubjectDefaults("a style", Kind.LOCON, "dim64", 60, 2_000, 8_000),
    TrainingSubject.CONCEPT: SubjectDefaults("a concept", Kind.LORA, "dim32", 100, 1_200, 4_000),
    TrainingSubject.SEVERAL: SubjectDefaults("several subjects", Kind.LORA, "dim128", 80, 2_000, 12_000),
}
SPEED_SHARE = 0.6
"""Share of the views when speed matters: what is learned last is fine detail."""
FEW_PICTURES = 12
"""Up to this many pictures, a large network soon memorises them."""
SMALL_DIM = 16
KEPT = 4
"""Checkpoints to choose from, besides the final one."""


@dataclass(frozen=True)
class DraftAnswers:
    """The user's answers."""

    subject: TrainingSubject
    kind: Kind
    free_gib: float
    """Free GPU memory after what a desktop takes."""
    pictures: int
    priority: Priority
    name: str


@dataclass(frozen=True)
class DraftLine:
    """One option of the draft, with its reason."""

    option: str
    value: Value
    reason: str


@dataclass(frozen=True)
class PresetDraft:
    """A preset that fits the GPU."""

    answers: DraftAnswers
    offer: FittingRun
    lines: tuple[DraftLine, ...]
    need: requirement.MemoryNeed

    @property
    def text(self) -> str:
        """Content of the preset file."""
        answers, offer = self.answers, self.offer
        what = f"{CUSTOMS[answers.subject].words}, {answers.pictures} pictures, for {answers.priority.value}"
        description = f"{answers.kind.label}: {what}"
        written = [
            f"# Made by `sdxl-train presets new` for {what}, on a card with {answers.free_gib:.1f} GB free.",
            f"# Everything else comes from {offer.preset}: sdxl-train presets show FILE",
            yaml_file.line("extends", offer.preset),
            yaml_file.line("description", description),
        ]
        for line in self.lines:
            written += ["", f"# {line.reason}", yaml_file.line(line.option, line.value)]
        return "\n".join(written) + "\n"


def draft(answers: DraftAnswers, user_presets: Path | None = None) -> PresetDraft:
    """Choose a preset that fits the GPU and adapt it to the pictures. VramError if nothing fits."""
    found = planning.fitting_runs(PlanRequest(answers.kind, answers.free_gib, None, None), user_presets)
    if not found:
        raise VramError(
            f"no {answers.kind.label} fits into {answers.free_gib:.1f} GB",
            "the smallest runs need about 5 GB: `sdxl-train plan --gpu-memory 8`",
        )
    offer = min(found, key=lambda offer: _distance(offer, answers))
    lines = tuple(_lines(answers, offer, presets.load(answers.kind, offer.preset, (), user_presets)))
    changes = {line.option: Setting(value=line.value, origin=Origin("draft")) for line in lines}
    return PresetDraft(answers, offer, lines, requirement.need(offer.recipe.replaced(changes)))


def _distance(offer: FittingRun, answers: DraftAnswers) -> tuple[object, ...]:
    """Sort key: the size that suits the subject, then speed before precision, or precision before speed."""
    suits = offer.preset.startswith(CUSTOMS[answers.subject].preset) or answers.kind is not _custom(answers).kind
    coarse = offer.recipe.is_on("fp8_base"), offer.recipe.is_on("full_bf16")
    slow = offer.recipe.is_on("gradient_checkpointing")
    ranked = (slow, *coarse) if answers.priority is Priority.SPEED else (*coarse, slow)
    return (not suits, *ranked, -offer.batch_size)


def _custom(answers: DraftAnswers) -> SubjectDefaults:
    return CUSTOMS[answers.subject]


def _lines(answers: DraftAnswers, offer: FittingRun, base: Recipe) -> Iterator[DraftLine]:
    yield from _mended(offer, base)
    batch, most = _batch(answers, offer), offer.batch_size
    dim = base.number("network_dim") or 0
    plain = answers.kind is Kind.LORA and answers.pictures <= FEW_PICTURES and dim > SMALL_DIM
    if plain:
        yield DraftLine(
            "network_dim", SMALL_DIM, f"{answers.pictures} pictures are few: a larger network would memorise them"
        )
        yield DraftLine("network_alpha", SMALL_DIM // 2, "half of dim, as in the shipped presets")
    yield DraftLine("train_batch_size", batch, _batch_reason(batch, most, answers))
    rate = base.number("learning_rate")
    accumulated = int(offer.recipe.number("gradient_accumulation_steps") or 1)
    if rate and batch > 1:
        yield DraftLine(
            "learning_rate",
            float(f"{rate * math.sqrt(batch):.2g}"),
            f"{rate:g} times the square root of the batch size",
        )
    yield from length(answers.subject, answers.pictures, answers.priority, batch * accumulated)


def length(subject: TrainingSubject, pictures: int, priority: Priority, together: int) -> Iterator[DraftLine]:
    """Steps that suit the number of pictures, of which a step takes so many together; and when a file is saved."""
    views, reason = _views(subject, pictures, priority)
    steps = max(1, int(views / together / 50 + 0.5)) * 50
    yield DraftLine("max_train_steps", steps, reason)
    kept = max(1, steps // (KEPT + 1))
    yield DraftLine(
        "save_every_n_steps", kept, f"{KEPT} files to choose from besides the last, which is often not the best"
    )


def _mended(offer: FittingRun, base: Recipe) -> Iterator[DraftLine]:
    """Options that were changed to make the preset fit."""
    for option, setting in offer.recipe.settings.items():
        if setting.value != base.get(option) and option != "train_batch_size":
            given_up = ", ".join(offer.gives_up) or "nothing"
            yield DraftLine(option, setting.value, f"or it would not fit; gives up {given_up}")


def _batch(answers: DraftAnswers, offer: FittingRun) -> int:
    """The largest batch that fits and suits the pictures: a step should be a small part of a pass over them."""
    sensible = max(1, answers.pictures // 15)
    wanted = 4 if answers.priority is Priority.SPEED else 2
    return max(size for size in (1, 2, 4) if size <= min(offer.batch_size, sensible, wanted) or size == 1)


def _batch_reason(batch: int, most: int, answers: DraftAnswers) -> str:
    fits = f"{most} would fit" if most > batch else "the most that fits"
    if batch == 1:
        few = f"; one at a time leaves {answers.pictures} pictures more steps to learn in"
        return fits + few if most > 1 else fits
    return f"{fits}; several at once are quicker and even each other out"


def _views(subject: TrainingSubject, pictures: int, priority: Priority) -> tuple[float, str]:
    """Pictures to see in the whole run, and the reason."""
    custom = CUSTOMS[subject]
    each = custom.views * (SPEED_SHARE if priority is Priority.SPEED else 1)
    whole = min(custom.longest, max(custom.shortest, each * pictures), MANY_PASSES * pictures // 50 * 50)
    return whole, f"each of {pictures} pictures about {whole / pictures:.0f} times"
