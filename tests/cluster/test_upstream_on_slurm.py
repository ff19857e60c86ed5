"""Real trainings of a scaled-down SDXL on a real Slurm of two nodes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_source
from conftest import own_home, write_pictures
from real_slurm import NODES, Slurm, running

from sdxl_train_cli.cluster import overview
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands.sweep import checking, queuing
from sdxl_train_cli.commands.sweep.checking import SweepRequest
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.environment import environment
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import history, metrics
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.run import preparation, smoke
from sdxl_train_cli.run.smoke import SmokeSize
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sweeps import comparing, progress, words
from sdxl_train_cli.sweeps.axes import Axis, Range
from sdxl_train_cli.sweeps.sweep import Way

pytestmark = [pytest.mark.upstream, pytest.mark.slow]
POINTS, STEPS = 12, 20
_LONGEST_SECONDS, _LOOK_SECONDS = 3600.0, 1.0


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of its own with the real environment."""
    folder = own_home(tmp_path / "home", upstream_source.home())
    return Home(folder)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A cluster."""
    (tmp_path / "slurm").mkdir()
    with running(tmp_path / "slurm") as cluster:
        monkeypatch.setenv("PATH", cluster.path)
        yield cluster


def points(  # noqa: PLR0913, PLR0917
    home: Home, folder: Path, rates: list[float], steps: int = STEPS, nodes: int = 1, kind: Kind = Kind.LORA
) -> list[Waiting]:
    """Smoke trainings that differ in their rate."""
    installed = environment.require(home)
    size = SmokeSize(steps, scaled=True, gpu_index=None)
    material = smoke.make_material(installed, folder / "material", size)
    usual = smoke.choices(kind, material, folder / "runs", size, eight_bit=installed.lock.eight_bit)
    found = []
    for number, rate in enumerate(rates):
        own = (Override("learning_rate", rate, Origin("test")), Override("seed", 7, Origin("test")))
        chosen = replace(usual, name=f"point-{number}", overrides=(*usual.overrides, *own))
        chosen = replace(chosen, nodes=nodes, starts_later=True)
        found.append(entering.waiting(preparation.prepare(chosen, home, folder)))
    return found


def losses(run: Path | None) -> dict[int, float | None]:
    return {} if run is None else {step.step: step.loss for step in metrics.load(run / "metrics.jsonl")}


def test_a_sweep_of_twelve_runs_with_one_taken_back(home: Home, slurm: Slurm, tmp_path: Path) -> None:
    """As an array over two nodes. The first two are equal until one is taken back, which then sees other noise."""
    rates = [1e-4, *(1e-4 * number for number in range(1, POINTS))]
    engine = SlurmEngine(home, ClusterSettings(home=str(home.path), gpus="0"))
    began = time.monotonic()
    engine(points(home, tmp_path, rates), at_once=2)
    taken, nodes, at_once = False, set[str](), 0
    views = overview.views(home.cluster)
    while any(view.state.is_open for view in views):
        assert time.monotonic() < began + _LONGEST_SECONDS
        nodes |= {view.node for view in views if view.state is TaskState.RUNNING}
        at_once = max(at_once, len(slurm("squeue", "-h", "-r", "-t", "RUNNING").splitlines()))
        first = views[0]
        if not taken and len(losses(first.task.run)) > 3:
            slurm("scontrol", "requeue", first.job)
            taken = True
        elif first.state is TaskState.PENDING and taken:
            slurm.start_now(first.job)
        time.sleep(_LOOK_SECONDS)
        views = overview.views(home.cluster)

    report(views, time.monotonic() - began)
    assert {view.state for view in views} == {TaskState.DONE}
    assert (nodes, at_once) == (set(NODES), 2)
    runs = [view.task.run for view in views]
    assert len({run for run in runs if run is not None}) == POINTS
    for run in runs:
        assert run is not None
        assert list(losses(run)) == list(range(1, STEPS + 1))
        assert history.load(run).state is RunState.DONE
        assert checkpoint.read_header(run / f"{run.name}.safetensors").shapes
    assert runs[0] is not None
    (again,) = history.load(runs[0]).record.attempts
    assert again.from_step not in {None, 0, STEPS // 2}
    begun, twin = losses(runs[0]), losses(runs[1])
    equal = range(1, 1 + (again.from_step or 0))
    assert [begun[step] for step in equal] == [twin[step] for step in equal]


def test_a_search_of_six_with_one_taken_back(home: Home, slurm: Slurm, tmp_path: Path) -> None:
    """Each element chooses a rate as it starts; what was taken back keeps its own."""
    cluster = SlurmEngine(home, ClusterSettings(home=str(home.path), gpus="0"))
    installed = environment.require(home)
    size = SmokeSize(STEPS, scaled=True, gpu_index=None)
    material = smoke.make_material(installed, tmp_path / "material", size)
    usual = smoke.choices(Kind.LORA, material, tmp_path / "runs", size, eight_bit=installed.lock.eight_bit)
    changes = {"seed": 7, "save_every_n_steps": STEPS // 4, "train_batch_size": 2}
    pictures = write_pictures(tmp_path / "pictures", 12, "zkz, a wall, a tree", (64, 64))
    own = tuple(Override(name, value, Origin("test")) for name, value in changes.items())
    base = replace(usual, name="cat", data=pictures, samples=(), validation=0.35, overrides=(*usual.overrides, *own))
    request = SweepRequest((Axis("learning_rate", range=Range(1e-6, 1e-1, is_whole=False)),), Way.SEARCH, 6, True, 2)
    began, engine = time.monotonic(), SweepEngine(home, cluster)
    kept = queuing.queue(checking.check(request, base, engine), engine)
    taken, seen, nodes = "", dict[str, dict[str, str]](), set[str]()
    views = overview.views(home.cluster)
    while any(view.state.is_open for view in views):
        assert time.monotonic() < began + _LONGEST_SECONDS
        nodes |= {view.node for view in views if view.state is TaskState.RUNNING}
        for view in views:
            if view.task.point is not None and view.task.point.is_settled:
                assert seen.setdefault(view.job, dict(view.task.point.settings)) == view.task.point.settings
            if not taken and view.task.index == 1 and len(losses(view.task.run)) > 7:
                taken = view.job
                slurm("scontrol", "requeue", taken)
            elif view.job == taken and view.state is TaskState.PENDING:
                slurm.start_now(taken)
        time.sleep(_LOOK_SECONDS)
        views = overview.views(home.cluster)

    report(views, time.monotonic() - began)
    (followed,) = progress.follow_all([kept], Queue(home.queue), home.cluster)
    found = comparing.compare(followed)
    sys.stdout.write("\n".join(" ".join(words.row(kept, one)) for one in found.points) + "\n")
    assert (len(seen), len({one["learning_rate"] for one in seen.values()})) == (6, 6)
    assert nodes == set(NODES)
    assert {one.state for one in followed} <= {"done", progress.PRUNED}
    assert all(one.validations for one in followed)
    assert found.best is not None
    (again,) = (view for view in views if view.job == taken)
    assert again.task.run is not None
    assert list(losses(again.task.run)) == list(range(1, STEPS + 1))
    assert history.load(again.task.run).record.attempts[0].from_step not in {None, 0}


def test_a_run_on_two_nodes_ends_with_one_file(home: Home, slurm: Slurm, tmp_path: Path) -> None:
    """By gloo, on the processor. Each step trains two batches."""
    engine = SlurmEngine(home, ClusterSettings(home=str(home.path), gpus="0"), nodes=2)
    began = time.monotonic()
    engine(points(home, tmp_path, [1e-4], steps=4, nodes=2))
    (view,) = overview.views(home.cluster)
    seen = set[str]()
    while view.state.is_open:
        assert time.monotonic() < began + _LONGEST_SECONDS
        seen.add(view.node)
        time.sleep(_LOOK_SECONDS)
        (view,) = overview.views(home.cluster)

    report([view], time.monotonic() - began)
    run = view.task.run
    assert (view.state, view.detail) == (TaskState.DONE, "")
    assert run is not None
    assert "n[1-2]" in seen
    assert slurm("scontrol", "show", "job", "-o", view.job).count("NumNodes=2") == 1
    assert list(losses(run)) == [1, 2, 3, 4]
    assert [path.name for path in run.glob("point-0.safetensors")] == ["point-0.safetensors"]
    assert "point-0-step" not in (run / "train.node1.log").read_text(encoding="utf-8")
    assert checkpoint.read_header(run / "point-0.safetensors").shapes


@pytest.mark.parametrize(
    ("kind", "nodes", "how"),
    [
        (Kind.LORA, 1, "time"),
        (Kind.DREAMBOOTH, 1, "time"),
        (Kind.LORA, 2, "time"),
        (Kind.DREAMBOOTH, 2, "time"),
        (Kind.LORA, 2, "requeue"),
    ],
)
def test_what_slurm_asks_to_end_saves_a_state_first(  # noqa: PLR0913, PLR0917
    home: Home, slurm: Slurm, tmp_path: Path, kind: Kind, nodes: int, how: str
) -> None:
    """The whole model's trainer, and several processes, which end after the same step."""
    steps = 12
    engine = SlurmEngine(home, ClusterSettings(home=str(home.path), gpus="0"), nodes=nodes)
    began = time.monotonic()
    engine(points(home, tmp_path, [1e-4], steps=steps, nodes=nodes, kind=kind))
    asked = None
    (view,) = overview.views(home.cluster)
    while view.state is not TaskState.DONE:  # stopped for a moment, until Slurm has put it back
        assert view.task.end is None, view.detail
        assert time.monotonic() < began + _LONGEST_SECONDS
        made = losses(view.task.run)
        if asked is None and 2 < len(made) < steps - 2:
            asked = len(made)
            if how == "time":
                slurm("scancel", "--signal=USR1", "--batch", view.job)  # as --signal does before the time ends
            else:
                slurm("scontrol", "requeue", view.job)
        elif view.state is TaskState.PENDING and asked is not None:
            with contextlib.suppress(subprocess.CalledProcessError):  # its last processes are ending still
                slurm.start_now(view.job)
        time.sleep(_LOOK_SECONDS / 2)
        (view,) = overview.views(home.cluster)

    report([view], time.monotonic() - began)
    run = view.task.run
    assert (view.state, view.detail) == (TaskState.DONE, "")
    assert run is not None
    assert asked is not None
    (again,) = history.load(run).record.attempts
    assert asked <= (again.from_step or 0) <= asked + 3
    assert list(losses(run)) == list(range(1, steps + 1))
    assert "state saved: " in (run / "train.log").read_text(encoding="utf-8")
    assert not list(run.glob("*.part"))
    assert not (run / "stop-asked").exists()
    assert checkpoint.read_header(run / f"{run.name}.safetensors").shapes


def report(views: list[TaskView], seconds: float) -> None:
    """Print what became of each, for whoever runs this by hand."""
    lines = [f"\n{len(views)} runs in {seconds:.0f} s"]
    for view in views:
        start = view.task.start
        attempts = history.load(view.task.run).record.attempts if view.task.run else ()
        resumed = [one.from_step for one in attempts]
        words = f"{start and start.starts} starts, resumed at {resumed}, {len(losses(view.task.run))} steps"
        lines.append(f"{view.job} {view.state.value} {view.detail}: {words}")
    sys.stdout.write("\n".join(lines) + "\n")
