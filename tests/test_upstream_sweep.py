"""A sweep of real trainings of the scaled-down model: queued, trained, its latents made once, its points ranked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import Cli, own_home, variables, write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.commands.sweep import checking, queuing
from sdxl_train_cli.commands.sweep.checking import SweepRequest
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking.verdict import Standing
from sdxl_train_cli.records import history
from sdxl_train_cli.sweeps import comparing, progress
from sdxl_train_cli.sweeps.axes import Axis
from sdxl_train_cli.sweeps.sweep import Way

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("sweep"))


def test_points_share_latents_and_are_ranked_picture_by_picture(real: RealRuns, tmp_path: Path) -> None:
    home = own_home(tmp_path / "home", real.home)
    where, queue = Home(home), Queue(home / "queue")
    pictures = write_pictures(tmp_path / "pictures", 12, "zkz, a wall, a tree", (64, 64))
    changes = {"max_train_steps": 6, "save_every_n_steps": 3, "train_batch_size": 4}
    base = replace(
        real.choices("cat", real.material.model, pictures, changes),
        samples=(),
        validation=0.35,
        output=tmp_path / "runs",
    )
    request = SweepRequest((Axis("learning_rate", ("1e-4", "1e-8")),), Way.GRID, None, is_confirmed=True)

    engine = SweepEngine(where)
    kept = queuing.queue(checking.check(request, base, engine), engine)
    cli = Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(home)})
    with cli.start("queue", "start") as worker:
        assert worker.process.wait(1800) == 0

    assert [point.name for point in kept.points] == ["cat-lr1e-4", "cat-lr1e-8"]
    assert len(list(pictures.glob("*_sdxl.npz"))) == 12
    begun = history.load(tmp_path / "runs" / "cat-lr1e-8").record.started
    assert begun is not None
    assert max(path.stat().st_mtime for path in pictures.glob("*_sdxl.npz")) < begun.timestamp()
    found = comparing.compare(progress.follow(kept, queue))
    assert found.unlike == ()
    assert found.best is not None
    assert found.looks == 4
    assert Standing.UNMEASURED not in {one.standing for one in found.points}
