"""At what strength a network is used to begin with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strength:
    """A strength, or a range where nothing tells it more exactly."""

    figure: float
    """Where one is needed, as in a prompt."""
    least: float
    most: float

    @classmethod
    def exactly(cls, figure: float) -> Strength:
        """One that is known."""
        return cls(figure, figure, figure)

    @property
    def is_range(self) -> bool:
        """Whether it isn't known exactly."""
        return self.least < self.most

    @property
    def words(self) -> str:
        """`0.7 to 1`, `0.8`."""
        return f"{self.least:g} to {self.most:g}" if self.is_range else f"{self.figure:g}"


FULL = 1.0
"""As it was trained: in training a network is applied in full."""
USUAL = Strength(0.8, 0.7, FULL)
"""Of a network of which nothing more is known. A choice of ours, as people try strengths: nothing measured tells it."""
