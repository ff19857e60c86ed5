"""Run sd-scripts' network trainer so that it saves a state when it is asked to end.

    python saving.py SCRIPT [args...]     run in the sd-scripts checkout, by the training environment's Python

After SIGTERM the step that is being made is ended and its state is saved, under the name that sd-scripts gives to the
state of a step; the process ends with the step after it, which is not counted. Before the first step there is nothing
to save, and it ends at once. Of several processes that train together, each ends at once, as without this script.
SCRIPT may be another script of this folder, such as scaled.py; sd-scripts' files stay as they are.

Relied upon: the trainer's bar named steps, whose `update` follows each optimizer step and precedes what sd-scripts
saves of it (v0.10.1, v0.11.1), accelerate's Accelerator.save_state, and the train_state.json that the trainer adds.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

ENDED = 128 + signal.SIGTERM
BAR = "steps"


class Saver:
    """Saves a state once it is asked to."""

    def __init__(self, output: Path, name: str) -> None:
        self.output, self.name = output, name
        self.accelerator: Any = None
        self.is_asked = self.is_saved = self.is_training = False
        self._process = os.getpid()

    def ask(self, _signum: int, _frame: object) -> None:
        """Take a SIGTERM. Its children, which load pictures, end with it."""
        if os.getpid() != self._process:
            return
        if not self.is_training:
            os._exit(ENDED)
        self.is_asked = True

    def step(self) -> None:
        """Called after each optimizer step."""
        self.is_training = True
        if self.is_saved:
            raise SystemExit(ENDED)
        if self.is_asked and self.accelerator is not None:
            print("saving state: asked to end", file=sys.stderr, flush=True)
            print(f"state saved: {self._save()}", file=sys.stderr, flush=True)
            self.is_saved = True

    def _save(self) -> Path:
        half = self.output / f"{self.name}-state.part"
        shutil.rmtree(half, ignore_errors=True)
        self.accelerator.save_state(str(half))
        step = json.loads((half / "train_state.json").read_text(encoding="utf-8"))["current_step"]
        whole = self.output / f"{self.name}-step{step:08d}-state"
        shutil.rmtree(whole, ignore_errors=True)
        half.rename(whole)
        return whole


def hook(saver: Saver) -> None:
    """Have accelerate and the bar tell the saver."""
    begin, update = Accelerator.__init__, tqdm.update

    @functools.wraps(begin)
    def begun(self: Any, *given: Any, **named: Any) -> None:  # noqa: ANN401  accelerate's
        begin(self, *given, **named)
        saver.accelerator = self

    @functools.wraps(update)
    def updated(self: Any, *given: Any, **named: Any) -> Any:  # noqa: ANN401  tqdm's
        if getattr(self, "desc", None) in {BAR, f"{BAR}: "}:
            saver.step()
        return update(self, *given, **named)

    Accelerator.__init__, tqdm.update = begun, updated


def told(argv: list[str], flag: str) -> str:
    """The value of an option that the script is given."""
    return argv[argv.index(flag) + 1]


def main(argv: list[str]) -> int:
    """Change what SIGTERM does, then become the script."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: saving.py SCRIPT [args...]", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    if os.environ.get("WORLD_SIZE", "1") == "1":
        saver = Saver(Path(told(argv, "--output_dir")), told(argv, "--output_name"))
        hook(saver)
        signal.signal(signal.SIGTERM, saver.ask)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
