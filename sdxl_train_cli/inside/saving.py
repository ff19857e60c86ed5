"""Run one of sd-scripts' training scripts so that it saves a state when it is asked to end.

    python saving.py SCRIPT [args...]     run in the sd-scripts checkout, by the training environment's Python

After SIGTERM the step that is being made is ended and its state is saved, under the name that sd-scripts gives to the
state of a step; the process ends with the step after it, which is not counted. Before the first step there is nothing
to save, and it ends at once. SCRIPT may be another script of this folder, such as scaled.py; sd-scripts' files stay as
they are. Of the full trainer, inside/counted.py writes into the state how far it is.

Several processes agree after each step whether one of them was asked, so that all end after the same one; the first
saves, as it does in sd-scripts. Their launcher gives them 30 seconds after a signal (torch's elastic agent). A file
`ASKED` in the output folder asks them without it, and they take the time that they need.

A state that was saved so is removed once a later one is whole: each may have the size of the model and its optimizer.

Relied upon: the trainer's bar named steps, whose `update` follows each optimizer step and whose `set_postfix` follows
what sd-scripts saves of it, in all processes (v0.10.1, v0.11.1); accelerate's Accelerator.save_state; and the
train_state.json that the network trainer adds.
"""

from __future__ import annotations

import functools
import importlib
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
ASKED = "stop-asked"
MARK = "saved_on_request"
"""File in a state that was saved because of a request."""


class Saver:
    """Saves a state once it is asked to."""

    def __init__(self, output: Path, name: str) -> None:
        self.output, self.name = output, name
        self.accelerator: Any = None
        self.is_asked = self.is_saved = self.is_training = self.is_new = False
        self._process = os.getpid()

    def ask(self, _signum: int, _frame: object) -> None:
        """Take a SIGTERM. Its children, which load pictures, end with it."""
        if os.getpid() != self._process:
            return
        if not self.is_training:
            os._exit(ENDED)
        self.is_asked = True

    def count(self) -> None:
        """Called after each optimizer step, before sd-scripts counts it."""
        self.is_training = self.is_new = True
        if self.is_saved:
            raise SystemExit(ENDED)

    def look(self) -> None:
        """Called once sd-scripts has counted and saved what it saves of a step."""
        if not self.is_new or self.accelerator is None:
            return
        self.is_new = False
        if not self._is_any_asked():
            return
        self.accelerator.wait_for_everyone()  # where inside/several.py has the processes tell their random numbers
        if self.accelerator.is_main_process:
            print("saving state: asked to end", file=sys.stderr, flush=True)
            try:
                print(f"state saved: {self._save()}", file=sys.stderr, flush=True)
            except (OSError, RuntimeError) as error:  # a full disk; torch has its own error for it
                shutil.rmtree(self._half, ignore_errors=True)
                print(f"no state saved: {error}", file=sys.stderr, flush=True)
        self.accelerator.wait_for_everyone()
        self.is_saved = True

    def _is_any_asked(self) -> bool:
        """Whether any of the processes was asked, by a signal or by the file, which the first looks for."""
        if self.accelerator.num_processes == 1:
            return self.is_asked
        torch = importlib.import_module("torch")
        mine = self.is_asked or (self.accelerator.is_main_process and (self.output / ASKED).exists())
        told = torch.tensor([float(mine)], device=self.accelerator.device)
        torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
        return bool(told.item())

    @property
    def _half(self) -> Path:
        return self.output / f"{self.name}-state.part"

    def _save(self) -> Path:
        shutil.rmtree(self._half, ignore_errors=True)
        self.accelerator.save_state(str(self._half))
        step = json.loads((self._half / "train_state.json").read_text(encoding="utf-8"))["current_step"]
        (self._half / MARK).touch()
        whole = self.output / f"{self.name}-step{step:08d}-state"
        if whole.exists():  # sd-scripts has just saved this step
            shutil.rmtree(self._half)
            return whole
        earlier = [mark.parent for mark in self.output.glob(f"*-state/{MARK}")]
        self._half.rename(whole)
        for state in earlier:
            shutil.rmtree(state, ignore_errors=True)
        return whole


def hook(saver: Saver) -> None:
    """Have accelerate and the bar tell the saver."""
    begin, made, update, named = Accelerator.__init__, tqdm.__init__, tqdm.update, tqdm.set_postfix

    @functools.wraps(begin)
    def begun(self: Any, *given: Any, **more: Any) -> None:  # noqa: ANN401  accelerate's
        begin(self, *given, **more)
        saver.accelerator = self

    @functools.wraps(made)
    def noted(self: Any, *given: Any, **more: Any) -> None:  # noqa: ANN401  tqdm's
        self.counts_steps = more.get("desc") == BAR  # a bar that is not shown does not keep its name
        made(self, *given, **more)

    @functools.wraps(update)
    def updated(self: Any, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        if getattr(self, "counts_steps", False):
            saver.count()
        return update(self, *given, **more)

    @functools.wraps(named)
    def postfixed(self: Any, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        found = named(self, *given, **more)
        if getattr(self, "counts_steps", False):
            saver.look()
        return found

    Accelerator.__init__ = begun
    tqdm.__init__, tqdm.update, tqdm.set_postfix = noted, updated, postfixed


def told(argv: list[str], flag: str) -> str:
    """The value of an option that the script is given."""
    return argv[argv.index(flag) + 1]


def main(argv: list[str]) -> int:
    """Change what SIGTERM does, then become the script."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: saving.py SCRIPT [args...]", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    saver = Saver(Path(told(argv, "--output_dir")), told(argv, "--output_name"))
    hook(saver)
    signal.signal(signal.SIGTERM, saver.ask)
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
