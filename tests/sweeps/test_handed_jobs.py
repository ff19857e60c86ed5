"""Which waiting jobs a cluster is given, why the others stay, and whose caches are kept apart."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
from swept_runs import SweptRuns

from sdxl_train_cli import files, gpu
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Setting
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.sweeps import handed_jobs, shared_caches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Sweep, Way

NODE = gpu.hypothetical(24.0, 1.0)


def job(token: str, need_gib: float | None = None) -> Job:
    return Job(id=1, name="cat", kind="lora", preset="gc", state=JobState.WAITING, position=1, token=token,
               added=datetime.now(timezone.utc), need_gib=need_gib)  # fmt: skip


@pytest.fixture
def sweeps(tmp_path: Path) -> Sweeps:
    return Sweeps(tmp_path / "sweeps")


def write(sweeps: Sweeps, **update: object) -> Sweep:
    sweep = SweptRuns(sweeps.folder.parent).sweep.model_copy(update=update)
    with sweeps.changing():
        sweeps.write(sweep)
    return sweep


def test_a_job_stays_that_makes_no_sense_on_the_cluster(sweeps: Sweeps) -> None:
    search = write(sweeps, way=Way.SEARCH)

    assert handed_jobs.why_kept(job("a"), None, NODE) is None
    assert handed_jobs.why_kept(job("a", 23.0), None, NODE) is None
    assert handed_jobs.why_kept(job("a", 99.0), None, None) is None, "nobody knows the node's GPU"
    assert handed_jobs.why_kept(job("a", 30.0), None, NODE) == "it needs 30.0 GB, and a node's GPU has 23.0 GB free"
    assert handed_jobs.why_kept(job("a", 30.0), search, NODE) == (
        f"this queue chooses the next points of the search {search.name}"
    )


@pytest.mark.parametrize(
    ("at_once", "are_made", "apart"), [(None, False, 1), (2, False, 1), (1, False, 0), (2, True, 0)]
)
def test_points_that_share_caches_keep_them_apart_where_none_waits_for_another(
    sweeps: Sweeps, at_once: int | None, are_made: bool, apart: int
) -> None:
    sweep = write(sweeps, shares_caches=True)
    if are_made:
        files.write(sweeps.folder / sweep.name / "caches-made", "")
    point, other, big = job(sweep.points[0].token), job("other"), job(sweep.points[1].token, 80.0)

    found = handed_jobs.choose([point, other, big], sweeps, NODE, at_once)

    assert found.jobs == (point, other)
    assert [one for one, _ in found.kept] == [big]
    assert found.apart == dict([(point.token, sweep.name)] * apart)
    setting = Setting(value=True, origin=Origin("the sweep"))
    kept = Record(sdxl_train="1", settings={shared_caches.ON_DISK: setting})
    assert found.changed(other, kept) == kept
    assert (found.changed(point, kept) != kept) is bool(apart)
