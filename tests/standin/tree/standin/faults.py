"""What goes wrong when STANDIN_FAIL asks for it; the table is in this package's docstring."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

AT_ONCE = ("exit-0-silently", "hang", "ignore-sigterm")
BEFORE_TRAINING = ("tokenizer",)
AFTER_A_STEP = ("oom", "crash", "sigkill", "garbage", "grandchild")
FROM_A_STEP = ("nan",)
AT_A_SAVE = ("half-file", "disk-full")
AT_THE_END = ("no-model-saved", "saved-but-absent")
NAMES = (*AT_ONCE, *BEFORE_TRAINING, *AFTER_A_STEP, *FROM_A_STEP, *AT_A_SAVE, *AT_THE_END)


class OutOfMemoryError(RuntimeError):
    """Printed under torch's name."""


OutOfMemoryError.__module__ = "torch"


def number(name: str, otherwise: float) -> float:
    return float(os.environ.get(name) or otherwise)


class Fault:
    """At most one thing that goes wrong, and when."""

    def __init__(self) -> None:
        self.name, _, step = os.environ.get("STANDIN_FAIL", "").partition("@")
        self.step = int(step) if step else None
        if self.name and self.name not in NAMES:
            raise SystemExit(f"STANDIN_FAIL: no failure named {self.name!r}; there are: {', '.join(NAMES)}")

    def at_once(self) -> None:
        if self.step is None and self.name in AT_ONCE:
            self._happen(0, None)

    def before_training(self) -> None:
        if self.step is None and self.name in BEFORE_TRAINING:
            self._happen(0, None)

    def after_step(self, step: int, bar) -> None:
        happens = self.name in AFTER_A_STEP and step == (self.step or 1)
        late = self.name in AT_ONCE + BEFORE_TRAINING and step == self.step
        if happens or late:
            self._happen(step, bar)

    def loss(self, step: int) -> float:
        if self.name == "nan" and step >= (self.step or 1):
            return float("nan")
        return 0.08 + 0.06 / step

    def write(self, path: str, data: bytes, step: int) -> None:
        """Write a checkpoint, whole unless this is the save that fails."""
        strikes = self.name in AT_A_SAVE and step >= (self.step or 0)
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2] if strikes else data)
        if strikes and self.name == "half-file":
            wait()
        if strikes:
            raise OSError(errno.ENOSPC, "No space left on device", path)

    @property
    def withholds_file(self) -> bool:
        return self.name in AT_THE_END

    @property
    def withholds_word(self) -> bool:
        return self.name == "no-model-saved"

    def _happen(self, step: int, bar) -> None:
        if self.name == "exit-0-silently":
            os._exit(0)
        elif self.name == "hang":
            wait()
        elif self.name == "ignore-sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        elif self.name == "tokenizer":
            raise OSError("Can't load tokenizer for 'openai/clip-vit-large-patch14'.")
        elif self.name == "oom" and os.environ.get("STANDIN_OOM_UNLESS") not in sys.argv:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        elif self.name == "crash":
            raise RuntimeError("the stand-in was told to crash")
        elif self.name == "sigkill":
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        elif self.name == "garbage":
            _garbage(bar.line(step, self.loss(step)))
        elif self.name == "grandchild":
            _grandchild()


def wait() -> None:
    time.sleep(number("STANDIN_WAIT_SECONDS", 600))
    os._exit(1)


def _garbage(line: str) -> None:
    sys.stdout.flush()
    for stream in (sys.stdout.buffer, sys.stderr.buffer):
        stream.write(b"\xff\xfe\x00\x9f not text \xc3\x28\n")
        stream.write(b"x" * 1_048_576)
        stream.flush()
    bar = line.encode("utf-8")
    middle = bar.find(b"\x96") if b"\x96" in bar else len(bar) // 2  # inside a block character
    for part in (bar[:middle], bar[middle:]):
        sys.stderr.buffer.write(part)
        sys.stderr.buffer.flush()
        time.sleep(0.05)


def _grandchild() -> None:
    seconds = number("STANDIN_WAIT_SECONDS", 600)
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    child.returncode = 0  # so that nobody waits for it or warns of it
    print(f"grandchild {child.pid}", flush=True)
