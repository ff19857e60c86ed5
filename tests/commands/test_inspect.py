"""`sdxl-train inspect`: what is shown of a file, and one clear line for what is none."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensor_files
from conftest import Result

from sdxl_train_cli import process
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment, EnvironmentFiles

Main = Callable[..., Result]


@pytest.fixture
def trains(tmp_path: Path, installed: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says that it trains; its Python is this one, which has numpy."""
    if process.WINDOWS:
        pytest.skip("its Python is a script of sh")
    parts = EnvironmentFiles(tmp_path / "environment")
    parts.python.parent.mkdir(parents=True)
    parts.checkout.mkdir()
    parts.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    parts.python.chmod(0o755)
    there = Environment(folder=parts.folder, lock=installed.lock.model_copy(update={"toolchain": "test"}))
    monkeypatch.setattr(environment, "find", lambda _home: there)


@pytest.mark.usefixtures("trains")
def test_a_lora_is_shown_with_what_it_learned_and_who_reads_it(main: Main, tmp_path: Path) -> None:
    path = tensor_files.write(tmp_path / "мой кот.safetensors", tensor_files.lora(), ss_steps="300")
    told = main("inspect", path)

    assert told.code == 0
    shown = dict(line.split(maxsplit=1) for line in told.stdout.partition("\n\n")[0].splitlines())
    assert (shown["file"], shown["kind"], shown["base"], shown["rank"]) == ("мой кот.safetensors", "LoRA", "SDXL", "4")
    assert shown["trained"] == "300 steps"
    assert shown["found"].startswith("learned: 3 of 3 U-Net modules changed")
    assert shown["A1111"] == "reads it"
    assert [line.split()[:3] for line in told.stdout.splitlines()[-3:]] == [
        ["U-Net", "input", "4"], ["U-Net", "middle", "1"], ["U-Net", "output", "5"],
    ]  # fmt: skip
    assert told.stderr == ""


@pytest.mark.usefixtures("trains")
def test_a_lora_that_learned_nothing_has_the_exit_code_of_a_model(main: Main, tmp_path: Path) -> None:
    told = main("inspect", tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(up=0.0)))

    assert told.code == 4
    assert "nothing was learned: all 3 modules are still as they started" in told.stderr


@pytest.mark.usefixtures("trains")
def test_a_checkpoint_is_compared_with_the_base_that_is_named(main: Main, tmp_path: Path) -> None:
    base = tensor_files.write(tmp_path / "base.safetensors", tensor_files.checkpoint())
    same = main("inspect", base, "--base", base)
    moved = tensor_files.checkpoint(moved=0.01, part="model.")
    other = main("inspect", tensor_files.write(tmp_path / "other.safetensors", moved), "--base", base)

    assert (same.code, other.code) == (4, 0)
    assert "are the base model's own" in same.stderr
    assert "learned: 100 % of the U-Net's sampled weights changed" in other.stdout


@pytest.mark.usefixtures("trains")
def test_json_holds_all_of_it(main: Main, tmp_path: Path) -> None:
    facts = json.loads(
        main("inspect", tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora()), "--json").stdout
    )

    assert (facts["kind"], facts["base"], facts["ranks"], facts["not_examined"]) == ("LoRA", "SDXL", [4], None)
    assert facts["weights"]["parts"][0]["modules"] == 3
    assert [row["reads"] for row in facts["programs"]] == [True] * 4
    assert facts["findings"] == []


def test_before_setup_the_header_is_told_and_what_could_not_be_looked_at(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(tmp_path / "nowhere"))
    told = main("inspect", tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(up=0.0)))

    assert told.code == 0
    assert "weights not looked at; read by ComfyUI" in told.stdout
    assert "only the header was looked at: weights need sd-scripts' environment" in told.stderr
    assert "sdxl-train setup" in told.stderr


def make(folder: Path, what: str) -> Path:
    path = folder / {"folder": "кот", "pickle": "a.ckpt", "absent": "нет.safetensors"}.get(what, "кот.safetensors")
    if what == "folder":
        path.mkdir()
        tensor_files.write(path / "inner.safetensors", tensor_files.lora())
    elif what == "pickle":
        path.write_bytes(b"PK")
    elif what == "web page":
        path.write_bytes(b"<!DOCTYPE html>")
    elif what == "cut off":
        tensor_files.write(path, tensor_files.lora())
        path.write_bytes(path.read_bytes()[:-1])
    return path


@pytest.mark.parametrize(
    ("what", "words"),
    [("folder", "is a folder: name one .safetensors file"), ("pickle", "is a pickle, which can hold code"),
     ("absent", "no file at"), ("web page", "is a web page, not a model"), ("cut off", "is cut off")],
)  # fmt: skip
def test_what_is_no_model_file_is_one_clear_line(main: Main, tmp_path: Path, what: str, words: str) -> None:
    told = main("inspect", make(tmp_path, what))

    assert (told.code, told.stdout) == (4, "")
    error, *hints = told.stderr.splitlines()
    assert error.startswith("error: ")
    assert words in error
    assert len(hints) <= 1


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (tensor_files.lora(alpha=math.inf), "3 of 9 tensors hold NaN or infinity"),
        (tensor_files.lora(alpha=math.nan), "3 of 9 tensors hold NaN or infinity"),
        (tensor_files.lora(alpha=0.0), "nothing was learned: the alpha of 3 of 3 modules is 0"),
        ({}, "the file is neither a LoRA nor a checkpoint: it holds no tensors"),
        ({"foo.bar": tensor_files.numbers(4, 4)}, "the file is neither a LoRA nor a checkpoint"),
        ({"lora_unet_out_2.lora_down.weight": tensor_files.numbers(4, 4)}, "1 of 1 module can't be put together"),
    ],
)
def test_a_file_of_no_use_has_the_exit_code_of_a_model(
    main: Main, tmp_path: Path, tensors: dict[str, np.ndarray], words: str
) -> None:
    told = main("inspect", tensor_files.write(tmp_path / "a.safetensors", tensors))

    assert told.code == 4
    assert words in told.stderr
    assert "sound" not in told.stdout
