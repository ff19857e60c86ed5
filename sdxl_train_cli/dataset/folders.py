"""Folder layout as sd-scripts understands it: which folders, how many repeats, which captions.

No picture is decoded here. Captions are only read for the fingerprint.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import handed_file, language, layout
from sdxl_train_cli.dataset import dataset_parts, picture_names
from sdxl_train_cli.dataset.dataset_parts import DatasetPart, OwnOption
from sdxl_train_cli.dataset.metadata_file import MetadataFile
from sdxl_train_cli.dataset.picture_names import OTHER_PICTURES, InnerFolders, is_picture_name
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.files import exists, is_folder
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Value

CAPTION_SUFFIXES = (".txt", ".caption")
MOST_REPEATS = 10_000
"""A larger number before the _ of a folder's name is a date. As repeats, it would fill the memory."""
_ABSENT = ("folder-absent", "{data} does not exist")
_A_FILE = ("folder-is-file", "{data} is a file, not a folder")
NUMBERED = re.compile(r"(\d+)_(.*)", re.DOTALL)
"""Pattern of a folder name with repeats and class."""


@dataclass(frozen=True)
class Subset:
    """One folder of pictures as sd-scripts uses it."""

    image_dir: Path
    num_repeats: int
    class_tokens: str | None
    """Caption for pictures without one."""
    caption_extension: str
    caption_prefix: str | None
    is_reg: bool
    pictures: int
    captions: int
    metadata_file: MetadataFile | None = None
    """Metadata file that lists the pictures. None uses the whole folder, with caption files."""
    options: tuple[tuple[str, Value], ...] = ()
    """Further options that a dataset config sets for this subset, in sd-scripts' names."""
    dataset_options: tuple[OwnOption, ...] = ()
    """Options of the run that the dataset of this subset sets for itself, because others set them otherwise."""
    masks: Path | None = None
    """Folder of masks, one for each picture (`conditioning_data_dir`)."""
    origin: Origin | None = None
    """The line of a dataset config that names the folder."""

    @property
    def part(self) -> DatasetPart:
        """The dataset that sd-scripts trains it in."""
        return DatasetPart(self.dataset_options, self.masks is not None)

    @property
    def place(self) -> Path:
        """The path that the user knows it by."""
        return self.image_dir if self.metadata_file is None else self.metadata_file.file

    @property
    def files(self) -> list[Path]:
        """Its pictures as currently listed. OSError if the folder can't be listed."""
        return in_folder(self.image_dir) if self.metadata_file is None else list(self.metadata_file.captions)


@dataclass(frozen=True)
class TrainingPictures:
    """Everything that a run trains on."""

    subsets: tuple[Subset, ...]
    notes: tuple[Problem, ...]
    """Oddities that do not prevent training."""
    trigger: str | None = None
    """The word that invokes the subject. It belongs in every caption."""
    captions: Mapping[Path, str] | None = None
    """By picture, what the run's own metadata says instead of the caption files; None leaves them to the trainer."""

    @property
    def count(self) -> int:
        """Number of distinct training pictures."""
        return sum({subset.place: subset.pictures for subset in self.subsets if not subset.is_reg}.values())

    def recipes(self, recipe: Recipe) -> list[Recipe]:
        """The recipe as each dataset trains with it, each once."""
        return dataset_parts.recipes(recipe, (subset.part for subset in self.subsets))

    @property
    def has_prefix(self) -> bool:
        """Whether captions are modified on the fly, which cached text-encoder outputs would ignore."""
        return any(subset.caption_prefix for subset in self.subsets)


@dataclass(frozen=True)
class FolderProblem:
    """Why a folder would be skipped or misinterpreted."""

    kind: str
    """Stable identifier: `empty-folder`, `skipped-folder`."""
    file: Path
    """The folder, or one of its files."""
    place: Path | None
    """Subject of the message. None if the message names it."""
    words: str
    hint: str
    where: Origin | None = None
    """The line of a dataset config that names the folder."""

    @property
    def problem(self) -> Problem:
        """The problem as an error."""
        return Problem(self.words if self.place is None else f"{self.place} {self.words}", self.hint, self.where)


def find(
    data: Path, *, regularisation: Path | None, repeats: int | None, trigger: str | None, called: str = "give --data"
) -> tuple[TrainingPictures, list[FolderProblem]]:
    """Find what can be trained on, and the folders that can't. DatasetError if the layout is not recognised.

    `called` begins the hints that suggest another folder.
    """
    problems: list[FolderProblem] = []
    try:
        found = list(_folders(data, repeats, trigger, problems, called, is_reg=False))
        if regularisation is not None:
            found += _folders(regularisation, None, None, problems, "give --reg", is_reg=True)
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    subsets, more = inspect(found)
    return TrainingPictures(tuple(subsets), (), trigger), [*problems, *more]


def inspect(subsets: Iterable[Subset]) -> tuple[list[Subset], list[FolderProblem]]:
    """Fill in the folders' contents and drop what can't be trained on. DatasetError if one can't be listed."""
    problems: list[FolderProblem] = []
    subsets = list(subsets)
    try:
        found = [seen for subset in subsets for seen in _look(subset, problems)]
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    except ValueError as error:  # NUL, or a lone surrogate
        raise DatasetError("an image_dir is not a valid folder name", "correct the folder's name") from error
    return found, [*problems, *_twice(subset for subset in subsets if subset.metadata_file is None)]


def list_entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    """A folder's entries by name, sorted. OSError if it can't be listed.

    Directory entries already know their type; asking 50,000 paths would access the disk each time.
    """
    with os.scandir(folder) as found:
        return {entry.name: entry for entry in sorted(found, key=lambda entry: os.path.normcase(entry.name))}


def in_folder(folder: Path) -> list[Path]:
    """The pictures of one folder. OSError if it can't be listed."""
    return [folder / name for name in list_entries(folder) if is_picture_name(name)]


def captions_of(pictures: Iterable[str], suffix: str, there: Mapping[str, os.DirEntry[str]]) -> dict[str, str]:
    """Caption files by picture, both as names."""
    beside = ((name, os.path.splitext(name)[0] + suffix) for name in pictures)  # noqa: PTH122 - no path for each
    return {name: text for name, text in beside if text in there and _is_file(there[text])}


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_subsets(data: Path) -> list[Subset]:
    """The folders to train on, before inspection. DatasetError if the layout is not recognised."""
    try:
        return list(_folders(data, None, None, [], "give", is_reg=False))
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error


@dataclass(frozen=True)
class PictureFile:
    """One picture file and its weight in a batch."""

    path: Path
    width: int
    height: int
    repeats: int
    is_reg: bool = False
    part: DatasetPart = dataset_parts.WHOLE


def files(pictures: TrainingPictures) -> list[PictureFile]:
    """Every training picture with its stored size, folder by folder. Unreadable pictures are skipped."""
    found = []
    for subset in pictures.subsets:
        for file in _listed(subset):
            sides = size(file)
            if sides is not None:
                found.append(PictureFile(file, *sides, subset.num_repeats, subset.is_reg, subset.part))
    return found


def _listed(subset: Subset) -> list[Path]:
    try:
        return subset.files
    except OSError:
        return []


def size(picture: Path) -> tuple[int, int] | None:
    """Stored width and height. None if unreadable."""
    from PIL import Image  # noqa: PLC0415 - only commands that read pictures pay for it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(picture) as image:
                return image.width, image.height
        except Exception:  # noqa: BLE001 - it was readable a moment ago, and is gone or changed
            return None


def _folders(  # noqa: PLR0913 - each comes from a flag
    data: Path, repeats: int | None, trigger: str | None, problems: list[FolderProblem], called: str, *, is_reg: bool
) -> Iterator[Subset]:
    """Yield the folders to train on, before inspection."""
    data = layout.expand(data)
    other = handed_file.other_kind(data, "", "a folder of pictures")
    if other is not None:
        raise DatasetError(other)
    if not is_folder(data):
        name, words = _A_FILE if exists(data) else _ABSENT
        flag = "".join(f"{word} " for word in called.split()[1:])
        told = language.problem(name, words, "{called} a folder of pictures", data=data, called=called, flag=flag)
        raise DatasetError(told)
    there = list_entries(data)
    direct = any(map(is_picture_name, there))
    inside = [data / name for name, entry in there.items() if picture_names.is_own_folder(name) and _is_folder(entry)]
    numbered = [folder for folder in inside if NUMBERED.fullmatch(folder.name)]
    if direct and numbered:
        raise DatasetError(
            f"{data} holds both pictures and numbered folders such as {numbered[0].name}",
            f"move the pictures into a numbered folder, or {called} one of the folders",
        )
    for folder in _unnumbered(inside) if numbered else ():
        words = "has pictures, but no number of repeats in its name"
        problems.append(FolderProblem("skipped-folder", folder, folder, words, f"rename it to 1_{folder.name}"))
    if numbered and repeats is not None:
        raise DatasetError(
            f"--repeats is given, but the folders in {data} have their repeats in their names",
            "omit --repeats, or rename the folders",
        )
    if not numbered and not direct:
        _require_none_below(data, inside, called)
    if not numbered:
        yield Subset(data, 1 if repeats is None else repeats, trigger, "", None, is_reg, 0, 0)
    for folder in numbered:
        match = NUMBERED.fullmatch(folder.name)
        if match is not None:
            yield Subset(folder, int(match[1]), trigger or match[2] or None, "", None, is_reg, 0, 0)


def has_numbered(data: Path) -> bool:
    """Whether it holds folders with repeats in their names that hold pictures."""
    return any(picture_names.holds_pictures(data / name) for name in _numbered_names(data))


def _require_none_below(data: Path, inside: Sequence[Path], called: str) -> None:
    """DatasetError if the pictures are deeper. The message names that folder."""
    bare = next(_unnumbered(inside), None)
    if bare is not None:
        raise DatasetError(
            f"{data} has no pictures itself; its folder {bare.name} has",
            f"{called} {bare}, or put repeats into the folders' names: 1_{bare.name}",
        )
    for folder in inside:  # as the `img` of kohya_ss
        one = next(iter(sorted(_numbered_names(folder))), None)
        if one is not None:
            words = f"{data} has no pictures itself; its folder {folder.name} has folders such as {one}"
            raise DatasetError(words, f"{called} {folder}")
    deep = InnerFolders().nearest(data)
    if deep is not None:
        raise DatasetError(
            f"{data} has no pictures itself; its folder {deep.relative_to(data).as_posix()} has", f"{called} {deep}"
        )


def _unnumbered(inside: Iterable[Path]) -> Iterator[Path]:
    """Folders with pictures whose names have no repeats."""
    return (folder for folder in inside if not NUMBERED.fullmatch(folder.name) and picture_names.holds_pictures(folder))


def _numbered_names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as found:  # the system's own, at the root of a drive
        return [entry.name for entry in found if NUMBERED.fullmatch(entry.name) and _is_folder(entry)]
    return []


def _twice(subsets: Iterable[Subset]) -> list[FolderProblem]:
    """Folders that are in one dataset twice. In two datasets, both are trained on."""
    seen: set[tuple[DatasetPart, Path]] = set()
    problems = []
    for part, folder in ((subset.part, subset.image_dir.resolve()) for subset in subsets):
        if (part, folder) in seen:
            words = "is given for both training and regularisation: sd-scripts would ignore the second"
            hint = "give --reg pictures of the class, not of the subject"
            problems.append(FolderProblem("skipped-folder", folder, folder, words, hint))
        seen.add((part, folder))
    return problems


def _look(folder: Subset, problems: list[FolderProblem]) -> Iterator[Subset]:
    """Yield the folder with its contents filled in, unless a problem prevents training on it."""
    if folder.origin is not None and folder.metadata_file is None and not is_folder(folder.image_dir):
        problems.append(_absent(folder, folder.origin))
        return
    there = list_entries(folder.image_dir)
    named = None if folder.metadata_file is None else list(map(str, folder.metadata_file.captions))
    pictures = list(filter(is_picture_name, there)) if named is None else named
    file, place = folder.image_dir, folder.place
    if not pictures:
        problems.append(_empty(folder, there))
    elif folder.num_repeats < 1:
        words = f"is repeated {folder.num_repeats} times: it would be left out"
        problems.append(FolderProblem("skipped-folder", file, place, words, "write 1 or more", folder.origin))
    elif folder.num_repeats > MOST_REPEATS:
        words = f"would be repeated {folder.num_repeats} times in each pass"
        hint = f"put a date after the repeats: 1_{folder.image_dir.name}"
        problems.append(FolderProblem("repeats", file, place, words, hint, folder.origin))
    elif folder.metadata_file is not None:
        captions = sum(map(bool, folder.metadata_file.captions.values()))
        yield replace(folder, pictures=len(pictures), captions=captions)
    else:
        suffixes = (folder.caption_extension,) if folder.caption_extension else CAPTION_SUFFIXES
        found = {suffix: captions_of(pictures, suffix, there) for suffix in suffixes}
        suffix = _caption_suffix(folder.image_dir, found, problems)
        yield replace(folder, caption_extension=suffix, pictures=len(pictures), captions=len(found[suffix]))


def _absent(folder: Subset, origin: Origin) -> FolderProblem:
    """That a dataset config names a folder which is not here, with one of that name beside the config."""
    name = folder.image_dir.name.rpartition("\\")[2]
    words = "is a file, not a folder" if exists(folder.image_dir) else "does not exist"
    is_beside = bool(name) and is_folder(Path(origin.name).parent / name)
    hint = f'write image_dir = "{name}" in this line' if is_beside else "write the folder of the pictures in this line"
    return FolderProblem("empty-folder", folder.image_dir, folder.place, words, hint, origin)


def _empty(folder: Subset, there: Iterable[str]) -> FolderProblem:
    """That there is no picture, with the nearest folder below that has some."""
    others = sorted({suffix for name in there if (suffix := Path(name).suffix).lower() in OTHER_PICTURES})
    inner = None if folder.metadata_file is not None else InnerFolders().nearest(folder.image_dir)
    told = language.problem(
        "empty-folder", "holds no picture that sd-scripts can read", "it needs png, jpg or webp files"
    )
    words, hint = told.message, told.hint or ""
    if others:
        hint = f"it has {', '.join(others)} files: convert them to png or jpg"
    elif inner is not None:
        words += f"; its folder {inner.relative_to(folder.image_dir).as_posix()} has, which it does not look into"
        hint = f"move the pictures of {inner} up into it"
        if folder.origin is not None:
            root = Path(folder.origin.name).parent
            named = inner.relative_to(root) if inner.is_relative_to(root) else inner
            hint = f'write image_dir = "{named.as_posix()}" in this line'
    return FolderProblem("empty-folder", folder.image_dir, folder.place, words, hint, folder.origin)


def _caption_suffix(folder: Path, found: Mapping[str, Mapping[str, str]], problems: list[FolderProblem]) -> str:
    """The folder's caption suffix: sd-scripts uses one for all of its pictures."""
    captioned = set().union(*found.values())
    for suffix, captions in found.items():
        if captions.keys() == captioned:
            return suffix
    fewest = min(found, key=lambda suffix: len(found[suffix]))
    odd = list(found[fewest].values())
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    words = f"some captions are .txt and some .caption: {odd[0]}{more}"
    hint = "sd-scripts reads one suffix per folder: rename the fewer ones"
    problems.append(FolderProblem("mixed-captions", folder / odd[0], None, words, hint))
    return CAPTION_SUFFIXES[0]
