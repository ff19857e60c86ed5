"""Sweeps from the command line: checked, queued, trained, shown, stopped, forgotten; and none half made."""

from __future__ import annotations

import errno
import json
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli, Result, own_home, variables, write_pictures
from measured_runs import CARD

from sdxl_train_cli import files, gpu, process
from sdxl_train_cli.jobs import store
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Way

GRID = ["--set", "learning_rate=5e-5,1e-4", "--set", "network_dim=4,8"]
NAMES = ["cat-lr5e-5-dim4", "cat-lr5e-5-dim8", "cat-lr1e-4-dim4", "cat-lr1e-4-dim8"]
posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


@pytest.fixture
def own(tmp_path: Path, home: Path) -> Path:
    """A home of the test's own, with the stand-in installed."""
    return own_home(tmp_path / "home", home)


@pytest.fixture
def run(main: Callable[..., Result], own: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`sdxl-train` in this process."""
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(own))
    return main


@pytest.fixture
def cli(tmp_path: Path, own: Path) -> Cli:
    """`sdxl-train` as a process."""
    return Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(own)})


@pytest.fixture
def queue(own: Path) -> Queue:
    return Queue(own / "queue")


@pytest.fixture
def sweeps(own: Path) -> Sweeps:
    return Sweeps(own / "sweeps")


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    return ["lora", "--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "8"]


def test_a_grid_is_queued_whole_and_each_point_has_its_settings(
    run: Callable[..., Result], queue: Queue, sweeps: Sweeps, line: list[str]
) -> None:
    made = run("sweep", *line, *GRID)

    assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
    assert "4 runs, 32 steps in all" in made.stderr
    assert "sdxl-train queue start" in made.stderr
    assert "no pictures are held back" in made.stderr
    assert [job.name for job in queue.jobs()] == NAMES
    assert [point.token for point in sweeps.require("cat").points] == [job.token for job in queue.jobs()]
    records = [json.loads(queue.kept(job.id).record)["settings"] for job in queue.jobs()]
    assert [(one["learning_rate"]["value"], one["network_dim"]["value"]) for one in records] == [
        (5e-5, 4), (5e-5, 8), (1e-4, 4), (1e-4, 8),
    ]  # fmt: skip
    assert {one["cache_latents_to_disk"]["value"] for one in records} == {True}
    assert json.loads(run("sweep", "list", "--json").stdout)[0]["states"] == {"waiting": 4}
    assert run("sweep", "rm", "cat").code == 2

    again = run("sweep", *line, *GRID, "--json")
    assert json.loads(again.stdout)["points"][0] == "cat-2-lr5e-5-dim4"
    stopped = run("sweep", "stop", "cat-2", "--json")
    assert json.loads(stopped.stdout) == {"sweep": "cat-2", "removed": [5, 6, 7, 8], "stopping": [], "cancelled": []}
    assert [job.name for job in queue.jobs()] == NAMES
    forgotten = json.loads(run("sweep", "rm", "cat-2", "--json").stdout)
    assert forgotten == {"sweep": "cat-2", "output": str(sweeps.require("cat").output)}
    assert [sweep.name for sweep in sweeps.all()] == ["cat"]


@pytest.mark.parametrize(
    "case",
    [
        (["--set", "min_snr_gamma=5,-1", *GRID], 3, "(cat-gamma-1-lr5e-5-dim4 and 3 more of 8 points)"),
        (["--set", "network_dmi=4", *GRID], 3, "network_dim"),
        (["--set", "network_dmi=4,8"], 3, "network_dim"),
        (["--set", "seed=7"], 2, "nothing varies"),
        (["--set", "learning_rate=1e-5..1e-3"], 2, "--random 8"),
        ([*GRID, "--random", "2", "--search", "2"], 2, "--random and --search"),
        ([*GRID, "--gpus", "2"], 2, "--gpus 2 needs 2 GPUs"),
        ([*GRID, "--gpu", "0,1"], 2, "no GPUs 0,1"),
        ([*GRID, "--set", "seed=1,2,3,4"], 2, "16 runs are many"),
        (["--set", "learning_rate=1e-5..1e-3", "--search", "4"], 2, "--validate"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_queued(
    run: Callable[..., Result], own: Path, line: list[str], case: tuple[list[str], int, str]
) -> None:
    more, code, told = case
    refused = run("sweep", *line, *more)

    assert (refused.code, told in refused.stderr) == (code, True), refused.stderr
    assert (Queue(own / "queue").jobs(), Sweeps(own / "sweeps").all()) == ([], [])


def test_a_dry_run_prints_a_command_line_for_each_point_and_queues_none(
    run: Callable[..., Result], queue: Queue, line: list[str]
) -> None:
    shown = run("sweep", *line, "--set", "network_dim=4,8", "--dry-run")

    assert [text.split("--network_dim")[1].strip(" =").split()[0] for text in shown.stdout.splitlines()] == ["4", "8"]
    assert queue.jobs() == []


def test_caches_are_not_shared_where_what_varies_decides_them(
    run: Callable[..., Result], queue: Queue, line: list[str]
) -> None:
    made = run("sweep", *line, "--set", "flip_aug=true,false")

    assert "flip_aug decides what is in a cache" in made.stderr
    assert not any("cache_latents_to_disk" in json.loads(queue.kept(job.id).record)["settings"] for job in queue.jobs())


def test_a_search_says_what_it_will_do_and_begins_with_one_point(
    run: Callable[..., Result], queue: Queue, sweeps: Sweeps, line: list[str], tmp_path: Path
) -> None:
    many = write_pictures(tmp_path / "many", 16)
    made = run("sweep", *line, "--data", many, "--validate", "--set", "learning_rate=1e-5..1e-3", "--search", 4)

    assert made.code == 0, made.stderr
    assert "4 runs, 32 steps in all" in made.stderr
    assert len(queue.jobs()) == 1
    assert (sweeps.require("cat").count, sweeps.require("cat").prunes) == (4, True)
    unlike = run("sweep", *line, "--data", many, "--validate", "--set", "noise_offset=0.03,0.06", "--search", 2)
    assert (unlike.code, "noise_offset" in unlike.stderr) == (2, True)


@pytest.mark.parametrize("failing", ["record", "queue", "mark"])
def test_a_full_disk_leaves_all_or_none_and_a_second_try_works(
    run: Callable[..., Result], own: Path, line: list[str], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """The record is whole before the jobs are queued; the mark behind it says nothing that they don't."""
    queue, sweeps = Queue(own / "queue"), Sweeps(own / "sweeps")
    real, writes, full = files.write, list[Path](), OSError(errno.ENOSPC, "No space left on device")

    def write(path: Path, content: str | bytes, **more: bool) -> None:
        if path.name == "sweep.json":
            writes.append(path)
            if len(writes) == {"record": 1, "queue": 0, "mark": 2}[failing]:
                raise full
        real(path, content, **more)

    def insert(*_given: object) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(files, "write", write)
    with monkeypatch.context() as for_now:
        if failing == "queue":
            for_now.setattr(store, "_insert", insert)
        made = run("sweep", *line, *GRID)

    if failing == "mark":
        assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
        assert [job.token for job in queue.jobs()] == [point.token for point in sweeps.require("cat").points]
    else:
        assert (made.code, "full" in made.stderr or "No space left" in made.stderr) == (2, True), made.stderr
        assert (queue.jobs(), sweeps.all()) == ([], [])
    name = "cat-2" if failing == "mark" else "cat"
    assert run("sweep", *line, *GRID).stdout == f"{name}\n"
    assert len(queue.jobs()) == 4 * len(sweeps.all())
    assert run("sweep", "stop", name).code == 0


@pytest.mark.slow
def test_points_train_and_a_failed_one_does_not_hold_up_the_others(
    cli: Cli, queue: Queue, line: list[str], tmp_path: Path
) -> None:
    cli("sweep", *line, *GRID)
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "cat-lr5e-5-dim8").write_text("in the way", encoding="utf-8")

    assert cli("queue", "start").code == 0

    shown = json.loads(cli("sweep", "show", "cat", "--json").stdout)
    assert [point["state"] for point in shown["points"]] == ["done"] * 4
    assert Path(shown["points"][1]["run"]).name == "cat-lr5e-5-dim8-2"
    assert shown["best"] is None
    assert cli("queue", "rm", *(job.id for job in queue.jobs(JobState.DONE))).code == 0
    listed = json.loads(cli("sweep", "list", "--json").stdout)
    assert listed[0]["states"] == {"done": 4}  # their runs tell
    assert cli("sweep", "show", "cat", "--to", tmp_path / "page.html").code == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert cli("sweep", "rm", "cat").code == 0


def test_each_point_of_a_sweep_takes_as_many_gpus_and_a_search_opens_as_many_points_as_they_allow(
    run: Callable[..., Result], queue: Queue, sweeps: Sweeps, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: tuple(replace(CARD, index=index) for index in range(5)))

    assert run("sweep", *line, *GRID, "--gpus", "2").code == 0
    assert [job.gpus for job in queue.jobs()] == [2] * 4
    search = ["--set", "learning_rate=1e-5..1e-3", "--search", "8", "--validate", "--gpus", "2"]
    assert run("sweep", *line, *search).code == 0
    assert [(len(one.points), one.at_once) for one in sweeps.all() if one.way is Way.SEARCH] == [(2, 2)]


@posix
@pytest.mark.slow
def test_two_at_once_of_one_name_are_two_sweeps(cli: Cli, queue: Queue, sweeps: Sweeps, line: list[str]) -> None:
    with cli.start("sweep", *line, *GRID) as one, cli.start("sweep", *line, *GRID) as other:
        assert (one.end().code, other.end().code) == (0, 0)

    assert sorted(sweep.name for sweep in sweeps.all()) == ["cat", "cat-2"]
    tokens = [point.token for sweep in sweeps.all() for point in sweep.points]
    assert sorted(tokens) == sorted(job.token for job in queue.jobs())
    assert len({job.name for job in queue.jobs()}) == 8


@posix
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_cut_off_is_queued_whole_or_not_at_all(
    cli: Cli, queue: Queue, sweeps: Sweeps, line: list[str], how: signal.Signals
) -> None:
    moment = random.Random(3)  # noqa: S311 - the same moments each time
    for _ in range(12):
        with cli.start("sweep", *line, *GRID) as adding:
            time.sleep(moment.uniform(0.2, 4))
            adding.send(how)
            adding.process.wait(60)
        known = {job.token for job in queue.jobs()}
        there = [{point.token for point in sweep.points} <= known for sweep in sweeps.all()]
        assert len(queue.jobs()) == 4 * sum(there)
    assert cli("sweep", *line, *GRID).code == 0
    assert all({point.token for point in sweep.points} <= {job.token for job in queue.jobs()} for sweep in sweeps.all())
