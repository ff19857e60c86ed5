"""A run whose GPU memory spills from its first step: its own earlier steps are no measure, those of other runs are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory.measurements import Measurement
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets

FULL = 0.95
"""Share of GPU memory above which a driver starts to spill."""
SLOWED = 5.0
"""Factor over what is usual. A GPU that spills into system memory slows down by more, a busy one by less."""
STEPS = 5
"""Steps after which a run's own median says something: the first ones compile and measure."""
_SLOWEST_SECONDS = 4.0
"""Seconds for a megapixel on the slowest cards with bf16 of their own, an RTX 3050 or 4050 of a laptop."""
_MEGAPIXEL = 1024 * 1024


@dataclass(frozen=True)
class UsualSpeed:
    """What a step of this run's size takes on this card at most, where memory does not spill."""

    seconds: float
    words: str
    """Where the figure is from."""

    def instead_of(self, seconds: float) -> str | None:
        """What is usual instead, in words; None if these seconds are usual too."""
        return f"{self.seconds:.1f} s ({self.words})" if seconds > SLOWED * self.seconds else None


def usual_speed(recipe: Recipe, device: Gpu | None, earlier: Sequence[Measurement] = ()) -> UsualSpeed | None:
    """The slowest of earlier runs of this kind on such a card; without any, what the slowest such card takes.

    None for cards without bf16 of their own, whose speed is not known, and for several, which wait for each other.
    """
    sides = buckets.sides(recipe)
    if device is None or sides is None or recipe.processes > 1:
        return None
    batches = max(1, int(recipe.number("gradient_accumulation_steps") or 1))
    work = sides[0] * sides[1] * max(1, int(recipe.number("train_batch_size") or 1)) * batches
    rates = [
        record.seconds_per_step * max(1.0, work / (record.width * record.height * record.together))
        for record in earlier
        if record.gpu == device.name and record.kind is recipe.kind and record.seconds_per_step is not None
        and record.peak_gib < FULL * record.gpu_total_gib
    ]  # fmt: skip
    if rates:
        return UsualSpeed(max(rates), "the slowest of your earlier runs on this card")
    if not device.has_bf16:
        return None
    return UsualSpeed(_SLOWEST_SECONDS * max(1.0, work / _MEGAPIXEL), "the slowest card of this generation")
