"""Files in a dataset's folders that training ignores, although they may have been meant for it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import folders, picture_names
from sdxl_train_cli.dataset.file_facts import Finding
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind
from sdxl_train_cli.dataset.picture_names import InnerFolders

_OTHER = FindingKind(
    "other-format", WARNING, "{file}: sd-scripts can't read this kind of picture",
    "sd-scripts can't read this kind of picture",
    "convert them to png or jpg",
)  # fmt: skip
_UNREAD = FindingKind(
    "unread-caption", WARNING, "{file}: sd-scripts does not read it as a caption",
    "sd-scripts does not read these files as captions",
    "the caption of cat.png is cat.txt; `sdxl-train dataset fix` names those like cat.png.txt so in a copy",
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
    yield from _OTHER.of_files([(path, "") for path in visible if path.suffix.lower() in picture_names.OTHER_PICTURES])
    yield from _UNREAD.of_files(
        [(path, "") for path in visible if path.suffix.lower() in folders.CAPTION_SUFFIXES and not path.is_dir()]
    )
    loops = {path for path in visible if _leads_back(path)}
    yield from _LOOP.of_files([(path, "") for path in visible if path in loops])
    look = InnerFolders()
    inner = [path for path in visible if path not in loops and files.is_folder(path)]
    yield from _INNER.of_files(
        [(path, "") for path in inner if picture_names.holds_pictures(path) or look.nearest(path) is not None]
    )


def _leads_back(path: Path) -> bool:
    """Whether it is a link to itself or to a folder that contains it."""
    try:
        return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        return isinstance(error, RuntimeError) or error.errno == errno.ELOOP
