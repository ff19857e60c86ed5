"""The scripts of the training side, as far as they run in a Python that has neither torch nor sd-scripts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sdxl_train_cli.sdscripts import checkpoint

INSIDE = Path(__file__).parents[2] / "sdxl_train_cli" / "inside"
TOKENIZERS = ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")


def ask(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(INSIDE / script), *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("material")
    answer = ask("tiny_sdxl.py", "--output", str(folder), "--without-weights", cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def fake_sd_scripts(checkout: Path, parser: str) -> None:
    """Two scripts whose import prints, as upstream's dependencies do, and whose parser is the given lines."""
    lines = "import argparse\nprint('noise')\ndef setup_parser():\n    parser = argparse.ArgumentParser()\n"
    body = "".join(f"    {line}\n" for line in parser.splitlines())
    for script in ("sdxl_train.py", "sdxl_train_network.py"):
        (checkout / script).write_text(f"{lines}{body}    return parser\n", encoding="utf-8")


def options(checkout: Path, parser: str) -> dict[str, dict[str, object]]:
    fake_sd_scripts(checkout, parser)
    answer = ask("flags.py", cwd=checkout)
    assert answer.returncode == 0, answer.stderr
    return {option["name"]: option for option in json.loads(answer.stdout)["scripts"]["sdxl_train.py"]}


def test_the_model_without_weights_is_told_as_a_whole_sdxl_checkpoint(made: dict[str, str]) -> None:
    assert checkpoint.require_sdxl(made["model"]) == str(Path(made["model"]).resolve())
    assert made["bytes"] == Path(made["model"]).stat().st_size


def test_there_are_six_different_pictures_of_several_shapes_each_with_a_caption(made: dict[str, str]) -> None:
    pictures = sorted(Path(made["pictures"]).glob("*.png"))
    sizes = set()
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.load()
            assert opened.mode == "RGB"
            sizes.add(opened.size)
    assert len(pictures) == len({picture.read_bytes() for picture in pictures}) == len(sizes) == 6
    assert all(picture.with_suffix(".txt").read_text(encoding="utf-8").startswith("a ") for picture in pictures)


def test_many_pictures_still_differ(tmp_path: Path) -> None:
    ask("tiny_sdxl.py", "--output", str(tmp_path), "--without-weights", "--pictures", "40", cwd=tmp_path)
    assert len({picture.read_bytes() for picture in (tmp_path / "pictures").glob("*.png")}) == 40


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_tokenizer_can_spell_every_byte_and_ends_with_its_highest_id(made: dict[str, str], name: str) -> None:
    folder = Path(made["tokenizers"]) / name
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert sorted(vocabulary.values()) == list(range(514))
    assert vocabulary["!"] == 0
    assert vocabulary[settings["eos_token"]] == 513
    assert settings["model_max_length"] == 77


def test_scaling_is_declined_with_a_reason_where_there_is_no_sd_scripts(tmp_path: Path) -> None:
    answer = ask("scaled.py", "--check", cwd=tmp_path)
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["scalable"] is False
    assert "library" in json.loads(answer.stdout)["reason"]


def test_a_training_that_cannot_be_scaled_ends_with_one_line_and_its_own_exit_code(tmp_path: Path) -> None:
    answer = ask("scaled.py", "sdxl_train.py", "--seed", "1", cwd=tmp_path)
    assert answer.returncode == 86
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1


def test_scaling_names_the_figure_that_this_sd_scripts_has_moved(tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    for name in ("sdxl_original_unet", "sdxl_model_util", "model_util"):
        (library / f"{name}.py").write_text("MODEL_CHANNELS = 320\n", encoding="utf-8")
    answer = json.loads(ask("scaled.py", "--check", cwd=tmp_path).stdout)
    assert answer["scalable"] is False
    assert "no TIME_EMBED_DIM in library.sdxl_original_unet" in answer["reason"]


def test_flags_keeps_what_imports_print_out_of_its_answer(tmp_path: Path) -> None:
    assert options(tmp_path, "parser.add_argument('--seed', type=int)")["seed"] == {
        "name": "seed",
        "flag": "--seed",
        "type": "int",
        "many": False,
        "choices": None,
        "default": None,
        "required": False,
        "help": "",
    }


def test_flags_tells_switches_lists_and_choices(tmp_path: Path) -> None:
    found = options(
        tmp_path,
        "parser.add_argument('--sdpa', action='store_true')\n"
        "parser.add_argument('--no_metadata', action='store_false')\n"
        "parser.add_argument('-n', '--network_args', nargs='*')\n"
        "parser.add_argument('--save_precision', choices=[None, 'fp16'])\n"
        "parser.add_argument('--lr_warmup_steps', type=lambda_int_or_float, default=float('inf'))".replace(
            "lambda_int_or_float", "type('int_or_float', (float,), {})"
        ),
    )
    assert [found[name]["type"] for name in ("sdpa", "no_metadata")] == ["switch", "switch"]
    assert found["network_args"]["many"] is True
    assert found["network_args"]["flag"] == "--network_args"
    assert found["save_precision"]["choices"] == ["fp16"]
    assert found["lr_warmup_steps"]["type"] == "float"
    assert found["lr_warmup_steps"]["default"] is None


def test_flags_asks_the_optimizers_that_are_named_and_installed(tmp_path: Path) -> None:
    fake_sd_scripts(tmp_path, "")
    (tmp_path / "mine.py").write_text(
        "class Sgd:\n    def __init__(self, params, lr=1, momentum=0, nesterov=False): ...\n"
        "class Any:\n    def __init__(self, params, **rest): ...\n",
        encoding="utf-8",
    )
    named = ("sgd=mine.Sgd", "sgdnesterov=mine.Sgd", "any=mine.Any", "gone=nowhere.Gone", "older=mine.Newer")
    answer = json.loads(ask("flags.py", *named, cwd=tmp_path).stdout)

    assert answer["optimizers"] == {
        "sgd": {"momentum": "number", "nesterov": "switch"},
        "sgdnesterov": {"momentum": "number"},
        "any": None,
    }


def test_flags_says_in_one_line_why_a_script_does_not_import(tmp_path: Path) -> None:
    (tmp_path / "sdxl_train.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    answer = ask("flags.py", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"


def test_a_python_without_torch_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')\n", encoding="utf-8")
    answer = ask("probe.py", cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.splitlines()[-1] == "torch: ImportError: no torch here"
