"""A hand-over of the queue to a real Slurm that is killed at random moments loses no job, and leaves none in both."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from real_slurm import Slurm, running

from sdxl_train_cli.cluster import batch
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home

pytestmark = pytest.mark.slow
KILLS, JOBS = 40, 3
_START = [sys.executable, "-m", "sdxl_train_cli", "queue", "start", "--on", "slurm"]


def slow_down(slurm: Slurm) -> None:
    """Have sbatch take its time, before and after the job is there."""
    command = slurm.bin / "sbatch"
    text = command.read_text(encoding="utf-8").replace("exec ", "sleep 0.3; ").rstrip()
    command.write_text(f"{text}\ncode=$?; sleep 0.3; exit $code\n", encoding="utf-8")


def test_a_hand_over_is_killed_at_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slurm").mkdir()
    home = Home(tmp_path / "home")
    (tmp_path / "config").mkdir()
    settings = f'home: "{home.path}"\ngpus: "0"\nlines: ["--begin=now+1hour"]\n'
    (tmp_path / "config" / "cluster.yaml").write_text(settings, encoding="utf-8")
    inputs = {"preset": "gc", "model": "m", "data": "/d", "output": "/o"}
    record = json.dumps({"sdxl_train": "1", "kind": "lora", "inputs": inputs})
    queue, chance, tokens, midway = Queue(home.queue), random.Random(5), set[str](), 0  # noqa: S311
    with running(tmp_path / "slurm") as slurm:
        slow_down(slurm)
        monkeypatch.setenv("PATH", slurm.path)
        environ = {**os.environ, "SDXL_TRAIN_HOME": str(home.path), "SDXL_TRAIN_CONFIG": str(tmp_path / "config")}
        for number in range(KILLS):
            points = [Waiting(name=f"cat{number}-{each}", kind="lora", preset="gc", record=record)
                      for each in range(JOBS)]  # fmt: skip
            tokens |= {job.token for job in queue.add_all(points)}
            with subprocess.Popen(
                _START, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            ) as handing:
                try:
                    handing.wait(chance.uniform(0.7, 1.9))
                except subprocess.TimeoutExpired:
                    os.killpg(handing.pid, signal.SIGKILL)
            midway += bool(queue.jobs(JobState.HANDING_OVER))
            subprocess.run(_START, env=environ, check=True, capture_output=True)
        made = batch.all_in(home.cluster)
        there = [task.token for one in made for task in one.tasks()]
        listed = slurm("squeue", "-h", "-r", "-o", "%F").split()

    sys.stdout.write(f"\n{KILLS} kills, {midway} in the middle, {len(there)} jobs with the cluster\n")
    assert queue.jobs() == []
    assert (set(there), len(there)) == (tokens, KILLS * JOBS)
    assert sorted(listed) == sorted(one.jobs[-1] for one in made for _ in one.tasks())
