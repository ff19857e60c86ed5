"""The three ways in which the trainer speaks: plain prints, a logger and a bar."""

from __future__ import annotations

import sys
import textwrap
import time

WIDTH = 80
EIGHTHS = " ▏▎▍▌▋▊▉"


def say(text: str) -> None:
    """What accelerate prints: stdout, buffered in blocks where it is a pipe."""
    print(text)


class Logger:
    """Plain lines on stdout, a file, or rich's columns on stderr, which cut long words where the column ends."""

    def __init__(self, args) -> None:
        self.simple = args.console_log_simple
        self.file = args.console_log_file
        self.last_time = ""

    def info(self, text: str) -> None:
        self._write("INFO", text)

    def error(self, text: str) -> None:
        self._write("ERROR", text)

    def _write(self, level: str, text: str) -> None:
        if self.file:
            with open(self.file, "a", encoding="utf-8") as file:
                file.write(text + "\n")
        elif self.simple:
            print(text)
        else:
            self._columns(level, text, "train.py:1")

    def _columns(self, level: str, text: str, place: str) -> None:
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        shown, self.last_time = ("" if now == self.last_time else now), now
        room = WIDTH - 29 - len(place) - 1
        for number, line in enumerate(textwrap.wrap(text, room) or [""]):
            left = f"{shown:19} {level:8}" if number == 0 else " " * 28
            sys.stderr.write(f"{left} {line:{room}} {place if number == 0 else '':{len(place)}}\n")
        sys.stderr.flush()


def tqdm(steps, desc):
    """The bar of training, which bears no other name here."""
    return Bar(len(steps))


class Bar:
    """tqdm's line: a carriage return, then the line, and no line end before the bar is closed."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.started = time.monotonic()
        self.write(self.line(0, None))

    def line(self, done: int, loss: float | None) -> str:
        seconds = time.monotonic() - self.started
        share = done / self.total if self.total else 1
        speed = done / seconds if done and seconds else 0
        left = _clock((self.total - done) / speed) if speed else "?"
        rate = "?it/s" if not speed else f"{speed:5.2f}it/s" if speed >= 1 else f"{1 / speed:5.2f}s/it"
        tail = "" if loss is None else f", avr_loss={loss:.3g}"
        counts = f"{done}/{self.total} [{_clock(seconds)}<{left}, {rate}{tail}]"
        return f"\rsteps: {share * 100:3.0f}%|{_blocks(share)}| {counts}"

    def show(self, done: int, loss: float) -> None:
        self.write(self.line(done, loss))

    def close(self) -> None:
        self.write("\n")

    def write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def _blocks(share: float) -> str:
    full, eighth = divmod(int(share * 80), 8)
    try:
        EIGHTHS.encode(sys.stderr.encoding or "ascii")
        blocks = "█" * full + (EIGHTHS[eighth] if eighth else "")
    except UnicodeEncodeError:  # tqdm too falls back to ASCII
        blocks = "#" * full + (str(eighth) if eighth else "")
    return f"{blocks:10}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"
