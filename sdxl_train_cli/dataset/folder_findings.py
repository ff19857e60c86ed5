"""Files in a dataset's folders that training ignores, although they may have been meant for it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import folders
from sdxl_train_cli.dataset.file_facts import Finding
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind

_MOST_FOLDERS = 10_000
"""Limit for inner folders to look into, in total."""

_OTHER = FindingKind(
    "other-format", WARNING, "{file}: sd-scripts can't read this kind of picture",
    "sd-scripts can't read this kind of picture",
    "convert them to png or jpg",
)  # fmt: skip
_UNREAD = FindingKind(
    "unread-caption", WARNING, "{file}: sd-scripts does not read it as a caption",
    "sd-scripts does not read these files as captions", "the caption of cat.png is cat.txt",
)  # fmt: skip
_INNER = FindingKind(
    "skipped-folder", WARNING, "{file} has pictures, but sd-scripts does not look into nested folders",
    "{count} folders have pictures, but sd-scripts does not look into nested folders",
    "move the pictures up, or give each folder a number of repeats: 1_name",
)  # fmt: skip
_LOOP = FindingKind(
    "link-loop", ERROR, "{file} is a link that leads back to its own folder",
    "{count} links lead back to their own folders", "delete it",
)  # fmt: skip


def find(beside: Sequence[Path]) -> Iterator[Finding]:
    """Yield the findings."""
    visible = [path for path in beside if not path.name.startswith(".")]
    yield from _OTHER.of_files([(path, "") for path in visible if path.suffix.lower() in folders.OTHER_PICTURES])
    yield from _UNREAD.of_files(
        [(path, "") for path in visible if path.suffix.lower() in folders.CAPTION_SUFFIXES and not path.is_dir()]
    )
    loops = {path for path in visible if _leads_back(path)}
    yield from _LOOP.of_files([(path, "") for path in visible if path in loops])
    left = _Left(_MOST_FOLDERS)
    inner = [path for path in visible if path not in loops and files.is_folder(path)]
    yield from _INNER.of_files([(path, "") for path in inner if _has_pictures(path, left)])


def _leads_back(path: Path) -> bool:
    """Whether it is a link to itself or to a folder that contains it."""
    try:
        return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        return isinstance(error, RuntimeError) or error.errno == errno.ELOOP


@dataclass
class _Left:
    """How many folders may still be looked into."""

    folders: int


def _has_pictures(path: Path, left: _Left) -> bool:
    """Whether the folder contains pictures at any depth. Links are not followed."""
    waiting = [os.fspath(path)]
    while waiting and left.folders > 0:
        left.folders -= 1
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif folders.is_picture_name(entry.name):
                    return True
    return False
