"""Submit trainings to Slurm: one job for one, an array for several."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.cluster import batch, script, slurm
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.script import Submission
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.layout import Home


@dataclass(frozen=True)
class SlurmEngine:
    """A cluster that carries out trainings. Called with some, it submits them."""

    home: Home
    """Shared by all nodes."""
    settings: ClusterSettings
    nodes: int = 1
    """Nodes of each training."""

    def __call__(self, points: Sequence[Waiting], *, at_once: int | None = None) -> Sequence[str]:
        """Their tokens, in the same order. SlurmError if Slurm refuses; nothing is left then."""
        return self.submit(points, at_once=at_once)[1]

    def submit(self, points: Sequence[Waiting], *, at_once: int | None = None) -> tuple[Batch, list[str]]:
        """The batch and the tokens of its tasks. Raises as above."""
        made, tokens = batch.create(
            self.home.cluster, points, lambda one: self.script(points, at_once, one), is_array=len(points) > 1
        )
        try:
            made.note_job(slurm.submit(made.script))
        except UsageError:
            shutil.rmtree(made.folder, ignore_errors=True)
            raise
        return made, tokens

    def script(self, points: Sequence[Waiting], at_once: int | None, made: Batch | None = None) -> str:
        """The script. Without a batch, as it would be."""
        folder = self.home.cluster / "BATCH" if made is None else made.folder
        several = len(points) > 1
        start = [*own_argv("run"), "--home", str(self.home.path), str(folder)]
        return script.text(
            self.settings,
            Submission(
                name=points[0].name if not several else f"{points[0].kind}-{len(points)}",
                output=script.escaped(folder / "tasks") / ("%a" if several else "0") / "output.log",
                start=start,
                count=len(points) if several else None,
                at_once=at_once,
                nodes=self.nodes,
            ),
        )


def retry(one: Batch, indices: Sequence[int]) -> str:
    """Submit some tasks of a batch again and return the job's ID. What they have made is resumed."""
    array = [f"--array={','.join(map(str, indices))}"] if one.is_array else []
    for index in indices:
        one.task(index).forget_stalls()
    job = slurm.submit(one.script, *array)
    one.note_job(job, indices if one.is_array else None)
    return job


def own_argv(*words: str) -> list[str]:
    """The command line of one of our commands for nodes."""
    return [sys.executable, "-m", "sdxl_train_cli", "cluster", *words]
