"""What lies in the folders of a dataset and was perhaps meant to be trained on, but is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sdxl_train_cli.dataset import folders
from sdxl_train_cli.dataset.facts import Finding
from sdxl_train_cli.dataset.kinds import WARNING, Kind

_OTHER = Kind(
    "other-format", WARNING, "{file}: sd-scripts reads no such pictures", "sd-scripts reads no such pictures",
    "convert them to png or jpg",
)  # fmt: skip
_UNREAD = Kind(
    "unread-caption", WARNING, "{file}: sd-scripts reads no caption from it",
    "sd-scripts reads no captions from these files", "the caption of cat.png is cat.txt",
)  # fmt: skip
_INNER = Kind(
    "skipped-folder", WARNING, "{file} has pictures, and sd-scripts does not look into folders of folders",
    "{count} folders have pictures, and sd-scripts does not look into folders of folders",
    "move the pictures up, or give each folder a number of repeats: 1_name",
)  # fmt: skip


def of(beside: Sequence[Path]) -> Iterator[Finding]:
    """Yield the findings."""
    visible = [path for path in beside if not path.name.startswith(".")]
    yield from _OTHER.found([(path, "") for path in visible if path.suffix.lower() in folders.OTHER_PICTURES])
    yield from _UNREAD.found(
        [(path, "") for path in visible if path.suffix.lower() in folders.CAPTION_SUFFIXES and not path.is_dir()]
    )
    yield from _INNER.found([(path, "") for path in visible if _has_pictures(path)])


def _has_pictures(path: Path) -> bool:
    try:
        return path.is_dir() and any(map(folders.is_picture, path.iterdir()))
    except OSError:
        return False
