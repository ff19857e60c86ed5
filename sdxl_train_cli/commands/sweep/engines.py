"""What carries out the points of a sweep: this computer's queue, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdxl_train_cli.cluster import batch
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.dataset.survey import OnProgress
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.run import preparation
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import LocalQueue, Submit
from sdxl_train_cli.sweeps.sweep import Sweep


@dataclass(frozen=True)
class SweepEngine:
    """Where a sweep is recorded, and what its points are checked for and handed to."""

    home: Home
    cluster: SlurmEngine | None = None
    """None for this computer's queue."""

    @property
    def submit(self) -> Submit:
        """Takes all points, or none."""
        return self.cluster or LocalQueue(Queue(self.home.queue))

    def prepare(self, choices: Choices, on_progress: OnProgress | None = None) -> Prepared:
        """Check one point as it is to be where it trains. Raises what is wrong, and writes nothing."""
        checked = choices if self.cluster is None else submission.checked_as(choices, self.cluster)
        found = preparation.prepare(checked, self.home, workspace.user_presets(), on_progress)
        return replace(found, choices=choices)

    def free_name(self, wanted: str) -> str:
        """The wanted name, numbered if there is such a sweep."""
        return Sweeps(self.home.sweeps).free_name(wanted, self._holds)

    def _holds(self, sweep: Sweep) -> bool:
        tokens = [point.token for point in sweep.points]
        if sweep.on_slurm:
            return bool(batch.with_tokens(self.home.cluster, tokens))
        return bool(Queue(self.home.queue).with_tokens(tokens))
