"""Look at a folder of pictures as sd-scripts will: facts, problems, and the dataset config that says it all."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from sdxl_train_cli import layout
from sdxl_train_cli.errors import DatasetError, Problem

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What sd-scripts (library/train_util.py: IMAGE_EXTENSIONS) looks for, in lower or upper case and no mixture."""
OTHER_PICTURES = (".gif", ".tif", ".tiff", ".heic", ".avif", ".jxl", ".psd")
CAPTION_SUFFIXES = (".txt", ".caption")
SHOWN = 5
"""Files of one kind of problem that are named before `and N more`."""
MOST_REPEATS = 10_000
"""A larger number before the _ of a folder's name is a date, and as repeats it would fill the memory."""
DECODERS = 4
"""Pictures that are decoded at a time: quick enough, and large ones don't fill the memory."""

WINDOWS = sys.platform == "win32"
_NUMBERED = re.compile(r"(\d+)_(.*)", re.DOTALL)
_LINE_END = re.compile(r"\r\n|\r|\n")
_A_TRIGGER = 'write captions beside the pictures, or name the subject: --trigger "ohwx woman"'


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


@dataclass(frozen=True)
class Pictures:
    """What a run trains on."""

    subsets: tuple[Subset, ...]
    notes: tuple[Problem, ...]
    """What is odd but trains."""

    @property
    def count(self) -> int:
        """Training pictures, each counted once."""
        return sum(subset.pictures for subset in self.subsets if not subset.is_reg)

    @property
    def has_prefix(self) -> bool:
        """Whether captions are changed on the fly, which cached text-encoder outputs would ignore."""
        return any(subset.caption_prefix for subset in self.subsets)


def scan(data: Path, *, regularisation: Path | None, repeats: int | None, trigger: str | None) -> Pictures:
    """Look at a folder of pictures, or at a parent of `N_name` folders; DatasetError names everything that is wrong."""
    try:
        found = list(_folders(data, repeats, trigger, is_reg=False))
        if regularisation is not None:
            found += _folders(regularisation, None, None, is_reg=True)
        looked = [_look(folder, trigger) for folder in found]
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    errors = [problem for _, problems, _ in looked for problem in problems] + _twice(found)
    if errors:
        raise DatasetError(errors)
    return Pictures(tuple(subset for subset, _, _ in looked), tuple(note for _, _, notes in looked for note in notes))


def config(pictures: Pictures) -> dict[str, object]:
    """The `--dataset_config` of sd-scripts, every subset explicit; buckets and batch size are options of the run."""
    return {"datasets": [{"subsets": [_subset_config(subset) for subset in pictures.subsets]}]}


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
    folder = f"{subset.image_dir.name}/" if _NUMBERED.fullmatch(subset.image_dir.name) else ""
    root = f"{'reg' if subset.is_reg else 'data'}/{folder}"
    for file in subset.image_dir.iterdir():
        if _is_picture(file):
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


def files(pictures: Pictures) -> list[Picture]:
    """Every picture that is trained on, folder by folder, with its stored size; none of what can't be read now."""
    found = []
    for subset in pictures.subsets:
        for file in _listed(subset.image_dir):
            size = _size(file)
            found += [] if size is None else [Picture(file, *size, subset.num_repeats)]
    return found


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if _is_picture(file))
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
    return {**entries, **{key: text for key, text in optional.items() if text is not None}}


def _folders(data: Path, repeats: int | None, trigger: str | None, *, is_reg: bool) -> Iterator[Subset]:
    """Yield the folders to train on, not looked at yet."""
    data, flag = layout.expanded(data), "--reg" if is_reg else "--data"
    if not data.is_dir():
        what = "is a file, not a folder" if data.exists() else "does not exist"
        raise DatasetError(f"{data} {what}", f"give {flag} a folder of pictures")
    numbered, unnumbered = _subfolders(data)
    direct = any(_is_picture(file) for file in data.iterdir())
    if direct and numbered:
        raise DatasetError(
            f"{data} holds pictures and also numbered folders such as {numbered[0].name}",
            f"move the pictures into a numbered folder, or give {flag} one of the folders",
        )
    if numbered and unnumbered:
        raise DatasetError(
            [Problem(f"{folder} has pictures, but no number of repeats in its name", f"rename it to 1_{folder.name}")
             for folder in unnumbered]
        )  # fmt: skip
    if numbered and repeats is not None:
        raise DatasetError(
            f"--repeats is given, and the folders in {data} have their repeats in their names",
            "leave --repeats away, or rename the folders",
        )
    if not numbered and not direct and unnumbered:
        raise DatasetError(
            f"{data} has no pictures itself; its folder {unnumbered[0].name} has",
            f"give {flag} {unnumbered[0]}, or put repeats into the folders' names: 1_{unnumbered[0].name}",
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
    unnumbered = [folder for folder in inside if folder not in numbered and any(map(_is_picture, folder.iterdir()))]
    return numbered, unnumbered


def _is_picture(path: Path) -> bool:
    """Whether sd-scripts takes it for a picture: by its name alone, be it a broken link; it misses hidden files."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")


def _twice(folders: Iterable[Subset]) -> list[Problem]:
    seen: set[Path] = set()
    problems = []
    for folder in (folder.image_dir.resolve() for folder in folders):
        if folder in seen:
            message = f"{folder} is given for training and for regularisation: sd-scripts would leave the second out"
            problems.append(Problem(message, "give --reg pictures of the class, which are others than the subject's"))
        seen.add(folder)
    return problems


def _look(folder: Subset, trigger: str | None) -> tuple[Subset, list[Problem], list[Problem]]:
    """Fill in the facts of one folder; give its errors and its notes."""
    files = sorted(folder.image_dir.iterdir())
    pictures = [file for file in files if _is_picture(file)]
    if not pictures:
        others = sorted({file.suffix for file in files if file.suffix.lower() in OTHER_PICTURES})
        hint = (
            f"it has {', '.join(others)} files: convert them to png or jpg"
            if others
            else "it needs png, jpg or webp files"
        )
        return folder, [Problem(f"{folder.image_dir} holds no picture that sd-scripts can read", hint)], []
    if folder.num_repeats < 1:
        return folder, [Problem(f"{folder.image_dir} is repeated 0 times: it would be left out", "write 1 or more")], []
    if folder.num_repeats > MOST_REPEATS:
        message = f"{folder.image_dir} would be repeated {folder.num_repeats} times in each pass"
        return folder, [Problem(message, f"a date belongs behind the repeats: 1_{folder.image_dir.name}")], []
    suffix, errors = _caption_suffix(pictures)
    captions = {picture: picture.with_suffix(suffix) for picture in pictures if picture.with_suffix(suffix).is_file()}
    texts, caption_errors, notes = _read_captions(list(captions.values()))
    notes += _passed_over(files, pictures, captions.values())
    errors += [*_picture_problems(pictures), *caption_errors]
    bare = len(pictures) - len(captions)
    if bare and folder.class_tokens is None and not folder.is_reg:
        message = f"{_of(bare, len(pictures))} in {folder.image_dir} have no caption"
        if captions:
            notes.append(Problem(f"{message}: they train with an empty one", _A_TRIGGER))
        else:
            errors.append(
                Problem(f"{message}, and no --trigger is given: nothing would name what they show", _A_TRIGGER)
            )
    prefix, prefix_notes = _prefix(texts, None if folder.is_reg else trigger, folder.image_dir)
    looked = replace(
        folder, caption_extension=suffix, caption_prefix=prefix, pictures=len(pictures), captions=len(captions)
    )
    return looked, errors, [*notes, *prefix_notes]


def _caption_suffix(pictures: list[Path]) -> tuple[str, list[Problem]]:
    """The one caption suffix of the folder: sd-scripts takes one for all of its pictures."""
    with_suffix = {
        suffix: {picture for picture in pictures if picture.with_suffix(suffix).is_file()}
        for suffix in CAPTION_SUFFIXES
    }
    captioned = set().union(*with_suffix.values())
    for suffix in CAPTION_SUFFIXES:
        if with_suffix[suffix] == captioned:
            return suffix, []
    fewest = min(CAPTION_SUFFIXES, key=lambda suffix: len(with_suffix[suffix]))
    odd = sorted(captioned & with_suffix[fewest])
    message = f"some captions are .txt and some .caption: {_some([picture.with_suffix(fewest) for picture in odd])}"
    return CAPTION_SUFFIXES[0], [Problem(message, "sd-scripts reads one suffix a folder: rename the fewer ones")]


def _read_captions(files: list[Path]) -> tuple[list[str], list[Problem], list[Problem]]:
    """The captions' first lines, which is all that sd-scripts trains on."""
    texts: list[str] = []
    errors: list[Problem] = []
    several: list[Path] = []
    for file in files:
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        except OSError as error:
            errors.append(Problem(f"{file} can't be read: {error.strerror}"))
            continue
        if "\0" in text:  # as in UTF-16 without its mark, which else passes for UTF-8
            errors.append(Problem(f"{file} is not UTF-8", "save it as UTF-8; editors call it an encoding"))
            continue
        lines = _LINE_END.split(text)
        if not lines[0].strip():
            what = "begins with an empty line, and only the first is trained on" if text.strip() else "is empty"
            errors.append(Problem(f"{file} {what}", "write a caption into it, or delete it"))
            continue
        texts.append(lines[0].strip())
        several += [file] if any(line.strip() for line in lines[1:]) else []
    notes = (
        [Problem(f"captions of several lines, of which only the first is trained on: {_some(several)}")]
        if several
        else []
    )
    return texts, errors, notes


def _passed_over(files: list[Path], pictures: list[Path], captions: Iterable[Path]) -> list[Problem]:
    """Tell what lies beside the pictures and was perhaps meant to be trained on."""
    read = set(captions)
    visible = [file for file in files if not file.name.startswith(".")]
    others = [file for file in visible if file.suffix.lower() in OTHER_PICTURES]
    unread = [file for file in visible if file.suffix.lower() in CAPTION_SUFFIXES and file not in read]
    folder = pictures[0].parent
    found = (
        (others, f"sd-scripts reads no such pictures as {_some(others)} in {folder}", "convert them to png or jpg"),
        (unread, f"sd-scripts reads no caption from {_some(unread)} in {folder}", "the caption of cat.png is cat.txt"),
    )
    return [Problem(message, hint) for some, message, hint in found if some]


def _picture_problems(pictures: list[Path]) -> list[Problem]:
    with warnings.catch_warnings(), ThreadPoolExecutor(DECODERS) as pool:
        warnings.simplefilter("ignore")  # odd pictures that sd-scripts reads all the same
        return list(chain.from_iterable(pool.map(_problems_of, pictures)))


def _problems_of(picture: Path) -> list[Problem]:
    """Decode it as sd-scripts will: a file that was cut off ends the run only when its turn comes."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - only a look at pictures pays for it

    problems = []
    if not WINDOWS and picture.suffix not in {picture.suffix.lower(), picture.suffix.upper()}:
        message = f"{picture}: sd-scripts misses suffixes in mixed case"
        problems.append(Problem(message, f"rename it to {picture.suffix.lower()}"))
    hint = "delete it, or save it again as png or jpg"
    try:
        with Image.open(picture) as image:
            image.load()
    except UnidentifiedImageError:
        problems.append(Problem(f"{picture} is not a picture that can be read", hint))
    except Exception as error:  # noqa: BLE001 - decoders of a dozen formats: anything can come out of a broken file
        reason = isinstance(error, OSError) and error.strerror
        problems.append(Problem(f"{picture} can't be read: {reason or error}", hint))
    return problems


def _prefix(texts: list[str], trigger: str | None, folder: Path) -> tuple[str | None, list[Problem]]:
    """What to put before the captions so that the trigger is in them; nothing where they have it."""
    if not trigger or not texts:
        return None, []
    lacking = sum(trigger.lower() not in text.lower() for text in texts)
    if lacking == len(texts):
        return f"{trigger},", []
    note = f"{_of(lacking, len(texts))} captions in {folder} lack the trigger '{trigger}'"
    return None, [Problem(note, "the others have it, so none is changed")] if lacking else []


def _of(part: int, whole: int) -> str:
    return f"all {whole}" if part == whole else f"{part} of {whole}"


def _some(files: list[Path]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(file.name for file in files[:SHOWN]) + more


def found(data: Path) -> list[Subset]:
    """The folders that would be trained on, not looked at yet; DatasetError where they are laid out in no known way."""
    try:
        return list(_folders(data, None, None, is_reg=False))
    except DatasetError as error:
        raise DatasetError(
            [replace(problem, hint=(problem.hint or "").replace("give --data", "give")) for problem in error.problems]
        ) from error
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error


def some(files: list[Path]) -> str:
    """The names of a few files, and how many more there are."""
    return _some(files)
