"""The door to stdout and stderr: only visible text passes. It does without rich, whose import takes its time."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from sdxl_train_cli import visible
from sdxl_train_cli.errors import Problem, UsageError


def out(text: str) -> None:
    """Print one line that a script would keep; UsageError where it goes into a file on a full disk."""
    _keep(visible.line(text))


def document(text: str) -> None:
    """Print lines that a script would keep; raises as `out`."""
    _keep(visible.lines(text))


def data(found: object, indent: int | None = 1) -> None:
    """Print JSON; raises as `out`."""
    _keep(visible.as_json(found, indent))


def err(text: str) -> None:
    """Print one line for the person who waits."""
    _tell(visible.line(text))


def err_document(text: str) -> None:
    """Print lines for the person who waits."""
    _tell(visible.lines(text))


def err_problem(problem: Problem) -> None:
    """Print what is wrong, with its hint, where nothing may be drawn any more."""
    err(f"error: {problem}")
    for number, line in enumerate(problem.hint_lines):
        err(f"{' ' * 7 if number else 'hint:  '}{line}")


def _keep(text: str) -> None:
    if sys.stdout is None:  # where the caller closed it: >&-
        return
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        to_nowhere(sys.stdout)  # what it still holds is lost anyway
        raise UsageError(f"stdout can't be written: {error.strerror}", "free some space, or print elsewhere") from error


def _tell(text: str) -> None:
    """Nobody can be told that telling failed."""
    if sys.stderr is None:
        return
    try:
        _write(sys.stderr, text)
    except OSError:
        to_nowhere(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def to_nowhere(stream: TextIO) -> None:
    """Let all that is still written to a stream be lost, whose reader is gone or whose disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
