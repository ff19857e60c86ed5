"""Jobs of the queue that are handed over to a cluster, whatever cuts that off. Slurm's commands are scripts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import slurm_commands
from kept_runs import NOBODY, keep, write_json
from slurm_commands import Say
from test_cluster_overview import OFF

from sdxl_train_cli import files
from sdxl_train_cli.cluster import batch, handing_over, overview, slurm
from sdxl_train_cli.cluster.handing_over import HandedOver, HandedShare
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.slurm import SlurmError
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.cluster.task_folder import TaskEnd, TaskStart
from sdxl_train_cli.commands.cluster import listing, resumption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.record import Inputs


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Make a command of Slurm that runs this shell code. Job 12 is what sbatch submits."""
    write = slurm_commands.on_path(tmp_path, monkeypatch)
    for name, code in {"sacct": OFF, "scontrol": "exit 1", "squeue": "true", "sbatch": "echo 12"}.items():
        write(name, code)
    return write


@pytest.fixture
def engine(tmp_path: Path) -> SlurmEngine:
    return SlurmEngine(Home(tmp_path / "общий дом"), ClusterSettings(home="/h", gpus="gpu:a100:8"))


@pytest.fixture
def queue(engine: SlurmEngine) -> Queue:
    """Four jobs: the third takes two GPUs, and the last was added for GPU 1 of this computer."""
    found = Queue(engine.home.queue)
    for number, more in enumerate([{}, {}, {"processes": 2}, {"gpu_index": 1}]):
        inputs = {"preset": "gc", "model": "m", "data": "/d", "output": "/o", **more}
        record = json.dumps({"sdxl_train": "1", "kind": "lora", "inputs": inputs})
        found.add(Waiting(name=f"cat{number}", kind="lora", preset="gc", record=record, token=f"token{number}"))
    return found


def shared(queue: Queue, engine: SlurmEngine, told: list[str] | None = None) -> list[HandedShare]:
    say = [].append if told is None else told.append
    return handing_over.shares(queue, queue.jobs(JobState.WAITING), engine, lambda _job, kept: kept, say)


def where(queue: Queue, engine: SlurmEngine) -> dict[str, list[str]]:
    """The names of the jobs that the queue has, and of those that the cluster has."""
    batches = sorted(batch.all_in(engine.home.cluster), key=lambda one: one.jobs)  # two may be of one second
    there = [task.name for one in batches for task in one.tasks()]
    return {"queue": [job.name for job in queue.jobs()], "cluster": there}


def test_jobs_with_the_same_resources_go_together_in_the_queues_order(
    queue: Queue, engine: SlurmEngine, say: Say
) -> None:
    queue.move(4, 0)
    told: list[str] = []
    found = shared(queue, engine, told)

    assert [[job.name for job in share.jobs] for share in found] == [["cat3", "cat0", "cat1"], ["cat2"]]
    assert [share.engine.settings.gres for share in found] == ["gpu:a100:1", "gpu:a100:2"]
    assert told == ["job 4 (cat3) was added for GPU 1 of this computer; on the cluster Slurm chooses"]
    say("sbatch", 'n=$(cat "$0.n" 2>/dev/null || echo 11); n=$((n + 1)); echo $n > "$0.n"; echo $n')

    done = [handing_over.hand_over(queue, share, 2) for share in found]
    assert done == [HandedOver(3, ("12",)), HandedOver(1, ("13",))]

    assert where(queue, engine) == {"queue": [], "cluster": ["cat3", "cat0", "cat1", "cat2"]}
    (first, _) = sorted(batch.all_in(engine.home.cluster), key=lambda one: one.jobs)
    assert "#SBATCH --array=0-2%2" in first.script.read_text(encoding="utf-8")
    (pinned, *_) = first.tasks()
    assert (pinned.token, json.loads(pinned.kept.record)["inputs"]["gpu_index"]) == ("token3", None)


def test_a_refusal_leaves_all_in_the_queue(queue: Queue, engine: SlurmEngine, say: Say) -> None:
    say("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")

    with pytest.raises(SlurmError):
        handing_over.hand_over(queue, shared(queue, engine)[0], None)

    assert where(queue, engine) == {"queue": ["cat0", "cat1", "cat2", "cat3"], "cluster": []}
    assert {job.state for job in queue.jobs()} == {JobState.WAITING}


def killed_while_handing_over(queue: Queue, share: HandedShare, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand over in another process, which ends as it would call this, without a chance to tidy up."""
    place, name = moment.split(".")
    target = {"batch": batch, "slurm": slurm, "Batch": batch.Batch, "Queue": Queue}[place]
    monkeypatch.setattr(target, name, lambda *_, **_named: os._exit(9))
    pid = os.fork()
    if pid == 0:
        try:
            handing_over.hand_over(queue, share, None)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("moment", "is_there", "has"),
    [
        ("batch.create", False, "queue"),
        ("slurm.submit", False, "queue"),
        ("slurm.submit", True, "cluster"),
        ("Batch.note_job", False, "queue"),
        ("Batch.note_job", True, "cluster"),
        ("Queue.end_hand_over", True, "cluster"),
    ],
)
def test_a_kill_at_any_moment_leaves_each_job_with_one_of_the_two(  # noqa: PLR0913, PLR0917
    queue: Queue, engine: SlurmEngine, say: Say, moment: str, is_there: bool, has: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`is_there`: Slurm has the job after the kill."""
    path = os.environ["PATH"]
    killed_while_handing_over(queue, shared(queue, engine)[0], moment, monkeypatch)
    monkeypatch.setenv("PATH", path)
    assert [job.state.value for job in queue.jobs()] == ["handing over", "handing over", "waiting", "handing over"]
    assert queue.claim(1, []) is None  # no worker starts it
    assert not queue.remove(1)
    assert not queue.ask_to_stop(1)
    script = next(engine.home.cluster.glob("*/script.sh"), None) if engine.home.cluster.is_dir() else None
    say("squeue", f"echo '12|{script}'" if is_there else "echo '12|/another/script.sh'")

    handing_over.settle(queue, engine.home.cluster)

    all_four = {"queue": ["cat0", "cat1", "cat2", "cat3"], "cluster": []}
    expected = {"queue": ["cat2"], "cluster": ["cat0", "cat1", "cat3"]} if has == "cluster" else all_four
    assert where(queue, engine) == expected
    assert {job.state for job in queue.jobs()} == {JobState.WAITING}
    assert {view.job for view in overview.views(engine.home.cluster)} <= {"12_0", "12_1", "12_2"}


def test_while_slurm_does_not_answer_nothing_is_decided(
    queue: Queue, engine: SlurmEngine, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    killed_while_handing_over(queue, shared(queue, engine)[1], "Batch.note_job", monkeypatch)
    monkeypatch.setenv("PATH", path)
    say("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    with pytest.raises(SlurmError):
        handing_over.settle(queue, engine.home.cluster)
    told = handing_over.settle_now(queue, engine.home.cluster)

    assert told is not None
    assert "Unable to contact slurm controller" in f"{told.message} {told.hint}"
    assert queue.require(3).state is JobState.HANDING_OVER


def test_a_job_that_a_worker_has_taken_meanwhile_is_left_to_it(queue: Queue, engine: SlurmEngine, say: Say) -> None:
    say("squeue", "true")
    (share, _) = shared(queue, engine)
    assert queue.claim(2, []) is not None

    handing_over.hand_over(queue, share, None)

    assert where(queue, engine) == {"queue": ["cat1", "cat2"], "cluster": ["cat0", "cat3"]}
    assert queue.require(2).state is JobState.RUNNING


def test_two_do_not_hand_over_at_once(queue: Queue) -> None:
    with handing_over.holding(queue), pytest.raises(UsageError, match="hands runs over"), \
         handing_over.holding(queue):  # fmt: skip
        pass


def test_a_run_that_another_terminal_has_just_submitted_is_not_submitted_again(
    tmp_path: Path, engine: SlurmEngine, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "cat"
    run.mkdir()
    inputs = {"preset": "gc", "model": "m", "data": "/d", "output": str(tmp_path)}
    text = json.dumps({"sdxl_train": "1", "name": "cat", "kind": "lora", "inputs": inputs})
    (run / "run.json").write_text(text, encoding="utf-8")
    both = [(history.load(run), Waiting(name="cat", kind="lora", preset="gc", record=text, run=run)) for _ in range(2)]
    say("squeue", "echo '12|PENDING|Priority|'")

    resumption.submit(*both[0], engine, dry_run=False, as_json=False)
    with pytest.raises(UsageError, match="job 12 of the cluster goes on with cat"):
        resumption.submit(*both[1], engine, dry_run=False, as_json=False)

    assert (capsys.readouterr().out, len(overview.views(engine.home.cluster))) == ("12\n", 1)


def test_of_two_jobs_with_the_same_number_the_latest_is_retried(
    engine: SlurmEngine, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("old", "new"):
        (folder,) = batch.new_folders(engine.home.cluster, 1)
        made = batch.create(folder.with_name(f"{folder.name}-{name}"), [Waiting(name=name, kind="lora", preset="gc",
                            record="{}")], lambda _one: "", is_array=False)  # fmt: skip
        made.note_job("12")
        made.task(0).note_end(TaskEnd(JobState.FAILED, 7))
        made.folder.rename(made.folder.with_name(f"2026-{name == 'new':d}-{name}"))
    say("sbatch", "echo 13")

    listing.retry("12", as_json=False, home=str(engine.home.path))

    assert capsys.readouterr().out == "13\n"
    assert {one.task(0).name: one.jobs for one in batch.all_in(engine.home.cluster)} == {
        "old": ("12",), "new": ("12", "13"),
    }  # fmt: skip


def test_a_cut_off_job_waits_again_unless_a_worker_sees_to_that(queue: Queue) -> None:
    claimed: Job | None = queue.claim(1, [])
    assert claimed is not None

    handing_over.put_back_cut_off(queue)

    assert queue.require(1).state is JobState.WAITING


def test_what_a_drive_does_not_say_leaves_a_job_marked_and_not_started_twice(
    queue: Queue, engine: SlurmEngine, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("sbatch", "echo 12")
    killed_while_handing_over(queue, shared(queue, engine)[0], "Queue.end_hand_over", monkeypatch)
    real = files.read_json

    def read(path: Path, *given: int) -> object:
        if path.name == "task.json":
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *given)

    monkeypatch.setattr(files, "read_json", read)
    with pytest.raises(UsageError, match="can't be read: Input/output error"):
        handing_over.settle(queue, engine.home.cluster)
    assert {job.name for job in queue.jobs(JobState.HANDING_OVER)} == {"cat0", "cat1", "cat3"}

    monkeypatch.setattr(files, "read_json", real)
    handing_over.settle(queue, engine.home.cluster)
    assert where(queue, engine) == {"queue": ["cat2"], "cluster": ["cat0", "cat1", "cat3"]}


def test_a_task_that_has_started_is_slurms_whatever_the_login_node_knows(
    queue: Queue, engine: SlurmEngine, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran and ended before the drive showed its number, so that squeue no longer has it."""
    say("squeue", "true")
    path = os.environ["PATH"]
    killed_while_handing_over(queue, shared(queue, engine)[0], "slurm.submit", monkeypatch)
    monkeypatch.setenv("PATH", path)
    (folder,) = engine.home.cluster.iterdir()
    batch.Batch(folder).task(1).note_start(TaskStart(1, 0, 0))

    handing_over.settle(queue, engine.home.cluster)

    assert folder.is_dir()
    assert [job.name for job in queue.jobs()] == ["cat2"]


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        (JobState.FAILED, "sdxl-train queue retry 1 --home '{home}', then sdxl-train queue start --on slurm"),
        (JobState.RUNNING, "to stop it: sdxl-train queue stop 1 --home '{home}'"),
        (JobState.DONE, "sdxl-train queue rm 1 --home '{home}', then this again"),
    ],
)
def test_a_run_that_the_queue_has_is_not_resumed_beside_it(
    queue: Queue, engine: SlurmEngine, tmp_path: Path, state: JobState, hint: str
) -> None:
    """Its token would be with both, and a later hand-over could not tell which one has the job."""
    job = queue.claim(1, [])
    assert job is not None
    if state.has_ended:
        queue.end(job, state, 7)
    entry = history.load(keep(tmp_path / "cat0", None))
    inputs = Inputs(preset="gc", model="m", data=Path("/d"), output=Path("/o"), job="token0")

    with pytest.raises(UsageError, match=f"belongs to job 1 .cat0. of the queue, which is {state.value}") as caught:
        resumption._require_free(entry, inputs, engine)  # noqa: SLF001 - what comes before and after needs a cluster

    assert str(caught.value.problems[0].hint).startswith(hint.format(home=engine.home.path))


def test_the_note_of_a_command_that_is_gone_does_not_reach_the_node(
    engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node could not see that it is gone, and would not go on."""
    folder = keep(tmp_path / "cat", None)
    entry = history.load(folder)
    write_json(folder / record.RUNNING, {"pid": NOBODY, "created": 1.0})
    monkeypatch.setattr(resumption.runs, "note_job", lambda *_: None)
    monkeypatch.setattr(resumption.submission, "submit_point", lambda *_, **_named: None)

    resumption.submit(entry, Waiting("cat", "lora", "gc", "{}", run=folder), engine, dry_run=False, as_json=False)

    assert not (folder / record.RUNNING).exists()
