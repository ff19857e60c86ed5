"""Terminal output: notes and progress bars on stderr, results for scripts on stdout."""

from __future__ import annotations

import io
import re
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sdxl_train_cli import formatting, redact, visible
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.ui import wrapping
from sdxl_train_cli.ui.printing import data, document, out, to_nowhere

if TYPE_CHECKING:
    from sdxl_train_cli.run.training import RunResult

__all__ = [
    "bar",
    "can_encode",
    "data",
    "document",
    "err",
    "err_table",
    "errors",
    "finding",
    "finished",
    "note",
    "out",
    "progress_bar",
    "redraw",
    "sections",
    "table",
    "warn",
]

_WIDEST = 10_000
"""Table width in a pipe or file, where each row is one line."""
_NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?([%x]| [kMGT]?i?B)?")
_MOST_ERRORS = 50
_LONGEST_MESSAGE = 4000
"""Characters. What was typed may be longer than any screen."""
_NO_NUMBER = ("", "-")
"""Cells allowed in a column of numbers."""


# Markup is off: a path such as `pictures [old]` must be shown unchanged.
class _Lasting(Console):
    def on_broken_pipe(self) -> None:
        """Ignore a closed pipe (`| head`). rich would exit, and so end a training."""
        self.quiet = True
        to_nowhere(sys.stderr)


err = _Lasting(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
_out = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def note(text: str) -> None:
    """Print one line to stderr for the user."""
    for line in _lines(err, visible.line(text)):
        err.print(line)


def warn(problem: Problem) -> None:
    """Print a warning."""
    _print_problem("warning: ", "yellow", problem)


def errors(problems: Iterable[Problem]) -> None:
    """Print problems with their hints, up to a limit."""
    found = list(problems)
    for problem in found[:_MOST_ERRORS]:
        _print_problem("error: ", "bold red", problem)
    if len(found) > _MOST_ERRORS:
        note(f"and {len(found) - _MOST_ERRORS:,} more")


def _print_problem(label: str, style: str, problem: Problem) -> None:
    message = visible.line(redact.text(formatting.cut(str(problem), _LONGEST_MESSAGE)))
    _print_labelled(label, style, message)
    # Indented, so that no line of a hint looks like a new error.
    for number, line in enumerate(problem.hint_lines):
        _print_labelled(" " * 7 if number else "hint:  ", "cyan", visible.line(redact.text(line)))


def _print_labelled(label: str, style: str, text: str) -> None:
    first, *more = _lines(err, text, len(label))
    err.print(Text(label, style=style) + Text(first, style=""))
    for line in more:
        err.print(Text(line, style=""))


def _lines(console: Console, text: str, hanging: int = 0) -> list[str]:
    """The text, broken at words where a person reads it."""
    return wrapping.wrap(text, console.width, hanging) if console.is_terminal else [text]


def finding(label: str, problem: Problem, lines: Sequence[str]) -> None:
    """Print a finding on stdout, with its files below it."""
    hint = [] if problem.hint is None else [f"hint: {problem.hint}"]
    message = visible.line(problem.message)
    below = [f"  {visible.line(line)}" for line in (*lines, *hint)]
    if _out.is_terminal:
        first, *more = _lines(_out, message, len(label) + 2)
        _out.print(Text(f"{label}: ", style="bold red" if label == "error" else "yellow") + Text(first, style=""))
        for line in (*more, *(part for under in below for part in _lines(_out, under))):
            _out.print(Text(line, style=""))
    else:
        document("\n".join([f"{label}: {message}", *below]))


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    faint: Container[tuple[int, int]] = (),
) -> None:
    """Print a table on stdout, one line per row in a pipe. Columns of numbers are right-aligned.

    `faint` are cells, by row and column from 0, that a terminal shows dimmed.
    """
    _print(_grid(headings, rows, faint))


def _print(grid: Table) -> None:
    if _out.is_terminal:
        _out.print(grid)
    else:
        document(_in_lines(grid))


def sections(headings: Sequence[str], parts: Sequence[tuple[str, Sequence[Sequence[str]]]]) -> None:
    """Print one table in parts, each under a heading of its own. Columns stand below each other throughout."""
    every = [row for _, rows in parts for row in rows]
    whole = _grid(headings, every, ())
    widths = [max(map(len, (title, *(row[at] for row in every)))) for at, title in enumerate(headings)]
    for heading, rows in (("", ()), *parts):  # the first one is the line of column headings
        grid = _grid(headings, rows, ())
        grid.show_header = not rows
        for column, model, width in zip(grid.columns[:-1], whole.columns, widths, strict=False):
            column.justify, column.min_width = model.justify, width
        if heading:
            document(f"\n{heading}")
        _print(grid)


def err_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to stderr, if stdout is used for something else."""
    grid = _grid(headings, rows, ())
    if err.is_terminal:
        err.print(grid, soft_wrap=False)
    else:
        err.print(_in_lines(grid))


def _grid(headings: Sequence[str], rows: Iterable[Sequence[str]], faint: Container[tuple[int, int]]) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    known = [[visible.line(cell) for cell in row] for row in rows]
    for column, heading in enumerate(headings):
        numbers = heading.endswith("GB") or _are_numbers([row[column] for row in known])
        grid.add_column(Text(visible.line(heading)), justify="right" if numbers else "left", overflow="fold")
    for at, row in enumerate(known):
        grid.add_row(*(Text(cell, style="dim" if (at, column) in faint else "") for column, cell in enumerate(row)))
    return grid


def _are_numbers(cells: Sequence[str]) -> bool:
    told = [cell for cell in cells if cell not in _NO_NUMBER]
    return bool(told) and all(map(_NUMBER.fullmatch, told))


def _in_lines(grid: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=_WIDEST).print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().removesuffix("\n").split("\n"))


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal. Yields a function that takes finished and total counts."""
    from rich import progress  # noqa: PLC0415 - few commands draw a bar, and it takes long to import

    counted = progress.MofNCompleteColumn()
    columns = progress.TextColumn(what), progress.BarColumn(), counted, progress.TimeRemainingColumn()
    with progress.Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def picture_progress(what: str = "looking at pictures") -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar, by default for work on pictures. Yields None if there is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    with progress_bar(what) as on_progress:
        yield on_progress


def redraw(lines: Callable[[], Sequence[str]], seconds: float) -> None:
    """Draw lines of text anew every `seconds`. Blocks until a signal ends it."""
    with Live(console=err, auto_refresh=False) as live:
        while True:
            shown = lines()[: err.height + 1]  # one more than is seen, so that "..." tells of the rest
            text = Text("\n").join(map(Text, shown))
            text.no_wrap, text.overflow = True, "ellipsis"
            live.update(text, refresh=True)
            time.sleep(seconds)


def can_encode(letters: str, encoding: str) -> bool:
    """Whether an encoding contains all of these characters."""
    try:
        letters.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def bar(count: int, most: int, width: int = 24) -> str:
    """A bar of at most `width` characters for a table on stdout. Never empty for a nonzero count."""
    if not count:
        return ""
    block = "\u2588" if can_encode("\u2588", sys.stdout.encoding if sys.stdout is not None else "ascii") else "#"
    return block * max(1, round(width * count / most))


def finished(outcome: RunResult, then: Sequence[str] = (), *, is_told_as_json: bool = False) -> None:
    """Report success and what comes next. The result's path goes to stdout, unless JSON tells it."""
    loss = "" if outcome.loss is None else f", loss {outcome.loss:.4f}"
    found = "" if outcome.found is None else f"; {outcome.found}"
    whole = f", {outcome.steps - outcome.from_step} of them" if outcome.from_step else ""
    since = " since it was resumed" if outcome.from_step else ""
    note(f"done: {outcome.steps} steps{whole} in {formatting.clock(outcome.seconds)}{since}{loss}{found}")
    for line in then:
        note(line)
    if not is_told_as_json:
        out(str(outcome.result))
