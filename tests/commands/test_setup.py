"""`sdxl-train setup` as a real process: what it makes, says and leaves, also when it is killed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Cli, Result, git, variables, write_pictures, write_safetensors
from patience import processes_with, until
from standin.build import make_repository

from sdxl_train_cli import process
from sdxl_train_cli.environment import hub

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


def test_setup_says_which_release_it_takes(fresh: Cli) -> None:
    result = fresh("setup")

    assert result.code == 0, result.stderr
    assert result.stdout == ""
    assert "this source has no v0.11.1: using v0.10.1" in result.stderr
    assert "ready, but it trains nothing: v0.10.1" in result.stderr
    assert environments(fresh) == [current(fresh)]


def test_setup_with_the_branch_takes_it_without_a_note(fresh: Cli, tmp_path: Path) -> None:
    fork = make_repository(tmp_path / "fork", branch="sdxl")

    result = fresh("setup", "--source", fork, "--ref", "sdxl", "--json")

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


@pytest.fixture
def with_password(fresh: Cli, repository: Path) -> str:
    """An address with a password, which git takes through a program in ssh's place: no network is asked."""
    program = fresh.folder / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n', encoding="utf-8")
    program.chmod(0o755)
    fresh.environ |= {"GIT_SSH_COMMAND": str(program), "GIT_SSH_VARIANT": "ssh", "SDXL_TRAIN_SOURCE": ""}
    return f"ssh://git:OPENSESAME@host.invalid{repository}"


def holding(folder: Path, word: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word in path.read_bytes()]


@only_posix
@pytest.mark.parametrize("way", ["flag", "variable", "config"])
def test_a_password_in_the_source_lets_git_in_and_is_nowhere_kept_or_shown(
    fresh: Cli, with_password: str, repository: Path, way: str
) -> None:
    """Once, it lay in lock.json and in every run.json, for every user of the machine to read."""
    typed = ["--source", with_password] if way == "flag" else []
    given = {"SDXL_TRAIN_SOURCE": with_password} if way == "variable" else {}
    if way == "config":
        (fresh.folder / "config").mkdir()
        (fresh.folder / "config" / "config.yaml").write_text(f"source: {with_password}\n", encoding="utf-8")

    result = fresh("setup", "--json", *typed, **given)
    again = fresh("setup", *typed, **given)
    trained = fresh("lora", *run_line(fresh), "--steps", "2")

    assert (result.code, again.code, trained.code) == (0, 0, 0), result.stderr
    assert json.loads(result.stdout)["request"]["source"] == f"ssh://git@host.invalid{repository}"
    assert "making a venv" not in again.stderr
    (fresh.folder / "config" / "config.yaml").unlink(missing_ok=True)
    assert not holding(fresh.folder, b"OPENSESAME")


@pytest.mark.parametrize(
    "address",
    [
        "http://me:OPENSESAME@127.0.0.1:9/x",
        "http://OPENSESAME@127.0.0.1:9/x",
        "http://127.0.0.1:9/x?access_token=OPENSESAME",
    ],
)
def test_a_password_in_a_source_that_fails_is_not_told(fresh: Cli, address: str) -> None:
    assert_refused(fresh, fresh("setup", "--source", address), "http://127.0.0.1:9/x")
    assert not holding(fresh.folder, b"OPENSESAME")


@only_posix
def test_a_password_in_uvs_words_is_not_logged(fresh: Cli, real_looking: Path) -> None:
    address = "http://me:OPENSESAME@127.0.0.1:9/simple"

    result = fresh("setup", "--source", real_looking, UV_DEFAULT_INDEX=address, UV_OFFLINE="0", UV_HTTP_RETRIES="0")

    assert result.code == 5
    assert not holding(fresh.folder, b"OPENSESAME")


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
        (["--source", "other", "--ref", "sdxl"], "is not a version of sd-scripts that trains SDXL"),
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--home", ""], "--home is empty"),
        (["--home", b"caf\xe9"], "not valid UTF-8"),
    ],
    ids=["empty", "not UTF-8"],
)
@pytest.mark.parametrize("command", [["setup"], ["smoke"], ["presets", "schema"], ["vram", "--mine"]], ids=" ".join)
def test_a_home_that_is_no_name_is_told(
    fresh: Cli, command: list[str], arguments: list[str | bytes], words: str
) -> None:
    """Once, `--home ""`, as an unset variable gives it, was the current folder."""
    typed = [os.fsdecode(argument) for argument in arguments]

    result = fresh(*command, *typed)

    assert result.code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(fresh.folder.glob("environments"))


@pytest.mark.parametrize("name", ["x" * 300, "a/" * 3000], ids=["300 letters", "3000 folders"])
@pytest.mark.parametrize(
    "command", [["setup"], ["smoke"], ["presets", "schema"], ["vram", "--mine"], ["vram"]], ids=" ".join
)
def test_a_home_of_an_endless_name_is_told(fresh: Cli, command: list[str], name: str) -> None:
    result = fresh(*command, "--home", name)

    assert result.code in {0, 5}
    assert "Traceback" not in result.stderr


def test_setup_in_a_project_folder_takes_nothing_away(fresh: Cli) -> None:
    """Once, `setup --home .` removed what stood in `environments`, without a word."""
    (fresh.folder / "project" / "environments" / "prod").mkdir(parents=True)
    (fresh.folder / "project" / "environments" / "prod" / "main.tf").write_text("mine", encoding="utf-8")

    result = fresh("setup", "--home", ".", cwd=fresh.folder / "project")

    assert_refused(fresh, result, "holds other files and is not an sdxl-train home")
    assert (fresh.folder / "project" / "environments" / "prod" / "main.tf").read_text(encoding="utf-8") == "mine"
    assert list((fresh.folder / "project").iterdir()) == [fresh.folder / "project" / "environments"]


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
        else:  # on a busy machine it would be done before a signal comes for the venv
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


MOMENTS = {"clone": "fetching the newest known release", "venv": "making a venv", "check": "checking the environment"}
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
    killed = time.monotonic()
    until(lambda: not processes_with(str(fresh.folder)))
    assert time.monotonic() - killed < 5  # what it had started ends with it

    assert current(fresh) == first
    assert fresh("lora", *run_line(fresh), "--dry-run").code == 0

    held.unlink()
    again = fresh("setup", "--recreate")
    assert again.code == 0, again.stderr
    kept = [] if moment == "clone" else [first]  # which is of another source
    assert environments(fresh) == [*kept, current(fresh)] != [first]


@only_posix
@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_leaves_nothing_half_made(fresh: Cli, hold: Callable[[str], Path], moment: str) -> None:
    hold(moment)
    with fresh.start("setup") as running:
        running.until_told(MOMENTS[moment])
        if moment != "venv":
            until(lambda: processes_with(str(fresh.folder / WORKERS[moment])))
        running.send(signal.SIGINT)
        result = running.end()

    assert result.code == 130
    assert "Traceback" not in result.stderr
    assert environments(fresh) == []
    assert not processes_with(str(fresh.folder / "home"))


KILLS = int(os.environ.get("SDXL_TRAIN_TEST_KILLS", "3"))


@only_posix
def test_whenever_a_setup_is_killed_the_old_one_counts_and_one_is_left_in_the_end(fresh: Cli) -> None:
    fresh("setup")
    first = current(fresh)
    moment = random.Random(7)  # noqa: S311 - the same moments each time
    for _ in range(KILLS):
        with fresh.start("setup", "--recreate") as running:
            time.sleep(moment.uniform(0.2, 2.5))
            running.send(NEEDS_SIGKILL)
            running.end()
        until(lambda: not processes_with(str(fresh.folder / "home")))
        assert fresh("lora", *run_line(fresh), "--dry-run").code == 0
        assert len(environments(fresh)) <= 3
    again = fresh("setup", "--recreate")

    assert again.code == 0, again.stderr
    assert environments(fresh) == [current(fresh)] != [first]


@only_posix
def test_on_a_full_disk_the_environment_that_counts_stays(fresh: Cli) -> None:
    disk = fresh.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        result = fresh("setup", "--home", disk / "home")
        assert result.code == 0, result.stderr
        before = (disk / "home" / "current").read_text(encoding="utf-8")
        for rest in (200_000, 20_000, 0):
            _fill(disk / "filler", rest)
            full = fresh("setup", "--home", disk / "home", "--recreate")
            assert full.code == 5, full.stderr
            assert "Traceback" not in full.stderr
            assert re.search(r"disk is full|can't be written|could not be written|Python", full.stderr), full.stderr
            assert (disk / "home" / "current").read_text(encoding="utf-8") == before
            assert [path.name for path in (disk / "home" / "environments").iterdir()] == [before]
            assert fresh("lora", *run_line(fresh), "--dry-run", "--home", disk / "home").code == 0
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _fill(path: Path, rest: int) -> None:
    """Leave no more than so many bytes of the disk."""
    path.unlink(missing_ok=True)
    free = shutil.disk_usage(path.parent).free
    path.write_bytes(bytes(max(0, free - rest)))


@only_posix
def test_a_second_setup_at_the_same_time_waits_and_says_so(fresh: Cli, hold: Callable[[str], Path]) -> None:
    held = hold("check")
    with fresh.start("setup") as first, fresh.start("setup") as second:
        until(lambda: "another setup is running: waiting" in first.stderr + second.stderr)
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
            second.until_told("another setup is running")
            second.send(signal.SIGINT)
            assert second.end().code == 130
        first.send(signal.SIGTERM)
        assert first.end().code == 143
