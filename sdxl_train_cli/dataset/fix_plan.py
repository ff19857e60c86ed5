"""What a fix has to do: each picture's place, those that an earlier fix has made, and those that are there twice."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset import picture, safe_names
from sdxl_train_cli.dataset.decode_memory import TooLargeError
from sdxl_train_cli.dataset.fix_journal import JournalEntry
from sdxl_train_cli.dataset.fix_sources import SourcePicture
from sdxl_train_cli.dataset.repair import RepairOptions


@dataclass(frozen=True)
class FixRequest:
    """What a fix was asked for."""

    options: RepairOptions
    spelling: str
    """The wish in words: pictures that were made under another one are made again."""
    trigger: str | None
    code_page: str | None
    """Of captions that are no Unicode; None finds it out."""
    keep_duplicates: bool


@dataclass(frozen=True)
class FixJob:
    """One picture to make."""

    item: SourcePicture
    stem: str
    """Below the new folder, without suffix."""
    stamp: str


@dataclass(frozen=True)
class FixPlan:
    """What there is to do, and what not."""

    jobs: tuple[FixJob, ...]
    finished: tuple[JournalEntry, ...]
    """By the journal; whether the files still stand is to be seen."""
    left_out: tuple[JournalEntry, ...]


def plan(items: Sequence[SourcePicture], before: Mapping[str, JournalEntry], order: FixRequest) -> FixPlan:
    """Give each picture its place; what had one keeps it."""
    same = {} if order.keep_duplicates else _same(items)
    taken = defaultdict(list)
    for entry in before.values():
        if entry.picture is not None:
            folder, _, name = entry.picture.rpartition("/")
            taken[folder].append(name.rpartition(".")[0])
    names = defaultdict(
        safe_names.UniqueNames, {folder: safe_names.UniqueNames(stems) for folder, stems in taken.items()}
    )
    jobs, finished, left_out = [], [], []
    for item in items:
        stamp, former = _stamp(item, order), before.get(item.name)
        if item.path in same:
            words = f"the same picture as {same[item.path]}"
            left_out.append(JournalEntry(item.name, None, None, (), words, look=False, stamp=stamp, size=0))
            continue
        if former is not None and former.picture is not None:
            stem = former.picture.rpartition(".")[0]
            finished += [former] if former.stamp == stamp else []
        else:
            stem = "/".join(filter(None, (item.folder, names[item.folder].take(safe_names.safe(item.stem)))))
        jobs.append(FixJob(item, stem, stamp))
    return FixPlan(tuple(jobs), tuple(finished), tuple(left_out))


def _same(items: Sequence[SourcePicture]) -> dict[Path, str]:
    """Pictures that are byte for byte another one, with that one's name: it has a caption, or the shorter name."""
    by_size = defaultdict(list)  # only files of equal size are read
    for item in sorted(items, key=lambda item: (not item.has_caption, len(item.path.name))):
        with contextlib.suppress(OSError):
            by_size[item.path.stat().st_size].append(item)
    found = {}
    for alike in by_size.values():
        first: dict[str, str] = {}
        for item in alike if len(alike) > 1 else ():
            with contextlib.suppress(OSError, TooLargeError), picture.open_file(item.path) as file:
                content = picture.digest(file)
                if content in first:
                    found[item.path] = first[content]
                first.setdefault(content, item.name)
    return found


def _stamp(item: SourcePicture, order: FixRequest) -> str:
    """Changes when the original, its caption or what is asked for changes."""
    facts = [order.spelling, order.trigger or "", order.code_page or "", item.caption or ""]
    for path in (item.path, *item.caption_files):
        with contextlib.suppress(OSError):
            seen = path.stat()
            facts.append(f"{path.name} {seen.st_size} {seen.st_mtime_ns}")
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
