"""What a grid shows where nobody says: prompts, size, checkpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import grid
from sdxl_train_cli.ranking.evidence import Candidate
from sdxl_train_cli.ranking.grid import GridPrompt, PromptLook
from sdxl_train_cli.ranking.verdict import Standing, Verdict
from sdxl_train_cli.records import recorded_prompts
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import buckets
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

STRENGTHS = (0.6, 0.8, 1.0)
SEEDS = 2
"""For each prompt: one picture tells nothing of variety, and little of anything."""
_MOST_CHECKPOINTS = 5
_USUAL_SIDE, _STEPS, _SCALE = 1024, 24, 7.0


@dataclass(frozen=True)
class PictureWishes:
    """How the pictures were asked for. None and nothing leave it to us."""

    prompts: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    steps: int | None = None
    seeds: int = SEEDS


def prompts(entry: Loaded, wishes: PictureWishes) -> list[GridPrompt]:
    """The prompts that were asked for, or the run's own. UsageError where there are none."""
    lines = wishes.prompts or tuple(recorded_prompts.lines(entry))
    if not lines:
        hint = 'say what to draw: --prompt "a photo of ..."; it can be repeated'
        raise UsageError(f"{entry.name} has no sample prompts of its own", hint)
    recipe = entry.record.recipe
    width, height = (None if recipe is None else buckets.sides(recipe)) or (_USUAL_SIDE, _USUAL_SIDE)
    usual = SampleLook(width, height, _STEPS, _SCALE, "")
    return grid.read_prompts(lines, PromptLook(usual, wishes.size, wishes.steps, wishes.seeds))


def checkpoints(found: Verdict, asked: Sequence[str]) -> list[Candidate]:
    """The files that were asked for, or the best and others over the training. UsageError names what is not there."""
    drawable = [one for one in found.checkpoints if one.standing is not Standing.BROKEN]
    if asked:
        return _named([one.candidate for one in found.checkpoints], asked)
    order = [found.best, *(one for one in drawable if one.standing is Standing.TIED and one is not found.best)]
    order = order[: _MOST_CHECKPOINTS - 2] if len(drawable) > _MOST_CHECKPOINTS else order
    most = min(_MOST_CHECKPOINTS, len(drawable))
    spread = [drawable[round(at * (len(drawable) - 1) / max(1, most - 1))] for at in range(most)]
    taken = list({id(one): one for one in [*order, drawable[-1], *spread]}.values())[:_MOST_CHECKPOINTS]
    return [one.candidate for one in drawable if any(one is each for each in taken)]


def _named(candidates: Sequence[Candidate], asked: Sequence[str]) -> list[Candidate]:
    names: dict[str, Candidate] = {}
    for one in candidates:
        for name in (one.moment, re.sub(r"^(step|epoch) ", "", one.moment), one.path.name, one.path.stem):
            names.setdefault(name, one)
    unknown = [word for word in asked if word.strip() not in names]
    if unknown:
        there = ", ".join(re.sub(r"^(step|epoch) ", "", one.moment) for one in candidates)
        hint = formatting.suggestion(unknown[0], names) or f"there are: {there}"
        raise UsageError(f"--checkpoints: no checkpoint '{formatting.cut(unknown[0])}'", hint)
    wanted = [names[word.strip()] for word in asked]
    return [one for one in candidates if one in wanted]
