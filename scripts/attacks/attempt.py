"""One attempt of the fuzzer: a folder, what draws its evils, and the calls to make in it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attacks.spoil import Spoiler
from attacks.world import World

CALLS = 5
"""Of one input: what one command passes over, another stumbles upon."""


@dataclass
class Attempt:
    """A hostile input in a folder of its own, and the calls that meet it."""

    folder: Path
    world: World
    drawn: random.Random
    calls: list[list[str]] = field(default_factory=list)
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def spoiler(self) -> Spoiler:
        """What makes things wrong."""
        return Spoiler(self.drawn)

    def write(self, name: str, content: bytes) -> str:
        """Write a file into the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return name

    def call(self, choices: Sequence[Sequence[str]]) -> None:
        """Take some of these command lines; what deletes comes last."""
        some = self.drawn.sample(choices, min(CALLS, len(choices)))
        self.calls = sorted(map(list, some), key=lambda argv: "rm" in argv)

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.drawn.random() < share

    @property
    def training(self) -> list[str]:
        """The words of a run that is only planned."""
        return ["--model", "model.safetensors", "--data", "data", "--no-vram-check", "--dry-run"]
