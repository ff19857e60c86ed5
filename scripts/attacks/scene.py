"""What attacks by strangers share: the installed command, and a run that was passed on."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attacks import calls, judge
from attacks.tally import Problem
from attacks.world import World


def call(made: World, folder: Path, *argv: object, **environ: str) -> tuple[calls.Called, list[Problem]]:
    """Call it in this folder, and judge what every call must keep."""
    words = [str(word) for word in argv]
    called = calls.run(words, folder, made.environ(folder, **environ), made.logs, command())
    return called, list(judge.problems(called))


def command() -> tuple[str, ...]:
    """The installed command, which does not look for modules in the current folder as `python -m` does."""
    script = Path(sys.executable).with_name("sdxl-train")
    return (str(script),) if script.is_file() else calls.COMMAND


def foreign_run(made: World, folder: Path, change: Callable[[dict[str, Any]], None], *, ended: bool = False) -> Path:
    """A run as another person may pass it on, its record changed, cut off unless it has `ended`."""
    run = folder / "output" / "cat"
    shutil.copytree(made.run, run)
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record["inputs"]["output"] = str(run.parent)
    change(record)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    if not ended:
        (run / "outcome.json").unlink(missing_ok=True)
    return run
