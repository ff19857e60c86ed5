"""Plan a fix: each picture's target, which pictures an earlier fix finished, and which are duplicates."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset import picture, safe_names
from sdxl_train_cli.dataset.convert_picture import RepairOptions
from sdxl_train_cli.dataset.decode_memory import TooLargeError
from sdxl_train_cli.dataset.fix_journal import JournalEntry
from sdxl_train_cli.dataset.fix_sources import SourcePicture


@dataclass(frozen=True)
class FixRequest:
    """What a fix shall do."""

    options: RepairOptions
    spelling: str
    """The options as text. Pictures made with other options are made again."""
    trigger: str | None
    code_page: str | None
    """Encoding of non-Unicode captions. None detects it."""
    keep_duplicates: bool


@dataclass(frozen=True)
class FixJob:
    """One picture to make."""

    item: SourcePicture
    stem: str
    """Path below the new folder, without suffix."""
    stamp: str


@dataclass(frozen=True)
class FixPlan:
    """Work to do, and work that is done."""

    jobs: tuple[FixJob, ...]
    finished: tuple[JournalEntry, ...]
    """Finished according to the journal. The caller must check that the files still exist."""
    left_out: tuple[JournalEntry, ...]


def plan(items: Sequence[SourcePicture], before: Mapping[str, JournalEntry], order: FixRequest) -> FixPlan:
    """Assign each picture its target. Pictures that had one keep it."""
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
    """Exact duplicates, with the name of the one to keep: it has a caption, or the shorter name."""
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
    """A digest that changes with the original, its caption and the request."""
    facts = [order.spelling, order.trigger or "", order.code_page or "", item.caption or ""]
    for path in (item.path, *item.caption_files):
        with contextlib.suppress(OSError):
            seen = path.stat()
            facts.append(f"{path.name} {seen.st_size} {seen.st_mtime_ns}")
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
