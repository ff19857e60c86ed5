"""The Typer app; main() is the only place that turns our errors into words and exit codes."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from sdxl_train_cli import __version__, signals, visible
from sdxl_train_cli.commands import (
    dataset,
    exchange,
    fit,
    init,
    preset_diff,
    preset_new,
    preset_schema,
    presets,
    runs,
    setup,
    smoke,
    train,
    vram,
)
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.ui import printing

_ClickUsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""click's own, or that of typer's copy of click; typer gives no other name to it."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes in half the time
)


def _print_version(wanted: bool) -> None:
    if wanted:
        printing.out(f"sdxl-train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it")
    ] = False,
) -> None:
    """Train SDXL with kohya-ss/sd-scripts: set up, checked before it starts, watched to its end."""


_LARGE = (
    "On 24 GB add `--set fused_backward_pass=true`; from 32 GB on the preset gc fits as it is. Smaller cards: "
    "`sdxl-train plan --kind dreambooth`."
)

app.command()(setup.setup)
app.command()(smoke.smoke)
app.command()(init.init)
app.command("lora", help="Train a LoRA: small, quick, the usual choice.")(train.train)
app.command("locon", help="Train a LoCon: convolutions too, for styles.")(train.train)
app.command("loha", help="Train a LoHa: two LoRAs multiplied, for many subjects.")(train.train)
app.command("lokr", help="Train a LoKr: the closest likeness for its size.")(train.train)
app.command("dreambooth", help=f"Train the whole U-Net: 24 GB of VRAM and up.\n\n{_LARGE}")(train.train)
app.command()(vram.plan)
app.command()(fit.fit)
app.command()(vram.vram)
presets.app.command("new")(preset_new.new)
presets.app.command("diff")(preset_diff.diff)
presets.app.command("schema")(preset_schema.schema)
presets.app.command("import")(exchange.import_)
presets.app.command("export")(exchange.export)
app.add_typer(dataset.app, name="dataset", help="Check, show, repair and caption your pictures.")
app.add_typer(presets.app, name="presets", help="List, show, check, import and export presets.")
app.add_typer(runs.app, name="runs", help="Look back on runs, and go on with them.")


def main() -> None:
    """Run a command; every error is a line with a hint and has its own exit code."""
    _prepare_streams()
    signals.raise_stopped()
    try:
        sys.exit(_code())
    except signals.Stopped as stop:
        printing.told("")
        printing.told("stopped")
        sys.exit(128 + stop.signum)


def _code() -> int:
    """Run a command and give its exit code."""
    try:
        _require_folder()
        code = app(standalone_mode=False)
    except SdxlTrainError as error:
        from sdxl_train_cli.ui import console

        console.errors(error.problems)
        return error.exit_code
    except _ClickUsageError as error:
        return _misused(error)
    except typer.Abort:
        printing.told("Aborted!")
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, a person is told in a line and not in a traceback
        from sdxl_train_cli import fault

        problem, code = fault.explained(error, os.environ)
        printing.told_error(problem)
        return code
    return code if isinstance(code, int) else 0


def _misused(error: typer.BadParameter) -> int:
    """Tell what click says of the command line; what was typed stands in it."""
    words = io.StringIO()
    is_help = error.ctx is not None and error.message == error.ctx.get_help()  # where nothing was typed
    error.message = error.message if is_help else visible.line(error.message)
    error.show(words)
    printing.told_document(words.getvalue().rstrip("\n"))
    return UsageError.exit_code


def _require_folder() -> None:
    """Every relative path would fail later, each in its own way."""
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError("the current folder is gone", "change into a folder that exists") from error


def _prepare_streams() -> None:
    """Let no letter that the terminal lacks end a run (a Windows code page, LANG=C)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
