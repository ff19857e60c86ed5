"""More trainings than one array may have, and what becomes of them where something fails on the way."""

from __future__ import annotations

import errno
import shlex
import shutil
from pathlib import Path

import pytest
import slurm_commands
from slurm_commands import Say

from sdxl_train_cli import files, process
from sdxl_train_cli.cluster import batch, slurm, submitting
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.slurm import Limits, SlurmError
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.layout import Home

pytestmark = pytest.mark.skipif(process.WINDOWS, reason="Slurm's commands are shell scripts")
POINTS = [Waiting(f"cat-{number}", "lora", "gc", "{}") for number in range(8)]


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Make a command of Slurm that runs this shell code. sbatch counts jobs from 10."""
    write = slurm_commands.on_path(tmp_path, monkeypatch)
    write("scontrol", "echo 'MaxArraySize            = 3'")
    write("sbatch", f'echo "$@" >> {tmp_path}/given; echo $((9 + $(wc -l < {tmp_path}/given)))')
    write("scancel", f'echo "$@" >> {tmp_path}/cancelled')
    return write


@pytest.fixture
def engine(tmp_path: Path, say: Say) -> SlurmEngine:  # noqa: ARG001 - Slurm's commands are there
    return SlurmEngine(Home(tmp_path / "home"), ClusterSettings(home=str(tmp_path / "home"), gpus="0"))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def given(tmp_path: Path) -> list[str]:
    """The options of each sbatch, without the script."""
    return [line.removeprefix("--parsable ").rpartition(" ")[0] for line in lines(tmp_path / "given")]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("MaxArraySize            = 1001\nMaxJobCount             = 10000", Limits(1001, 10000)),
        ("SchedulerParameters     = bf_max_job_test=9,max_array_tasks=250\nMaxArraySize    = 4001", Limits(250)),
        ("SchedulerParameters     = (null)\nMaxArraySize            = 4001", Limits(4001)),
        ("MaxArraySize            = 0", Limits()),
        ("slurm_load_ctl_conf error", Limits()),
    ],
)
def test_slurm_is_asked_how_long_an_array_may_be(say: Say, config: str, expected: Limits) -> None:
    say("scontrol", f"cat <<'END'\n{config}\nEND")

    assert slurm.limits() == expected


def test_more_than_slurm_holds_is_refused_before_anything_is_submitted(
    say: Say, engine: SlurmEngine, tmp_path: Path
) -> None:
    say("scontrol", "echo 'MaxArraySize            = 3'; echo 'MaxJobCount             = 7'")

    with pytest.raises(SlurmError, match="8 runs are more jobs than Slurm holds here") as caught:
        engine.submit(POINTS)

    assert caught.value.problems[0].hint == "take fewer points: --random 3, or --search 3 for a search"
    assert (given(tmp_path), engine.home.cluster.exists()) == ([], False)
    engine.submit(POINTS[:3])


def test_more_points_than_an_array_may_have_are_several_arrays(engine: SlurmEngine, tmp_path: Path) -> None:
    made = engine.submit(POINTS)

    assert [[task.name for task in one.tasks()] for one in made] == [
        ["cat-0", "cat-1", "cat-2"], ["cat-3", "cat-4", "cat-5"], ["cat-6", "cat-7"],
    ]  # fmt: skip
    assert [one.id_of(one.task(1)) for one in made] == ["10_1", "11_1", "12_1"]
    texts = [one.script.read_text(encoding="utf-8") for one in made]
    assert ["#SBATCH --array=0-2" in text for text in texts] == [True, True, False]
    assert "#SBATCH --array=0-1\n" in texts[2]
    assert [f"#SBATCH --job-name=lora-part{number}\n" in text for number, text in enumerate(texts, 1)] == [True] * 3
    assert all(f"{one.folder}/tasks/%a/output.log" in text for one, text in zip(made, texts, strict=True))
    assert given(tmp_path) == ["", "", ""]
    assert batch.all_in(engine.home.cluster) == made
    assert made[1].group == made

    assert submitting.retry(made[2], [1]) == "13"
    assert made[2].id_of(made[2].task(1)) == "13_1"
    assert given(tmp_path)[-1] == "--array=1"


def test_with_a_limit_at_once_each_array_waits_for_the_one_before(engine: SlurmEngine, tmp_path: Path) -> None:
    made = engine.submit(POINTS, at_once=2)

    assert given(tmp_path) == ["", "--dependency=afterany:10", "--dependency=afterany:11"]
    assert all("#SBATCH --array=0-" in one.script.read_text(encoding="utf-8") for one in made)
    assert "%2\n" in made[2].script.read_text(encoding="utf-8")
    submitting.retry(made[1], [0, 2])
    assert given(tmp_path)[-1] == "--array=0,2%2"


def test_a_last_array_of_one_keeps_its_number(engine: SlurmEngine) -> None:
    made = engine.submit(POINTS[:4])

    assert (made[1].is_array, made[1].id_of(made[1].task(0))) == (True, "11_0")
    assert "#SBATCH --array=0-0\n" in made[1].script.read_text(encoding="utf-8")


def test_what_fits_is_one_array_and_one_training_is_no_array(engine: SlurmEngine) -> None:
    (three,) = engine.submit(POINTS[:3])
    (one,) = engine.submit(POINTS[:1])

    assert (three.is_array, one.is_array, one.id_of(one.task(0))) == (True, False, "11")
    assert [batch.folder.name.count("-") for batch in (three, one)] == [2, 2]


def test_where_slurm_refuses_a_later_array_the_earlier_ones_are_cancelled(
    say: Say, engine: SlurmEngine, tmp_path: Path
) -> None:
    count = f"$(wc -l < {tmp_path}/given)"
    full = "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, ...)"
    say(
        "sbatch",
        f'echo x >> {tmp_path}/given; [ {count} -lt 3 ] || {{ echo "{full}" >&2; exit 1; }}; echo $((9 + {count}))',
    )

    with pytest.raises(SlurmError, match="the site lets your account submit no more jobs") as caught:
        engine.submit(POINTS)

    assert "--random 50" in str(caught.value.problems[0].hint)
    assert lines(tmp_path / "cancelled") == ["11 10"]
    assert list(engine.home.cluster.iterdir()) == []


def test_ctrl_c_leaves_nothing_of_several_arrays_nor_what_was_accepted_without_an_answer(
    say: Say, engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say("squeue", f'for each in {shlex.quote(str(engine.home.cluster))}/*-002; do echo "11|$each/script.sh"; done')
    answers = iter(["10"])

    def submit(*_given: object) -> str:
        for answer in answers:
            return answer
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm, "submit", submit)
    with pytest.raises(KeyboardInterrupt):
        engine.submit(POINTS)

    assert lines(tmp_path / "cancelled") == ["11 10"]
    assert list(engine.home.cluster.iterdir()) == []


def test_what_cannot_be_cancelled_is_told_and_keeps_its_folders(say: Say, engine: SlurmEngine, tmp_path: Path) -> None:
    say("sbatch", f"echo x >> {tmp_path}/given; [ $(wc -l < {tmp_path}/given) -lt 2 ] || exit 1; echo 10")
    say("scancel", "echo 'scancel: error: no controller' >&2; exit 1")

    with pytest.raises(SlurmError, match="1 job could not be taken back") as caught:
        engine.submit(POINTS)

    assert caught.value.problems[0].hint == "scancel 10"
    assert [one.jobs for one in batch.all_in(engine.home.cluster)] == [("10",)]


def test_a_full_queue_that_sbatch_waits_for_is_explained(
    say: Say, engine: SlurmEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "_SECONDS", 0.5)
    say("squeue", "true")
    say(
        "sbatch",
        "echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2; exec sleep 60",
    )

    with pytest.raises(SlurmError, match="MaxJobCount") as caught:
        engine.submit(POINTS[:2])

    assert "wait until some have ended" in str(caught.value.problems[0].hint)
    assert list(engine.home.cluster.iterdir()) == []


@pytest.mark.parametrize("failing", [4, 18, 20])
def test_a_full_disk_at_any_write_leaves_nothing_and_a_second_try_works(
    engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Seventeen writes before the first submission, and one after each."""
    real, count = files.write, 0

    def write(path: Path, content: str | bytes, **more: bool) -> None:
        nonlocal count
        count += 1
        if count == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content, **more)

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(UsageError, match="No space left on device"):
        engine.submit(POINTS)

    submitted = max(0, failing - 17)
    assert len(lines(tmp_path / "given")) == submitted
    assert (
        lines(tmp_path / "cancelled") == [" ".join(str(9 + number) for number in range(submitted, 0, -1))][:submitted]
    )
    assert list(engine.home.cluster.iterdir()) == []
    engine.submit(POINTS)
    assert [len(one.tasks()) for one in batch.all_in(engine.home.cluster)] == [3, 3, 2]


def test_a_retry_that_cannot_be_noted_is_taken_back(
    engine: SlurmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = engine.submit(POINTS[:3])

    def write(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write", write)
    with pytest.raises(UsageError, match="No space left on device"):
        submitting.retry(made, [0])

    assert lines(tmp_path / "cancelled") == ["11"]
    assert made.jobs == ("10",)


def test_half_a_batch_that_a_kill_has_left_is_none(engine: SlurmEngine) -> None:
    whole, half = engine.submit(POINTS[:2]) + engine.submit(POINTS[2:3])
    shutil.rmtree(half.folder / "tasks")

    assert batch.all_in(engine.home.cluster) == [whole]
    assert batch.with_tokens(engine.home.cluster, [POINTS[0].token, POINTS[2].token]) == {POINTS[0].token: whole}


def test_a_number_that_a_task_has_noted_first_stands_once(engine: SlurmEngine) -> None:
    (made,) = engine.submit(POINTS[:1])

    made.note_job("10")

    assert made.jobs == ("10",)
