"""A sweep as a self-contained web page."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.sweeps.comparing import Comparison
from sdxl_train_cli.sweeps.sweep import Sweep
from sdxl_train_cli.ui import run_page, web_page


def write(sweep: Sweep, found: Comparison, target: Path) -> None:
    """Write the page atomically. UsageError if that fails."""
    web_page.write(run_page.with_plots({"name": sweep.name, "points": len(found.points)}, "", ""), target, "--to")
