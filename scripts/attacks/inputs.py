"""The doors of the product that the fuzzer tries, each with what makes a hostile input for it."""

from __future__ import annotations

from collections.abc import Callable

from attacks import command_lines, documents, odd_pictures, remains
from attacks.attempt import Attempt

DOORS: dict[str, Callable[[Attempt], None]] = {
    "preset": documents.preset,
    "project": documents.project,
    "foreign": documents.foreign,
    "trained": documents.trained,
    "model": documents.model,
    "dataset-config": documents.dataset_config,
    "metadata": documents.metadata,
    "pictures": odd_pictures.pictures,
    "record": remains.record,
    "home": remains.home,
    "log": documents.log,
    "command-line": command_lines.command_line,
}
ORDER = (*DOORS, "record", "command-line", "metadata", "command-line")
"""Some have more to be tried than others."""
