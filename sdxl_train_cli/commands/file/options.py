"""Arguments and flags that several commands of `file` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands import asking
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.lora_files.result import MadeFile
from sdxl_train_cli.ui import console, file_facts

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file: a LoRA or its kin, or a checkpoint")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The new file [default: beside FILE, its name with an ending]"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite another file of that name. An input is never overwritten")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be made")]
Precision = Annotated[
    str | None,
    typer.Option(
        "--dtype", metavar="TYPE", help="Type of the new file's numbers: fp16, bf16 or float [default: FILE's]"
    ),
]
_PRECISIONS = ("fp16", "bf16", "float")
_OTHER_WORDS = {"float16": "fp16", "half": "fp16", "bfloat16": "bf16", "fp32": "float", "float32": "float"}


def path(typed: Path) -> Path:
    """The absolute path of a file that was typed."""
    return layout.expand(typed)


def precision(typed: str | None) -> str | None:
    """What was typed, by sd-scripts' name. UsageError for another word."""
    if typed is None:
        return None
    return asking.require_one_of("--dtype", _OTHER_WORDS.get(typed.lower(), typed.lower()), _PRECISIONS)


def tell(made: MadeFile, facts: dict[str, object], *, as_json: bool) -> None:
    """Print a result. Ends with exit code 4 if the file is of no use."""
    if as_json:
        console.data({**file_facts.made_facts(made), **facts})
    else:
        file_facts.tell_made(made)
    if not made.is_of_use:
        raise typer.Exit(ModelError.exit_code)


def tell_plan(path: Path, words: str, *, as_json: bool) -> None:
    """Print what would be made."""
    if as_json:
        console.data({"path": str(path), "dry_run": True, "plan": words})
    else:
        console.note(f"would write {path}: {words}")
