from __future__ import annotations

import pytest

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.run import validating
from sdxl_train_cli.sdscripts import sample_prompts


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("dim32-gc.yaml:7", Origin("dim32-gc.yaml", 7)),
        ("C:/mine/own.yml:12", Origin("C:/mine/own.yml", 12)),
        ("--set", Origin("--set")),
        ("--on-oom step-down", Origin("--on-oom step-down")),
        ("pictures.toml", Origin("pictures.toml")),
        ("", Origin()),
    ],
)
def test_an_origin_is_read_as_it_was_written(text: str, origin: Origin) -> None:
    assert Origin.parse(text) == origin
    assert str(origin) == text


@pytest.mark.parametrize(
    ("written", "now"), [("the samples", sample_prompts.ORIGIN), ("the validation", validating.OF_DEFAULT)]
)
def test_what_earlier_records_call_by_another_name_is_known(written: str, now: Origin) -> None:
    assert Origin.parse(written) == now
    assert str(now).startswith("chosen for ")


@pytest.mark.parametrize(
    ("where", "text"),
    [(None, "is odd"), (Origin(), "is odd"), (Origin("a.yaml", 3), "a.yaml:3: is odd"), ("a.yaml", "a.yaml: is odd")],
)
def test_a_problem_says_where_it_is_as_far_as_that_is_known(where: Origin | str | None, text: str) -> None:
    assert str(Problem("is odd", where=where)) == text
