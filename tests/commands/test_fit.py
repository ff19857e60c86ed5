"""`sdxl-train fit`, as it is typed: on a machine without a GPU, and with one that the test plays."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result

from sdxl_train_cli import gpu
from sdxl_train_cli.environment import hub
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.run import smoke, training, trial
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.trial import Trial

CARD = Gpu(0, "card", 24.0, 20.0, (8, 6), "550.54.14")


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's records go: the installed home is shared."""
    path = tmp_path / "records" / "measurements.jsonl"
    path.parent.mkdir()
    monkeypatch.setattr(Home, "measurements", path)
    return path


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch, records: Path) -> Path:
    """A GPU that takes three pictures at once with checkpointing, none without, and is twice as fast with --fast."""

    def tried(prepared: Prepared) -> Trial:
        size = int(prepared.recipe.number("train_batch_size") or 0)
        fits = size <= 3 and prepared.recipe.is_on("gradient_checkpointing")
        seconds = (0.25 if prepared.choices.fast else 0.5) + 0.01 * size
        return Trial(fits, 6.0 + size, 1.0, seconds if fits else None, None if fits else "the GPU's memory ran out")

    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    monkeypatch.setattr(trial, "run", tried)
    monkeypatch.setattr(Environment, "trains", True)
    monkeypatch.setattr(Environment, "has_module", lambda _self, _name: True)
    return records


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["--preset", "dim32-gd"], 3, "no LoRA preset named 'dim32-gd'"),
        (["--set", "learning_rte=1"], 3, "learning_rte"),
        (["--data", "nowhere"], 4, "nowhere"),
    ],
)
def test_what_was_mistyped_is_told_before_a_model_is_made(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, typed: list[str], code: int, words: str
) -> None:
    """Once, `fit --preset typo` took 38 seconds to say so."""
    monkeypatch.setattr(smoke, "make_material", lambda *_: pytest.fail("a model was made"))

    result = main("fit", *typed)

    assert result.code == code, result.stderr
    assert words in result.stderr


def test_without_a_gpu_it_measures_ram_and_says_plainly_that_it_is_no_gpu_memory(cli: Cli, tmp_path: Path) -> None:
    result = cli("fit", "--max-batch", "2", "--json")
    facts = json.loads(result.stdout)

    assert result.code == 0, result.stderr
    assert "NO GPU was found" in result.stderr
    assert "it says nothing about GPU memory or a GPU's speed" in result.stderr
    assert facts["measures"] == "RAM of a scaled model on the processor, not GPU memory"
    assert {(one["batch_size"], one["gradient_checkpointing"]) for one in facts["tried"]} == {
        (size, checkpointing) for size in (1, 2) for checkpointing in (False, True)
    }
    assert all(one["fits"] and one["resident_gib"] > 0 and one["peak_gib"] is None for one in facts["tried"])
    speeds = [one["pictures_per_second"] for one in facts["tried"]]
    assert speeds == sorted(speeds, reverse=True)
    assert facts["command"].startswith("sdxl-train lora --batch-size ")
    assert not (tmp_path / "home" / "measurements.jsonl").exists()
    assert not list((tmp_path / "tmp").glob("sdxl-train-fit-*"))


def test_a_model_that_is_made_here_needs_nothing_from_the_hub(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, it asked for the tokenizers of a real model, which a first run without a network does not have."""
    monkeypatch.setattr(hub, "has_tokenizers", lambda _home: False)

    result = main("fit", "--max-batch", "1")

    assert result.code == 0, result.stderr


def test_trials_of_an_embedding_have_its_word_in_their_captions(main: Callable[..., Result], pictures: Path) -> None:
    typed = ("fit", "--kind", "embedding", "--max-batch", "1")
    result, own, wordless = (
        main(*typed, *words) for words in ((), ("--data", pictures, "--trigger", "zzq01"), ("--data", pictures))
    )

    assert (result.code, own.code, wordless.code) == (0, 0, 3), result.stderr + own.stderr + wordless.stderr
    assert own.stdout.splitlines()[-1].startswith("sdxl-train embedding ")


def test_the_table_and_the_command_go_to_stdout_and_the_story_to_stderr(cli: Cli, pictures: Path) -> None:
    result = cli("fit", "--max-batch", "1", "--data", pictures, "--kind", "locon", "--set", "min_snr_gamma=5")
    header, *rows, command = result.stdout.splitlines()

    assert result.code == 0, result.stderr
    assert header.split("  ") == ["pictures/s", "batch", "checkpointing", "--fast", "RAM, GB", "s a step"]
    assert len(rows) == 2
    assert command.startswith(f"sdxl-train locon --data {pictures} --batch-size 1 --set min_snr_gamma=5")
    assert "NOTHING WILL BE TRAINED" in result.stderr


def test_on_a_gpu_the_fastest_is_told_with_the_command_and_each_measurement_kept(
    main: Callable[..., Result], with_gpu: Path, pictures: Path, model: Path
) -> None:
    typed = ["--preset", "dim32-gc", "--model", model, "--data", pictures]
    result = main("fit", *typed, "--set", "max_train_steps=1000", "--json")
    facts = json.loads(result.stdout)
    found = [measurements.Measurement.model_validate_json(line) for line in with_gpu.read_bytes().splitlines()]

    assert result.code == 0, result.stderr
    assert (facts["gpu"], facts["bucket"]) == ("card", "1152x896")
    words = f"sdxl-train lora --preset dim32-gc --model {model} --data {pictures} --batch-size 3 --fast"
    assert facts["command"] == f"{words} --set max_train_steps=1000"
    assert "the fastest: batch 3 with gradient checkpointing, --fast, 5.5 times as fast as asked for" in result.stderr
    assert "a step then sees 3 pictures instead of 1: --steps 334 sees as many as 1000 did" in result.stderr
    kept = [(one.batch_size, one.together, one.peak_gib, one.seconds_per_step, one.fast) for one in found]
    assert kept[:2] == [(1, 1, 7.0, 0.51, False), (1, 1, 7.0, 0.26, True)]
    assert kept[-1] == (3, 3, 9.0, 0.28, True)
    assert not list(pictures.glob("*.npz"))


def test_the_command_that_is_told_is_one_that_runs(
    main: Callable[..., Result], with_gpu: Path, pictures: Path, model: Path
) -> None:
    result = main("fit", "--model", model, "--data", pictures, "--trigger", "ohwx", "--resolution", "768", "--gpu", "0")
    command = result.stdout.splitlines()[-1]

    again = main(*shlex.split(command)[1:], "--dry-run")

    assert with_gpu.is_file()
    assert " --gpu 0 " in command
    assert again.code == 0, again.stderr
    assert "--train_batch_size 3" in again.stdout
    assert "fast.py" in again.stdout


def test_what_was_measured_is_what_the_next_check_goes_by(
    main: Callable[..., Result], with_gpu: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, model: Path
) -> None:
    line = ["lora", "--model", model, "--data", pictures, "--dry-run"]
    assert main("fit", "--model", model, "--data", pictures).code == 0
    assert main(*line).code == 0
    monkeypatch.setattr(gpu, "devices", lambda: (Gpu(0, "card", 24.0, 6.9, (8, 6), ""),))

    refused = main(*line)

    assert with_gpu.is_file()
    assert refused.code == 6
    assert "needs 7 GB (measured on this machine on 20" in refused.stderr


def test_where_not_one_picture_fits_the_way_out_is_told(
    main: Callable[..., Result], with_gpu: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, model: Path
) -> None:
    monkeypatch.setattr(trial, "run", lambda _prepared: Trial(False, 5.0, 1.0, None, "the GPU's memory ran out"))

    result = main("fit", "--model", model, "--data", pictures)

    assert result.code == 6
    assert "not even one picture fits: the GPU's memory ran out" in result.stderr
    assert "--set full_bf16=true" in result.stderr
    assert not with_gpu.exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--kind", "lumina"], 2, "no kind 'lumina'"),
        (["--max-batch", "0"], 2, "--max-batch"),
        (["--data", "nowhere"], 4, "nowhere does not exist"),
        (["--preset", "nope"], 3, "no LoRA preset named 'nope'"),
        (["--set", "optimizer_type=Nope"], 3, "no such optimizer_type"),
        (["--set", "train_batch"], 3, "OPTION=VALUE"),
    ],
)
def test_what_makes_no_sense_is_a_line_and_no_traceback(cli: Cli, words: list[str], code: int, told: str) -> None:
    result = cli("fit", *words)

    assert result.code == code, result.stderr
    assert "Traceback" not in result.stderr
    assert told in result.stderr


def test_a_gpu_that_is_not_there_is_told(cli: Cli, pictures: Path, model: Path) -> None:
    result = cli("fit", "--gpu", "3", "--data", pictures, "--model", model)

    assert result.code == 2, result.stderr
    assert "no GPU 3" in result.stderr


# --- what a real run leaves


def test_a_run_that_delivered_is_remembered_with_its_peak_and_pace(
    main: Callable[..., Result], with_gpu: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, model: Path
) -> None:
    watch = training.watch

    def watched(*given: object, **named: object) -> training.RunResult:
        outcome = watch(*given, **named)  # type: ignore[arg-type]
        return training.RunResult(outcome.result, outcome.steps, outcome.seconds, outcome.loss, 7.25, 1.5)

    monkeypatch.setattr(training, "watch", watched)
    result = main("lora", "--model", model, "--data", pictures, "--steps", "2")
    (found,) = [measurements.Measurement.model_validate_json(line) for line in with_gpu.read_bytes().splitlines()]

    assert result.code == 0, result.stderr
    assert (found.peak_gib, found.seconds_per_step, found.gpu, found.network_dim) == (7.25, 1.5, "card", 32)


def test_a_trainer_without_torch_leaves_no_record(
    main: Callable[..., Result], records: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path, model: Path
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    monkeypatch.setattr(trial, "run", lambda _prepared: Trial(True, 5.0, 1.0, 1.0))

    assert main("fit", "--model", model, "--data", pictures, "--max-batch", "1").code == 0
    assert not records.exists()


def test_a_broken_record_is_a_warning_and_no_more(
    main: Callable[..., Result], with_gpu: Path, pictures: Path, model: Path
) -> None:
    with_gpu.write_bytes(b"{\n\x00\xff\n")

    result = main("lora", "--model", model, "--data", pictures, "--steps", "2")

    assert result.code == 0, result.stderr
    assert result.stderr.count("lines 1, 2 can't be read and are skipped") == 1
    assert "(measured on an NVIDIA H100" in result.stderr
