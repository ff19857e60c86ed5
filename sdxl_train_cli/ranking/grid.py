"""A grid of pictures of a run: checkpoint x strength x prompt x seed, and what of it is on disk.

The grid stands in the run's folder. Each picture's name ends with a hash of all that decides what it shows, so a
picture that is there is the right one, whatever was asked for before. sdxl_gen_img.py reads a prompt a line, with flags
behind it, as the training scripts do; `--am` is the multiplier of each network (v0.10.1 and v0.11.1).
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sdxl_train_cli import files
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.records import record
from sdxl_train_cli.sdscripts import sample_prompts
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

FILE = "grid.json"
PICTURES = "pictures"
FIRST_SEED = 1000
NO_STRENGTH = 1.0
"""The strength of a full checkpoint or an embedding, which have none."""
_KEY_LETTERS = 12
_GRAIN, _LEAST_SIDE = 32, 64
"""What the U-Net's levels allow."""
_CHANCE = re.compile(r"\{[^{}]*\|[^{}]*\}")
"""sdxl_gen_img.py takes one of the words at random (RE_DYNAMIC_PROMPT)."""
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK_HEAD, _CHUNK_SUM = 8, 4
"""Bytes of a chunk's length and kind, and of its checksum."""


class _GridModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GridPrompt(_GridModel):
    """One prompt as every checkpoint draws it."""

    words: str
    negative: str = ""
    width: int
    height: int
    steps: int
    scale: float
    seeds: tuple[int, ...]

    def line(self, seed: int) -> str:
        """As sd-scripts reads it, without the multipliers."""
        return sample_prompts.line(
            self.words, SampleLook(self.width, self.height, self.steps, self.scale, self.negative), seed
        )


class GridCheckpoint(_GridModel):
    """One file of the run."""

    file: str
    moment: str
    """`final`, `epoch 1`, `step 3`."""
    step: int | None = None
    sha256: str
    """Of its tensors: two files that differ in metadata alone draw the same."""


class GridCell(_GridModel):
    """One picture."""

    checkpoint: int | None
    """Place in the grid's checkpoints. None is the base model alone."""
    strength: float
    prompt: int
    seed: int
    file: str
    """Its name in the folder of pictures."""


class Pace(_GridModel):
    """How fast pictures were drawn, so that the next drawing can be foretold."""

    device: str
    work: float = Field(gt=0)
    """Pixels times steps of a picture."""
    low_seconds: float = Field(gt=0)
    seconds: float = Field(gt=0)
    """The median."""
    high_seconds: float = Field(gt=0)
    loading_seconds: float = Field(ge=0)


class Grid(_GridModel):
    """All that was asked for."""

    settings: Mapping[str, str]
    """What is the same for all pictures: base model, VAE, sampler, precision, release of sd-scripts."""
    checkpoints: tuple[GridCheckpoint, ...]
    strengths: tuple[float, ...]
    prompts: tuple[GridPrompt, ...]
    cells: tuple[GridCell, ...]
    pace: Pace | None = None


@dataclass(frozen=True)
class GridFolder:
    """Where a run's grid stands."""

    run: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.run / record.GRID

    @property
    def pictures(self) -> Path:
        """The pictures that are drawn."""
        return self.path / PICTURES

    @property
    def drawing(self) -> Path:
        """What the script draws into, a picture at a time."""
        return self.path / "drawing"

    def picture(self, cell: GridCell) -> Path:
        """Where a cell's picture stands, drawn or not."""
        return self.pictures / cell.file

    def missing(self, grid: Grid) -> list[GridCell]:
        """The cells without a picture, each picture once."""
        once = {cell.file: cell for cell in reversed(grid.cells)}
        return [cell for cell in grid.cells if once[cell.file] is cell and not files.is_file(self.picture(cell))]

    def write(self, grid: Grid) -> None:
        """Write what was asked for. UsageError if the disk refuses."""
        try:
            self.pictures.mkdir(parents=True, exist_ok=True)
            files.write(self.path / FILE, grid.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise UsageError(f"{self.path} can't be written: {error.strerror}", "make room on that disk") from error

    def load(self) -> Grid | None:
        """What was asked for last. None if nothing was, or the file is broken."""
        try:
            return Grid.model_validate_json(files.read_bytes(self.path / FILE))
        except (OSError, ValidationError, ValueError):
            return None


def lay_out(
    settings: Mapping[str, str],
    checkpoints: Sequence[GridCheckpoint],
    strengths: Sequence[float],
    prompts: Sequence[GridPrompt],
) -> Grid:
    """The grid with a cell for each picture: the base alone first, then checkpoint by checkpoint."""

    def cell(at: int | None, strength: float, number: int, seed: int) -> GridCell:
        taken = None if at is None else checkpoints[at]
        decides = [dict(settings), None if taken is None else taken.sha256, f"{strength:g}", prompts[number].line(seed)]
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:_KEY_LETTERS]
        name = f"p{number + 1}_s{seed}_x{strength:g}_{key}.png"
        return GridCell(checkpoint=at, strength=strength, prompt=number, seed=seed, file=name)

    places: list[tuple[int | None, float]] = [(None, 0.0)]
    places += [(at, strength) for at in range(len(checkpoints)) for strength in strengths]
    cells = [
        cell(at, strength, number, seed)
        for at, strength in places
        for number, prompt in enumerate(prompts)
        for seed in prompt.seeds
    ]
    return Grid(
        settings=dict(settings), checkpoints=tuple(checkpoints), strengths=tuple(strengths), prompts=tuple(prompts),
        cells=tuple(cells),
    )  # fmt: skip


@dataclass(frozen=True)
class PromptLook:
    """How prompts are drawn where neither they nor the user say so."""

    usual: SampleLook
    size: tuple[int, int] | None = None
    """What the user asked for: it goes before what a prompt says itself."""
    steps: int | None = None
    seeds: int = 1


def read_prompts(lines: Sequence[str], look: PromptLook) -> list[GridPrompt]:
    """Prompts of a run's file, or typed ones. UsageError lists those that can't be drawn alike twice."""
    whole = [" ".join(line.split()) for line in lines]  # a line break would make two prompts of one
    problems = [problem for line in whole for problem in _problems(line)]
    if problems:
        raise UsageError(problems)
    return [_read(line, look, FIRST_SEED + at) for at, line in enumerate(dict.fromkeys(whole))]


def _read(line: str, look: PromptLook, seed: int) -> GridPrompt:
    asked = sample_prompts.parse(line, usual=look.usual)
    width, height = look.size or (asked.width, asked.height)
    first = seed if asked.seed is None else asked.seed
    return GridPrompt(
        words=asked.prompt,
        negative=asked.negative,
        width=max(_LEAST_SIDE, width - width % _GRAIN),
        height=max(_LEAST_SIDE, height - height % _GRAIN),
        steps=look.steps or asked.steps,
        scale=asked.scale,
        # Far from the other prompts' seeds, which stand beside one another.
        seeds=tuple(first + _SEEDS_APART * number for number in range(look.seeds)),
    )


_SEEDS_APART = 10_000


def _problems(line: str) -> Iterator[Problem]:
    words = sample_prompts.words(line)
    if not words or words.startswith("--"):
        yield Problem(f"a prompt without words: {line!r}", 'give words: --prompt "a red boat"')
    if words.startswith("#"):
        yield Problem(f"sd-scripts skips a prompt that begins with #: {words}", "begin it with a word")
    if _CHANCE.search(words):
        yield Problem(
            f"sd-scripts takes one of the words in {{ | }} at random: {words}",
            "write the prompt with one of them, and give each as a --prompt of its own",
        )


def is_whole(content: bytes) -> bool:
    """Whether a PNG was written to its end, and nothing of it lost since: each chunk has a checksum."""
    at, kind = len(_PNG), b""
    if not content.startswith(_PNG):
        return False
    while kind != b"IEND":
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + _CHUNK_HEAD]
        end = at + _CHUNK_HEAD + length
        if end + _CHUNK_SUM > len(content):
            return False
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + _CHUNK_SUM], "big"):
            return False
        at = end + _CHUNK_SUM
    return True
