"""Where runs are on disk, and what to type where none was found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records import record

USUAL_OUTPUT = "output"
"""Default output folder. Duplicates preparation's, whose import would take longer than listing all runs."""
_LONGEST_SHOWN, _MOST_NAMED = 300, 5
_ANY_RUN = f"give the run's folder: {USUAL_OUTPUT}/NAME"


def find(output: Path) -> Iterator[Path]:
    """Folders of runs directly in a folder. OSError if it can't be read."""
    if not files.exists(output):
        return
    with os.scandir(output) as found:
        for entry in found:
            if is_run(entry.path):
                yield Path(entry.path)


def is_run(folder: str) -> bool:
    """Whether a folder is a run's. Only the file is tested: another test per folder would be slow for thousands."""
    return os.path.isfile(os.path.join(folder, record.RUN))  # noqa: PTH113, PTH118 - as above


def no_run(text: str, output: Path, given: Path | None = None) -> Problem:
    """No run has this name. `given` is another folder that was typed beside it."""
    message = f"no run '{text[:_LONGEST_SHOWN]}' in {output}"
    if given is not None and text and files.is_file(given / text / record.RUN):
        return Problem(message, f"give the run's folder: {_typed(given / text)}")
    found = _readable(output)
    similar = formatting.suggestion(text, [folder.name for folder in found])
    if found:
        return Problem(message, similar or _one_of(found))
    nothing = "which has no runs" if files.exists(output) else "which does not exist"
    return Problem(f"{message}, {nothing}", _ANY_RUN)


def no_run_itself(folder: Path, output: Path) -> Problem:
    """A folder that was named is no run's."""
    found = _readable(output)
    message = f"{folder} is not a run's folder: it has no {record.RUN}"
    return holding_runs(folder) or Problem(message, _one_of(found) if found else _ANY_RUN)


def holding_runs(folder: Path) -> Problem | None:
    """A folder that was named holds the runs that may be meant. None if it doesn't."""
    found = _readable(folder) or _readable(folder / USUAL_OUTPUT)
    return Problem(f"{folder} is not a run's folder: it holds runs", _one_of(found)) if found else None


def none_listed(output: Path) -> Problem:
    """A folder has no runs to list."""
    message = f"no runs in {output}"
    if files.is_file(output / record.RUN):
        return Problem(f"{message}: it is a run itself", f"sdxl-train runs show {_typed(output)}")
    inside = output / USUAL_OUTPUT
    return Problem(message, f"sdxl-train runs list -o {_typed(inside) if _readable(inside) else 'FOLDER'}")


def _one_of(found: list[Path]) -> str:
    named = [_typed(folder) for folder in sorted(found)]
    return f"give one of them: {formatting.some(named, _MOST_NAMED)}"


def _readable(output: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(find(output))
    return []


def _typed(path: Path) -> str:
    return formatting.shell_word(layout.as_typed(path))
