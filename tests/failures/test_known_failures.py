"""Each row of the files of signatures is one fact: it has a source and a sample, and its sample is explained by it."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import tomli
from failure_logs import LOGS

from sdxl_train_cli.failures import diagnosis, known_failures
from sdxl_train_cli.failures.diagnosis import Ending
from sdxl_train_cli.failures.signature import Signature

ROWS = known_failures.load()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_has_a_source_a_sample_and_words(row: Signature) -> None:
    assert all(text.strip() for text in (row.source, row.sample, row.cause, row.remedy))
    assert re.compile(row.pattern)
    assert re.compile(row.within or "")
    assert re.compile(row.without or "")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_sample_is_explained_by_its_row(row: Signature) -> None:
    """By that alone, whatever comes before or behind it in the files."""
    found = diagnosis.examine(LOGS[row.name].splitlines())

    assert found.ending is Ending.KNOWN
    assert found.diagnosis is not None
    assert found.diagnosis.name == row.name
    assert found.diagnosis.evidence
    assert "CalledProcessError" not in "".join(found.last_words)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_sample_is_explained_without_its_surroundings(row: Signature) -> None:
    found = diagnosis.explain(row.sample.splitlines())

    assert found is not None
    assert found.name == row.name


def test_a_name_stands_once() -> None:
    names = [row.name for row in ROWS]

    assert sorted(names) == sorted(set(names))


def test_every_file_is_read() -> None:
    there = {path.stem for path in known_failures.FOLDER.iterdir()}

    assert there == {*known_failures.FILES, known_failures.SHARED}


def test_shared_words_are_shared_and_none_is_left_unwritten() -> None:
    texts = [(known_failures.FOLDER / f"{file}.toml").read_text(encoding="utf-8") for file in known_failures.FILES]
    used = Counter(name for name, _ in known_failures.SHARED_WORDS.findall("".join(texts)))
    shared = tomli.loads((known_failures.FOLDER / f"{known_failures.SHARED}.toml").read_text(encoding="utf-8"))

    assert set(used) == set(shared)
    assert min(used.values()) > 1
    assert not any("<<" in text for row in ROWS for text in (row.pattern, row.within or "", row.cause, row.remedy))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('kind = "gpu-memory"', 'kind = "gpu-memries"'),
        ('cause = "the GPU\'s memory ran out"', 'course = "the GPU\'s memory ran out"'),
        ('remedy = "<<less-memory>>"', 'remedy = "<<less-memries>>"'),
        ('source = "torch; sd-scripts #661, #1152"\n', ""),
    ],
)
def test_a_row_with_a_mistake_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: str, wrong: str) -> None:
    folder = shutil.copytree(known_failures.FOLDER, tmp_path / "signatures")
    text = (folder / "machine.toml").read_text(encoding="utf-8")
    (folder / "machine.toml").write_text(text.replace(right, wrong, 1), encoding="utf-8")
    monkeypatch.setattr(known_failures, "FOLDER", folder)

    with pytest.raises(ValueError, match=r"machine\.toml, gpu-memory: "):
        known_failures.load.__wrapped__()
