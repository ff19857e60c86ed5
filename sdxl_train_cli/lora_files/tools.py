"""Run sd-scripts' own tools, and scripts of ours, that write a file."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdxl_train_cli import files, process
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.layout import Home

_COUNT = re.compile(r"(\d+)/(\d+)(?: \[|$)")
_ERROR = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception)): (.*)|^AssertionError: (.*)")
_NO_MEMORY = re.compile(r"MemoryError|not enough memory|can't allocate memory|out of memory", re.IGNORECASE)
_NO_ROOM = re.compile(r"No space left|Disk quota|os error 28", re.IGNORECASE)

Tell = Callable[[int, int], None]
"""Called with what is done and the total."""


@dataclass(frozen=True)
class Tools:
    """Where tools run, and where their output goes."""

    installed: Environment
    home: Home

    def require(self, script: str) -> None:
        """SetupError if this sd-scripts has no such tool."""
        if not files.is_file(self.installed.checkout / script):
            raise SetupError(f"this sd-scripts has no {script}", "install a newer one: sdxl-train setup --update")

    def run(self, words: Sequence[str], tell: Tell) -> None:
        """Run a script with its arguments to its end: one of ours by its name, or one of sd-scripts by its path.

        ModelError if it fails, with its last words.
        """
        checkout = self.installed.checkout
        script, *arguments = words
        argv = [str(self.installed.python), str(checkout / script if "/" in script else INSIDE / script), *arguments]
        paths = (checkout, checkout / "networks")  # the tools import `library`, and each other
        variables = {**environment.training_variables(), "HF_HUB_OFFLINE": "1"}
        variables["PYTHONPATH"] = (";" if process.WINDOWS else ":").join(map(str, paths))
        last, error = "it said nothing", None
        with files.open_new(self.home.tool_log) as log, process.Child(argv, cwd=checkout, env=variables) as child:
            for line in child.lines(log):
                if not line or not line.strip():
                    continue
                last = line.strip()
                error = last if _ERROR.match(last) else error
                if count := _COUNT.search(last):
                    tell(int(count[1]), int(count[2]))
            code = child.wait()
        if code != 0:
            raise ModelError(self._why(code, error or last), f"full log: {self.home.tool_log}")

    def _why(self, code: int, words: str) -> str:
        if (
            code == process.SIGNALLED + signal.SIGTERM.value
            or _NO_MEMORY.search(words)
            or code == process.SIGNALLED + 9
        ):
            return f"it ran out of memory, or was killed: {words}"
        return "the disk is full" if _NO_ROOM.search(words) else f"it failed: {words}"
