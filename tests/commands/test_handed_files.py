"""Which file people hand to which command: each cell says what the file is and what takes it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest
from conftest import Cli, write_safetensors
from foreign_files import FOLDER, write_network
from PIL import Image
from tensor_files import numbers, write

from sdxl_train_cli import handed_file

CALL = "accelerate launch sdxl_train_network.py --network_dim=8\n"
TEXTS: Mapping[str, tuple[str, str]] = {
    "preset.yaml": ("preset", "extends: dim32-gc\nnetwork_dim: 16\n"),
    "settings.toml": (
        "settings",
        "# accelerate launch sdxl_train_network.py\n[a]\nnetwork_dim = 8\nlearning_rate = 1e-4\n",
    ),
    "easy.toml": ("settings", (FOLDER / "easy.toml").read_text(encoding="utf-8")),
    "gui.json": ("settings", (FOLDER / "gui_lora.json").read_text(encoding="utf-8")),
    "onetrainer.json": ("settings", (FOLDER / "onetrainer.json").read_text(encoding="utf-8")),
    "run.bat": ("script", CALL),
    "dataset.toml": ("dataset", '[[datasets]]\nresolution = 1024\n[[datasets.subsets]]\nimage_dir = "img"\n'),
    "dataset.json": ("dataset", json.dumps({"datasets": [{"subsets": [{"image_dir": "img"}]}]})),
    "meta_cap.json": ("metadata", json.dumps({"img/a.png": {"caption": "a cat"}})),
    "train.log": ("log", "steps:  5%|#| 5/100\nTraceback (most recent call last):\nRuntimeError: x\n"),
    "caption.txt": ("caption", "a photo of a cat, indoors\n"),
    "prompts.txt": ("prompts", "a cat --n bad --w 1024 --d 4\n"),
    "prompts.json": ("prompts", json.dumps([{"prompt": "a cat", "width": 1024}])),
    "accelerate.yaml": ("accelerate", "compute_environment: LOCAL_MACHINE\nmixed_precision: bf16\n"),
    "workflow.json": ("workflow", json.dumps({"nodes": [], "links": [], "version": 0.4})),
    "workflow_api.json": ("workflow", json.dumps({"3": {"class_type": "KSampler", "inputs": {}}})),
    "ai-toolkit.yaml": ("other_trainer", "job: extension\nconfig:\n  name: x\n"),
    "simpletuner.json": ("other_trainer", json.dumps({"--model_family": "sdxl", "--lora_rank": 16})),
    "page.html": ("web_page", "<!DOCTYPE html><html></html>"),
}
LORA = ("lora", "--dry-run", "--no-vram-check")


def _data(file: Path) -> list[object]:
    return ["--data", file.parent / "pictures"]


def _model(file: Path) -> list[object]:
    return ["--model", file.parent / "base.safetensors"]


COMMANDS: Mapping[str, tuple[int, str, Callable[[Path], list[object]]]] = {
    "import": (3, "settings script network checkpoint pickle", lambda file: ["presets", "import", file]),
    "check": (3, "preset", lambda file: ["presets", "check", file]),
    "preset": (3, "preset", lambda file: [*LORA, *_data(file), *_model(file), "--preset", file]),
    "data": (4, "dataset metadata", lambda file: [*LORA, *_model(file), "--data", file]),
    "reg": (4, "", lambda file: ["dataset", "check", file.parent / "pictures", "--reg", file]),
    "dataset check": (4, "dataset metadata", lambda file: ["dataset", "check", file]),
    "model": (4, "checkpoint network pickle web_page", lambda file: [*LORA, *_data(file), "--model", file]),
    "vae": (4, "checkpoint network pickle web_page", lambda file: [*LORA, *_data(file), *_model(file), "--vae", file]),
    "explain": (2, "log caption run", lambda file: ["runs", "explain", file]),
    "inspect": (4, "checkpoint network embedding pickle web_page", lambda file: ["inspect", file]),
    "vram": (2, "measured", lambda file: ["vram", "--merge", file]),
}


OTHERS: Mapping[str, str] = {
    "lora.safetensors": "network",
    "base.safetensors": "checkpoint",
    "word.safetensors": "embedding",
    "model.ckpt": "pickle",
    "pictures.zip": "archive",
    "picture.png": "picture",
    "run": "run",
}


def write_all(folder: Path) -> dict[str, Path]:
    """Every file, by name."""
    for name, (_, text) in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_network(folder / "lora.safetensors", {"ss_network_dim": "8"})
    write(folder / "word.safetensors", {"clip_l": numbers(1, 768), "clip_g": numbers(1, 1280)})
    write_safetensors(folder / "base.safetensors")
    (folder / "model.ckpt").write_bytes(b"PK\x03\x04rest")
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        archive.writestr("a.txt", "a cat")
    Image.new("RGB", (64, 64)).save(folder / "picture.png")
    (folder / "pictures").mkdir()
    Image.new("RGB", (64, 64)).save(folder / "pictures" / "a.png")
    (folder / "run").mkdir()
    (folder / "run" / "run.json").write_text("{}", encoding="utf-8")
    return {name: folder / name for name in (*TEXTS, *OTHERS)}


def kind_of(name: str) -> str:
    """What a file is."""
    return TEXTS[name][0] if name in TEXTS else OTHERS[name]


def test_each_file_is_recognised_by_its_content(tmp_path: Path) -> None:
    found = {name: handed_file.recognise(path) for name, path in write_all(tmp_path).items()}

    assert found == {name: kind_of(name) for name in found}
    assert set(found.values()) | {"measured"} == handed_file.kinds().keys()


def _require_told(cli: Cli, folder: Path, command: str, names: Collection[str]) -> None:
    code, takes, argv = COMMANDS[command]
    for name, path in write_all(folder).items():
        kind = kind_of(name)
        if kind in takes.split() or name not in names:
            continue
        result = cli(*argv(path))

        told = handed_file.kinds()[kind]
        assert (name, result.code) == (name, code), result.stderr
        assert f"{name} is {told.words}, not " in result.stderr + result.stdout
        assert told.hint.partition("{")[0] in result.stderr + result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_of_another_kind_is_told_with_the_command_that_takes_it(cli: Cli, tmp_path: Path, command: str) -> None:
    _require_told(cli, tmp_path, command, {"settings.toml" if command != "import" else "preset.yaml"})


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_of_another_kind_is_told(cli: Cli, tmp_path: Path, command: str) -> None:
    _require_told(cli, tmp_path, command, {*TEXTS, *OTHERS})


def test_what_cannot_be_recognised_is_left_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "odd.bin").write_bytes(bytes(100))

    assert [handed_file.recognise(tmp_path / name) for name in ("broken.json", "odd.bin", "absent", "a\0b")] == [
        None
    ] * 4
