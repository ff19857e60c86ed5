"""Find pictures without captions, and where their captions belong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import convert_picture, fix_sources
from sdxl_train_cli.dataset.decode_memory import LARGEST_BYTES, DecodeMemory
from sdxl_train_cli.dataset.fix_sources import SourcePicture
from sdxl_train_cli.errors import DatasetError, Problem

WORKERS = 4


@dataclass(frozen=True)
class TaggingJob:
    """One picture and its future caption file."""

    picture: Path
    caption: Path
    replaces_words: bool = False
    """Whether a non-empty caption may be overwritten."""


@dataclass(frozen=True)
class UntaggedPictures:
    """Tagging work in a folder."""

    jobs: tuple[TaggingJob, ...]
    kept: int
    """Pictures that keep their captions."""
    problems: tuple[Problem, ...]
    """Unreadable pictures."""


def find_untagged(data: Path, *, overwrite: bool) -> UntaggedPictures:
    """Find readable pictures without captions. DatasetError if there are no pictures."""
    items = fix_sources.list_pictures(data).items
    _require_files(items, data)
    suffixes = _suffixes(items)
    wanted: dict[Path, SourcePicture] = {}
    for item in items:
        if overwrite or not _has_words(item):
            suffix = item.caption_suffix or suffixes[item.folder]
            own = item.caption_files[0] if item.caption_files else item.path.with_suffix(suffix)
            wanted.setdefault(own, item)  # pictures with the same stem share a caption
    memory = DecodeMemory(LARGEST_BYTES)
    with ThreadPoolExecutor(WORKERS) as pool:
        problems = list(pool.map(lambda item: _problem(item, memory), wanted.values()))
    looked = zip(wanted.items(), problems, strict=True)
    jobs = tuple(TaggingJob(item.path, caption, overwrite) for (caption, item), problem in looked if problem is None)
    kept = sum(not overwrite and _has_words(item) for item in items)
    return UntaggedPictures(jobs, kept, tuple(problem for problem in problems if problem is not None))


def _require_files(items: Sequence[SourcePicture], data: Path) -> None:
    """Raise if metadata holds the captions: training would ignore the new files, or see nothing but them."""
    if any(item.caption is not None for item in items):
        typed = f"sdxl-train dataset fix {formatting.shell_word(data)} --to NEWDIR"
        hint = f"`{typed}` makes a folder of captions; then tag that"
        raise DatasetError(f"the captions of {data} are in metadata, but tags are written beside the pictures", hint)


def _has_words(item: SourcePicture) -> bool:
    """Whether the caption is non-empty. An unreadable caption counts, as it must not be replaced."""
    written = item.captions()
    return bool(written.problem or written.content.strip())


def _suffixes(items: Sequence[SourcePicture]) -> defaultdict[str, str]:
    """The most common caption suffix of each folder: sd-scripts reads one suffix per folder."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        found[item.folder].update(file.suffix for file in item.caption_files[:1])
    usual = {folder: counted.most_common(1)[0][0] for folder, counted in found.items() if counted}
    return defaultdict(lambda: ".txt", usual)


def _problem(item: SourcePicture, memory: DecodeMemory) -> Problem | None:
    try:
        convert_picture.require_readable(item.path, memory)
    except DatasetError as error:
        return error.problems[0]
    return None
