"""What is said of an sd-scripts that is no known release."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from sdxl_train_cli.environment import release_notes
from sdxl_train_cli.environment.unpacked import Checkout
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import known_releases, shipped
from sdxl_train_cli.sdscripts.options import Option, OptionTable

NEWEST, OLDER = known_releases.load()
FORK = "0" * 40


def test_the_newest_release_is_taken_without_a_word() -> None:
    assert list(release_notes.of_checkout(Checkout(Path(), NEWEST.name, NEWEST.commit, NEWEST.date), None)) == []


def test_an_old_branch_is_told_with_its_day() -> None:
    checkout = Checkout(Path(), "sdxl", FORK, date(2023, 10, 11))

    assert list(release_notes.of_checkout(checkout, "sdxl")) == [
        "sd-scripts: sdxl is of 2023-10-11, older than v0.11.1 (2026-06-16)"
    ]


def test_a_tag_that_was_moved_is_told() -> None:
    checkout = Checkout(Path(), NEWEST.name, FORK, date(2026, 7, 1))

    assert list(release_notes.of_checkout(checkout, None)) == [
        "sd-scripts: v0.11.1 is commit 0000000000 here, and 6721028c79 upstream"
    ]


def fork(tmp_path: Path, table: OptionTable) -> list[str]:
    """What is said of a fork of the older release with these options and one network more."""
    for name in (*OLDER.networks, "mine"):
        (tmp_path / "networks").mkdir(exist_ok=True)
        (tmp_path / "networks" / f"{name}.py").touch()
    return list(release_notes.of_options(Checkout(tmp_path, "mine", FORK), table))


def test_a_fork_is_compared_with_the_nearest_release(tmp_path: Path) -> None:
    table = shipped.table(OLDER.name)
    script = Kind.LORA.script
    kept = [option for option in table.scripts[script] if option.name != "scale_weight_norms"]
    changed = [one.model_copy(update={"default": 9}) if one.name == "network_dim" else one for one in kept]
    added = Option(name="flow_model", flag="--flow_model", type="switch", many=False, choices=None, default=False,
                   required=False)  # fmt: skip
    scripts = {**table.scripts, script: (*changed, added)}

    assert fork(tmp_path, table.model_copy(update={"scripts": scripts})) == [
        (
            "sd-scripts: mine compared with v0.10.1: 1 option more (flow_model), 1 option fewer (scale_weight_norms), "
            "1 default differs (network_dim), 1 network module more (mine)"
        )
    ]


def test_a_known_release_is_compared_with_nothing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, OLDER.name, OLDER.commit)

    assert list(release_notes.of_options(checkout, shipped.table(OLDER.name))) == []
