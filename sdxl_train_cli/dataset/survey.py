"""Inspect every file of a dataset on all cores. Unchanged files are taken from the cache."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from queue import Empty, SimpleQueue

from sdxl_train_cli import layout
from sdxl_train_cli.dataset import caption, caption_text, folders, picture, picture_names, tokens
from sdxl_train_cli.dataset.decode_memory import DecodeMemory
from sdxl_train_cli.dataset.file_facts import Caption, FileFault, PictureFacts, Survey, SurveyedPicture
from sdxl_train_cli.dataset.folders import Subset, TrainingPictures
from sdxl_train_cli.dataset.survey_cache import Entry, Kept, SurveyCache
from sdxl_train_cli.errors import DatasetError

OnProgress = Callable[[int, int], None]
"""Called with finished and total pictures. Captions take negligible time."""
_LONGEST_KEPT = 4_000
"""Longest caption to cache, in characters."""
_KEPT_EVERY = 100
"""Files inspected between cache writes: at most this many are lost if the process is killed."""
_FACTS = {each.name for each in fields(PictureFacts)} - {"path"}
_PARTS = 3
"""Cached parts of a caption: text, lines, tokens."""
_SILENCE = logging.NullHandler()
"""Decoder warnings are recorded in the facts and must not reach the terminal as well."""
_MOMENT = 0.5
"""Seconds between polls. Windows notices Ctrl-C only between waits."""


def survey(
    pictures: TrainingPictures, on_progress: OnProgress | None = None, cache_folder: Path | None = None
) -> Survey:
    """Inspect all pictures and captions. DatasetError if a folder can't be listed.

    Problems of single files are reported in their facts. `cache_folder` defaults to the user's cache folder.
    """
    listed = [_listed(subset) for subset in pictures.subsets]
    cache = SurveyCache(cache_folder or layout.cache_folder(os.environ))
    look = _RunningSurvey(cache, on_progress or (lambda _done, _all: None), sum(len(each.pictures) for each in listed))
    try:
        facts = look.at_pictures([path for each in listed for path in each.pictures])
        read = look.at_captions([path for each in listed for path in each.captions.values()])
        read |= look.at_texts({path: text for each in listed for path, text in each.texts.items()})
    finally:
        look.end()
    subsets = [_prefixed(each, pictures.trigger, read) for each in listed]
    seen = tuple(
        SurveyedPicture(subset, facts[path], read.get(each.captions.get(path, path)))
        for subset, each in zip(subsets, listed, strict=True)
        for path in each.pictures
    )
    beside = tuple(path for each in listed for path in each.beside)
    return Survey(replace(pictures, subsets=tuple(subsets)), seen, beside)


@dataclass(frozen=True)
class _ListedFolder:
    """One folder's files."""

    subset: Subset
    pictures: list[Path]
    captions: dict[Path, Path]
    """Caption files by picture."""
    texts: dict[Path, str]
    """Captions from metadata, by picture."""
    beside: list[Path]


def _listed(subset: Subset) -> _ListedFolder:
    if subset.metadata_file is not None:
        texts = {path: text for path, text in subset.metadata_file.captions.items() if text}
        return _ListedFolder(subset, subset.files, {}, texts, [])
    try:
        there = folders.list_entries(subset.image_dir)
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    paths = {name: subset.image_dir / name for name in there}
    pictures = {name: paths[name] for name in filter(picture_names.is_picture_name, there)}
    beside = folders.captions_of(pictures, subset.caption_extension, there)
    captions = {paths[name]: paths[text] for name, text in beside.items()}
    taken = {*pictures, *beside.values()}
    rest = [path for name, path in paths.items() if name not in taken]
    return _ListedFolder(subset, list(pictures.values()), captions, {}, rest)


def _prefixed(listed: _ListedFolder, trigger: str | None, read: Mapping[Path, Caption]) -> Subset:
    """Prepend the trigger to the captions if none of them contains it."""
    subset = listed.subset
    paths = [*listed.captions.values(), *listed.texts]
    texts = [f"{subset.caption_prefix or ''} {read[path].text}" for path in paths if read[path].text]
    if subset.is_reg or not trigger or not texts:
        return subset
    lacking = not any(caption_text.has_trigger(text, trigger) for text in texts)
    first = f"{trigger}, {subset.caption_prefix}" if subset.caption_prefix else f"{trigger},"
    return replace(subset, caption_prefix=first) if lacking else subset


@dataclass
class _RunningSurvey:
    """State of a survey: cached facts, new facts and progress."""

    cache: SurveyCache
    on_progress: OnProgress
    whole: int
    done: int = 0
    new: list[Entry] = field(default_factory=list)

    def at_pictures(self, paths: Sequence[Path]) -> dict[Path, PictureFacts]:
        stamps = {path: _stamp(path) for path in paths}
        known = self._known(stamps)
        found = {path: facts for path, plain in _parsed(known) if (facts := _picture(path, plain))}
        self._count(len(found))
        new = [path for path in stamps if path not in found]
        if not new:
            return found  # and nothing of Pillow is imported
        logging.getLogger("PIL").addHandler(_SILENCE)
        with warnings.catch_warnings(), picture.limit_memory():
            warnings.simplefilter("ignore")  # warnings about odd pictures, which sd-scripts reads anyway
            for facts in self._looked(new):
                found[facts.path] = facts
                if facts.sha256:
                    self._keep((facts.path, stamps[facts.path], facts.sha256, _picture_text(facts)))
        return found

    def at_captions(self, paths: Sequence[Path]) -> dict[Path, Caption]:
        stamps = {path: _stamp(path) for path in paths}
        known = self._known(stamps)
        found = {path: read for path, plain in _parsed(known) if (read := _caption(path, plain))}
        unread = [path for path in stamps if path not in found]
        count, is_estimate = tokens.counter() if unread else (tokens.estimate, True)
        for path in unread:
            found[path] = read = caption.read(path, count, is_estimate=is_estimate)
            if read.error is None and not is_estimate and len(read.text) <= _LONGEST_KEPT:
                self._keep((path, stamps[path], "", _caption_text(read)))
        return found

    def at_texts(self, texts: Mapping[Path, str]) -> dict[Path, Caption]:
        """Captions from metadata, by picture. They have no files to inspect or cache."""
        count, is_estimate = tokens.counter() if texts else (tokens.estimate, True)
        return {path: caption.from_text(path, text, count, is_estimate=is_estimate) for path, text in texts.items()}

    def end(self) -> None:
        """Write new facts to the cache."""
        self.cache.keep(self.new)
        self.new.clear()
        self.cache.close()

    def _known(self, stamps: Mapping[Path, str]) -> dict[Path, str]:
        kept: Mapping[Path, Kept] = self.cache.of(list(stamps))
        return {path: facts for path, (stamp, facts) in kept.items() if stamp and stamp == stamps[path]}

    def _looked(self, paths: Sequence[Path]) -> Iterator[PictureFacts]:
        """Yield facts in order of completion. On interruption, only pictures being decoded are waited for."""
        memory, left, done = DecodeMemory(), deque(paths), SimpleQueue[PictureFacts | None]()
        pool = ThreadPoolExecutor(_cores())
        try:
            workers = [pool.submit(self._work, left, done, memory) for _ in range(_cores())]
            working = len(workers)
            while working:
                with contextlib.suppress(Empty):
                    facts = done.get(timeout=_MOMENT)
                    if facts is None:
                        working -= 1
                    else:
                        yield facts
                        self._count(1)
            for worker in workers:
                worker.result()  # re-raises unexpected errors
        finally:
            left.clear()
            pool.shutdown()

    def _work(self, left: deque[Path], done: SimpleQueue[PictureFacts | None], memory: DecodeMemory) -> None:
        """Inspect pictures one after the other. A task per picture would cost as much as a tiny picture itself."""
        try:
            while left:
                try:
                    path = left.popleft()
                except IndexError:  # another worker took the last one
                    return
                done.put(picture.read_facts(path, memory, self._before))
        finally:
            done.put(None)

    def _before(self, sha256: str, size: int) -> PictureFacts | None:
        text = self.cache.with_content(sha256)
        facts = next((_picture(path, plain) for path, plain in _parsed({Path(): text} if text else {})), None)
        return facts if facts and facts.bytes == size else None

    def _keep(self, entry: Entry) -> None:
        self.new.append(entry)
        if len(self.new) >= _KEPT_EVERY:
            self.cache.keep(self.new)
            self.new.clear()

    def _count(self, more: int) -> None:
        self.done += more
        self.on_progress(self.done, self.whole)


def _stamp(path: Path) -> str:
    """A value that changes with the file. Empty if unknown."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third faster than Path.stat
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _picture_text(facts: PictureFacts) -> str:
    plain = {key: value for key, value in vars(facts).items() if key != "path"}
    return json.dumps({**plain, "fault": facts.fault and facts.fault.value})


def _parsed(texts: Mapping[Path, str]) -> Iterable[tuple[Path, object]]:
    """Parse the cached text of each file. One invalid text causes everything to be inspected again.

    Parsing them all at once is three times as fast as one by one.
    """
    try:
        found = json.loads(f"[{','.join(texts.values())}]")
    except (ValueError, RecursionError):
        return ()
    return zip(texts, found, strict=True) if len(found) == len(texts) else ()


def _picture(path: Path, facts: object) -> PictureFacts | None:
    """The cached facts, or None if they are not ours."""
    if not isinstance(facts, dict) or facts.keys() != _FACTS:
        return None
    try:
        return PictureFacts(path, **{**facts, "fault": FileFault(facts["fault"]) if facts["fault"] else None})
    except ValueError:
        return None


def _caption_text(read: Caption) -> str:
    return json.dumps([read.text, read.lines, read.tokens])


def _caption(path: Path, kept: object) -> Caption | None:
    if not isinstance(kept, list) or len(kept) != _PARTS:
        return None
    text, lines, count = kept
    return Caption(path, text, lines, count, None)
