"""A job whose run its sweep has stopped early: stopped, with the reason, and not an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.jobs.starting import JobActions
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.run.training import PrunedError


def test_a_pruned_job_is_stopped_with_its_reason_and_can_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, said = Queue(tmp_path / "queue"), list[str]()
    queue.add(Waiting("cat", "lora", "dim32-gc", json.dumps({"sdxl_train": "0.1.0"})))
    job = queue.claim(1, [])
    assert job is not None

    def prune(*_given: object) -> None:
        raise PrunedError(Problem("clearly behind"))

    monkeypatch.setattr(starting, "_go_on", prune)
    starting.carry_out(queue, job, tmp_path, JobActions(lambda *_given: None, lambda *_given: None, said.append))

    ended = queue.require(1)
    assert (ended.state, ended.exit_code, ended.cause) == (JobState.STOPPED, 0, "clearly behind")
    assert said == ["clearly behind"]
    assert queue.retry(1)


def test_jobs_of_a_sweep_are_found_by_their_tokens(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue")
    points = [Waiting(name, "lora", "dim32-gc", "{}") for name in ("a", "b", "c")]

    added = queue.add_all(points)

    assert [job.token for job in added] == [point.token for point in points]
    found = queue.with_tokens([points[2].token, "unknown"])
    assert {token: job.name for token, job in found.items()} == {points[2].token: "c"}
