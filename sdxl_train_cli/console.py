"""Everything a person sees: notes and bars on stderr, what a script would keep on stdout."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.progress import Event, Phase, Saved, Step
from sdxl_train_cli.training import Outcome

_PLAIN_SHARE = 0.05
"""Of all steps: how often a pipe or a log gets a line."""
_PLAIN_SECONDS = 60.0
_WIDEST = 10_000
"""Columns of a table that goes into a pipe or a file, where a row is one line."""


# Markup is off: a path such as `pictures [old]` must stand there as it is.
class _Lasting(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence: a reader that goes away (`| head`) must not end a training, as rich would."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


_err = _Lasting(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)
_out = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def out(text: str) -> None:
    """Print what a script would keep."""
    if sys.stdout is not None:  # it is where the caller closed it: >&-
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def note(text: str) -> None:
    """Tell the person who waits."""
    _err.print(text)


def warn(problem: Problem) -> None:
    """Tell what is odd but does not stop the run."""
    _told("warning: ", "yellow", problem)


def errors(problems: Iterable[Problem]) -> None:
    """Print every problem with its hint."""
    for problem in problems:
        _told("error: ", "bold red", problem)


def _told(label: str, style: str, problem: Problem) -> None:
    _err.print(Text(label, style=style) + Text(str(problem), style=""))
    if problem.hint:
        first, *rest = problem.hint.splitlines()
        _err.print(Text("hint:  ", style="cyan") + Text(first, style=""))
        for line in rest:
            _err.print(Text(" " * 7 + line))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """Print a table on stdout, in a pipe one line a row; columns whose heading ends in GB are set to the right."""
    grid = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, justify="right" if heading.endswith("GB") else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    if _out.is_terminal:
        _out.print(grid)
        return
    text = io.StringIO()
    Console(file=text, width=_WIDEST).print(grid)
    out("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def finished(outcome: Outcome) -> None:
    """Say that a run has delivered; the file's path goes to stdout."""
    loss = "" if outcome.loss is None else f", loss {outcome.loss:.4f}"
    note(f"done: {outcome.steps} steps in {clock(outcome.seconds)}{loss}")
    out(str(outcome.result))


class Bar:
    """A run as it goes: a live bar on a terminal, now and then a line elsewhere."""

    def __init__(self) -> None:
        self._live = _err.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            TimeElapsedColumn(),
            console=_err,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, facts="")
        self._told_step = 0
        self._told_at = -math.inf
        self._phase = ""

    def __enter__(self) -> Bar:  # noqa: PYI034 - typing.Self needs Python 3.11
        if self._live:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def show(self, event: Event) -> None:
        """Take one event of the run."""
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, Phase) and event.words != self._phase:
            self._phase = event.words
            self._bar.update(self._task, description=event.words)
            if not self._live:
                note(event.words)
        elif isinstance(event, Saved):
            note(f"saving {event.path}")

    def _step(self, event: Step) -> None:
        if self._live:
            self._bar.update(
                self._task, description="training", completed=event.step, total=event.steps, facts=_facts(event)
            )
            return
        due = event.step - self._told_step >= max(1, _PLAIN_SHARE * event.steps) or event.step == event.steps
        late = time.monotonic() - self._told_at >= _PLAIN_SECONDS
        if event.step > self._told_step and (due or late):
            self._told_step, self._told_at = event.step, time.monotonic()
            note(f"step {event.step} of {event.steps}  {_facts(event)}".rstrip())


def _facts(event: Step) -> str:
    facts = []
    if event.loss is not None:
        facts.append(f"loss {event.loss:.4f}")
    if event.seconds_per_step:
        slow = event.seconds_per_step >= 1
        facts.append(f"{event.seconds_per_step:.2f} s/step" if slow else f"{1 / event.seconds_per_step:.2f} steps/s")
    if event.seconds_left is not None and event.step < event.steps:
        facts.append(f"{clock(event.seconds_left)} left")
    return "  ".join(facts)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as people write them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
