"""All writing to stdout and stderr. Only terminal-safe text passes. Does not import rich, which is slow."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import TextIO

from sdxl_train_cli import visible
from sdxl_train_cli.errors import Problem, UsageError


def out(text: str) -> None:
    """Print one line to stdout. UsageError if stdout is a file on a full disk."""
    _keep(visible.line(text))


def document(text: str) -> None:
    """Print lines to stdout. Raises as `out`."""
    _keep(visible.lines(text))


def data(found: object, indent: int | None = 1) -> None:
    """Print JSON to stdout. Raises as `out`."""
    _keep(visible.as_json(found, indent))


def err(text: str) -> None:
    """Print one line to stderr."""
    _tell(visible.line(text))


def err_document(text: str) -> None:
    """Print lines to stderr."""
    _tell(visible.lines(text))


def err_problem(problem: Problem) -> None:
    """Print a problem with its hint to stderr, without rich."""
    err(f"error: {problem}")
    err_hint(problem)


def err_hint(problem: Problem) -> None:
    """Print a problem's hint to stderr, without rich."""
    for number, line in enumerate(problem.hint_lines):
        err(f"{' ' * 7 if number else 'hint:  '}{line}")


def questions_on_stderr() -> AbstractContextManager[object]:
    """Keep stdout for results where it is no terminal: click writes the last blank of a question there."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return nullcontext() if is_terminal else redirect_stdout(sys.stderr)


def _keep(text: str) -> None:
    if sys.stdout is None:  # where the caller closed it: >&-
        return
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        to_nowhere(sys.stdout)  # its buffer is lost anyway
        raise UsageError(
            f"stdout can't be written: {error.strerror}", "free some space, or redirect the output elsewhere"
        ) from error


def _tell(text: str) -> None:
    """Write to stderr. A failure is ignored, as it could not be reported."""
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
    """Redirect a stream to os.devnull, after its reader has gone or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
