"""Sweeps from the command line: checked, queued, listed, shown, stopped, forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, variables

from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.sweeps.store import Sweeps


@pytest.fixture
def cli(tmp_path: Path, home: Path) -> Cli:
    """`sdxl-train` with the stand-in installed, and a home of its own."""
    own = tmp_path / "home"
    own.mkdir()
    for part in home.iterdir():
        (own / part.name).symlink_to(part)
    return Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(own)})


@pytest.fixture
def queue(cli: Cli) -> Queue:
    return Queue(Path(cli.environ["SDXL_TRAIN_HOME"]) / "queue")


@pytest.fixture
def sweeps(cli: Cli) -> Sweeps:
    return Sweeps(Path(cli.environ["SDXL_TRAIN_HOME"]) / "sweeps")


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    return ["lora", "--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "8"]


def test_a_grid_is_checked_queued_shown_and_ended(
    cli: Cli, queue: Queue, sweeps: Sweeps, line: list[str], tmp_path: Path
) -> None:
    grid = ["--set", "learning_rate=5e-5,1e-4", "--set", "network_dim=4,8"]

    refused = cli("sweep", *line, *grid, "--set", "min_snr_gamma=5,-1")
    assert (refused.code, queue.jobs(), sweeps.all()) == (3, [], [])
    assert refused.stderr.count("min_snr_gamma") == 1
    assert "more of 8 points" in refused.stderr

    made = cli("sweep", *line, *grid)
    assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
    assert "4 runs, 32 steps in all" in made.stderr
    names = ["cat-lr5e-5-dim4", "cat-lr5e-5-dim8", "cat-lr1e-4-dim4", "cat-lr1e-4-dim8"]
    assert [job.name for job in queue.jobs()] == names
    kept = sweeps.require("cat")
    assert [point.token for point in kept.points] == [job.token for job in queue.jobs()]

    again = cli("sweep", *line, *grid, "--json")
    assert json.loads(again.stdout)["points"][0] == "cat-2-lr5e-5-dim4"
    assert cli("sweep", "rm", "cat").code == 2
    assert cli("sweep", "stop", "cat-2").code == 0
    assert [job.name for job in queue.jobs()] == names

    assert cli("queue", "start").code == 0
    shown = json.loads(cli("sweep", "show", "cat", "--json").stdout)
    assert [point["state"] for point in shown["points"]] == ["done"] * 4
    assert shown["best"] is None
    settings = [json.loads((tmp_path / "output" / name / "run.json").read_text())["settings"] for name in names]
    assert [one["network_dim"]["value"] for one in settings] == [4, 8, 4, 8]
    assert cli("queue", "rm", *(job.id for job in queue.jobs(JobState.DONE))).code == 0
    listed = json.loads(cli("sweep", "list", "--json").stdout)
    assert [one["states"] for one in listed] == [{"removed": 4}, {"done": 4}]
    assert cli("sweep", "rm", "cat").code == 0
    assert cli("sweep", "show", "cat").code == 2
