"""`scripts/judge_upstream.py`: what it says of a release."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from standin.build import make_repository

from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts.known_releases import Differences

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import judge_upstream
from judge_upstream import Judgement


def test_a_release_that_can_not_be_installed_is_told(tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))

    (found,) = judge_upstream.judge(Home(tmp_path / "home"), str(source), "v9", tests=False)

    assert (found.subject, found.holds) == ("setup", False)
    assert any("has no branch, tag or commit 'v9'" in line for line in found.lines)


@pytest.mark.slow
def test_a_whole_release_is_judged(tmp_path: Path) -> None:
    """With the stand-in: its log and its files are read like the real ones."""
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))

    kinds = [Kind.LORA, Kind.EMBEDDING]
    found = list(judge_upstream.judge(Home(tmp_path / "home"), str(source), "v0.10.1", kinds, tests=False))

    by_subject = {one.subject: one for one in found}
    assert by_subject["setup"].holds
    assert [one.holds for one in found if one.subject.endswith(" smoke")] == [True, True]
    assert by_subject["LoRA smoke"].lines[0].startswith("LoRA: ")
    assert not [one for one in found if one.subject.endswith("lines of the log")]


def test_an_option_that_is_gone_is_told_with_our_files() -> None:
    assert "sdxl_train_cli/sdscripts/command.py" in judge_upstream.places("output_dir")
    assert judge_upstream.places("no_such_option_anywhere") == []


def test_every_difference_is_named() -> None:
    found = Differences("v0.10.1", ("flow",), (), ("seed",), (), ("dylora",))

    assert list(judge_upstream.told(found)) == [
        "1 options more: `flow`", "1 other defaults: `seed`", "1 network modules fewer: `dylora`",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("log", "missing"), [("", 5), ("steps:  50%|#####     | 1/2 [00:01<00:01,  1.00s/it, avr_loss=0.1]", 4)]
)
def test_a_log_without_what_we_read_is_told(log: str, missing: int) -> None:
    assert len(judge_upstream.missing_events(log.splitlines())) == missing


def test_what_does_not_hold_stands_first() -> None:
    text = judge_upstream.page("v1", [Judgement("a", holds=True), Judgement("b", holds=False, lines=("why",))])

    assert text.startswith("# sd-scripts v1: 1 of 2 do not hold\n\n## Does not hold\n\n- **b**\n  - why\n\n## Holds")
