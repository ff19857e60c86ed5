"""`sdxl-train setup` as a real process: what it makes, says and leaves, also when it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Cli, Result, git, variables, write_pictures, write_safetensors
from patience import processes_with, until
from standin.build import make_repository

from sdxl_train_cli import process
from sdxl_train_cli.installation import hub

only_posix = pytest.mark.skipif(process.WINDOWS, reason="signals and shell scripts")
NEEDS_SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def environments(cli: Cli) -> list[str]:
    folder = cli.folder / "home" / "environments"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def current(cli: Cli) -> str:
    return (cli.folder / "home" / "current").read_text(encoding="utf-8")


def assert_refused(cli: Cli, result: Result, words: str) -> None:
    """Exit code 5, one error with a hint, no traceback, and nothing left."""
    assert result.code == 5, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len([row for row in result.stderr.splitlines() if row.startswith("error: ")]) == 1
    assert "\nhint:  " in result.stderr
    assert words in result.stderr
    assert environments(cli) == []


def run_line(cli: Cli) -> list[str]:
    """The arguments of a run that this home's environment can take."""
    for name in hub.TOKENIZERS:
        (cli.folder / "home" / "tokenizers" / name).mkdir(parents=True, exist_ok=True)
        (cli.folder / "home" / "tokenizers" / name / "vocab.json").write_text("{}", encoding="utf-8")
    model = cli.folder / "base.safetensors"
    if not model.exists():
        write_safetensors(model)
        write_pictures(cli.folder / "pictures")
    return ["--model", str(model), "--data", str(cli.folder / "pictures"), "--output", str(cli.folder / "output"),
            "--no-vram-check"]  # fmt: skip


def test_setup_without_the_branch_says_which_release_it_takes(fresh: Cli) -> None:
    result = fresh("setup")

    assert result.code == 0, result.stderr
    assert result.stdout == ""
    assert "this source has no branch 'sdxl' (upstream merged it): using v0.10.1" in result.stderr
    assert "ready: a stand-in" in result.stderr
    assert environments(fresh) == [current(fresh)]


def test_setup_with_the_branch_takes_it_without_a_note(fresh: Cli, tmp_path: Path) -> None:
    fork = make_repository(tmp_path / "fork", branch="sdxl")

    result = fresh("setup", "--source", fork, "--json")

    assert json.loads(result.stdout)["ref"] == "sdxl"
    assert "has no branch" not in result.stderr


def test_what_is_installed_is_printed_as_json(fresh: Cli, repository: Path) -> None:
    lock = json.loads(fresh("setup", "--json").stdout)

    assert lock["commit"] == git(repository, "rev-parse", "HEAD")
    assert lock["request"]["source"] == str(repository)
    assert lock["toolchain"] is None


def test_a_second_setup_has_nothing_to_do(fresh: Cli) -> None:
    fresh("setup")
    first = current(fresh)

    again = fresh("setup")

    assert again.code == 0
    assert current(fresh) == first
    assert "making a venv" not in again.stderr


def test_a_config_file_names_the_source(fresh: Cli, repository: Path) -> None:
    (fresh.folder / "config").mkdir()
    (fresh.folder / "config" / "config.yaml").write_text(f"source: {repository}\n", encoding="utf-8")

    assert fresh("setup", SDXL_TRAIN_SOURCE="").code == 0


def test_a_source_with_missing_blobs_is_enough(fresh: Cli, tmp_path: Path) -> None:
    partial = make_repository(tmp_path / "partial", missing_blobs=True)

    assert fresh("setup", "--source", partial).code == 0


def test_a_home_in_an_oddly_named_folder_works(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "мой дом [1] it's"
    odd = Cli(folder, {**variables(folder), "SDXL_TRAIN_SOURCE": str(repository)})

    result = odd("setup")
    trained = odd("lora", *run_line(odd), "--steps", "2")

    assert result.code == 0, result.stderr
    assert trained.code == 0, trained.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ref", "v99"], "has no branch, tag or commit 'v99'"),
        (["--source", "nowhere"], "no folder "),
        (["--source", "plain"], "git repository"),
        (["--source", "other"], "is not an sd-scripts that trains SDXL"),
        (["--source", "http://127.0.0.1:9/x"], "http://127.0.0.1:9/x can't be reached"),
    ],
)
def test_a_source_that_will_not_do_is_told_and_leaves_nothing(fresh: Cli, arguments: list[str], words: str) -> None:
    (fresh.folder / "plain").mkdir()
    (fresh.folder / "other").mkdir()
    git(fresh.folder / "other", "init", "-q", "-b", "sdxl")
    git(fresh.folder / "other", "commit", "-q", "--allow-empty", "-m", "nothing")

    assert_refused(fresh, fresh("setup", *arguments), words)


def test_without_git_setup_says_so(fresh: Cli) -> None:
    (fresh.folder / "bin").mkdir()

    result = fresh("setup", PATH=str(fresh.folder / "bin"))

    assert_refused(fresh, result, "git is not installed")


def test_a_home_that_cannot_be_made_is_told(fresh: Cli) -> None:
    (fresh.folder / "file").touch()

    assert_refused(fresh, fresh("setup", "--home", fresh.folder / "file" / "home"), "can't be made")


def test_a_failed_setup_leaves_the_one_before_in_use(fresh: Cli) -> None:
    fresh("setup")
    first = current(fresh)

    result = fresh("setup", "--ref", "v99")

    assert result.code == 5
    assert environments(fresh) == [first] == [current(fresh)]
    assert fresh("lora", *run_line(fresh), "--dry-run").code == 0


def test_recreate_makes_a_new_folder_and_removes_the_old(fresh: Cli) -> None:
    fresh("setup")
    first = current(fresh)

    assert fresh("setup", "--recreate").code == 0
    assert current(fresh) != first
    assert environments(fresh) == [current(fresh)]


def test_recreate_keeps_the_old_folder_while_a_run_needs_it(fresh: Cli) -> None:
    fresh("setup")
    first = current(fresh)
    with fresh.start("lora", *run_line(fresh), "--steps", "2000", STANDIN_STEP_SECONDS="0.05") as running:
        running.until_told("step 1 of 2000")
        log = fresh.folder / "output" / "pictures" / "train.log"
        assert fresh("setup", "--recreate").code == 0
        assert environments(fresh) == sorted([first, current(fresh)])
        written = log.stat().st_size
        until(lambda: log.stat().st_size > written)
        assert running.process.poll() is None
    until(lambda: not processes_with(str(fresh.folder / "output")))

    assert fresh("setup", "--recreate").code == 0
    assert environments(fresh) == [current(fresh)]


@pytest.fixture
def hold(fresh: Cli) -> Iterator[Callable[[str], Path]]:
    """Make setup wait at a place of its work for as long as a file is there: at git's clone or at the last check."""

    def at(place: str) -> Path:
        file = fresh.folder / f"hold-{place}"
        file.touch()
        if place == "clone":
            program = fresh.folder / "bin" / "git"
            program.parent.mkdir()
            waiting = f'case "$*" in *clone*) while [ -e "{file}" ]; do sleep 0.05; done;; esac'
            program.write_text(f'#!/bin/sh\n{waiting}\nexec {shutil.which("git")} "$@"\n', encoding="utf-8")
            program.chmod(0o755)
            fresh.environ["PATH"] = f"{program.parent}{os.pathsep}{fresh.environ['PATH']}"
        elif place == "check":
            source = make_repository(fresh.folder / "slow", tags=())
            waiting = f"import os, time\nwhile os.path.exists({str(file)!r}):\n    time.sleep(0.05)\n"
            for script in ("sdxl_train.py", "sdxl_train_network.py"):
                (source / script).write_text(waiting + (source / script).read_text(encoding="utf-8"), encoding="utf-8")
            git(source, "commit", "-q", "-a", "-m", "slow")
            git(source, "tag", "v0.10.1")
            fresh.environ["SDXL_TRAIN_SOURCE"] = str(source)
        return file

    yield at
    for pid in processes_with(str(fresh.folder)):
        with suppress(ProcessLookupError):
            os.kill(pid, NEEDS_SIGKILL)


MOMENTS = {"clone": "taking sdxl", "venv": "making a venv", "check": "checking the environment"}
WORKERS = {"clone": "bin/git", "check": "home/environments"}


@only_posix
@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_setup_that_was_killed_the_old_one_works_and_the_next_one_cleans_up(
    fresh: Cli, hold: Callable[[str], Path], moment: str
) -> None:
    fresh("setup")
    first = current(fresh)
    held = hold(moment)
    with fresh.start("setup", "--recreate") as running:
        running.until_told(MOMENTS[moment])
        if moment != "venv":
            until(lambda: processes_with(str(fresh.folder / WORKERS[moment])))
        running.send(NEEDS_SIGKILL)
        running.end()
    for pid in processes_with(str(fresh.folder)):  # what it had started ends by itself, sooner or later
        with suppress(ProcessLookupError):
            os.kill(pid, NEEDS_SIGKILL)
    until(lambda: not processes_with(str(fresh.folder)))

    assert current(fresh) == first
    assert fresh("lora", *run_line(fresh), "--dry-run").code == 0

    held.unlink()
    again = fresh("setup", "--recreate")
    assert again.code == 0, again.stderr
    assert environments(fresh) == [current(fresh)] != [first]


@only_posix
def test_ctrl_c_leaves_nothing_half_made(fresh: Cli, hold: Callable[[str], Path]) -> None:
    hold("check")
    with fresh.start("setup") as running:
        running.until_told("checking the environment")
        running.send(signal.SIGINT)
        result = running.end()

    assert result.code == 130
    assert "Traceback" not in result.stderr
    assert environments(fresh) == []


@only_posix
def test_a_second_setup_at_the_same_time_waits_and_says_so(fresh: Cli, hold: Callable[[str], Path]) -> None:
    held = hold("check")
    with fresh.start("setup") as first, fresh.start("setup") as second:
        until(lambda: "another setup is at work: waiting" in first.stderr + second.stderr)
        held.unlink()
        results = [first.end(), second.end()]

    assert [result.code for result in results] == [0, 0]
    assert sum("making a venv" in result.stderr for result in results) == 1
    assert environments(fresh) == [current(fresh)]


@only_posix
def test_waiting_for_another_setup_ends_with_ctrl_c(fresh: Cli, hold: Callable[[str], Path]) -> None:
    hold("check")
    with fresh.start("setup") as first:
        first.until_told("checking the environment")
        with fresh.start("setup") as second:
            second.until_told("another setup is at work")
            second.send(signal.SIGINT)
            assert second.end().code == 130
        first.send(signal.SIGTERM)
        assert first.end().code == 143
