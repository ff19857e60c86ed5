"""`sdxl-train lora` and its sisters as real processes, from the typed line to the last file, and every way to stop."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Cli, Result, Running, write_pictures, write_safetensors
from patience import lives, processes_with, until

from sdxl_train_cli import gpu, process
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.sdscripts import checkpoint

only_posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")
SLOW = {"STANDIN_STEP_SECONDS": "0.05"}


@pytest.fixture
def line(tmp_path: Path, model: Path, pictures: Path) -> list[str]:
    """The arguments of a short run without a GPU."""
    return ["--model", str(model), "--data", str(pictures), "--output", str(tmp_path / "output"), "--name", "cat",
            "--steps", "6", "--set", "save_every_n_steps=2", "--no-vram-check"]  # fmt: skip


def seen(*folders: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder with its size and time, but for what the tests themselves write, and the user's cache."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] not in {"tmp", "user"}
    }


def record_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def outcome_of(folder: Path) -> dict[str, object]:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def assert_one_error(result: Result, code: int, words: str) -> None:
    """One line that says what is wrong and one hint, on stderr; no traceback, nothing on stdout."""
    assert result.code == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len([row for row in result.stderr.splitlines() if row.startswith("error: ")]) == 1, result.stderr
    assert "\nhint:  " in result.stderr
    assert words in result.stderr


def test_a_dry_run_writes_nothing_and_repeats_itself(cli: Cli, home: Path, tmp_path: Path, line: list[str]) -> None:
    before = seen(tmp_path, home)

    first, second = cli("lora", *line, "--dry-run"), cli("lora", *line, "--dry-run")

    assert first.code == 0, first.stderr
    assert first.stdout == second.stdout
    assert len(first.stdout.splitlines()) == 1
    assert seen(tmp_path, home) == before


def test_a_dry_run_tells_the_run_in_five_lines(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    line.remove("--no-vram-check")

    told = cli("lora", *line, "--dry-run", "--gpu-memory", "24", "--steps", "6", "--batch-size", "2").stderr

    pictures, length, trains, memory, result = told.splitlines()[-5:]
    assert pictures == "pictures: 3 in 1 bucket: 1152x896"
    assert length == "length:   6 steps, which is 3 epochs of 2 steps (batch 2)"
    assert trains == "trains:   a LoRA with dim 32 of the U-Net; AdamW8bit, learning rate 0.0001"
    assert re.fullmatch(r"memory:   needs .* GB \(an estimate\); a GPU of 24 GB has 23.5 GB free", memory)
    assert result == f"result:   {tmp_path / 'output' / 'cat' / 'cat.safetensors'}"


def test_a_dry_run_warns_of_all_that_a_start_warns_of(cli: Cli, line: list[str]) -> None:
    line += ["--trigger", "ohwx", "--set", "clip_skip=2", "--set", "noise_offset=0.03",
             "--set", "multires_noise_iterations=6"]  # fmt: skip

    dry, real = cli("lora", *line, "--dry-run"), cli("lora", *line)

    def warned(result: Result) -> list[str]:
        lines = result.stderr.splitlines()
        return [text for text in lines if text.startswith(("warning: ", "hint:  ", "no caption has"))]

    assert dry.code == real.code == 0
    assert [text for text in warned(dry) if "clip_skip does nothing" in text]
    assert "hint:  --set noise_offset=null" in warned(dry)
    assert warned(dry) == warned(real)


def test_a_trigger_that_costs_memory_is_named_as_the_cause(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 7.5),))
    line.remove("--no-vram-check")
    reg = write_pictures(tmp_path / "reg")

    result = main("lora", *line, "--preset", "dim32-bf16-gc", "--trigger", "ohwx", "--reg", reg)

    assert result.code == 6
    assert "the trigger switches off the text-encoder cache, which takes up to 1.5 GB more" in result.stderr
    assert "--set cache_text_encoder_outputs" not in result.stderr


@pytest.mark.parametrize("kind", ["lora", "locon", "loha", "lokr", "dreambooth"])
def test_what_is_launched_is_what_the_dry_run_printed(cli: Cli, line: list[str], kind: str) -> None:
    printed = cli(kind, *line, "--dry-run")
    result = cli(kind, *line)

    assert result.code == 0, result.stderr
    assert record_of(result.path.parent)["argv"] == shlex.split(printed.stdout)


def test_a_run_leaves_its_record_its_log_and_its_file(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    result = cli("lora", *line)
    folder = tmp_path / "output" / "cat"

    assert result.code == 0, result.stderr
    assert result.stdout == f"{folder / 'cat.safetensors'}\n"
    assert {path.name for path in folder.iterdir()} == {
        "run.json", "dataset.json", "train.log", "outcome.json", "cat.safetensors", "cat-step00000002.safetensors",
        "cat-step00000004.safetensors", "cat-step00000006.safetensors", "metrics.jsonl", "cat-state", "running.lock",
    }  # fmt: skip
    assert outcome_of(folder)["outcome"] == "done"
    assert checkpoint.read_header(result.path).metadata["ss_network_dim"] == "32"
    assert not processes_with(str(tmp_path))


def test_a_run_that_changes_no_weights_says_so(cli: Cli, line: list[str]) -> None:
    assert "NOTHING WILL BE TRAINED" in cli("lora", *line).stderr


def test_a_second_run_of_the_same_name_gets_a_folder_of_its_own(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    first, second = cli("lora", *line), cli("lora", *line)

    assert first.path == tmp_path / "output" / "cat" / "cat.safetensors"
    assert second.path == tmp_path / "output" / "cat-2" / "cat-2.safetensors"


def test_two_runs_at_once_never_share_a_folder(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    with ExitStack() as stack:
        running = [stack.enter_context(cli.start("lora", *line)) for _ in range(3)]
        results = [one.end() for one in running]
    done = [result for result in results if result.code == 0]
    late = [result for result in results if result.code != 0]

    assert done
    assert len({result.path for result in done}) == len(done) == len(list((tmp_path / "output").iterdir()))
    for result in late:
        assert_one_error(result, 7, "another run has just taken")


def test_a_failure_ends_with_7_and_its_cause(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    result = cli("lora", *line, STANDIN_FAIL="oom@3")

    assert_one_error(result, 7, "training failed at step 3 of 6: the GPU's memory ran out")
    assert str(tmp_path / "output" / "cat" / "train.log") in result.stderr
    assert outcome_of(tmp_path / "output" / "cat")["outcome"] == "failed"


def started(cli: Cli, stack: ExitStack, line: list[str], **environ: str) -> Running:
    """A run of many steps that has saved a checkpoint."""
    running = stack.enter_context(cli.start("lora", *line, "--steps", "2000", **SLOW, **environ))
    running.until_told("cat-step00000004")
    return running


@only_posix
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_the_run_and_names_the_last_checkpoint(
    cli: Cli, tmp_path: Path, line: list[str], signum: int, code: int
) -> None:
    with ExitStack() as stack:
        running = started(cli, stack, line)
        running.send(signum)
        result = running.end()

    assert_one_error(result, code, "stopped at step ")
    checkpoint_told = Path(result.stderr.splitlines()[-1].strip().removeprefix("the last checkpoint: "))
    assert checkpoint.read_header(checkpoint_told).shapes
    assert outcome_of(tmp_path / "output" / "cat")["outcome"] == "stopped"
    assert not processes_with(str(tmp_path))


@only_posix
def test_a_second_ctrl_c_ends_a_trainer_that_ignores_the_first(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    def launchers() -> list[int]:
        ours = set(processes_with(str(tmp_path / "output")))
        return [pid for pid in processes_with("accelerate.commands.launch") if pid in ours]

    with ExitStack() as stack:
        running = started(cli, stack, line, STANDIN_FAIL="ignore-sigterm")
        running.send(signal.SIGINT)
        until(lambda: len(launchers()) < 2)  # the launcher died of the first; the guard stays for the trainer
        running.send(signal.SIGINT)
        result = running.end()

    assert_one_error(result, 130, "stopped at step ")
    assert not processes_with(str(tmp_path))


@only_posix
@pytest.mark.parametrize("fail", ["", "ignore-sigterm"])
def test_kill_9_of_the_command_leaves_no_trainer(cli: Cli, tmp_path: Path, line: list[str], fail: str) -> None:
    with ExitStack() as stack:
        running = started(cli, stack, line, STANDIN_FAIL=fail)
        running.send(signal.SIGKILL)
        assert running.end().code == -signal.SIGKILL

    until(lambda: not processes_with(str(tmp_path)))


@only_posix
def test_nohup_runs_on_when_the_terminal_closes(cli: Cli, line: list[str]) -> None:
    ignoring = ("sh", "-c", 'trap "" HUP; exec "$@"', "sh")
    with cli.start("lora", *line, "--steps", "20", through=ignoring, **SLOW) as running:
        running.until_told("cat-step00000002")
        running.send(signal.SIGHUP)
        result = running.end()

    assert result.code == 0, result.stderr


@only_posix
@pytest.mark.parametrize("stream", ["<&-", "1>&-", "2>&-"])
def test_a_closed_stream_does_not_end_the_run(cli: Cli, tmp_path: Path, line: list[str], stream: str) -> None:
    result = cli("lora", *line, through=("sh", "-c", f'exec "$@" {stream}', "sh"))

    assert result.code == 0, result.stderr
    assert outcome_of(tmp_path / "output" / "cat")["outcome"] == "done"


@only_posix
def test_a_reader_that_goes_away_does_not_end_the_run(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    """Once, `sdxl-train lora 2>&1 | head` ended the training with the tenth line, and without a word."""
    into_head = ("sh", "-c", '{ "$@"; echo $? > tmp/code; } 2>&1 | head -n 1', "sh")
    cli("lora", *line, through=into_head)

    assert until((tmp_path / "tmp" / "code").is_file)
    assert outcome_of(tmp_path / "output" / "cat")["outcome"] == "done"


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name has all that shells and consoles stumble over."""
    name = "мои [данные] 'и' $HOME" if process.WINDOWS else "мои [данные] 'и' \"ещё\" $HOME"
    (tmp_path / name).mkdir()
    return tmp_path / name


@pytest.fixture
def odd_line(odd: Path) -> list[str]:
    """The arguments of a short run, all of whose paths are odd."""
    write_safetensors(odd / "база.safetensors")
    write_pictures(odd / "кот (1)", caption="кот")
    return ["--model", str(odd / "база.safetensors"), "--data", str(odd / "кот (1)"), "--output", str(odd / "выход"),
            "--name", "кот [1]", "--trigger", "кот", "--steps", "2", "--no-vram-check"]  # fmt: skip


def test_paths_of_every_kind_go_through_unharmed(cli: Cli, odd: Path, odd_line: list[str]) -> None:
    printed = cli("lora", *odd_line, "--dry-run")
    result = cli("lora", *odd_line)

    assert result.code == 0, result.stderr
    assert result.path == odd / "выход" / "кот [1]" / "кот [1].safetensors"
    assert result.path.is_file()
    assert record_of(result.path.parent)["argv"] == shlex.split(printed.stdout)


@pytest.mark.parametrize("environ", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C"}])
def test_a_terminal_without_the_letters_of_a_name_does_not_end_the_run(
    cli: Cli, odd: Path, odd_line: list[str], environ: dict[str, str]
) -> None:
    """Once, PYTHONIOENCODING reached the trainer too, whose first printed path then ended it."""
    result = cli("lora", *odd_line, **environ)

    assert result.code == 0, result.stderr
    assert (odd / "выход" / "кот [1]" / "кот [1].safetensors").is_file()


def test_a_folder_that_cannot_be_written_may_be_the_current_one(cli: Cli, line: list[str]) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no folder that even root can't write")

    assert cli("lora", *line, cwd=Path("/proc")).code == 0


def test_an_output_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    (tmp_path / "file").touch()

    assert_one_error(cli("lora", *line, "--output", tmp_path / "file" / "output"), 7, "can't be written")


def test_variables_that_mislead_python_do_not_reach_the_trainer(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    """PYTHONSAFEPATH would hide sd-scripts' own packages from its scripts."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "standin.py").write_text("raise RuntimeError('the wrong module')", encoding="utf-8")
    result = cli("lora", *line, PYTHONSAFEPATH="1", PYTHONPATH=str(tmp_path / "elsewhere"))

    assert result.code == 0, result.stderr


def test_a_project_file_fills_in_what_is_not_typed(cli: Cli, tmp_path: Path, model: Path, pictures: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "sdxl-train.yaml").write_text(
        f"kind: lora\npreset: dim128\nmodel: {model}\ndata: {pictures}\noutput: out\nname: mine\n"
        "set:\n  max_train_steps: 4\n  seed: 7\n",
        encoding="utf-8",
    )

    result = cli("lora", "--no-vram-check", "--set", "seed=8", cwd=project)

    assert result.code == 0, result.stderr
    assert result.path == project / "out" / "mine" / "mine.safetensors"
    settings = record_of(result.path.parent)["settings"]
    assert settings["network_dim"]["value"] == 128
    assert settings["max_train_steps"] == {"value": 4, "origin": "sdxl-train.yaml:8"}
    assert settings["seed"] == {"value": 8, "origin": "--set"}


def test_the_config_file_names_the_home(cli: Cli, tmp_path: Path, home: Path, line: list[str]) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(f"home: {home}\n", encoding="utf-8")

    assert cli("lora", *line, "--dry-run", SDXL_TRAIN_HOME="").code == 0


def test_without_setup_the_next_step_is_named(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    result = cli("lora", *line, "--home", tmp_path / "empty")

    assert_one_error(result, 5, "sd-scripts is not installed yet")
    assert "`sdxl-train setup`" in result.stderr
    assert not (tmp_path / "empty").exists()


def test_without_tokenizers_and_hub_nothing_is_started(cli: Cli, tmp_path: Path, home: Path, line: list[str]) -> None:
    (tmp_path / "bare").mkdir()
    for name in ("environments", "current"):
        (tmp_path / "bare" / name).symlink_to(home / name)

    result = cli("lora", *line, "--home", tmp_path / "bare")

    assert_one_error(result, 5, "the first run fetches two CLIP tokenizers")
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--preset", "dim64"], 3, "no LoRA preset named 'dim64'"),
        (["--set", "netwrk_dim=8"], 3, "netwrk_dim"),
        (["--set", "seed"], 3, "takes OPTION=VALUE"),
        (["--data", "nowhere"], 4, "nowhere does not exist"),
        (["--model", "nowhere.safetensors"], 4, "nowhere.safetensors"),
        (["--name", "a/b"], 2, "is not a valid run name"),
        (["--epochs", "2"], 2, "--steps and --epochs both set the length of the run"),
    ],
)
def test_what_is_wrong_is_told_with_a_hint_and_its_own_exit_code(  # noqa: PLR0913, PLR0917 - a row of the table
    cli: Cli, tmp_path: Path, line: list[str], more: list[str], code: int, words: str
) -> None:
    assert_one_error(cli("lora", *line, *more), code, words)
    assert not (tmp_path / "output").exists()


def test_a_model_that_is_not_sdxl_is_refused(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    other = write_safetensors(tmp_path / "sd15.safetensors", ["cond_stage_model.transformer.a"])

    assert_one_error(cli("lora", *line, "--model", other), 4, "is an SD 1.x model")


def test_no_pictures_at_all_is_a_wrong_command_line(cli: Cli, model: Path) -> None:
    assert_one_error(cli("lora", "--model", model), 2, "no pictures are given")


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--nope"], ["--steps", "many"]])
def test_a_wrong_flag_ends_with_2(cli: Cli, line: list[str], arguments: list[str]) -> None:
    result = cli("lora", *line, *arguments)

    assert result.code == 2
    assert "Traceback" not in result.stderr


def card(index: int, free_gib: float) -> Gpu:
    return Gpu(index, f"card {index}", 24.0, free_gib, (8, 6), "550.54.14")


def test_without_a_gpu_training_is_refused_and_the_smoke_named(main: Callable[..., Result], line: list[str]) -> None:
    line.remove("--no-vram-check")

    result = main("lora", *line)

    assert_one_error(result, 6, "no NVIDIA GPU was found")
    assert "sdxl-train smoke" in result.stderr


def test_several_gpus_train_together_and_the_smallest_decides(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 3.0), card(1, 20.0), card(2, 12.0)))
    line.remove("--no-vram-check")

    printed = main("lora", *line, "--gpus", "2", "--dry-run")
    named = main("lora", *line, "--gpu", "0,1", "--dry-run")

    argv = shlex.split(printed.stdout)
    assert {"--gpu_ids=1,2", "--num_processes=2", "--num_machines=1", "--multi_gpu"} < set(argv)
    assert "card 2 has 12.0 GB free" in printed.stderr
    assert "2 processes: each step trains 2 pictures" in printed.stderr
    assert_one_error(named, 6, "card 0 has 3.0 GB free")


def test_the_freest_gpu_is_taken(main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str]) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 3.0), card(1, 20.0), card(2, 10.0)))
    line.remove("--no-vram-check")

    printed = main("lora", *line, "--dry-run")
    result = main("lora", *line)

    assert "--gpu_ids=1" in shlex.split(printed.stdout)
    assert f"VRAM: needs {MEASURED}; card 1 has 20.0 GB free" in result.stderr
    assert result.code == 0


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 20.0),))

    result = main("lora", *line, "--gpu", "3")

    assert_one_error(result, 2, "no GPU 3")
    assert "0: card 0" in result.stderr


MEASURED = "7.0 to 7.6 GB (measured on an NVIDIA H100 80GB HBM3 on 2026-11-27)"


def test_a_gpu_that_is_too_small_is_refused_with_what_would_fit(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 7.5),))
    line.remove("--no-vram-check")

    result = main("lora", *line)

    assert result.code == 6
    assert result.stderr.startswith(f"error: LoRA dim32-gc needs {MEASURED}; card 0 has 7.5 GB free")
    assert "--set full_bf16=true   needs" in result.stderr
    assert result.stderr.rstrip().endswith("or try anyway: --no-vram-check")


def test_a_gpu_that_is_too_small_is_told_together_with_a_wrong_model(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, line: list[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 5.0),))
    line.remove("--no-vram-check")
    line[line.index("--model") + 1] = str(tmp_path / "nowhere.safetensors")

    result = main("lora", *line)

    assert result.code == 4
    assert "nowhere.safetensors" in result.stderr
    assert f"needs {MEASURED}; card 0 has 5.0 GB free" in result.stderr


@only_posix
def test_the_trainer_gets_no_signal_of_a_terminal_of_its_own(cli: Cli, tmp_path: Path, line: list[str]) -> None:
    with ExitStack() as stack:
        running = started(cli, stack, line)
        trainers = [pid for pid in processes_with(str(tmp_path / "output")) if pid != running.process.pid]
        sessions = {os.getsid(pid) for pid in trainers if lives(pid)}

    assert len(sessions) == 1
    assert os.getsid(0) not in sessions


@only_posix
def test_a_folder_that_was_deleted_under_us_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd gone && rmdir ../gone && exec "$0" -m sdxl_train_cli.cli presets list'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: the current folder no longer exists\nhint:")
