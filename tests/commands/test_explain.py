"""`sdxl-train runs explain` on runs, logs, pipes and what is none of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result, write_safetensors
from failure_logs import LOGS
from kept_runs import keep_with_files


def test_a_runs_folder_and_its_name_and_its_log_are_explained(main: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "output" / "мой запуск"
    folder.mkdir(parents=True)
    (folder / "train.log").write_text(LOGS["nan-latents"], encoding="utf-8")

    for target in (folder, folder / "train.log", "мой запуск"):
        result = main("runs", "explain", target)
        assert result.code == 0
        assert result.stdout.splitlines()[0] == "cause:   the VAE gave NaN for a picture"
        assert "--set no_half_vae=true" in result.stdout
        assert "/data/котики/a.png" in result.stdout
        assert str(folder / "train.log") in result.stderr


def test_a_stopped_run_is_resumed_from_its_state_and_without_one_started_again(
    main: Callable[..., Result], tmp_path: Path
) -> None:
    run = keep_with_files(tmp_path / "output" / "cat", outcome={"outcome": "stopped", "steps": 5})

    without = main("runs", "explain", run)
    for part in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (run / "cat-state" / part).write_bytes(b"x")
    (run / "cat-state" / "train_state.json").write_text('{"current_epoch": 1, "current_step": 4}')
    write_safetensors(run / "cat-state" / "model.safetensors")
    with_one = main("runs", "explain", run)

    assert f"it saved no state to resume from; to start again: sdxl-train runs rerun {run}" in without.stdout
    assert f"to resume: sdxl-train runs resume {run}" in with_one.stdout


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("steps: 100%|##| 2/2 [00:01<00:00, 1.00it/s, avr_loss=0.1]\nmodel saved.\n", "this run finished"),
        ("running training\n", "this log shows no failure"),
        ("Traceback (most recent call last):\nKeyError: 'odd'\n", "unknown failure"),
        ("", "this log has nothing useful in it"),
    ],
)
def test_what_is_no_known_failure_is_told_as_such(
    main: Callable[..., Result], tmp_path: Path, log: str, words: str
) -> None:
    (tmp_path / "a.log").write_text(log, encoding="utf-8")

    result = main("runs", "explain", tmp_path / "a.log")

    assert result.code == 0
    assert words in result.stdout


BAR = "steps:  24%|##4       | 96/400 [01:36<05:04,  1.00s/it, avr_loss={}]\n"
RESUMED = """\
INFO     resume training from local state: /out/cat-state            train_util.py:4777
INFO     load train state from /out/cat-state/train_state.json: {'current_epoch': 10, 'current_step': 80}
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        (BAR.format(0.1), ["this log shows nothing but progress: the run is still going, or was cut off at step 96"]),
        (BAR.format(0) * 3 + "model saved.\n", ["cause:   the loss was exactly 0 at every step"]),
        (
            "  total optimization steps / 学習ステップ数: 0\nmodel saved.\n",
            ["cause:   the run had no step", "remedy:  --steps or --epochs above 0"],
        ),
        (
            RESUMED + BAR.format(0.1) + "^C\n",
            [
                "this run was resumed from /out/cat-state, at step 80",
                "this run was stopped at step 96 of 400: someone stopped it",
                "remedy:  start it again",
            ],
        ),
        (
            RESUMED + "Could not load random states\nKeyError: 'step'\n",
            ["this run could not be resumed from /out/cat-state", "cause:   the random numbers in the saved state"],
        ),
        (
            "sdxl_train_network.py: error: unrecognized arguments: \\ --block_lr=1\n",
            ["cause:   the line-continuation character", "remedy:  end each line", "         leave it out, or"],
        ),
    ],
)  # fmt: skip
def test_a_log_is_told_as_what_it_was(main: Callable[..., Result], tmp_path: Path, log: str, told: list[str]) -> None:
    (tmp_path / "a.log").write_text(log, encoding="utf-8")

    lines = main("runs", "explain", tmp_path / "a.log").stdout.splitlines()

    assert [line[: len(start)] for line, start in zip(lines, told, strict=False)] == told


def test_json_has_every_fact(main: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LOGS["gpu-memory"], encoding="utf-16")

    facts = json.loads(main("runs", "explain", tmp_path / "a.log", "--json").stdout)

    assert (facts["ending"], facts["kind"], facts["failure"]) == ("known-failure", "gpu-memory", "gpu-memory")
    assert "CUDA out of memory" in facts["evidence"]
    assert facts["last_words"][0] == facts["evidence"]
    assert (facts["step"], facts["steps"], facts["resumed_from"]) == (0, 400, None)


def test_a_pipe_is_read(cli: Cli) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sdxl_train_cli.cli", "runs", "explain", "-"],
        input=LOGS["disk-full"].encode(),
        capture_output=True,
        env=cli.environ,
        check=True,
    )

    assert done.stdout.decode().startswith("cause:   the disk is full")


def test_a_target_that_is_nowhere_is_a_usage_error_with_a_hint(main: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for target, words in (
        ("nope", "no run of that name"),
        (tmp_path / "empty", "no train.log"),
        ("x" * 5000, "is not a valid name"),
    ):
        result = main("runs", "explain", target)
        assert result.code == 2
        assert words in result.stderr
        assert "hint:" in result.stderr


def test_a_run_of_ours_that_ran_out_of_memory_is_told_the_flags_that_would_fit(
    cli: Cli, tmp_path: Path, model: Path, pictures: Path
) -> None:
    line = ["--model", model, "--data", pictures, "--no-vram-check", "--name", "cat", "--preset", "dim32"]
    assert cli("lora", *line, "--steps", "4", STANDIN_FAIL="oom@2").code == 7

    told = cli("runs", "explain", tmp_path / "output" / "cat").stdout

    ways = told.partition("what would fit:\n")[2]
    assert "--set gradient_checkpointing=true   needs " in ways
    assert "sdxl-train lora --preset " in ways
    as_json = json.loads(cli("runs", "explain", "--json", tmp_path / "output" / "cat").stdout)
    assert [f"  {way}" for way in as_json["would_fit"]] == ways.splitlines()


def test_a_log_of_an_unknown_run_that_ran_out_of_memory_gets_no_flags_that_nobody_reckoned(
    main: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "train.log").write_text(LOGS["gpu-memory"], encoding="utf-8")

    result = main("runs", "explain", tmp_path / "train.log")

    assert result.code == 0
    assert "what would fit" not in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("usage: sdxl_train_network.py [-h]\nsdxl_train_network.py: error: unrecognized arguments: --netwrok_dim=8\n",
         "did you mean network_dim?"),
        ("accelerate launch sdxl_train_network.py --seed 1\nRuntimeError: CUDA out of memory. Tried\n",
         "memory"),
        ("$ accelerate launch sdxl_train_network.py --seed 1\nKilled\n", "memory ran out"),
    ],
)  # fmt: skip
def test_a_terminals_text_that_names_the_trainer_is_a_log(
    main: Callable[..., Result], tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "a.log").write_text(text, encoding="utf-8")

    result = main("runs", "explain", tmp_path / "a.log")

    assert result.code == 0
    assert words in result.stdout


def test_a_script_without_a_failure_is_still_no_log(main: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("accelerate launch sdxl_train_network.py --seed 1\n", encoding="utf-8")

    assert "is a script" in main("runs", "explain", tmp_path / "a.sh").stderr
