"""How folders of pictures are laid out, as sd-scripts will take them: which, how often, with which captions.

No picture is decoded here and no caption is read but for the fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import layout
from sdxl_train_cli.dataset.catalogue import Catalogue
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Value

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What sd-scripts (library/train_util.py: IMAGE_EXTENSIONS) looks for, in lower or upper case and no mixture."""
OTHER_PICTURES = (".gif", ".tif", ".tiff", ".heic", ".avif", ".jxl", ".psd")
CAPTION_SUFFIXES = (".txt", ".caption")
MOST_REPEATS = 10_000
"""A larger number before the _ of a folder's name is a date, and as repeats it would fill the memory."""
_NUMBERED = re.compile(r"(\d+)_(.*)", re.DOTALL)


@dataclass(frozen=True)
class Subset:
    """One folder of pictures as sd-scripts takes it."""

    image_dir: Path
    num_repeats: int
    class_tokens: str | None
    """The caption of pictures that have none."""
    caption_extension: str
    caption_prefix: str | None
    is_reg: bool
    pictures: int
    captions: int
    catalogue: Catalogue | None = None
    """The metadata file that names its pictures; None takes all of the folder, with captions beside them."""
    options: tuple[tuple[str, Value], ...] = ()
    """What else a dataset config sets for it alone, by sd-scripts' names."""

    @property
    def place(self) -> Path:
        """What a person knows it by."""
        return self.image_dir if self.catalogue is None else self.catalogue.file

    @property
    def files(self) -> list[Path]:
        """Its pictures as they are listed now; OSError where the folder can't be."""
        return in_folder(self.image_dir) if self.catalogue is None else list(self.catalogue.captions)


@dataclass(frozen=True)
class Pictures:
    """What a run trains on."""

    subsets: tuple[Subset, ...]
    notes: tuple[Problem, ...]
    """What is odd but trains."""
    trigger: str | None = None
    """The word that calls the subject; it belongs into every caption."""

    @property
    def count(self) -> int:
        """Training pictures, each counted once."""
        return sum(subset.pictures for subset in self.subsets if not subset.is_reg)

    @property
    def has_prefix(self) -> bool:
        """Whether captions are changed on the fly, which cached text-encoder outputs would ignore."""
        return any(subset.caption_prefix for subset in self.subsets)


@dataclass(frozen=True)
class FolderProblem(Problem):
    """Why a folder would be left out, or taken for something else."""

    kind: str = ""
    """A stable name: `empty-folder`, `skipped-folder`."""
    file: Path = Path()
    """The folder, or one of its files."""


def find(
    data: Path, *, regularisation: Path | None, repeats: int | None, trigger: str | None, called: str = "give --data"
) -> tuple[Pictures, list[FolderProblem]]:
    """Lay out what can be trained on, and tell of the folders that can't; DatasetError where there is no telling.

    `called` begins the hints that tell to name another folder.
    """
    problems: list[FolderProblem] = []
    try:
        found = list(_folders(data, repeats, trigger, problems, called, is_reg=False))
        if regularisation is not None:
            found += _folders(regularisation, None, None, problems, "give --reg", is_reg=True)
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    subsets, more = look(found)
    return Pictures(tuple(subsets), (), trigger), [*problems, *more]


def look(subsets: Iterable[Subset]) -> tuple[list[Subset], list[FolderProblem]]:
    """Fill in what is in them, and leave out what can't be trained on; DatasetError where one can't be listed."""
    problems: list[FolderProblem] = []
    subsets = list(subsets)
    try:
        found = [seen for subset in subsets for seen in _look(subset, problems)]
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    return found, [*problems, *_twice(subset for subset in subsets if subset.catalogue is None)]


def in_folder(folder: Path) -> list[Path]:
    """The pictures of one folder; OSError where it can't be listed."""
    return sorted(file for file in folder.iterdir() if is_picture(file))


def laid_out(data: Path) -> list[Subset]:
    """The folders that would be trained on, not looked at yet; DatasetError where they are laid out in no known way."""
    try:
        return list(_folders(data, None, None, [], "give", is_reg=False))
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error


def config(pictures: Pictures, folder: Path) -> dict[str, object]:
    """The `--dataset_config` of sd-scripts, every subset explicit; buckets and batch size are options of the run.

    What `metadata` gives has to be written into the `folder` too.
    """
    subsets = [
        _subset_config(subset) if subset.catalogue is None else _listed_config(subset, _metadata_file(folder, number))
        for number, subset in enumerate(pictures.subsets, 1)
    ]
    return {"datasets": [{"subsets": subsets}]}


def metadata(pictures: Pictures, folder: Path) -> dict[Path, dict[str, object]]:
    """The metadata files of `config`, with paths that need no folder; a picture without a caption gets the trigger.

    With each picture's size: without it, sd-scripts goes by caches whose names begin alike.
    """
    return {
        _metadata_file(folder, number): {
            str(path): {"caption": caption or subset.class_tokens or "", **_image_size(path)}
            for path, caption in subset.catalogue.captions.items()
        }
        for number, subset in enumerate(pictures.subsets, 1)
        if subset.catalogue is not None
    }


def _metadata_file(folder: Path, number: int) -> Path:
    return folder / f"metadata-{number}.json"


def _image_size(path: Path) -> dict[str, object]:
    size = _size(path)
    return {} if size is None else {"image_size": list(size)}


def _listed_config(subset: Subset, file: Path) -> dict[str, object]:
    prefix = {} if subset.caption_prefix is None else {"caption_prefix": subset.caption_prefix}
    return {"metadata_file": str(file), "num_repeats": subset.num_repeats, **prefix, **_plain(subset.options)}


def _plain(options: Iterable[tuple[str, Value]]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options}


def fingerprint(pictures: Pictures) -> str:
    """SHA-256 over the pictures' names, sizes and captions: equal where a run would train on the same files.

    No picture is read. Where the folders stand does not count; the names of numbered ones do. Raises DatasetError.
    """
    try:
        entries = sorted(entry for subset in pictures.subsets for entry in _fingerprint_entries(subset))
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _fingerprint_entries(subset: Subset) -> Iterator[tuple[str, int, str]]:
    if subset.catalogue is not None:
        for file, text in subset.catalogue.captions.items():
            yield f"data/{file.name}", file.stat().st_size, text
        return
    folder = f"{subset.image_dir.name}/" if _NUMBERED.fullmatch(subset.image_dir.name) else ""
    root = f"{'reg' if subset.is_reg else 'data'}/{folder}"
    for file in subset.image_dir.iterdir():
        if is_picture(file):
            caption = file.with_suffix(subset.caption_extension)
            text = caption.read_bytes().decode("utf-8", "replace") if caption.is_file() else ""
            yield root + file.name, file.stat().st_size, text


@dataclass(frozen=True)
class Picture:
    """One picture file with what it weighs in a batch."""

    path: Path
    width: int
    height: int
    repeats: int
    is_reg: bool = False


def files(pictures: Pictures) -> list[Picture]:
    """Every picture that is trained on, folder by folder, with its stored size; none of what can't be read now."""
    found = []
    for subset in pictures.subsets:
        for file in _listed(subset):
            size = _size(file)
            found += [] if size is None else [Picture(file, *size, subset.num_repeats, subset.is_reg)]
    return found


def _listed(subset: Subset) -> list[Path]:
    try:
        return subset.files
    except OSError:
        return []


def _size(picture: Path) -> tuple[int, int] | None:
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(picture) as image:
                return image.width, image.height
        except Exception:  # noqa: BLE001 - it was read a moment ago: gone or changed since
            return None


def _subset_config(subset: Subset) -> dict[str, object]:
    entries: dict[str, object] = {
        "image_dir": str(subset.image_dir),
        "num_repeats": subset.num_repeats,
        "caption_extension": subset.caption_extension,
        "is_reg": subset.is_reg,
    }
    optional = {"class_tokens": subset.class_tokens, "caption_prefix": subset.caption_prefix}
    given = {key: text for key, text in optional.items() if text is not None}
    return {**entries, **given, **_plain(subset.options)}


def _folders(  # noqa: PLR0913 - each comes from a flag
    data: Path, repeats: int | None, trigger: str | None, problems: list[FolderProblem], called: str, *, is_reg: bool
) -> Iterator[Subset]:
    """Yield the folders to train on, not looked at yet."""
    data = layout.expanded(data)
    if not data.is_dir():
        what = "is a file, not a folder" if data.exists() else "does not exist"
        raise DatasetError(f"{data} {what}", f"{called} a folder of pictures")
    numbered, unnumbered = _subfolders(data)
    direct = any(is_picture(file) for file in data.iterdir())
    if direct and numbered:
        raise DatasetError(
            f"{data} holds pictures and also numbered folders such as {numbered[0].name}",
            f"move the pictures into a numbered folder, or {called} one of the folders",
        )
    for folder in unnumbered if numbered else ():
        message = f"{folder} has pictures, but no number of repeats in its name"
        problems.append(FolderProblem(message, f"rename it to 1_{folder.name}", kind="skipped-folder", file=folder))
    if numbered and repeats is not None:
        raise DatasetError(
            f"--repeats is given, and the folders in {data} have their repeats in their names",
            "leave --repeats away, or rename the folders",
        )
    if not numbered and not direct and unnumbered:
        raise DatasetError(
            f"{data} has no pictures itself; its folder {unnumbered[0].name} has",
            f"{called} {unnumbered[0]}, or put repeats into the folders' names: 1_{unnumbered[0].name}",
        )
    if not numbered:
        yield Subset(data, 1 if repeats is None else repeats, trigger, "", None, is_reg, 0, 0)
    for folder in numbered:
        match = _NUMBERED.fullmatch(folder.name)
        if match is not None:
            yield Subset(folder, int(match[1]), trigger or match[2] or None, "", None, is_reg, 0, 0)


def _subfolders(data: Path) -> tuple[list[Path], list[Path]]:
    inside = sorted(folder for folder in data.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    numbered = [folder for folder in inside if _NUMBERED.fullmatch(folder.name)]
    unnumbered = [folder for folder in inside if folder not in numbered and any(map(is_picture, folder.iterdir()))]
    return numbered, unnumbered


def is_picture(path: Path) -> bool:
    """Whether sd-scripts takes it for a picture: by its name alone, be it a broken link; it misses hidden files."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def _twice(folders: Iterable[Subset]) -> list[FolderProblem]:
    seen: set[Path] = set()
    problems = []
    for folder in (folder.image_dir.resolve() for folder in folders):
        if folder in seen:
            message = f"{folder} is given for training and for regularisation: sd-scripts would leave the second out"
            hint = "give --reg pictures of the class, which are others than the subject's"
            problems.append(FolderProblem(message, hint, kind="skipped-folder", file=folder))
        seen.add(folder)
    return problems


def _look(folder: Subset, problems: list[FolderProblem]) -> Iterator[Subset]:
    """Fill in the facts of one folder, unless there is a problem that keeps it from being trained on."""
    files = sorted(folder.image_dir.iterdir())
    pictures = folder.files
    what = f"{folder.place} "
    if not pictures:
        others = sorted({file.suffix for file in files if file.suffix.lower() in OTHER_PICTURES})
        hint = (
            f"it has {', '.join(others)} files: convert them to png or jpg"
            if others
            else "it needs png, jpg or webp files"
        )
        what += "holds no picture that sd-scripts can read"
        problems.append(FolderProblem(what, hint, kind="empty-folder", file=folder.image_dir))
    elif folder.num_repeats < 1:
        what += "is repeated 0 times: it would be left out"
        problems.append(FolderProblem(what, "write 1 or more", kind="skipped-folder", file=folder.image_dir))
    elif folder.num_repeats > MOST_REPEATS:
        what += f"would be repeated {folder.num_repeats} times in each pass"
        hint = f"a date belongs behind the repeats: 1_{folder.image_dir.name}"
        problems.append(FolderProblem(what, hint, kind="repeats", file=folder.image_dir))
    elif folder.catalogue is not None:
        captions = sum(map(bool, folder.catalogue.captions.values()))
        yield replace(folder, pictures=len(pictures), captions=captions)
    else:
        suffix = folder.caption_extension or _caption_suffix(pictures, problems)
        captions = sum(picture.with_suffix(suffix).is_file() for picture in pictures)
        yield replace(folder, caption_extension=suffix, pictures=len(pictures), captions=captions)


def _caption_suffix(pictures: list[Path], problems: list[FolderProblem]) -> str:
    """The one caption suffix of the folder: sd-scripts takes one for all of its pictures."""
    with_suffix = {
        suffix: {picture for picture in pictures if picture.with_suffix(suffix).is_file()}
        for suffix in CAPTION_SUFFIXES
    }
    captioned = set().union(*with_suffix.values())
    for suffix in CAPTION_SUFFIXES:
        if with_suffix[suffix] == captioned:
            return suffix
    fewest = min(CAPTION_SUFFIXES, key=lambda suffix: len(with_suffix[suffix]))
    odd = sorted(captioned & with_suffix[fewest])
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    message = f"some captions are .txt and some .caption: {odd[0].with_suffix(fewest).name}{more}"
    hint = "sd-scripts reads one suffix a folder: rename the fewer ones"
    problems.append(FolderProblem(message, hint, kind="mixed-captions", file=odd[0].with_suffix(fewest)))
    return CAPTION_SUFFIXES[0]
