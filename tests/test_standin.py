"""The stand-in for sd-scripts does what its table says, as real child processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from standin.build import DEAD_WEIGHT, TREE, make_repository

PATIENCE_SECONDS = 60
LORA, FULL = "sdxl_train_network.py", "sdxl_train.py"
BAR = re.compile(
    rb"steps:\s+(\d+)%\|.{10,30}\|\s*(\d+)/(\d+) \[[\d:]+<[\d:?]+,\s*([\d.]+|\?)(?:s/it|it/s)"
    rb"(?:, avr_loss=([\d.]+|nan))?\]"
)
FLAGS = Path(__file__).resolve().parents[1] / "sdxl_train_cli" / "inside" / "flags.py"
TABLE_ROW = re.compile(
    r"^    ([a-z0-9-]+)  +(?:at once|before training|after step 1|from step 1|the first save|at the end)"
)
only_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


class Trainer:
    """A checkout of the stand-in, three pictures, and runs of it."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.checkout, self.folder, self.out = checkout, folder, folder / "out"
        self.model = folder / "base.safetensors"
        self.model.touch()
        self.pictures = folder / "pictures"
        self.fill(self.pictures, 3)

    @staticmethod
    def fill(pictures: Path, count: int) -> None:
        pictures.mkdir()
        for number in range(count):
            (pictures / f"{number}.png").write_bytes(b"a picture")
            (pictures / f"{number}.txt").write_text("a word", encoding="utf-8")

    def config(self, **dataset: object) -> Path:
        subset = {"image_dir": str(self.pictures), "num_repeats": 2, "class_tokens": "cat", "caption_extension": ".txt"}
        path = self.folder / "dataset.json"
        whole = {"resolution": 1024, "batch_size": 1, "subsets": [subset], **dataset}
        path.write_text(json.dumps({"datasets": [whole]}), encoding="utf-8")
        return path

    def argv(self, *more: str, script: str = LORA, launcher: Sequence[str] | None = None) -> list[str]:
        config = self.folder / "dataset.json"
        argv = [sys.executable]
        if launcher is not None:
            argv += ["-m", "accelerate.commands.launch", *launcher]
        argv += [str(self.checkout / script), "--pretrained_model_name_or_path", str(self.model)]
        argv += ["--dataset_config", str(config if config.exists() else self.config())]
        argv += ["--output_dir", str(self.out), "--output_name", "my", "--save_precision", "fp16"]
        if script == LORA:
            argv += ["--network_module", "networks.lora", "--network_dim", "8"]
        if "--max_train_epochs" not in more:
            argv += ["--max_train_steps", "6"]
        return [*argv, *more]

    def environ(self, fail: str = "", **environ: str) -> dict[str, str]:
        ours = {"STANDIN_STEP_SECONDS": "0.01", "STANDIN_WAIT_SECONDS": "50", "PYTHONUTF8": "1", "STANDIN_FAIL": fail}
        return {**os.environ, **ours, **environ}

    def run(
        self, *more: str, fail: str = "", script: str = LORA, launcher: Sequence[str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.argv(*more, script=script, launcher=launcher),
            cwd=self.checkout,
            env=self.environ(fail),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @contextlib.contextmanager
    def running(
        self, *more: str, fail: str = "", launcher: Sequence[str] | None = None, **environ: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], bytes]]]:
        """A run that is going on, and what it has printed so far; its whole group is killed at the end."""
        log = self.folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.argv(*more, launcher=launcher),
                cwd=self.checkout,
                env=self.environ(fail, PYTHONUNBUFFERED="1", **environ),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process, log.read_bytes
        finally:
            if os.name == "nt":
                process.kill()
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_SECONDS)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("*"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(tmp_path_factory.mktemp("stand-in") / "sd-scripts")


@pytest.fixture
def trainer(checkout: Path, tmp_path: Path) -> Trainer:
    return Trainer(checkout, tmp_path)


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def steps_of(printed: bytes) -> list[tuple[int, int]]:
    return [(int(bar[2]), int(bar[3])) for bar in BAR.finditer(printed)]


def load(path: Path) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    """The tensors and the metadata of a safetensors file whose every byte is accounted for."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = json.loads(data[8 : 8 + length])
    metadata = tensors.pop("__metadata__")
    end = 0
    for tensor in tensors.values():
        size = {"F16": 2, "BF16": 2, "F32": 4}[tensor["dtype"]]
        for side in tensor["shape"]:
            size *= side
        assert tensor["data_offsets"] == [end, end + size]
        end += size
    assert len(data) == 8 + length + end
    return tensors, metadata


def modules(path: Path, prefix: str) -> int:
    tensors, _ = load(path)
    return sum(name.startswith(prefix) and name.endswith(".lora_up.weight") for name in tensors)


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", timeout=PATIENCE_SECONDS, check=False
    )


# The options


@pytest.mark.parametrize(("script", "count"), [("sdxl_train", 176), ("sdxl_train_network", 196)])
def test_each_script_offers_as_many_options_as_upstream(checkout: Path, script: str, count: int) -> None:
    code = f"import {script}; print(len({script}.setup_parser()._actions) - 1)"
    told = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, check=True)
    assert int(told.stdout) == count


def test_the_help_of_both_scripts_can_be_printed(checkout: Path) -> None:
    for script in (LORA, FULL):
        subprocess.run([sys.executable, str(checkout / script), "--help"], capture_output=True, check=True)


@pytest.mark.skipif(not FLAGS.exists(), reason="the script of the training side is not written yet")
def test_the_training_side_can_ask_the_stand_in_for_its_flags(checkout: Path) -> None:
    told = subprocess.run([sys.executable, str(FLAGS)], cwd=checkout, capture_output=True, check=True)
    assert b'"network_dim"' in told.stdout
    assert b'"fused_optimizer_groups"' in told.stdout


def test_an_unknown_flag_exits_2(trainer: Trainer) -> None:
    assert trainer.run("--no_such_flag").returncode == 2


def test_a_bad_choice_exits_2(trainer: Trainer) -> None:
    assert trainer.run("--mixed_precision", "fp12").returncode == 2


# The launcher


def test_the_launcher_makes_a_failure_1_and_tells_the_childs_code_in_its_last_line(trainer: Trainer) -> None:
    done = trainer.run("--no_such_flag", launcher=["--cpu", "--num_processes", "1"])
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(b"returned non-zero exit status 2.")


def test_the_launcher_refuses_a_flag_that_it_does_not_know(trainer: Trainer) -> None:
    assert trainer.run(launcher=["--no_such_flag"]).returncode == 2


def test_the_launcher_takes_the_flags_of_accelerate(trainer: Trainer) -> None:
    launcher = ["--cpu", "--num_processes=1", "--num_machines=1", "--mixed_precision=bf16", "--dynamo_backend=no"]
    done = trainer.run(launcher=[*launcher, "--num-cpu-threads-per-process", "1", "--gpu_ids", "0"])
    assert done.returncode == 0
    assert b"accelerator device: cpu" in done.stdout


def test_two_processes_share_the_batches_of_an_epoch(trainer: Trainer) -> None:
    done = trainer.run("--max_train_epochs", "2", launcher=["--multi_gpu", "--num_processes", "2"])
    assert steps_of(done.stderr)[-1] == (6, 6)


@only_posix
def test_sigterm_ends_the_launcher_and_not_its_child(trainer: Trainer) -> None:
    with trainer.running(launcher=["--cpu"], STANDIN_STEP_SECONDS="0.1") as (process, printed):
        until(lambda: b" 1/6" in printed())
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
        assert b"model saved." not in printed()
        until(lambda: b"model saved." in printed())


# A good run


def test_a_good_run_prints_the_signs_that_upstream_prints(trainer: Trainer) -> None:
    done = trainer.run("--max_train_epochs", "2", "--console_log_simple")
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "model saved."
    for sign in ("running training", "  num train images * repeats: 6", "epoch 1/2", "epoch 2/2"):
        assert sign in lines
    assert steps_of(done.stderr) == [(step, 12) for step in range(13)]
    assert done.stderr.count(b"\r") == 13
    assert done.stderr.count(b"\n") == 1


def test_the_logger_speaks_on_stderr_in_columns_of_80_unless_told_to_be_simple(trainer: Trainer) -> None:
    done = trainer.run()
    assert b"INFO     model saved." in done.stderr
    assert b"model saved." not in done.stdout
    before_the_bar = done.stderr.decode().partition("\r")[0]
    assert {len(line) for line in before_the_bar.splitlines()} == {80}


def test_a_lora_has_722_modules_in_the_unet_and_264_in_the_text_encoders(trainer: Trainer) -> None:
    trainer.run()
    path = trainer.out / "my.safetensors"
    assert [modules(path, prefix) for prefix in ("lora_unet", "lora_te1", "lora_te2")] == [722, 72, 192]


def test_a_locon_has_788_modules_in_the_unet(trainer: Trainer) -> None:
    trainer.run("--network_train_unet_only", "--network_args", "conv_dim=4", "conv_alpha=2")
    path = trainer.out / "my.safetensors"
    assert (modules(path, "lora_unet"), modules(path, "lora_te")) == (788, 0)
    tensors, _ = load(path)
    assert tensors["lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight"]["shape"] == [4, 1, 3, 3]
    assert tensors["lora_unet_input_blocks_4_1_proj_in.lora_down.weight"]["shape"] == [8, 1]


def test_the_metadata_is_text_and_says_that_nothing_was_trained(trainer: Trainer) -> None:
    trainer.run("--learning_rate", "1e-4")
    _, metadata = load(trainer.out / "my.safetensors")
    assert all(isinstance(value, str) for value in metadata.values())
    assert metadata["ss_output_name"] == "my"
    assert metadata["ss_network_dim"] == "8"
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_learning_rate"] == "0.0001"
    assert metadata["ss_steps"] == "6"
    assert "nothing was trained" in metadata["standin"]


def test_step_and_epoch_files_have_upstreams_names_and_the_last_epoch_has_none(trainer: Trainer) -> None:
    trainer.run("--max_train_epochs", "2", "--save_every_n_steps", "4", "--save_every_n_epochs", "1")
    steps = [f"my-step{step:08d}.safetensors" for step in (4, 8, 12)]
    assert trainer.files() == ["my-000001.safetensors", *steps, "my.safetensors"]


def test_older_checkpoints_are_removed_when_told(trainer: Trainer) -> None:
    trainer.run("--max_train_epochs", "4", "--save_every_n_epochs", "1", "--save_last_n_epochs", "1")
    assert trainer.files() == ["my-000003.safetensors", "my.safetensors"]


def test_a_state_can_be_resumed_where_it_was_saved(trainer: Trainer) -> None:
    trainer.run("--save_state", "--save_every_n_steps", "4")
    state = trainer.out / "my-step00000004-state"
    assert json.loads((state / "train_state.json").read_text())["current_step"] == 4
    assert (trainer.out / "my-state").is_dir()
    done = trainer.run("--resume", str(state), "--skip_until_initial_step")
    assert steps_of(done.stderr)[-1] == (2, 2)


def test_batch_size_and_accumulation_shorten_an_epoch(trainer: Trainer) -> None:
    trainer.config(batch_size=2)
    done = trainer.run("--max_train_epochs", "2", "--gradient_accumulation_steps", "2")
    assert steps_of(done.stderr)[-1] == (4, 4)


def test_regularisation_pictures_double_an_epoch(trainer: Trainer) -> None:
    trainer.fill(trainer.folder / "reg", 1)
    subset = {"image_dir": str(trainer.pictures), "num_repeats": 2, "class_tokens": "cat"}
    trainer.config(subsets=[subset, {**subset, "image_dir": str(trainer.folder / "reg"), "is_reg": True}])
    done = trainer.run("--max_train_epochs", "1")
    assert b"num reg images: 2" in done.stdout
    assert steps_of(done.stderr)[-1] == (12, 12)


def test_dreambooth_writes_a_ckpt_unless_told(trainer: Trainer) -> None:
    assert trainer.run(script=FULL).returncode == 0
    assert trainer.run("--save_model_as", "safetensors", script=FULL).returncode == 0
    assert trainer.files() == ["my.ckpt", "my.safetensors"]
    tensors, _ = load(trainer.out / "my.safetensors")
    assert "model.diffusion_model.input_blocks.0.0.weight" in tensors


# What upstream refuses


def test_no_picture_exits_0_and_leaves_nothing(trainer: Trainer) -> None:
    for picture in trainer.pictures.glob("*.png"):
        picture.unlink()
    done = trainer.run("--console_log_simple")
    assert done.returncode == 0
    assert b"No data found" in done.stdout
    assert trainer.files() == []


def test_a_misspelt_key_of_the_dataset_is_refused(trainer: Trainer) -> None:
    trainer.config(batchsize=1)
    done = trainer.run()
    assert done.returncode == 1
    assert b"extra keys not allowed @ data['datasets'][0]['batchsize']" in done.stderr


def test_an_empty_caption_is_refused(trainer: Trainer) -> None:
    (trainer.pictures / "0.txt").write_bytes(b"")
    done = trainer.run()
    assert done.returncode == 1
    assert b"caption file is empty" in done.stderr


def test_cached_text_encoders_can_not_be_trained(trainer: Trainer) -> None:
    done = trainer.run("--cache_text_encoder_outputs")
    assert done.returncode == 1
    assert b"network for Text Encoder cannot be trained with caching" in done.stderr


def test_a_model_that_is_not_there_is_refused(trainer: Trainer) -> None:
    trainer.model.unlink()
    done = trainer.run()
    assert done.returncode == 1
    assert b"model is not found as a file" in done.stderr


# What goes wrong when asked to


def test_the_table_names_every_failure_and_a_name_outside_it_is_refused(trainer: Trainer) -> None:
    table = (TREE / "standin" / "__init__.py").read_text(encoding="utf-8")
    rows = {row[1] for line in table.splitlines() if (row := TABLE_ROW.match(line))}
    done = trainer.run(fail="no-such-failure")
    assert done.returncode == 1
    assert set(done.stderr.decode().rpartition("there are: ")[2].strip().split(", ")) == rows
    assert len(rows) == 14


@pytest.mark.parametrize(
    ("fail", "sign"),
    [
        ("oom", b"torch.OutOfMemoryError: CUDA out of memory"),
        ("crash", b"RuntimeError: the stand-in was told to crash"),
        ("tokenizer", b"OSError: Can't load tokenizer for 'openai/clip-vit-large-patch14'"),
        ("disk-full", b"OSError: [Errno 28] No space left on device"),
    ],
)
def test_it_fails_with_a_traceback(trainer: Trainer, fail: str, sign: bytes) -> None:
    done = trainer.run(fail=fail)
    assert done.returncode == 1
    assert b"Traceback (most recent call last)" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith(sign)


def test_a_failure_can_be_put_off_to_a_step(trainer: Trainer) -> None:
    assert steps_of(trainer.run(fail="oom@4").stderr)[-1] == (4, 6)


def test_a_full_disk_leaves_a_part_of_the_file_of_the_named_step(trainer: Trainer) -> None:
    trainer.run("--save_every_n_steps", "2", fail="disk-full@3")
    whole, part = (trainer.out / f"my-step0000000{step}.safetensors" for step in (2, 4))
    load(whole)
    assert 0 < part.stat().st_size < whole.stat().st_size


def test_nan_shows_in_the_bar_and_the_run_ends_well(trainer: Trainer) -> None:
    done = trainer.run(fail="nan@3")
    losses = [bar[5] for bar in BAR.finditer(done.stderr)]
    assert [loss == b"nan" for loss in losses] == [False, False, False, True, True, True, True]
    assert done.returncode == 0
    assert trainer.files() == ["my.safetensors"]


@pytest.mark.parametrize(
    ("fail", "says_saved"), [("no-model-saved", False), ("saved-but-absent", True), ("exit-0-silently", False)]
)
def test_it_exits_0_without_a_file(trainer: Trainer, fail: str, says_saved: bool) -> None:
    done = trainer.run("--console_log_simple", fail=fail)
    assert done.returncode == 0
    assert (b"model saved." in done.stdout) is says_saved
    assert trainer.files() == []


def test_exit_0_silently_prints_nothing(trainer: Trainer) -> None:
    done = trainer.run(fail="exit-0-silently")
    assert (done.stdout, done.stderr) == (b"", b"")


@only_posix
def test_it_kills_itself(trainer: Trainer) -> None:
    assert trainer.run(fail="sigkill").returncode == -signal.SIGKILL
    done = trainer.run(fail="sigkill", launcher=["--cpu"])
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(b"died with <Signals.SIGKILL: 9>.")


def test_garbage_is_neither_text_nor_lines_and_the_run_ends_well(trainer: Trainer) -> None:
    done = trainer.run(fail="garbage")
    with pytest.raises(UnicodeDecodeError):
        done.stderr.decode("utf-8")
    assert b"x" * 1_048_576 in done.stdout
    assert done.returncode == 0
    assert trainer.files() == ["my.safetensors"]


def test_a_hang_prints_nothing_and_does_not_end(trainer: Trainer) -> None:
    with trainer.running(fail="hang") as (process, printed):
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert printed() == b""


def test_a_hang_at_a_step_prints_no_further_step(trainer: Trainer) -> None:
    with trainer.running(fail="hang@2") as (process, printed):
        until(lambda: b" 2/6" in printed())
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert steps_of(printed())[-1] == (2, 6)


def test_a_wait_has_an_end(trainer: Trainer) -> None:
    with trainer.running(fail="hang", STANDIN_WAIT_SECONDS="0.1") as (process, _):
        assert process.wait(PATIENCE_SECONDS) == 1


@only_posix
def test_signals_can_be_ignored(trainer: Trainer) -> None:
    with trainer.running(fail="ignore-sigterm") as (process, printed):
        until(lambda: b" 1/6" in printed())
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert b"model saved." in printed()


@only_posix
def test_without_being_told_to_ignore_it_sigterm_ends_the_trainer(trainer: Trainer) -> None:
    with trainer.running(STANDIN_STEP_SECONDS="1") as (process, printed):
        until(lambda: b" 0/6" in printed())
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM


def test_half_a_file_is_written_and_then_it_waits(trainer: Trainer) -> None:
    trainer.run("--save_every_n_steps", "2")
    whole = (trainer.out / "my-step00000004.safetensors").stat().st_size
    half = trainer.out / "my-step00000004.safetensors"
    half.unlink()
    with trainer.running("--save_every_n_steps", "2", fail="half-file@4") as (process, _):
        until(lambda: half.exists() and half.stat().st_size > 0)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert abs(half.stat().st_size - whole / 2) < 64


@only_posix
def test_a_grandchild_outlives_the_trainer(trainer: Trainer) -> None:
    with trainer.running(fail="grandchild") as (process, printed):
        assert process.wait(PATIENCE_SECONDS) == 0
        told = re.search(rb"grandchild (\d+)", printed())
        assert told
        os.kill(int(told[1]), 0)


# The repository


def test_the_same_tree_makes_the_same_commit(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("this is no configuration", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    again = make_repository(tmp_path / "again")
    monkeypatch.undo()
    assert git(again, "rev-parse", "HEAD").stdout == git(checkout, "rev-parse", "HEAD").stdout


def test_it_has_the_release_and_the_branch_that_was_asked_for(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "a", branch="sdxl", tags=("v0.10.1", "v0.9.1"))
    assert git(repository, "tag").stdout.split() == ["v0.10.1", "v0.9.1"]
    assert git(repository, "branch", "--format=%(refname:short)").stdout.split() == ["main", "sdxl"]


def test_running_it_leaves_the_checkout_unchanged(trainer: Trainer) -> None:
    trainer.run()
    assert git(trainer.checkout, "status", "--porcelain").stdout == ""


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(FileExistsError):
        make_repository(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_without_its_dead_weight_a_sparse_checkout_works_and_a_full_one_fails(tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source", missing_blobs=True)
    clone = tmp_path / "clone"
    assert git(tmp_path, "clone", "--quiet", "--no-checkout", str(source), str(clone)).returncode == 0
    full = git(clone, "checkout", "--detach", "v0.10.1")  # some versions of git say so and exit 0
    assert "unable to read" in full.stderr
    assert git(clone, "sparse-checkout", "set", "--no-cone", "*.py", "/requirements.txt").returncode == 0
    assert git(clone, "checkout", "--quiet", "--detach", "v0.10.1").returncode == 0
    assert (clone / LORA).is_file()
    assert (clone / "accelerate" / "commands" / "launch.py").is_file()
    assert (clone / "requirements.txt").read_text(encoding="utf-8").startswith("# stand-in: needs nothing\n")
    assert not any((clone / path).exists() for path in DEAD_WEIGHT)


def test_it_can_be_made_from_a_command_line(tmp_path: Path) -> None:
    build = TREE.parent / "build.py"
    subprocess.run([sys.executable, "-I", str(build), str(tmp_path / "made")], capture_output=True, check=True)
    assert git(tmp_path / "made", "rev-parse", "v0.10.1").returncode == 0
