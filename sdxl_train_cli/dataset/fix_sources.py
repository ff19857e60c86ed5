"""The pictures and captions of a folder as they lie there, also those that sd-scripts would not take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import layout
from sdxl_train_cli.dataset import kinds, safe_names, sources
from sdxl_train_cli.dataset.catalogue import Catalogue
from sdxl_train_cli.dataset.folders import CAPTION_SUFFIXES, OTHER_PICTURES, PICTURE_SUFFIXES
from sdxl_train_cli.errors import DatasetError, Problem

SUFFIXES = {*PICTURE_SUFFIXES, *OTHER_PICTURES, ".jfif", ".jpe", ".jp2", ".heif", ".tga", ".apng", ".dib", ".ico"}
"""Of files that are meant as pictures; what can't be read of them is told."""


@dataclass(frozen=True)
class Written:
    """A caption as it was found."""

    content: bytes
    """Empty where there is none."""
    did: tuple[str, ...] = ()
    problem: str | None = None
    """Why it can't be read, in words."""


@dataclass(frozen=True)
class Item:
    """One picture to fix."""

    path: Path
    name: str
    """Below the folder that is fixed, with `/`."""
    folder: str
    """Where it goes, below the new folder; empty is that folder itself."""
    caption_files: tuple[Path, ...]
    """The first is the one that is taken."""
    caption: str | None = None
    """What metadata says of it, in place of a file."""

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return self.path.stem

    @property
    def has_caption(self) -> bool:
        """Whether there is one; it may be empty."""
        return bool(self.caption or self.caption_files)

    def captions(self) -> Written:
        """Read its caption."""
        if self.caption is not None:
            return Written(self.caption.encode("utf-8", "replace"))
        if not self.caption_files:
            return Written(b"")
        first, *others = self.caption_files
        try:
            content = first.read_bytes()
        except OSError as error:
            return Written(b"", problem=f"caption left out: {first.name} can't be read: {error.strerror}")
        return Written(content, tuple(f"{other.name} left behind for {first.name}" for other in others))


@dataclass(frozen=True)
class Listed:
    """What a folder holds."""

    items: tuple[Item, ...]
    notes: tuple[Problem, ...]
    """What is left behind."""


def listed(data: Path) -> Listed:
    """Every picture of a folder, or of the numbered folders in it; DatasetError where there is none."""
    data = layout.expanded(data)
    subsets = sources.laid_out(data)
    names, items, notes = safe_names.Names(), list[Item](), list[Problem]()
    for subset in subsets:
        is_whole = subset.image_dir == data or (subset.catalogue is not None and len(subsets) == 1)
        folder = "" if is_whole else names.take(safe_names.safe(subset.image_dir.name))
        if subset.catalogue is not None:
            items += _of_catalogue(subset.catalogue, subset.image_dir, folder)
            continue
        found, odd = _in(subset.image_dir, data, folder)
        items += found
        notes += odd
    if not items:
        raise DatasetError(f"{data} holds no pictures", "it needs files such as png, jpg or webp")
    return Listed(tuple(items), tuple(notes))


def _in(folder: Path, data: Path, target: str) -> tuple[list[Item], list[Problem]]:
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and not file.is_dir())
    except OSError as error:
        raise DatasetError(f"{folder} can't be read: {error.strerror}", "mend its rights") from error
    captions = _captions(files)
    items = [
        Item(file, file.relative_to(data).as_posix(), target, tuple(captions.get(file.stem, ())))
        for file in files
        if file.suffix.lower() in SUFFIXES
    ]
    used = {caption for item in items for caption in item.caption_files}
    lost = [file for file in files if file.suffix.lower() in CAPTION_SUFFIXES and file not in used]
    notes = [Problem(f"captions of no picture are left behind: {kinds.some(lost)}")] if lost else []
    return items, notes


def _of_catalogue(catalogue: Catalogue, folder: Path, target: str) -> list[Item]:
    def name(path: Path) -> str:
        return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

    return [Item(path, name(path), target, (), caption) for path, caption in catalogue.captions.items()]


def _captions(files: Sequence[Path]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for suffix in CAPTION_SUFFIXES:
        for file in files:
            if file.suffix.lower() == suffix:
                found[file.stem].append(file)
    return found
