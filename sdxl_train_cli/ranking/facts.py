"""A verdict as data for scripts."""

from __future__ import annotations

import math

from sdxl_train_cli.ranking import words
from sdxl_train_cli.ranking.verdict import RankedCheckpoint, Verdict
from sdxl_train_cli.records.picture_losses import Difference


def of(found: Verdict) -> dict[str, object]:
    """Everything that the words are made from, and the words."""
    evidence, strength = found.evidence, found.kept_strength
    return {
        "name": evidence.name,
        "folder": str(evidence.folder),
        "best": str(found.kept.path),
        "strength": None if strength is None else strength.figure,
        "strength_range": None if strength is None else [strength.least, strength.most],
        "basis": found.basis.value,
        "course": found.course.value,
        "sure": found.is_sure,
        "gap_begins": found.gap_begins,
        "checkpoints": [_checkpoint(one) for one in found.checkpoints],
        "validations": [
            {"step": one.step, "epoch": one.epoch, "held_back": one.loss, "training": one.training_loss, "gap": one.gap}
            for one in evidence.validations
        ],
        "would_change": [one.value for one in found.improvements],
        "reasons": words.reasons(found),
    }


def _checkpoint(one: RankedCheckpoint) -> dict[str, object]:
    candidate, measured = one.candidate, one.measured
    return {
        "path": str(candidate.path),
        "moment": candidate.moment,
        "step": candidate.step,
        "bytes": candidate.size_bytes,
        "final": candidate.is_final,
        "standing": one.standing.value,
        "measured_step": None if measured is None else measured.step,
        "held_back": None if measured is None else measured.loss,
        "training": None if measured is None else measured.training_loss,
        "behind": difference(one.behind),
        "since_last": difference(one.since_last),
        "gap_growth": difference(one.gap_growth),
        "weights": None if one.weights is None else one.weights.model_dump(mode="json"),
    }


def difference(found: Difference | None) -> dict[str, object] | None:
    """A difference with its doubt; the error is None where it can't be told."""
    if found is None:
        return None
    error = found.error if math.isfinite(found.error) else None
    return {"mean": found.mean, "error": error, "pictures": found.pictures, "clear": found.is_clear}
