"""Look at a model file and print what was found. What prints is imported while another process reads the weights."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.inspection import begun_look


def show(path: Path, installed: Environment | None, base: Path | None, *, as_json: bool) -> bool:
    """Print what was found. Returns whether the file is of use."""
    begun = begun_look.begin(path, installed, base)

    from sdxl_train_cli.run import inspecting  # noqa: PLC0415 - the weights are being read meanwhile
    from sdxl_train_cli.ui import inspected_file  # noqa: PLC0415 - as above

    inspected = inspecting.finish(begun)
    if as_json:
        inspected_file.show_json(path, inspected)
    else:
        inspected_file.show(path, inspected)
    return not any(finding.is_fatal for finding in inspected.findings)
