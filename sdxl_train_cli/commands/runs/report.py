"""`sdxl-train runs report`: a run as a web page."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.runs.showing import Run
from sdxl_train_cli.commands.workspace import OutputOption
from sdxl_train_cli.records import history
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.ui import console, run_page, run_page_data

To = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="The file to write [default: report.html in the run's folder]"),
]
Open = Annotated[bool, typer.Option("--open", help="Open it in the browser")]
NoHashes = Annotated[
    bool, typer.Option("--no-hashes", help="Skip SHA-256 checksums, which read every checkpoint in full")
]

_LARGE_BYTES = 2_000_000_000


def write_report(
    run: Run, to: To = None, open_: Open = False, no_hashes: NoHashes = False, output: OutputOption = None
) -> None:
    """Write an HTML report of a run. Curves, samples, settings and checkpoints; it needs no network."""
    entry = history.require(run, workspace.output(output))
    target = layout.expand(to) if to else entry.folder / run_page_data.FILE
    if files.is_folder(target):
        target /= f"{entry.name}.html"
    total = sum(made.size_bytes for made in results.checkpoints(entry.folder, entry.name))
    if total > _LARGE_BYTES and not no_hashes:
        console.note(
            f"reading {formatting.size(total)} of checkpoints for their checksums (--no-hashes leaves them out)"
        )
    run_page.write(
        run_page_data.gather(entry, formatting.shell_line(entry.record.argv), with_hashes=not no_hashes), target
    )
    console.out(str(target))
    if open_ and not webbrowser.open(target.as_uri()):
        console.note("no browser could be opened: open the file yourself")
