"""Pictures and captions of a folder, including those that sd-scripts would ignore."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.dataset import caption, finding_kinds, safe_names, sources
from sdxl_train_cli.dataset.folders import CAPTION_SUFFIXES, Subset
from sdxl_train_cli.dataset.metadata_file import MetadataFile
from sdxl_train_cli.dataset.picture_names import OTHER_PICTURES, PICTURE_SUFFIXES
from sdxl_train_cli.errors import DatasetError, Problem

SUFFIXES = {*PICTURE_SUFFIXES, *OTHER_PICTURES, ".jfif", ".jpe", ".jp2", ".heif", ".tga", ".apng", ".dib", ".ico"}
"""Suffixes of files that are probably pictures. Unreadable ones are reported."""


@dataclass(frozen=True)
class SourceCaption:
    """A caption as found."""

    content: bytes
    """Raw bytes. Empty if there is none."""
    did: tuple[str, ...] = ()
    problem: str | None = None
    """Why the caption can't be read, in words."""


@dataclass(frozen=True)
class SourcePicture:
    """One picture to fix."""

    path: Path
    name: str
    """Path below the source folder, with `/`."""
    folder: str
    """Target folder below the new folder. Empty for the new folder itself."""
    caption_files: tuple[Path, ...]
    """Caption files. The first one is used."""
    caption: str | None = None
    """The caption from metadata, which replaces a file."""
    caption_suffix: str = ""
    """The only caption suffix that its dataset config reads. Empty if any will do."""

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.stem

    @property
    def has_caption(self) -> bool:
        """Whether there is a caption, possibly empty."""
        return bool(self.caption or self.caption_files)

    def captions(self) -> SourceCaption:
        """Read the caption."""
        if self.caption is not None:
            return SourceCaption(self.caption.encode("utf-8", "replace"))
        if not self.caption_files:
            return SourceCaption(b"")
        first, *others = self.caption_files
        try:
            content = files.read_bytes(first, caption.LARGEST)
        except OSError as error:
            return SourceCaption(b"", problem=f"caption left out: {first.name} can't be read: {error.strerror}")
        except ValueError:
            return SourceCaption(b"", problem=f"caption left out: {first.name} is larger than 1 MB")
        return SourceCaption(content, tuple(f"{other.name} left behind for {first.name}" for other in others))


@dataclass(frozen=True)
class SourceFolder:
    """Contents of a folder."""

    items: tuple[SourcePicture, ...]
    notes: tuple[Problem, ...]
    """Notes about what is left behind."""

    @property
    def places(self) -> list[Path]:
        """Folders that contain its pictures."""
        return sorted({item.path.parent for item in self.items})


def list_pictures(data: Path) -> SourceFolder:
    """List the pictures of a folder, of its numbered folders, or of a file that names them.

    Raises DatasetError if there are none. A picture in two subsets of a dataset config is listed once, with the first
    one's caption.
    """
    data = layout.expand(data)
    every = sources.find_subsets(data)
    subsets = [subset for subset in every if not subset.is_reg]
    notes = [_left_behind(subset) for subset in every if subset.is_reg]
    names, items = safe_names.UniqueNames(), dict[Path, SourcePicture]()
    for subset in subsets:
        is_whole = subset.image_dir == data or (len(subsets) == 1 and subset.num_repeats == 1)
        folder = "" if is_whole else names.take(safe_names.safe(_folder_name(subset)))
        if subset.metadata_file is not None:
            found, odd = _of_metadata_file(subset.metadata_file, subset.image_dir, folder), list[Problem]()
        else:
            found, odd = _in(subset, data if files.is_folder(data) else data.parent, folder)
        notes += odd
        twice = [item.path for item in found if item.path in items]
        notes += [Problem(f"listed twice, used once: {finding_kinds.name_some(twice)}")] if twice else []
        items = {**{item.path: item for item in found}, **items}
    if not items:
        raise DatasetError(f"{data} holds no pictures", "it needs files such as png, jpg or webp")
    return SourceFolder(tuple(items.values()), tuple(notes))


def _left_behind(subset: Subset) -> Problem:
    hint = f"`sdxl-train dataset fix {formatting.shell_word(subset.image_dir)} --to DIR` makes a copy of it for --reg"
    return Problem(f"{subset.place} is for regularisation, and left out", hint)


def _folder_name(subset: Subset) -> str:
    """A folder name that encodes the repeats, as training reads it."""
    number, underscore, rest = subset.image_dir.name.partition("_")
    is_numbered = bool(underscore) and number.isdecimal()
    if is_numbered and int(number) == subset.num_repeats:
        return subset.image_dir.name
    return f"{subset.num_repeats}_{subset.class_tokens or (rest if is_numbered else subset.image_dir.name)}"


def _in(subset: Subset, root: Path, target: str) -> tuple[list[SourcePicture], list[Problem]]:
    folder, suffix = subset.image_dir, subset.caption_extension
    suffixes = (suffix.lower(),) if suffix else CAPTION_SUFFIXES
    try:
        there = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and not files.is_folder(file))
    except OSError as error:
        raise DatasetError(f"{folder} can't be read: {error.strerror}", "fix its permissions") from error
    captions = _captions(there, suffixes)
    items = [
        SourcePicture(file, _name(file, root), target, _caption_files(file, captions), caption_suffix=suffix)
        for file in there
        if file.suffix.lower() in SUFFIXES
    ]
    used = {file for item in items for file in item.caption_files}
    lost = [file for file in there if file.suffix.lower() in suffixes and file not in used]
    notes = [Problem(f"captions without a picture are left out: {finding_kinds.name_some(lost)}")] if lost else []
    return items, notes


def _of_metadata_file(listed: MetadataFile, folder: Path, target: str) -> list[SourcePicture]:
    return [SourcePicture(path, _name(path, folder), target, (), text) for path, text in listed.captions.items()]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _caption_files(picture: Path, captions: Mapping[str, list[Path]]) -> tuple[Path, ...]:
    """Those named like the picture without its suffix, else with it: `cat.jpg.txt`, which sd-scripts does not read."""
    return tuple(captions.get(picture.stem) or captions.get(picture.name) or ())


def _captions(there: Sequence[Path], suffixes: Sequence[str]) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for suffix in suffixes:
        for file in there:
            if file.suffix.lower() == suffix:
                found[file.stem].append(file)
    return found
