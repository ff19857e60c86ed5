"""Copy a dataset so that training accepts everything in it. The originals are never touched.

Every file is written to a temporary name and renamed, then recorded in the journal. If the command is interrupted,
repeating it continues where it stopped.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from sdxl_train_cli import files
from sdxl_train_cli.dataset import caption_text, convert_picture, fix_journal, fix_plan, picture
from sdxl_train_cli.dataset.convert_picture import UnusablePictureError
from sdxl_train_cli.dataset.decode_memory import LARGEST_BYTES, LARGEST_FILE, DecodeMemory
from sdxl_train_cli.dataset.fix_journal import Journal, JournalEntry
from sdxl_train_cli.dataset.fix_plan import FixJob, FixPlan, FixRequest
from sdxl_train_cli.dataset.fix_sources import SourcePicture
from sdxl_train_cli.errors import DatasetError

WORKERS = min(8, os.cpu_count() or 1)
UNTOLD = "caption left out: its encoding can't be detected"
_BESIDE = re.compile(rf"{files.HALF_WRITTEN}|\.fix-.*\.new")
"""Temporary files. The second pattern is of earlier versions."""


@dataclass(frozen=True)
class FixResult:
    """Result of a complete fix."""

    folder: Path
    entries: tuple[JournalEntry, ...]
    already_done: int
    """Pictures that an earlier call had finished."""
    log: Path
    """Everything that was done, in words."""

    @property
    def needing_attention(self) -> tuple[JournalEntry, ...]:
        """Entries that the user must look at: something of theirs is missing."""
        return tuple(entry for entry in self.entries if entry.look)


Tell = Callable[[int, int], None]
"""Called with the number of finished pictures and the total."""


def fix(items: Sequence[SourcePicture], data: Path, folder: Path, request: FixRequest, tell: Tell) -> FixResult:
    """Create the copy in `folder`. DatasetError if that can't be done at all."""
    journal = Journal(folder, data)
    with _disk_errors(folder), _only_one(folder, journal) as before:
        request = replace(request, code_page=request.code_page or _code_page(items))
        plan = fix_plan.plan(items, before, request)
        kept = [entry for entry in plan.finished if _still_exists(folder, entry)]
        journal.write(before.values())
        done = _carry_out(plan, {entry.source for entry in kept}, folder, request, journal, before, tell)
        entries = sorted((*kept, *plan.left_out, *done), key=lambda entry: entry.source)
        _remove_former(folder, before, entries)
        journal.write(entries)
        log = folder / fix_journal.TOLD
        files.write(log, "".join(f"{entry.line}\n" for entry in entries).encode("utf-8", "replace"))
    return FixResult(folder, tuple(entries), len(kept), log)


def _still_exists(folder: Path, entry: JournalEntry) -> bool:
    try:
        whole = (folder / str(entry.picture)).stat().st_size == entry.size
        return whole and (entry.caption is None or files.is_file(folder / entry.caption))
    except OSError:
        return False


def _carry_out(  # noqa: PLR0913, PLR0917 - one story
    plan: FixPlan,
    finished: set[str],
    folder: Path,
    request: FixRequest,
    journal: Journal,
    before: Mapping[str, JournalEntry],
    tell: Tell,
) -> list[JournalEntry]:
    """Make every unfinished picture on all cores, as many at a time as memory allows."""
    jobs = [job for job in plan.jobs if job.item.name not in finished]
    done, total, results = len(finished) + len(plan.left_out), len(plan.jobs) + len(plan.left_out), list[JournalEntry]()
    workers = _FixWorkers(folder, request, journal, DecodeMemory(LARGEST_BYTES), before)
    pool = ThreadPoolExecutor(WORKERS)
    tell(done, total)
    try:
        with warnings.catch_warnings(), picture.limit_memory():
            warnings.simplefilter("ignore")  # warnings about odd pictures, which can be read anyway
            for entry in _completed(pool, workers, jobs):
                results.append(entry)
                tell(done + len(results), total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def _completed(pool: ThreadPoolExecutor, workers: _FixWorkers, jobs: Sequence[FixJob]) -> Iterator[JournalEntry]:
    waiting: set[Future[JournalEntry]] = set()
    for job in jobs:
        waiting.add(pool.submit(workers.make, job))
        if len(waiting) >= 2 * WORKERS:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    yield from (future.result() for future in waiting)


@dataclass(frozen=True)
class _FixWorkers:
    folder: Path
    request: FixRequest
    journal: Journal
    memory: DecodeMemory
    before: Mapping[str, JournalEntry]
    """Results of an earlier fix, by source."""

    def make(self, job: FixJob) -> JournalEntry:
        """Make one picture and its caption. Failures are reported in the entry."""
        try:
            repaired = convert_picture.repair(job.item.path, self.request.options, self.memory)
        except UnusablePictureError as error:
            return JournalEntry(job.item.name, None, None, (), error.reason, look=True, stamp=job.stamp, size=0)
        name, caption = f"{job.stem}{repaired.suffix}", None
        text, did, look = _caption(job.item, self.request)
        place = self.folder / name
        _require_own(place.parent, self.folder)
        place.parent.mkdir(exist_ok=True)
        former, digest = self.before.get(job.item.name), ""
        if former is not None and _is_edited(self.folder, former):
            caption, digest, look = former.caption, former.caption_digest, False
            did = ["caption edited in the copy: kept as it is"]
        elif text:
            caption, content = f"{job.stem}.txt", f"{text}\n".encode()
            digest = _digest(content)
            files.write(self.folder / caption, content)
        content = files.read_bytes(job.item.path, LARGEST_FILE) if repaired.content is None else repaired.content
        files.write(place, content)
        renamed = [f"renamed from {job.item.path.name}"] if place.name != job.item.path.name else []
        changes = (*repaired.did, *(renamed if "\n" not in job.item.path.name else ["renamed"]), *did)
        entry = JournalEntry(job.item.name, name, caption, changes, None, look, job.stamp, len(content), digest)
        self.journal.add(entry)
        return entry


def _caption(item: SourcePicture, request: FixRequest) -> tuple[str, list[str], bool]:
    """Return the new caption, the changes made, and whether the user must look at it."""
    found = item.captions()
    if found.problem:
        return "", [found.problem], True
    if not found.content:
        return "", list(found.did), False
    read = caption_text.decode(found.content, request.code_page)
    if read is None:
        return "", [*found.did, UNTOLD], True
    text, encoding = read
    clean = caption_text.clean(text)
    if not clean:
        return "", [*found.did, "empty caption left out"], False
    did = [*found.did, *([] if encoding == "utf-8" else [f"caption from {encoding} to UTF-8"])]
    did += ["caption made one clean line"] if clean != text.rstrip("\r\n") else []
    led = caption_text.put_trigger_first(clean, request.trigger) if request.trigger else clean
    return led, [*did, *(["trigger put first"] if led != clean else [])], False


def _code_page(items: Sequence[SourcePicture]) -> str | None:
    """One code page for all non-Unicode captions: together they are easier to recognise."""
    odd = [content for item in items if (content := item.captions().content) and not _is_unicode(content)]
    return caption_text.detect_code_page(odd) if odd else None


def _is_unicode(content: bytes) -> bool:
    return caption_text.decode(content, None) is not None


def _remove_former(folder: Path, before: Mapping[str, JournalEntry], entries: Sequence[JournalEntry]) -> None:
    """Remove results of an earlier fix whose originals are gone or have changed."""
    standing = {name for entry in entries for name in (entry.picture, entry.caption)}
    for entry in before.values():
        if entry.picture is None or not _is_as_made(folder, entry) or _is_edited(folder, entry):
            continue
        for name in (entry.picture, entry.caption):
            if name is not None and name not in standing:
                (folder / name).unlink(missing_ok=True)


def _is_edited(folder: Path, entry: JournalEntry) -> bool:
    """Whether the user has edited the caption since it was made."""
    if entry.caption is None or not entry.caption_digest:
        return False
    try:
        return _digest(files.read_bytes(folder / entry.caption)) != entry.caption_digest
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _is_as_made(folder: Path, entry: JournalEntry) -> bool:
    """Whether the picture is the one that the journal describes, and not a replacement."""
    picture_file = folder / str(entry.picture)
    try:
        return not picture_file.parent.is_symlink() and picture_file.lstat().st_size == entry.size
    except OSError:
        return False


def _require_own(place: Path, folder: Path) -> None:
    """DatasetError if a folder of the copy is a link: writing would end up elsewhere."""
    if place != folder and place.is_symlink():
        raise DatasetError(f"{place} is a link, and the copy would be made at its target", "give --to a new folder")


@contextlib.contextmanager
def _only_one(folder: Path, journal: Journal) -> Iterator[dict[str, JournalEntry]]:
    """Lock the folder. Yields the entries of an earlier fix."""
    before = journal.load()
    if before is None and folder.exists() and any(file.name != _LOCK for file in folder.iterdir()):
        raise DatasetError(f"{folder} already holds files that are not from a fix", "give --to a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    link = next(
        (path for path in folder.iterdir() if path.is_symlink() and (path.is_dir() or path.name == _LOCK)), None
    )
    if link is not None:  # files would be written and deleted elsewhere
        raise DatasetError(f"{link} is a link, and a fix works only inside its own folder", "give --to a new folder")
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DatasetError(f"another fix is running in {folder}", "wait for it to end") from error
    try:
        for left in (*folder.glob("*.new"), *folder.glob("*/*.new")):
            if _BESIDE.fullmatch(left.name) and not left.parent.is_symlink():
                left.unlink(missing_ok=True)
        yield journal.load() or {}
    finally:
        lock.release()


_LOCK = ".fix.lock"


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = "free some space and run the same command again: it continues where it stopped"
            raise DatasetError(f"the disk of {folder} is full", hint) from error
        words = f"{error.filename or folder} can't be written: {error.strerror or error}"
        raise DatasetError(words, "choose another place with --to") from error
