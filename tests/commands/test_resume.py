"""`sdxl-train runs resume` with the stand-in: what is refused in words, and what a resumed run leaves in its folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from conftest import Cli, Result

from sdxl_train_cli import gpu, process
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.records import run_end

only_posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    """The arguments of a run of 6 steps that saves at each second one, on a machine without a GPU."""
    return ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "6",
            "--set", "save_every_n_steps=2"]  # fmt: skip


def stopped(cli: Cli, line: list[str], **environ: str) -> Result:
    with cli.start("lora", *line, STANDIN_STEP_SECONDS="0.3", **environ) as running:
        running.until_told("step 3 of 6")
        running.send(signal.SIGINT)
        return running.end()


def metrics(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@only_posix
def test_a_stopped_run_goes_on_in_its_own_folder(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    run = tmp_path / "output" / "cat"
    first = stopped(cli, line)
    assert first.code == 130
    assert f"to resume: sdxl-train runs resume {run}" in first.stderr

    before = json.loads((run / "outcome.json").read_text(encoding="utf-8"))["seconds"]

    second = cli("runs", "resume", "cat", "--no-vram-check")

    assert second.code == 0, second.stderr
    assert second.path == run / "cat.safetensors"
    own = json.loads((run / "outcome.json").read_text(encoding="utf-8"))["seconds"]
    end = run_end.of(run)
    assert end is not None
    assert (end.seconds, end.seconds_since_resumed) == (round(before + own, 1), own)
    assert "since it was resumed), " in end.message
    assert "resuming from step" in second.stderr
    assert metrics(run) == [1, 2, 3, 4, 5, 6]
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [attempt["from_step"] for attempt in record["attempts"]] in ([2], [4])
    assert json.loads((run / "outcome.json").read_text(encoding="utf-8"))["outcome"] == "done"
    assert b"--- resumed at step" in (run / "train.log").read_bytes()
    assert not (run / "running.json").exists()


@only_posix
def test_a_killed_run_is_interrupted_and_goes_on(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    run = tmp_path / "output" / "cat"
    with cli.start("lora", *line, STANDIN_STEP_SECONDS="0.3") as running:
        running.until_told("step 3 of 6")
        running.send(signal.SIGKILL)
        running.end()
    (listed,) = json.loads(cli("runs", "list", "--json").stdout)
    assert listed["state"] == "interrupted"

    assert cli("runs", "resume", "cat", "--no-vram-check").code == 0
    assert metrics(run) == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_done_says_how_to_make_it_longer(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("lora", *line).code == 0

    done = cli("runs", "resume", "cat", "--no-vram-check")
    shorter = cli("runs", "resume", "cat", "--no-vram-check", "--steps", "4")
    refused = cli("queue", "add", "rerun", "cat", "--on", "slurm")
    longer = cli("runs", "resume", "cat", "--no-vram-check", "--steps", "9")

    assert "has already made 6 steps" in shorter.stderr
    assert "--steps 9" in shorter.stderr
    assert "sdxl-train runs rerun cat --on slurm" in refused.stderr
    assert (done.code, done.stdout) == (2, "")
    assert "has already made all its 6 steps" in done.stderr
    assert "--steps 9" in done.stderr
    assert longer.code == 0, longer.stderr
    assert "done: 9 steps, 3 of them in" in longer.stderr
    assert "this run finished at step 9 of 9" in cli("runs", "explain", "cat").stdout
    assert metrics(tmp_path / "output" / "cat") == list(range(1, 10))


def test_a_dry_run_prints_the_command_and_changes_nothing(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("lora", *line).code == 0
    run = tmp_path / "output" / "cat"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}

    told = cli("runs", "resume", "cat", "--no-vram-check", "--steps", "9", "--dry-run")

    assert told.code == 0, told.stderr
    assert "--skip_until_initial_step" in told.stdout
    assert f"--resume {run / 'cat-state'}" in told.stdout
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_without_a_state_the_way_is_to_start_again(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("lora", *line, "--no-save-state", STANDIN_FAIL="crash@5").code == 7

    told = cli("runs", "resume", "cat", "--no-vram-check")

    assert told.code == 7
    assert "no complete state" in told.stderr
    assert f"runs rerun {tmp_path / 'output' / 'cat'}" in told.stderr


def test_a_half_written_state_is_passed_over(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("lora", *line, STANDIN_FAIL="crash@5").code == 7
    run = tmp_path / "output" / "cat"
    shutil.copytree(run / "cat-step00000004-state", run / "cat-step00000002-state")
    (run / "cat-step00000002-state" / "train_state.json").write_text('{"current_epoch": 1, "current_step": 2}')
    (run / "cat-step00000004-state" / "random_states_0.pkl").unlink()

    told = cli("runs", "resume", "cat", "--no-vram-check")

    assert told.code == 0, told.stderr
    assert "resuming from step 2: cat-step00000002-state" in told.stderr


def test_a_resumed_run_steps_down_and_stays_one_run(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    run = tmp_path / "output" / "cat"
    assert cli("lora", *line, "--preset", "dim32", STANDIN_FAIL="crash@5").code == 7
    full = {"STANDIN_FAIL": "oom@2", "STANDIN_OOM_UNLESS": "--gradient_checkpointing"}

    alone = cli("runs", "resume", "cat", "--no-vram-check", **full)
    down = cli("runs", "resume", "cat", "--no-vram-check", "--on-oom", "step-down", **full)

    assert alone.code == 7
    assert f"runs resume {run} --on-oom step-down" in alone.stderr
    assert down.code == 0, down.stderr
    assert "resuming with gradient checkpointing" in down.stderr
    assert metrics(run) == [1, 2, 3, 4, 5, 6]
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [attempt.get("changed") for attempt in record["attempts"]] == [None, None, {"gradient_checkpointing": True}]
    assert record["settings"]["gradient_checkpointing"] == {"value": True, "origin": "--on-oom step-down"}
    assert "--gradient_checkpointing" not in record["argv"]
    assert "--gradient_checkpointing" in record["attempts"][-1]["argv"]

    longer = cli("runs", "resume", "cat", "--no-vram-check", "--steps", "9", "--dry-run")
    assert "--gradient_checkpointing" in longer.stdout


@only_posix
def test_a_dreambooth_run_that_is_stopped_twice_stays_one_run(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    """Three pictures are an epoch: the states at 2 and 4 lie in the first and in the second."""
    run = tmp_path / "output" / "cat"
    assert cli("dreambooth", *line, STANDIN_FAIL="crash@3").code == 7
    told = json.loads((run / "cat-step00000002-state" / "epoch_state.json").read_text(encoding="utf-8"))
    assert (told["batches"], told["losses"]) == (3, [0.1, 0.1])

    with cli.start("runs", "resume", "cat", "--no-vram-check", STANDIN_STEP_SECONDS="0.3") as running:
        running.until_told("step 3 of 6")
        running.send(signal.SIGINT)
        first = running.end()
    second = cli("runs", "resume", "cat", "--no-vram-check")

    assert (first.code, second.code) == (130, 0), second.stderr
    assert "resuming from step 2: cat-step00000002-state" in first.stderr
    assert "resuming from step" in second.stderr
    assert metrics(run) == [1, 2, 3, 4, 5, 6]
    steps = sorted(path.stem for path in run.glob("*-step*.safetensors"))
    assert steps[-1] == "cat-step00000006"
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert [attempt["from_step"] for attempt in record["attempts"]] in ([2, 4], [2, 6])
    epochs = [row for row in (run / "train.log").read_text(encoding="utf-8").splitlines() if row.startswith("epoch ")]
    assert epochs == ["epoch 1/2", "epoch 1/2", "epoch 2/2", "epoch 2/2"]
    (listed,) = json.loads(cli("runs", "list", "--json").stdout)
    assert (listed["state"], listed["steps"]) == ("done", 6)
    assert "cat-step00000006.safetensors  step 6" in cli("runs", "show", "cat").stdout
    assert "this run finished" in cli("runs", "explain", "cat").stdout
    assert cli("runs", "report", "cat").path.is_file()


def test_a_dreambooth_run_that_is_done_is_made_longer(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("dreambooth", *line).code == 0

    done = cli("runs", "resume", "cat", "--no-vram-check")
    longer = cli("runs", "resume", "cat", "--no-vram-check", "--steps", "9")

    assert done.code == 2
    assert "has already made all its 6 steps" in done.stderr
    assert longer.code == 0, longer.stderr
    assert metrics(tmp_path / "output" / "cat") == list(range(1, 10))


def test_a_dreambooth_state_of_a_step_is_known_by_its_name_alone(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    """As sd-scripts saves it without us."""
    assert cli("dreambooth", *line, STANDIN_FAIL="crash@3").code == 7
    for name in ("train_state.json", "epoch_state.json"):
        (tmp_path / "output" / "cat" / "cat-step00000002-state" / name).unlink()

    told = cli("runs", "resume", "cat", "--no-vram-check")

    assert told.code == 0, told.stderr
    assert "resuming from step 2" in told.stderr
    assert "the rest of the epoch comes in a new one" in told.stderr
    assert metrics(tmp_path / "output" / "cat") == [1, 2, 3, 4, 5, 6]
    assert "drawn anew" in (tmp_path / "output" / "cat" / "train.log").read_text(encoding="utf-8")


def test_a_dreambooth_run_is_resumed_without_the_options_of_networks(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("dreambooth", *line, STANDIN_FAIL="crash@3").code == 7

    told = cli("runs", "resume", "cat", "--no-vram-check", "--dry-run")

    assert told.code == 0, told.stderr
    assert "counted.py --from 2" in told.stdout
    assert f"--resume {tmp_path / 'output' / 'cat' / 'cat-step00000002-state'}" in told.stdout
    assert "--initial_step" not in told.stdout


@pytest.mark.parametrize("way", [["--no-save-state"], ["--set", "save_state=false"]])
def test_a_dreambooth_run_that_saves_no_state_is_started_as_it_is(cli: Cli, line: list[str], way: list[str]) -> None:
    with_states, without = cli("dreambooth", *line, "--dry-run"), cli("dreambooth", *line, *way, "--dry-run")

    assert "counted.py --from 0" in with_states.stdout
    assert "counted.py" not in without.stdout


def test_a_run_that_goes_on_is_not_taken_up_twice(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    assert cli("lora", *line).code == 0
    alive = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (tmp_path / "output" / "cat" / "running.json").write_text(json.dumps(alive))

    told = cli("runs", "resume", "cat", "--steps", "9")

    assert told.code == 2
    assert "cat is running" in told.stderr


@pytest.mark.parametrize("run", ["absent", "", "../x", "a\0b" if sys.platform != "linux" else "кот"])
def test_a_run_that_is_not_there_is_told_in_words(cli: Cli, run: str) -> None:
    told = cli("runs", "resume", run)

    assert told.code == 2
    assert "Traceback" not in told.stderr
    assert "hint:" in told.stderr


@pytest.mark.parametrize(("batches", "code"), [((8, 1), 0), ((1, 8), 6)], ids=str)
def test_a_resumed_run_has_to_fit_as_the_heaviest_of_its_datasets_trains(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str], batches: tuple[int, int], code: int
) -> None:
    """Batches of eight at 512 take less than half of what they take at 1024."""
    line.remove("--no-vram-check")
    folder = {"subsets": [{"image_dir": line[line.index("--data") + 1], "class_tokens": "ohwx"}]}
    sets = [
        {"resolution": side, "batch_size": batch, **folder} for side, batch in zip((512, 1024), batches, strict=True)
    ]
    Path("sizes.json").write_text(json.dumps({"datasets": sets}), encoding="utf-8")
    card = Gpu(0, "NVIDIA A100-SXM4-80GB", 80.0, 79.0, (8, 0), "550.54")
    monkeypatch.setattr(gpu, "devices", lambda: (card,))
    monkeypatch.setenv("STANDIN_FAIL", "crash@5")
    assert main("lora", *line, "--data", "sizes.json").code == 7

    monkeypatch.setattr(gpu, "devices", lambda: (replace(card, total_gib=12.0, free_gib=11.0),))
    assert main("runs", "resume", "cat", "--dry-run").code == code
