"""`sdxl-train file`: what is shown, changed and refused, where nothing is installed."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tensor_files
from conftest import Result

from sdxl_train_cli.sdscripts import checkpoint

Main = Callable[..., Result]
METADATA = {
    "ss_network_dim": "4", "ss_network_alpha": "2.0", "ss_steps": "300", "ss_epoch": "1", "ss_unet_lr": "0.0001",
    "ss_sd_model_name": "/srv/models/sd_xl.safetensors", "ss_num_train_images": "200", "modelspec.title": "My cat",
    "ss_dataset_dirs": '{"10_my cat": {"n_repeats": 10, "img_count": 20}}',
    "ss_tag_frequency": '{"10_my cat": {"zwx": 20, "cat": 18}}',
}  # fmt: skip


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return tensor_files.write(tmp_path / "мой кот.safetensors", tensor_files.lora(), **METADATA)


def metadata(path: Path) -> dict[str, str]:
    return dict(checkpoint.read_header(path).metadata)


def test_show_tells_what_a_file_says_of_itself(main: Main, lora: Path) -> None:
    told = main("file", "show", lora)

    assert told.code == 0
    for words in ("My cat", "sd_xl.safetensors", "dim 4, alpha 2.0", "300 steps", "U-Net 0.0001",
                  "20, repeated 10 times", "zwx (20), cat (18)", "U-Net middle"):  # fmt: skip
        assert words in told.stdout
    assert "3 keys tell of a person or a machine" in told.stderr


def test_one_of_a_kind_is_told_in_the_singular(main: Main, tmp_path: Path) -> None:
    once = {
        "ss_steps": "1",
        "ss_epoch": "1",
        "ss_output_name": "cat",
        "ss_sd_model_name": "/home/anna/base.safetensors",
    }
    lora = tensor_files.write(tmp_path / "a.safetensors", tensor_files.lora(), **once)
    shown, planned = main("file", "show", lora), main("file", "edit", lora, "--remove", "ss_epoch", "--dry-run")
    alone = tensor_files.write(tmp_path / "b.safetensors", tensor_files.lora())

    assert "1 step, 1 epoch" in shown.stdout
    assert "1 key tells of a person or a machine" in shown.stderr
    assert planned.stderr.endswith("with 3 keys\n")
    assert main("file", "edit", alone, "--set", "a=b", "--dry-run").stderr.endswith("with 1 key\n")


def test_scrubbing_is_offered_with_the_file(main: Main, lora: Path) -> None:
    told = main("file", "show", lora)

    assert f": sdxl-train file edit '{lora}' --scrub\n" in told.stderr.replace("\n  ", " ")


def test_a_runs_folder_is_answered_with_its_final_file(main: Main, lora: Path) -> None:
    run = lora.parent / "cat"
    run.mkdir()
    (run / "run.json").write_text("{}", encoding="utf-8")
    tensor_files.write(run / "cat-step00000100.safetensors", tensor_files.lora())
    tensor_files.write(run / "cat.safetensors", tensor_files.lora())
    told = main("file", "resize", run, "--rank", "2")

    assert told.code == 4
    assert "is the folder of a run: name one .safetensors file" in told.stderr
    assert f"it has {run / 'cat.safetensors'}, {run / 'cat-step00000100.safetensors'}\n" in told.stderr


def test_show_as_json_has_every_key(main: Main, lora: Path) -> None:
    told = json.loads(main("file", "show", lora, "--json").stdout)

    assert told["metadata"] == METADATA
    assert told["about"]["title"] == "My cat"
    assert told["tags"][0] == {"tag": "zwx", "count": 20}
    assert {block["block"] for block in told["blocks"]} == {"input 4", "middle", "output 5"}
    assert set(told["telling"]) == {"ss_sd_model_name", "ss_dataset_dirs", "ss_tag_frequency"}


def test_raw_unfolds_the_json_in_values(main: Main, lora: Path) -> None:
    found = json.loads(main("file", "show", lora, "--raw").stdout)

    assert found["ss_tag_frequency"] == {"10_my cat": {"zwx": 20, "cat": 18}}


def test_edit_writes_a_new_file_beside_and_leaves_the_old_one(main: Main, lora: Path) -> None:
    before = lora.read_bytes()

    told = main("file", "edit", lora, "--title", "A cat", "--trigger", "zwx", "--author", "", "--remove", "ss_steps")

    made = lora.with_name("мой кот.edited.safetensors")
    assert (told.code, told.stdout.strip()) == (0, str(made))
    assert lora.read_bytes() == before
    kept = {key: text for key, text in METADATA.items() if key != "ss_steps"}
    assert metadata(made) == {
        **kept, "modelspec.title": "A cat", "modelspec.trigger_phrase": "zwx", "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
    }  # fmt: skip


def test_scrub_says_what_went_and_what_was_typed_stays(main: Main, lora: Path) -> None:
    user = getpass.getuser()

    told = main("file", "edit", lora, "--scrub", "--author", f"{user} himself", "-o", lora.with_name("b.safetensors"))

    found = metadata(lora.with_name("b.safetensors"))
    assert told.code == 0
    assert "ss_sd_model_name" in told.stderr
    assert found["ss_sd_model_name"] == "sd_xl.safetensors"
    assert "my cat" not in json.dumps({key: text for key, text in found.items() if key != "modelspec.title"})
    assert found["modelspec.author"] == f"{user} himself"


def test_a_dry_run_writes_nothing(main: Main, lora: Path) -> None:
    told = main("file", "edit", lora, "--scrub", "--dry-run", "--json")

    assert json.loads(told.stdout)["metadata"]["ss_sd_model_name"] == "sd_xl.safetensors"
    assert [file.name for file in lora.parent.glob("*.safetensors")] == [lora.name]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["edit", "LORA"], (2, "nothing to change", "--title")),
        (["edit", "LORA", "--scrub", "-o", "LORA"], (2, "never overwritten", "-o FILE")),
        (["edit", "LORA", "--remove", "none"], (2, "it has no key 'none'", "its keys: ")),
        (["edit", "LORA", "--set", "nothing"], (2, "is not KEY=VALUE", "--set")),
        (["edit", "LORA", "--no-captions", "--title", "x"], (2, "a part of scrubbing", "--scrub")),
        (["resize", "LORA"], (2, "how small is not said", "--rank 16")),
        (["resize", "LORA", "--rank", "8"], (2, "its rank is 4 already", "--rank 2")),
        (["resize", "LORA", "--energy", "95"], (2, "--energy takes 0.01 to 1, not 95", "--energy 0.95")),
        (["resize", "LORA", "--energy", "95%"], (2, "--energy takes a number", "--energy 0.95")),
        (["resize", "NONE"], (2, "how small is not said", "--energy 0.95")),
        (["resize", "LORA", "--rank", "2", "--energy", "0.5"], (2, "both say how small", "leave one of them out")),
        (["merge", "LORA", "LORA", "--rank", "8"], (2, "the exact sum has rank 8", "--rank 4, or leave it out")),
        (["merge", "LORA", "LORA", "--rank", "9", "--dry-run"], (2, "the exact sum has rank 8", "--rank 4")),
        (["extract", "LORA", "--base", "LORA", "--rank", "9999"], (2, "largest number allowed is 1280", "1280")),
        (["edit", "LORA", "--scrub", "-o", "new/x"], (2, "does not end in", "-o new/x.safetensors")),
        (["resize", "LORA", "--rank", "2"], (5, "has no networks/resize_lora.py", "sdxl-train setup")),
        (["merge", "LORA"], (2, "there is one LoRA", "--into")),
        (["merge", "LORA:x", "LORA"], (2, "is no ratio", ":0.8")),
        (["merge", "LORA", "TEXT"], (4, "is not", "")),
        (["convert", "LORA"], (2, "what to convert to is not said", "--to diffusers")),
        (["convert", "LORA", "--to", "moon"], (2, "takes kohya, diffusers or comfyui", "--to kohya")),
        (["convert", "LORA", "--dtype", "int4"], (2, "--dtype", "")),
        (["extract", "LORA", "--base", "LORA"], (4, "not a whole SDXL checkpoint", "inspect")),
        (["show", "TEXT"], (4, "is", "")),
        (["show", "NONE"], (4, "no file at", "")),
    ],
)
def test_a_mistake_is_answered_with_what_to_type(
    main: Main, lora: Path, words: list[str], answer: tuple[int, str, str]
) -> None:
    code, message, hint = answer
    text = lora.with_name("text.safetensors")
    text.write_text("a caption", encoding="utf-8")
    paths = {"LORA": str(lora), "TEXT": str(text), "NONE": str(lora.with_name("none.safetensors"))}
    typed = [
        word.replace("LORA", paths["LORA"]) if word.startswith("LORA") else paths.get(word, word) for word in words
    ]

    told = main("file", *typed)

    assert told.code == code, told.stderr
    assert message in told.stderr
    assert hint in told.stderr
    assert "Traceback" not in told.stderr
