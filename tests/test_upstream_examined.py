"""What the real trainer calls done, looked at: each run here ends with "model saved." and exit code 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.layout import Home

SOURCE = upstream_source.find()
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        SOURCE is None and not os.environ.get("SDXL_TRAIN_UPSTREAM_HOME"),
        reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone",
    ),
]

# The command line has no flag for the shim and the tokenizers: this starts the same command with them.
START = """
import dataclasses, pathlib, sys
from sdxl_train_cli import cli
from sdxl_train_cli.environment import hub
from sdxl_train_cli.run import run_choices
shim, tokenizers = pathlib.Path(sys.argv.pop(1)), pathlib.Path(sys.argv.pop(1))
real = run_choices.choose
run_choices.choose = lambda *given, **named: dataclasses.replace(
    real(*given, **named), shim=shim, tokenizers=tokenizers, on_processor=True
)
hub.require = lambda *_: None
cli.main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, its tokenizers and pictures."""
    folder = tmp_path_factory.mktemp("examined мир")
    installed = environment.require(Home(upstream_source.home()))
    environment.run_script(installed, "tiny_sdxl.py", "--output", str(folder / "material"))
    return folder


def variables() -> dict[str, str]:
    return {**os.environ, "SDXL_TRAIN_HOME": str(upstream_source.home())}


def sdxl_train(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", *map(str, arguments)]
    return subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", env=variables())


def started(place: Path, kind: str, name: str, *arguments: str) -> subprocess.Popen[str]:
    """A real run on the scaled-down model."""
    material = place / "material"
    argv = [
        sys.executable, "-c", START, str(INSIDE / "scaled.py"), str(material / "tokenizers"), kind, "--name", name,
        "--model", str(material / "model.safetensors"), "--data", str(material / "pictures"),
        "--output", str(place / "runs"), "--no-vram-check", "--resolution", "64",
        "--set", "save_every_n_steps=2", *arguments,
    ]  # fmt: skip
    return subprocess.Popen(argv, cwd=place, env=variables(), stderr=subprocess.PIPE, encoding="utf-8")


def ran(place: Path, kind: str, name: str, *arguments: str) -> tuple[int, str]:
    """Its exit code, and what it told."""
    with started(place, kind, name, *arguments) as cli:
        assert cli.stderr is not None
        told = cli.stderr.read()
    return cli.returncode, told


def examined(place: Path, name: str) -> list[dict[str, object]]:
    """What the run's record says of its files."""
    outcome = json.loads((place / "runs" / name / "outcome.json").read_text(encoding="utf-8"))
    return [{**one, "troubles": [finding["trouble"] for finding in one.get("findings", ())]}
            for one in outcome["examined"]]  # fmt: skip


def log(place: Path, name: str) -> str:
    return (place / "runs" / name / "train.log").read_text(encoding="utf-8")


def test_a_rate_too_small_for_the_file_ends_with_model_saved_and_is_found(place: Path) -> None:
    """The trainer says "model saved." and exits with 0: its warmup was longer than any run."""
    code, told = ran(place, "lora", "untrained", "--steps", "6", "--set", "lr_warmup_steps=1000000000")

    assert code == 7, told
    assert "model saved." in log(place, "untrained")
    assert "warning: nothing was learned: all 722 modules are still as they started" in told
    assert "error: the run ended, but nothing was learned: all 722 modules" in told
    assert (place / "runs" / "untrained" / "untrained.safetensors").is_file()
    assert [one["troubles"] for one in examined(place, "untrained")] == [["nothing learned"]] * 2


def test_text_encoders_alone_are_told_as_what_learned(place: Path) -> None:
    options = [f"--set={each}" for each in (
        "network_train_unet_only=false", "network_train_text_encoder_only=true", "cache_text_encoder_outputs=false",
        "text_encoder_lr=1e-3", "optimizer_type=AdamW",
    )]  # fmt: skip
    code, told = ran(place, "lora", "texts", "--steps", "4", *options)

    assert code == 0, told
    (_, result) = examined(place, "texts")
    assert "text encoder 1 modules" in str(result["summary"])
    assert "U-Net" not in str(result["summary"])


def test_a_checkpoint_that_learned_is_told_and_renamed_as_torch_compile_does_nobody_reads_it(place: Path) -> None:
    code, told = ran(place, "dreambooth", "whole", "--steps", "4", "--set", "learning_rate=1e-4")
    result = place / "runs" / "whole" / "whole.safetensors"
    assert code == 0, told
    assert "of the U-Net's sampled weights changed; read by ComfyUI, Forge, A1111, diffusers" in told

    content = result.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"model.diffusion_model.', b'"model.diffusion_model._orig_mod.')
    renamed = result.with_name("renamed.safetensors")
    renamed.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    shown = sdxl_train("inspect", renamed, "--base", place / "material" / "model.safetensors")

    assert shown.returncode == 4
    assert "none of ComfyUI, Forge, A1111, diffusers can read it" in shown.stderr
    assert "of the U-Net's sampled weights changed" not in shown.stdout


def test_a_checkpoint_whose_precision_swallows_every_step_is_its_base(place: Path) -> None:
    """bf16 has 8 bits: at 1e-9 each step rounds to nothing, and the trainer saves the base again."""
    options = ["--set", "learning_rate=1e-9", "--set", "full_bf16=true", "--set", "mixed_precision=bf16"]
    code, told = ran(place, "dreambooth", "rounded", "--steps", "4", *options)

    assert code == 7, told
    assert "are the base model's own" in told
    assert "model saved." in log(place, "rounded")


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_a_resumed_run_is_examined_too(place: Path) -> None:
    with started(place, "lora", "again", "--steps", "8") as cli:
        assert cli.stderr is not None
        for line in cli.stderr:
            if line.startswith("step 4 "):
                break
        cli.send_signal(signal.SIGINT)
        assert cli.stderr.read()
    ended = sdxl_train("runs", "resume", place / "runs" / "again", "--no-vram-check")

    assert ended.returncode == 0, ended.stderr
    first, result = examined(place, "again")
    assert str(first["summary"]).startswith("learned: 722 of 722 U-Net modules changed")
    assert str(result["summary"]).startswith("learned: 722 of 722 U-Net modules changed")
