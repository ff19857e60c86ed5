"""`runs resume --on slurm`: a run that is resumed on a cluster, whichever computer began it."""

from __future__ import annotations

from sdxl_train_cli.cluster import handing_over, overview
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.cluster.submission import Engine
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState, KeptResume, Waiting, new_token
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import history, run_owner, runs
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import finishing, resuming
from sdxl_train_cli.ui import console


def prepare(entry: Loaded, asked: KeptResume, on: Engine, home: str | None) -> tuple[Waiting, SlurmEngine]:
    """Check a run for a node, and give the job that resumes it. Raises what is wrong, and writes nothing."""
    inputs = entry.record.inputs
    if inputs is None or entry.record.kind is None:
        raise UsageError(f"the record of {entry.folder} does not say what was run", "start a new run")
    if asked.steps is None and finishing.is_trained(entry):
        words = f"all steps of {entry.name} are made, and only its end is left: that takes no cluster"
        raise UsageError(words, f"leave out --on {on.value}")
    cluster = submission.engine_for(on, inputs.nodes, inputs.processes, home)
    _require_free(entry, inputs, cluster)
    there = submission.node_of(cluster, is_needed=asked.check_vram and inputs.check_vram and not inputs.on_processor)
    resumed = resuming.prepare(
        entry, cluster.home, steps=asked.steps, check_vram=asked.check_vram, force=asked.force, gpu_indices=(),
        elsewhere=there,
    )  # fmt: skip
    for note in resumed.notes:
        console.note(note)
    point = Waiting(
        name=entry.name, kind=entry.record.kind, preset=entry.record.preset or "", run=entry.folder, resume=asked,
        record=entry.record.model_dump_json(exclude_unset=True), token=inputs.job or new_token(),
    )  # fmt: skip
    return point, cluster


def submit(entry: Loaded, point: Waiting, cluster: SlurmEngine, *, dry_run: bool, as_json: bool) -> None:
    """Submit it; with `dry_run`, print the script and change nothing."""
    if dry_run:
        submission.submit_point(point, cluster, dry_run=True, as_json=as_json)
        return
    run = Run(entry.folder, entry.name)
    with handing_over.holding(Queue(cluster.home.queue)):
        run_owner.forget_dead(run.folder)  # before it is held: a held run is alive
        with run_owner.hold(run.folder):
            now = history.load(run.folder).record.inputs  # another terminal may have submitted it since the check
            if now is not None:
                _require_free(entry, now, cluster)
            runs.note_job(run, point.token)
        submission.submit_point(point, cluster, dry_run=False, as_json=as_json)


def _require_free(entry: Loaded, inputs: Inputs, cluster: SlurmEngine) -> None:
    """UsageError if the queue or the cluster has the run, and will go on with it."""
    if inputs.job is None:
        return
    job = Queue(cluster.home.queue).with_tokens([inputs.job]).get(inputs.job)
    home = submission.flag(cluster.home)
    if job is not None:  # even one that has ended: `queue retry` would start the run a second time
        hand_over = f"sdxl-train queue start --on slurm{home}"
        hint = {
            JobState.RUNNING: f"to stop it: sdxl-train queue stop {job.id}{home}",
            JobState.DONE: f"sdxl-train queue rm {job.id}{home}, then this again",
            JobState.FAILED: f"sdxl-train queue retry {job.id}{home}, then {hand_over}",
            JobState.STOPPED: f"sdxl-train queue retry {job.id}{home}, then {hand_over}",
        }.get(job.state, hand_over)
        raise UsageError(f"{entry.name} belongs to {job.words} of the queue, which is {job.state.value}", hint)
    view = overview.with_tokens(cluster.home.cluster, [inputs.job]).get(inputs.job)
    if view is not None and view.state.is_open:
        raise UsageError(f"job {view.job} of the cluster goes on with {entry.name}: it is {view.state.value}",
                         f"sdxl-train cluster list{home}")  # fmt: skip
