"""Questions at a terminal. A wrong answer is asked again; a script is never asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from typing import TypeVar

import typer

from sdxl_train_cli.errors import UsageError

Answer = TypeVar("Answer")


def is_possible() -> bool:
    """Whether there is somebody to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, default: object, convert: Callable[[str], Answer]) -> Answer:
    """Ask until `convert` takes the answer, which raises typer.BadParameter for a wrong one."""
    try:
        with _questions_on_stderr():
            answer: Answer = typer.prompt(question, default=default, value_proc=convert, err=True)
    except typer.Abort as error:  # the input ended: Ctrl-D
        raise UsageError("the questions were not answered", "answer with flags instead: --help") from error
    return answer


def confirm(question: str, *, default: bool) -> bool:
    """Ask for yes or no."""
    try:
        with _questions_on_stderr():
            return typer.confirm(question, default=default, err=True)
    except typer.Abort as error:
        raise UsageError("the questions were not answered", "answer with flags instead: --help") from error


def _questions_on_stderr() -> AbstractContextManager[object]:
    """Keep stdout for results where it is no terminal: click writes the last blank of a question there."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    return nullcontext() if is_terminal else redirect_stdout(sys.stderr)


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Takes a choice, or enough of its first letters."""

    def chosen(text: str) -> str:
        typed = text.strip().lower()
        found = [choice for choice in choices if choice == typed or (typed and choice.startswith(typed))]
        if len(found) != 1:
            raise typer.BadParameter(f"one of: {', '.join(choices)}")
        return found[0]

    return chosen


def require_one_of(flag: str, typed: str, choices: Sequence[str]) -> str:
    """What was typed with a flag. UsageError if it is no choice."""
    if typed not in choices:
        raise UsageError(f"no {flag} '{typed}'", f"one of: {', '.join(choices)}")
    return typed
