"""The Typer app; main() is the only place that turns our errors into words and exit codes."""

from __future__ import annotations

import io
import sys

import typer

from sdxl_train_cli import process
from sdxl_train_cli.commands import init, presets, setup, smoke, train
from sdxl_train_cli.errors import SdxlTrainError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes in half the time
    help="Train SDXL with kohya-ss/sd-scripts: set up, checked before it starts, watched to its end.",
)
app.command()(setup.setup)
app.command()(smoke.smoke)
app.command()(init.init)
app.command("lora", help="Train a LoRA: small, quick, what most people want.")(train.train)
app.command("locon", help="Train a LoCon: a LoRA that reaches the convolutions too, for styles.")(train.train)
app.command("dreambooth", help="Train the whole U-Net into a new checkpoint: 35 GB of GPU memory and up.")(train.train)
app.add_typer(presets.app, name="presets", help="List, show and check presets.")


def main() -> None:
    """Run a command; every expected error is a line with a hint and has its own exit code."""
    _prepare_streams()
    process.stop_on_signals()
    try:
        app()
    except SdxlTrainError as error:
        from sdxl_train_cli import console

        console.errors(error.problems)
        sys.exit(error.exit_code)
    except process.Stopped as stop:
        sys.stderr.write("\nstopped\n")
        sys.exit(128 + stop.signum)


def _prepare_streams() -> None:
    """Let no letter that the terminal lacks end a run (a Windows code page, LANG=C)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
