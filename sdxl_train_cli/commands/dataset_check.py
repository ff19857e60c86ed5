"""`sdxl-train dataset check`: every problem of a dataset, with the files that have it and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdxl_train_cli.commands import place
from sdxl_train_cli.commands.train import BatchSize, Epochs, Preset, Reg, Repeats, Resolution, Set, Steps, Trigger

if TYPE_CHECKING:
    from sdxl_train_cli.dataset.checking import Checked
    from sdxl_train_cli.dataset.facts import Finding

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Pictures with captions, or a parent of N_name folders")]
KindOption = Annotated[str, typer.Option("--kind", "-k", help="lora, locon, loha, lokr or dreambooth")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on warnings too")]


def check(
    data: Folder, preset: Preset = None, kind: KindOption = "lora", trigger: Trigger = None, reg: Reg = None,
    repeats: Repeats = None, batch_size: BatchSize = None, steps: Steps = None, epochs: Epochs = None,
    resolution: Resolution = None, set_: Set = None, as_json: Json = False, strict: Strict = False,
) -> None:  # fmt: skip
    """Find what is wrong with pictures and captions. Exit code 4 where there are errors."""
    from sdxl_train_cli.commands.train import from_flags, from_set
    from sdxl_train_cli.dataset import checking
    from sdxl_train_cli.errors import DatasetError
    from sdxl_train_cli.preparation import DEFAULT_PRESETS
    from sdxl_train_cli.recipes import presets

    what = place.kind(kind)
    overrides = [*from_flags(batch_size, steps, epochs, resolution, None), *from_set(set_ or [])]
    recipe = presets.load(what, preset or DEFAULT_PRESETS[what], overrides, place.user_presets())
    source = checking.Source(data, Path(reg) if reg else None, repeats, trigger or None, "give")
    with place.looking() as on_progress:
        checked = checking.check(source, recipe, on_progress)
    if as_json:
        _print_json(checked)
    else:
        _show(checked)
    if checked.errors or (strict and checked.findings):
        raise typer.Exit(DatasetError.exit_code)


def _print_json(checked: Checked) -> None:
    """Names that are no text are escaped, so that a script gets them back."""
    import json

    from sdxl_train_cli import console

    console.out(json.dumps({**_counts(checked), "findings": [_facts(each) for each in checked.findings]}, indent=1))


def _facts(finding: Finding) -> dict[str, object]:
    details = finding.details or ("",) * len(finding.files)
    return {
        "kind": finding.kind,
        "severity": finding.severity.value,
        "message": finding.problem.message,
        "hint": finding.problem.hint,
        "files": [
            {"path": str(file), "detail": detail or None}
            for file, detail in zip(finding.files, details, strict=True)
        ],
    }  # fmt: skip


def _counts(checked: Checked) -> dict[str, int]:
    return {
        "pictures": len(checked.survey.seen),
        "captions": sum(each.caption is not None for each in checked.survey.seen),
        "errors": len(checked.errors),
        "warnings": len(checked.findings) - len(checked.errors),
    }


def _show(checked: Checked) -> None:
    """Each kind once, with all of its files; the last line sums up."""
    from sdxl_train_cli import console

    for finding in checked.findings:
        console.finding(finding.severity.value, finding.problem, _lines(finding))
    counts = _counts(checked)
    found = " and ".join(_number(counts[each], each) for each in ("errors", "warnings") if counts[each])
    seen = ", ".join(_number(counts[each], each) for each in ("pictures", "captions"))
    console.out(f"{seen}: {found or 'nothing is wrong'}")


def _lines(finding: Finding) -> list[str]:
    """The files, where the message does not name the only one."""
    from sdxl_train_cli.dataset.kinds import shown

    if len(finding.files) < 2:  # noqa: PLR2004 - one is named in the message
        return []
    details = finding.details or ("",) * len(finding.files)
    return [
        f"{shown(file)}: {detail}" if detail else shown(file)
        for file, detail in zip(finding.files, details, strict=True)
    ]  # fmt: skip


def _number(count: int, many: str) -> str:
    return f"{count} {many.removesuffix('s') if count == 1 else many}"
