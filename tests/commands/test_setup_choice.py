"""`sdxl-train setup` with several environments, as a real process."""

from __future__ import annotations

import json
import random
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from conftest import Cli, git
from patience import processes_with, until
from standin.build import make_repository
from test_setup import KILLS, NEEDS_SIGKILL, only_posix, run_line

from sdxl_train_cli.commands import setup
from sdxl_train_cli.environment import building, environment
from sdxl_train_cli.environment.building import Update
from sdxl_train_cli.environment.environment import Environment, SetupRequest
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.layout import Home


@pytest.fixture
def two(fresh: Cli, tmp_path: Path) -> tuple[Cli, Path]:
    """A home with the releases v0.10.1 and, later and current, v0.11.1; and their source."""
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))
    fresh.environ["SDXL_TRAIN_SOURCE"] = str(source)
    assert fresh("setup").code == 0
    git(source, "commit", "-q", "--allow-empty", "-m", "newer")
    git(source, "tag", "v0.11.1")
    assert fresh("setup", "--update").code == 0
    return fresh, source


def refs(cli: Cli) -> list[tuple[str, bool]]:
    """Releases that are installed, the newest first, and whether each is current."""
    return [(one["ref"], one["current"]) for one in json.loads(cli("setup", "--list", "--json").stdout)]


def test_an_update_keeps_the_release_before_and_a_rollback_returns_to_it(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    assert refs(cli) == [("v0.11.1", True), ("v0.10.1", False)]

    assert cli("setup", "--rollback").code == 0
    assert refs(cli) == [("v0.11.1", False), ("v0.10.1", True)]

    assert cli("setup", "--rollback").code == 0
    assert refs(cli) == [("v0.11.1", True), ("v0.10.1", False)]


def test_a_second_update_has_nothing_to_do(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    again = cli("setup", "--update")

    assert again.code == 0
    assert "this is the newest known release that the source has" in again.stderr
    assert "making a venv" not in again.stderr


def test_an_update_to_a_release_that_is_kept_builds_nothing(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    cli("setup", "--rollback")

    again = cli("setup", "--update")

    assert again.code == 0
    assert "making a venv" not in again.stderr
    assert refs(cli) == [("v0.11.1", True), ("v0.10.1", False)]


@pytest.mark.parametrize("trains", [True, False])
def test_an_update_proves_a_kept_release_before_it_is_used(two: tuple[Cli, Path], *, trains: bool) -> None:
    """It may be there because an update was killed between the building and the proof."""
    cli, source = two
    cli("setup", "--rollback")
    home, proved = Home(Path(cli.environ["SDXL_TRAIN_HOME"])), list[str]()

    def prove(chosen: Home) -> None:
        proved.append(environment.require(chosen).lock.ref)
        if not trains:
            raise TrainingError("it does not train")

    request = setup.requested(home, str(source), None, None, None, (None, None), None, newest=True)
    with pytest.raises(TrainingError) if not trains else nullcontext():
        building.create(home, request, recreate=False, report=lambda _: None, update=Update(prove))

    assert proved == ["v0.11.1"]
    assert refs(cli) == [("v0.11.1", trains), ("v0.10.1", not trains)]


@pytest.mark.parametrize("by", ["release", "name", "commit"])
def test_an_environment_is_chosen_by_release_name_or_commit(two: tuple[Cli, Path], by: str) -> None:
    cli, source = two
    older = json.loads(cli("setup", "--list", "--json").stdout)[1]
    wanted = {"release": "v0.10.1", "name": older["name"], "commit": git(source, "rev-parse", "v0.10.1")[:8]}[by]

    assert cli("setup", "--use", wanted).code == 0
    assert refs(cli) == [("v0.11.1", False), ("v0.10.1", True)]


def test_what_is_installed_is_listed(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    head, *rows = cli("setup", "--list").stdout.splitlines()

    assert "sd-scripts" in head
    assert [("*" in row, "v0.11.1" in row, "v0.10.1" in row) for row in rows if "v0" in row] == [
        (True, True, False),
        (False, False, True),
    ]


def test_the_others_are_removed_when_asked(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    pruned = cli("setup", "--prune")

    assert pruned.code == 0
    assert "1 environment removed" in pruned.stderr
    assert refs(cli) == [("v0.11.1", True)]


@only_posix
def test_whenever_an_update_is_killed_the_old_release_is_used(fresh: Cli, tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))
    fresh.environ["SDXL_TRAIN_SOURCE"] = str(source)
    fresh("setup")
    git(source, "commit", "-q", "--allow-empty", "-m", "newer")
    git(source, "tag", "v0.11.1")
    moment = random.Random(16)  # noqa: S311 - the same moments each time
    for _ in range(KILLS):
        with fresh.start("setup", "--update") as running:
            time.sleep(moment.uniform(0.2, 2.0))
            running.send(NEEDS_SIGKILL)
            running.end()
        until(lambda: not processes_with(str(fresh.folder / "home")))
        (now,) = [ref for ref, is_current in refs(fresh) if is_current]
        assert now in {"v0.10.1", "v0.11.1"}
        assert fresh("lora", *run_line(fresh), "--dry-run").code == 0
        fresh("setup", "--use", "v0.10.1")

    assert fresh("setup", "--update").code == 0
    assert refs(fresh)[0] == ("v0.11.1", True)


def test_an_unknown_name_is_answered_with_what_there_is(two: tuple[Cli, Path]) -> None:
    cli, _ = two
    refused = cli("setup", "--use", "v0.9.1")

    assert refused.code == 5
    assert "error: there is no environment 'v0.9.1'" in refused.stderr
    assert all(one["name"] in refused.stderr for one in json.loads(cli("setup", "--list", "--json").stdout))


@pytest.mark.parametrize("flags", [["--rollback"], ["--use", "v0.10.1"], ["--prune"]])
def test_where_nothing_is_installed_there_is_nothing_to_choose(fresh: Cli, flags: list[str]) -> None:
    refused = fresh("setup", *flags)

    assert refused.code == 5
    assert "\nhint:  " in refused.stderr


def test_only_one_way_at_a_time(fresh: Cli) -> None:
    refused = fresh("setup", "--update", "--rollback")

    assert refused.code == 2
    assert "--update and --rollback can't be used together" in refused.stderr


def test_extras_are_added_and_left_out(installed: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, a second --extra dropped the first in silence."""
    request = SetupRequest(source="https://example.org/x", extras=(Extra.LYCORIS,))
    lock = installed.lock.model_copy(update={"request": request, "toolchain": "any"})
    monkeypatch.setattr(environment, "read_lock", lambda _home: lock)

    def extras(added: list[Extra], left_out: list[Extra]) -> tuple[Extra, ...]:
        home = Home(installed.folder)
        return setup.requested(home, None, None, None, None, (added, left_out), None, newest=False).extras

    assert extras([Extra.TAGGER], []) == (Extra.LYCORIS, Extra.TAGGER)
    assert extras([Extra.TAGGER], [Extra.LYCORIS]) == (Extra.TAGGER,)
    assert extras([], []) == (Extra.LYCORIS,)
