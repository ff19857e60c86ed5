"""The Typer app; main() is the only place that turns our errors into words and exit codes."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import __version__, signals
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

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes in half the time
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sdxl-train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it")
    ] = False,
) -> None:
    """Train SDXL with kohya-ss/sd-scripts: set up, checked before it starts, watched to its end."""


app.command()(setup.setup)
app.command()(smoke.smoke)
app.command()(init.init)
app.command("lora", help="Train a LoRA: small, quick, the usual choice.")(train.train)
app.command("locon", help="Train a LoCon: convolutions too, for styles.")(train.train)
app.command("loha", help="Train a LoHa: two LoRAs multiplied, for many subjects.")(train.train)
app.command("lokr", help="Train a LoKr: the closest likeness for its size.")(train.train)
app.command("dreambooth", help="Train the whole U-Net: 35 GB of VRAM and up.")(train.train)
app.command()(vram.plan)
app.command()(fit.fit)
app.command()(vram.vram)
app.add_typer(runs.app, name="runs", help="Look back on runs: list, show, compare, repeat, report.")
presets.app.command("new")(preset_new.new)
presets.app.command("diff")(preset_diff.diff)
presets.app.command("schema")(preset_schema.schema)
presets.app.command("import")(exchange.import_)
presets.app.command("export")(exchange.export)
app.add_typer(dataset.app, name="dataset", help="Look at pictures and captions before they waste a night.")
app.add_typer(presets.app, name="presets", help="List, show and check presets.")


def main() -> None:
    """Run a command; every expected error is a line with a hint and has its own exit code."""
    _prepare_streams()
    signals.raise_stopped()
    try:
        _require_folder()
        app()
    except SdxlTrainError as error:
        from sdxl_train_cli import console

        console.errors(error.problems)
        sys.exit(error.exit_code)
    except signals.Stopped as stop:
        sys.stderr.write("\nstopped\n")
        sys.exit(128 + stop.signum)


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
