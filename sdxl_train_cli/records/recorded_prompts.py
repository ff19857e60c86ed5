"""The prompts of a run's sample pictures, from the file that it drew them by."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.records import record
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import sample_prompts

_LONGEST = 64_000


def lines(entry: Loaded) -> list[str]:
    """The lines of the prompts' file as it is now, with their flags. sd-scripts stores no prompt with a picture."""
    path = file(entry)
    if path is None:
        return []
    with files.open_plain(path) as opened:
        text = opened.read(_LONGEST).decode("utf-8-sig", "replace")
    return sample_prompts.lines(text)


def file(entry: Loaded) -> Path | None:
    """The file with one prompt per line. None for a relative path, which depends on the folder."""
    setting = entry.record.settings.get(sample_prompts.PROMPTS)
    path = Path(str(setting.value)) if setting else Path()
    path = entry.folder / record.PROMPTS if are_ours(entry) else path
    return path if path.is_absolute() and path.suffix.lower() == ".txt" and files.is_file(path) else None


def changed_at(entry: Loaded) -> float | None:
    """When a person's own file was written, in seconds since 1970. None for the run's own, which stays as it was."""
    path = None if are_ours(entry) else file(entry)
    return None if path is None else path.stat().st_mtime


def are_ours(entry: Loaded) -> bool:
    """Whether the run's folder holds the prompts, as they were."""
    setting = entry.record.settings.get(sample_prompts.PROMPTS)
    return setting is not None and setting.origin == sample_prompts.ORIGIN
