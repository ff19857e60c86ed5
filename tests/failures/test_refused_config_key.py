"""What sd-scripts refuses of a dataset config is told with the key and its place."""

from __future__ import annotations

import pytest

from sdxl_train_cli.failures import diagnosis

INVALID = "voluptuous.error.MultipleInvalid: "


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        ("extra keys not allowed @ data['datasets'][0]['subsets'][1]['is_reg']",
         "dataset 1, subset 2: sd-scripts takes no 'is_reg' there", "dataset check"),
        ("extra keys not allowed @ data['datasets'][2]['reso']", "dataset 3: sd-scripts takes no 'reso'", "check"),
        ("extra keys not allowed @ data['settings']", "a table or key 'settings'", "dataset check"),
        ("extra keys not allowed @ data['max_train_epochs']", "settings of a training, such as 'max_train_epochs'",
         "presets import"),
        ("expected int for dictionary value @ data['datasets'][0]['batch_size']",
         "dataset 1: 'batch_size' has a wrong value: expected int for dictionary value", "dataset check"),
    ],
)  # fmt: skip
def test_a_refused_key_is_told_with_its_place_and_the_command_for_the_file(error: str, cause: str, remedy: str) -> None:
    found = diagnosis.explain([INVALID + error])

    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy
