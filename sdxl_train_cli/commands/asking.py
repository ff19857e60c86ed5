"""Questions at a terminal. A wrong answer is asked again; a script is never asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

from sdxl_train_cli import visible
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ui import console, printing

Answer = TypeVar("Answer")


def is_possible() -> bool:
    """Whether there is somebody to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, default: object, convert: Callable[[str], Answer]) -> Answer:
    """Ask until `convert` takes the answer, which raises typer.BadParameter for a wrong one."""
    try:
        with printing.questions_on_stderr():
            answer: Answer = typer.prompt(
                visible.line(question), default=default, value_proc=_taking(convert), err=True
            )
    except typer.Abort as error:
        raise _unanswered() from error
    return answer


def confirm(question: str, *, default: bool) -> bool:
    """Ask for yes or no."""
    try:
        with printing.questions_on_stderr():
            return typer.confirm(question, default=default, err=True)
    except typer.Abort as error:
        raise _unanswered() from error


def _unanswered() -> UsageError:
    """The input ended, by Ctrl-D; the cursor is still behind the question."""
    console.note("")
    return UsageError("the questions were not answered", "every question is a flag too: add --help to see them")


def _taking(convert: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """The same, with refusals that are safe to print."""

    def taken(text: str) -> Answer:
        try:
            return convert(text)
        except typer.BadParameter as error:
            raise typer.BadParameter(visible.line(error.message)) from error

    return taken


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
