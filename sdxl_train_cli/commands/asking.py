"""Questions at a terminal. A wrong answer is asked again; a script is never asked."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import typer

from sdxl_train_cli import language, visible
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ui import console, printing

Answer = TypeVar("Answer")


def is_possible() -> bool:
    """Whether there is somebody to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(question: str, default: object, convert: Callable[[str], Answer], *, shows_default: bool = True) -> Answer:
    """Ask until `convert` takes the answer, which raises typer.BadParameter for a wrong one."""
    lines = _folded(visible.line(question), str(default) if shows_default else "")
    try:
        with printing.questions_on_stderr():
            answer: Answer = typer.prompt(
                "\n".join(lines),
                default=default,
                value_proc=_taking(convert),
                err=True,
                show_default=shows_default,
            )
    except typer.Abort as error:
        raise _unanswered() from error
    return answer


def _folded(question: str, default: str) -> list[str]:
    """The question in lines that leave room for its default and a short answer, broken at words."""
    room = shutil.get_terminal_size().columns - len(default) - _ANSWER
    return textwrap.wrap(question, max(_LEAST, room), subsequent_indent="   ", drop_whitespace=True) or [question]


_ANSWER, _LEAST = 16, 40
"""Columns kept for brackets and an answer, and the fewest for a question."""


def confirm(question: str, *, default: bool) -> bool:
    """Ask for yes or no. In Russian its words are taken too."""
    if language.is_russian():
        yes, no = language.said("start", "yes-or-no", "Y/n"), language.said("start", "no-or-yes", "y/N")
        shown, usual = (yes, "y") if default else (no, "n")
        return ask(f"{question} [{shown}]", usual, _yes_or_no, shows_default=False)
    try:
        with printing.questions_on_stderr():
            return typer.confirm(question, default=default, err=True)
    except typer.Abort as error:
        raise _unanswered() from error


def _unanswered() -> UsageError:
    """The input ended, by Ctrl-D; the cursor is still behind the question."""
    console.note("")
    told = language.problem(
        "unanswered", "the questions were not answered", "every question is a flag too: add --help to see them"
    )
    return UsageError(told)


def is_yes(text: str) -> bool | None:
    """Whether an answer says yes or no, in either language. None if it says neither."""
    typed = text.strip().lower()
    if typed in _YES:
        return True
    return False if typed in _NO else None


_YES, _NO = {"y", "yes", "д", "да"}, {"n", "no", "н", "нет"}


def _yes_or_no(text: str) -> bool:
    found = is_yes(text)
    if found is None:
        raise typer.BadParameter(language.said("start", "say-yes-or-no", "y or n"))
    return found


def _taking(convert: Callable[[str], Answer]) -> Callable[[str], Answer]:
    """The same, with refusals that are safe to print."""

    def taken(text: str) -> Answer:
        try:
            return convert(text)
        except typer.BadParameter as error:
            raise typer.BadParameter(visible.line(error.message)) from error

    return taken


def one_of(choices: Sequence[str], also: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """Takes a choice, or enough of its first letters; `also` has each choice's word in the person's language."""
    named = {choice: (choice, (also or {}).get(choice, choice)) for choice in choices}

    def chosen(text: str) -> str:
        typed = text.strip().lower()
        found = [choice for choice, words in named.items() if typed and any(word.startswith(typed) for word in words)]
        if len(found) != 1:
            told = language.said("start", "one-of", "one of: {choices}", choices=", ".join(choices))
            raise typer.BadParameter(told)
        return found[0]

    return chosen


def require_one_of(flag: str, typed: str, choices: Sequence[str]) -> str:
    """What was typed with a flag. UsageError if it is no choice."""
    if typed not in choices:
        raise UsageError(f"no {flag} '{typed}'", f"one of: {', '.join(choices)}")
    return typed
