"""`sdxl-train doctor`: try what runs need here, say what is broken, and mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import doctor, doctor_facts, mending
from sdxl_train_cli.environment.doctor import CheckResult, CheckStatus
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.ui import console

Fix = Annotated[bool, typer.Option("--fix", help="Mend what can be: packages, sd-scripts' files, tokenizers")]
Json = Annotated[bool, typer.Option("--json", help="Print every check as JSON")]


def examine(fix: Fix = False, output: OutputOption = None, json: Json = False, home: HomeOption = None) -> None:
    """Find what is broken in this installation, and mend it."""
    where, runs = workspace.home(home), workspace.output(output)
    console.note("trying what a training needs: a minute or two")
    facts = doctor_facts.gather(where, runs)
    if fix and any(result.is_fault for result in doctor.judge(facts)):
        facts = mending.mend(where, runs, facts, console.note)
    results = doctor.judge(facts)
    if json:
        console.data([_as_data(result) for result in results])
    else:
        console.document("\n".join(line for result in results for line in _lines(result)))
        console.note(_summary(results))
    if any(result.is_error for result in results):
        raise typer.Exit(SetupError.exit_code)


def _as_data(result: CheckResult) -> dict[str, Any]:
    return {
        "check": result.row.name,
        "tried": result.row.tried,
        "status": result.status.value,
        "error": result.is_error,
        "found": result.found,
        "subject": result.subject,
        "seconds": result.seconds,
        "hint": result.hint,
    }


def _lines(result: CheckResult) -> list[str]:
    found = f": {result.found}" if result.found else ""
    line = f"{result.status.value:<{_WIDTH}} {result.row.tried}{found}"
    return [line, f"{'':<{_WIDTH}} hint: {result.hint}"] if result.hint else [line]


_WIDTH = max(len(status.value) for status in CheckStatus)


def _summary(results: Sequence[CheckResult]) -> str:
    errors = sum(result.is_error for result in results)
    warnings = sum(result.is_fault for result in results) - errors
    counted = formatting.counted(len(results), "check")
    if not errors and not warnings:
        return f"{counted}: all well"
    return f"{counted}: {formatting.counted(errors, 'error')}, {formatting.counted(warnings, 'warning')}"
