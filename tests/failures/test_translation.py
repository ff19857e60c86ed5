"""Failures in Russian say what the English rows say: the same commands, options, paths and places."""

from __future__ import annotations

import re

import pytest

from sdxl_train_cli.failures import diagnosis, known_failures, translation
from sdxl_train_cli.failures.remedies import RunFacts

ROWS = {name: row for name, row in translation.rows().items() if name != translation.NOTES}
AT_HOME = 162
"""Failures that are told in Russian. More is better: raise it with them."""
SAME = re.compile(r"`[^`]+`|--[a-z][\w-]*|\b[a-z_]+=[\w.,]*\w|\{[^}]+\}|\.\w{3,}\b|\b[A-Z][A-Z0-9_]{3,}\b|\d+_cat")
"""What stays in any language: commands, flags, options with values, places to fill, suffixes, names of variables."""
SPELLED = {"CUDA", "NVIDIA", "GPU", "UTF", "JSON", "TOML"}


def kept(words: str) -> list[str]:
    return sorted(set(SAME.findall(words)) - SPELLED)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_has_the_commands_and_places_of_its_signature(name: str) -> None:
    signature, row = known_failures.by_name(name), ROWS[name]

    assert row.keys() == {"cause", "remedy"}
    assert (kept(row["cause"]), kept(row["remedy"])) == (kept(signature.cause), kept(signature.remedy))
    assert re.search("[\u0430-\u044f]", row["cause"])


def test_so_many_failures_are_told_in_russian() -> None:
    assert len(ROWS) == AT_HOME
    assert len(known_failures.load()) > AT_HOME


@pytest.mark.parametrize("name", ["gpu-memory", "nan-loss", "no-bf16", "no-data"])
def test_a_log_is_explained_in_russian_to_who_reads_it(name: str) -> None:
    lines = known_failures.by_name(name).sample.splitlines()

    english = diagnosis.explain(lines)
    russian = diagnosis.explain(lines, RunFacts(in_russian=True))

    assert english is not None
    assert russian is not None
    assert (russian.name, russian.evidence) == (english.name, english.evidence)
    assert russian.cause == ROWS[name]["cause"]
    assert kept(russian.remedy) == kept(english.remedy)
    assert "fp16 gives NaN" not in russian.remedy


def test_what_is_not_translated_is_told_in_english() -> None:
    lines = known_failures.by_name("block-lr").sample.splitlines()

    assert "block-lr" not in ROWS
    assert diagnosis.explain(lines, RunFacts(in_russian=True)) == diagnosis.explain(lines)
