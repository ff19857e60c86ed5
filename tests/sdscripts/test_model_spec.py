"""Keys of the ModelSpec stand in one place, and are those that sd-scripts writes."""

from __future__ import annotations

import re
from pathlib import Path

import sdxl_train_cli
from sdxl_train_cli.sdscripts import model_spec

PACKAGE = Path(sdxl_train_cli.__file__).parent


def test_keys_and_values_of_the_model_spec_are_written_once() -> None:
    values = [model_spec.SDXL, model_spec.STABILITY_AI, model_spec.COMFYUI]
    written = re.compile("|".join([r"[\"']modelspec\.", *(rf"[\"']{re.escape(value)}" for value in values)]))

    found = {
        path.name
        for path in PACKAGE.rglob("*.py")
        if path.parent.name != "inside" and written.search(path.read_text(encoding="utf-8"))
    }

    assert found == {"model_spec.py"}
