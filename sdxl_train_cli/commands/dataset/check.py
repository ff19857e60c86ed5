"""`sdxl-train dataset check`: every problem of a dataset, with files and remedies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, layout
from sdxl_train_cli.commands.dataset import training
from sdxl_train_cli.commands.dataset.options import DirectoryOfProject, Json
from sdxl_train_cli.commands.train_options import (
    BatchSize,
    Epochs,
    Preset,
    Reg,
    Repeats,
    Resolution,
    Set,
    Steps,
    Trigger,
    from_flags,
    typed,
)
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.dataset import checking
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.dataset.file_facts import Finding, below, shown
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.ui import console, dataset_facts

_MOST_NAMED = 10
"""Files listed per kind of problem."""

Strict = Annotated[bool, typer.Option("--strict", help="Fail on warnings too")]


def check(
    directory: DirectoryOfProject = None, preset: Preset = None, kind: KindFilter = None, trigger: Trigger = None,
    reg: Reg = None, repeats: Repeats = None, batch_size: BatchSize = None, steps: Steps = None, epochs: Epochs = None,
    resolution: Resolution = None, set_: Set = None, as_json: Json = False, strict: Strict = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Find what is wrong with pictures and captions. Exit code 4 where there are errors."""
    overrides = typed(
        from_flags({
            "train_batch_size": batch_size, "max_train_steps": steps, "max_train_epochs": epochs,
            "resolution": resolution,
        }),
        set_,
    )  # fmt: skip
    source = training.source(directory, reg, trigger, repeats)
    recipe = training.load(kind, preset, source.data, overrides, home)
    with console.picture_progress() as on_progress:
        checked = checking.check(source, recipe, on_progress)
    if as_json:
        _print_json(checked)
    else:
        _show(checked, source)
    if checked.errors or (strict and checked.findings):
        raise typer.Exit(DatasetError.exit_code)


def _print_json(checked: CheckedDataset) -> None:
    """Print JSON. Undecodable names are escaped, so that scripts can restore them."""
    findings = [dataset_facts.finding(each) for each in checked.findings]
    console.data({**_counts(checked), "findings": findings})


def _counts(checked: CheckedDataset) -> dict[str, int]:
    return {
        "pictures": len(checked.survey.distinct),
        "captions": sum(each.caption is not None for each in checked.survey.distinct),
        "errors": len(checked.errors),
        "warnings": len(checked.findings) - len(checked.errors),
    }


def _show(checked: CheckedDataset, source: DatasetSource) -> None:
    """Print each kind of problem with its files as named in the folder, and a summary as the last line."""
    root = layout.expand(source.data)
    reg = "" if source.regularisation is None else f" and {shown(layout.expand(source.regularisation))}"
    for finding in checked.findings:
        problem = Problem(finding.message(root), finding.remedy)
        console.finding(finding.severity.value, problem, _lines(finding, root))
    counts = _counts(checked)
    told = {each: formatting.counted(count, each.removesuffix("s")) for each, count in counts.items()}
    found = " and ".join(told[each] for each in ("errors", "warnings") if counts[each])
    console.out(f"{told['pictures']}, {told['captions']} in {shown(root)}{reg}: {found or 'nothing is wrong'}")


def _lines(finding: Finding, root: Path) -> list[str]:
    """The first files, unless the message names the only one, and how many more there are."""
    if finding.names_its_file:
        return []
    details = finding.details or ("",) * len(finding.files)
    named = [
        f"{shown(below(file, root))}: {detail}" if detail else shown(below(file, root))
        for file, detail in zip(finding.files, details, strict=True)
    ]  # fmt: skip
    more = len(named) - _MOST_NAMED
    return named if more < 2 else [*named[:_MOST_NAMED], f"and {more} more: --json names all"]  # noqa: PLR2004 - as long
