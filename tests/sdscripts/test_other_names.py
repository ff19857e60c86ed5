"""The table of other programs' names agrees with sd-scripts' options and with our flags."""

from __future__ import annotations

import pytest

from sdxl_train_cli.commands import train_options
from sdxl_train_cli.rules import value_rules
from sdxl_train_cli.sdscripts import other_names, shipped

RELEASES = sorted(path.stem for path in shipped.RELEASES.glob("*.json"))
ROWS = other_names.rows()


def options(release: str) -> set[str]:
    return {option.name for each in shipped.table(release).scripts.values() for option in each}


@pytest.mark.parametrize("release", RELEASES)
def test_no_name_is_itself_an_option(release: str) -> None:
    assert not ROWS.keys() & options(release)


@pytest.mark.parametrize("release", RELEASES)
def test_every_answer_is_an_option_of_each_release(release: str) -> None:
    assert {row.option for row in ROWS.values() if row.option} <= options(release)


def test_every_row_has_an_answer_and_a_source() -> None:
    assert all(row.source and (row.option or row.flag or row.why) for row in ROWS.values())


def test_no_answer_is_refused_when_it_is_followed() -> None:
    assert not {row.option for row in ROWS.values()} & value_rules.OWNED.keys()


def test_the_name_of_each_of_our_flags_is_understood_as_its_option() -> None:
    for option, flag in train_options.FLAGS.items():
        assert other_names.understood(other_names.plain(flag), "1") == (option, "1")


def test_every_option_with_a_flag_is_one_of_sd_scripts() -> None:
    assert train_options.FLAGS.keys() <= options(shipped.PINNED_RELEASE)
