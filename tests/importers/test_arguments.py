"""Arguments parted by commas, as people type them into every program, come out of an import as they were meant."""

from __future__ import annotations

import json

import pytest
from foreign_files import entry, of_form, of_text, options

from sdxl_train_cli.importers.foreign_settings import KeyFate


@pytest.mark.parametrize(
    "written",
    ["weight_decay=0.5, betas=0.9,0.99", "weight_decay=0.5,betas=0.9,0.99", '"weight_decay=0.5", "betas=0.9, 0.99"'],
)
def test_a_forms_arguments_are_taken_apart_and_the_report_says_so(written: str) -> None:
    found = of_form(optimizer="AdamW8bit", optimizer_args=written)

    assert options(found)["optimizer_args"] == ("weight_decay=0.5", "betas=0.9,0.99")
    assert entry(found, "optimizer_args").what is KeyFate.COMPUTED
    assert entry(found, "optimizer_args").note == "taken apart as it was meant"


def test_a_command_lines_arguments_are_taken_apart() -> None:
    found = of_text(
        "accelerate launch sdxl_train_network.py --network_module networks.lora --network_dim 8 --resolution 1024"
        " --optimizer_type AdamW8bit --optimizer_args weight_decay=0.5, betas=0.9,0.99"
    )

    assert options(found)["optimizer_args"] == ("weight_decay=0.5", "betas=0.9,0.99")


def test_arguments_that_are_right_stay_as_they_are() -> None:
    found = of_form(optimizer="AdamW8bit", optimizer_args="weight_decay=0.5 betas=0.9,0.99")

    assert entry(found, "optimizer_args").note == ""
    assert json.dumps(options(found)["optimizer_args"]) == '["weight_decay=0.5", "betas=0.9,0.99"]'
