"""The caches that a run would read are looked at, over all cores; one that is as it was is not opened again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sdxl_train_cli import layout
from sdxl_train_cli.dataset.survey_cache import Entry, SurveyCache
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.latent_caches import CacheFacts, CacheFault

_AT_ONCE = 200
"""Files that one worker looks at before it comes back for more."""
_PARTS = 2
"""Of what is kept of a cache: its shapes, its fault."""


def read(paths: Sequence[Path], cache_folder: Path | None = None) -> Mapping[Path, CacheFacts]:
    """Look at these files; those that are not there are left out."""
    stamps = {path: stamp for path in paths if (stamp := _stamp(path))}
    if not stamps:
        return {}
    cache = SurveyCache(cache_folder or layout.cache_folder(os.environ))
    try:
        kept = cache.of(list(stamps))
        found = {
            path: facts
            for path, (stamp, text) in kept.items()
            if stamp == stamps[path] and (facts := _parsed(text)) is not None
        }
        new = [path for path in stamps if path not in found]
        parts = [new[start : start + _AT_ONCE] for start in range(0, len(new), _AT_ONCE)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for part, looked in zip(parts, pool.map(_look, parts), strict=True):
                found.update(zip(part, looked, strict=True))
                cache.keep(_entry(path, stamps[path], facts) for path, facts in zip(part, looked, strict=True))
        return found
    finally:
        cache.close()


def _look(paths: Sequence[Path]) -> list[CacheFacts]:
    return [latent_caches.read(path) for path in paths]


def _entry(path: Path, stamp: str, facts: CacheFacts) -> Entry:
    return path, stamp, "", json.dumps([facts.shapes, facts.fault and facts.fault.value])


def _stamp(path: Path) -> str:
    """What changes when the file does; nothing where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third faster than the path's own
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _parsed(text: str) -> CacheFacts | None:
    """None where it is not as we keep it."""
    try:
        shapes, fault = json.loads(text)
        return CacheFacts(
            {str(key): tuple(sides) for key, sides in shapes.items()}, CacheFault(fault) if fault else None
        )
    except (ValueError, TypeError, AttributeError):
        return None
