"""Find a run's results by sd-scripts' file names: checkpoints, saved states, sample pictures.

The names are those of library/train_util.py: `NAME-000001`, `NAME-step00000003`, `sample/NAME_e000001_00_TIME.png`.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint

SAMPLES = "sample"
"""Folder of sample pictures within the run's."""
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt", ".pt")
_BLOCK_BYTES = 1 << 20
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
FINAL = "final"
INCOMPLETE = ".incomplete"
"""Suffix added to a file whose writing was interrupted."""
_LAST = 1 << 62
"""Sorts the final file after every step."""


@dataclass(frozen=True)
class CheckpointFile:
    """One checkpoint."""

    path: Path
    moment: str
    """`final`, `epoch 1`, `step 3`."""
    size_bytes: int
    is_whole: bool
    step: int | None
    """None if it was saved at an epoch's end or the run's."""


@dataclass(frozen=True)
class SampleFile:
    """One sample picture."""

    path: Path
    moment: str
    order: tuple[int, float]
    """Sort key by time. Epochs and steps are not comparable, but are written one after another."""
    prompt: int
    """Index of the sample prompt, from 0."""


def checkpoints(folder: Path, name: str) -> list[CheckpointFile]:
    """Saved checkpoints, the final one last."""
    found = []
    for path in folder.glob("*"):
        moment = _moment(path.stem, name) if path.suffix in CHECKPOINT_SUFFIXES and files.is_file(path) else None
        if moment is not None:
            found.append((moment, path))
    return [
        CheckpointFile(path, moment.words, path.stat().st_size, _is_whole(path), moment.step)
        for moment, path in sorted(found, key=lambda pair: (pair[0].order, pair[1].stat().st_mtime))
    ]


def is_checkpoint(path: Path, name: str) -> bool:
    """Whether sd-scripts saved a file of this name for the run, or we marked it as incomplete."""
    whole = path.with_name(path.name.removesuffix(INCOMPLETE))
    return whole.suffix in CHECKPOINT_SUFFIXES and _moment(whole.stem, name) is not None


def is_state(path: Path, name: str) -> bool:
    """Whether sd-scripts saved a folder of this name as the run's state."""
    stem = path.name.removesuffix("-state")
    return stem != path.name and _moment(stem, name) is not None


def states(folder: Path, name: str) -> list[Path]:
    """Saved states, oldest first."""
    found = [path for path in folder.glob("*-state") if files.is_folder(path) and is_state(path, name)]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def samples(folder: Path, name: str) -> list[SampleFile]:
    """Sample pictures in order of creation."""
    pattern = re.compile(rf"{re.escape(name)}_(e?)(\d{{6,18}})_(\d{{2,9}})_(\d{{8,18}})(?:_\d+)?", re.DOTALL)
    found = []
    for path in (folder / SAMPLES).glob("*.png"):
        match = pattern.fullmatch(path.stem)
        if match and files.is_file(path):
            number, taken = int(match[2]), float(match[4])
            moment = _sample_moment(number, is_epoch=bool(match[1]))
            found.append(SampleFile(path, moment, (int(taken), number), int(match[3])))
    return sorted(found, key=lambda sample: (sample.order, sample.prompt))


def _sample_moment(number: int, *, is_epoch: bool) -> str:
    """`sample_at_first` draws in epoch 0."""
    if is_epoch:
        return f"epoch {number}" if number else "start"
    return f"step {number}"


def sha256(path: Path) -> str:
    """A file's checksum as model sites show it. OSError if it can't be read."""
    digest = hashlib.sha256()
    with files.open_plain(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def weights_sha256(path: Path) -> str:
    """A checksum of a safetensors file's tensors, whatever its metadata say: a run's last file is often there twice.

    OSError if it can't be read, ModelError if it is none.
    """
    header = checkpoint.read_header(path)
    digest = hashlib.sha256(json.dumps(sorted((name, *place) for name, place in header.places.items())).encode())
    with files.open_plain(path) as file:
        file.seek(_LENGTH_BYTES + int.from_bytes(file.read(_LENGTH_BYTES), "little"))
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class _Moment(NamedTuple):
    order: int
    words: str
    step: int | None = None


def _moment(stem: str, name: str) -> _Moment | None:
    """A file's sort key and description. None if it is not the run's."""
    if stem == name:
        return _Moment(_LAST, FINAL)
    if not stem.startswith(f"{name}-"):
        return None
    rest = stem[len(name) + 1 :]
    if step := re.fullmatch(r"step(\d{8,18})", rest):
        return _Moment(int(step[1]), f"step {int(step[1])}", int(step[1]))
    if epoch := re.fullmatch(r"\d{6,18}", rest):
        return _Moment(int(epoch[0]), f"epoch {int(epoch[0])}")
    return None


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint is complete. Only safetensors can be checked; other formats pass."""
    if path.suffix != ".safetensors" or checkpoint.has_whole_size(path):
        return True
    try:
        checkpoint.read_header(path)
    except ModelError:
        return False
    return True
