"""Sixty mistakes that people make on their first evening: each is answered with what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_pictures, write_safetensors

from sdxl_train_cli.records import record

Main = Callable[..., Result]

FLAGS_OF_OTHERS = [
    ("lora --learning_rate x", 2, "such as --learning-rate 1e-4"),
    ("lora --lr 1e-4", 2, "--learning-rate 1e-4"),
    ("lora -lr 1e-4", 2, "--learning-rate 1e-4"),
    ("lora --rank=16", 2, "--dim 16"),
    ("lora --network_dim 64", 2, "--dim 64"),
    ("lora --network-alpha 8", 2, "--alpha 8"),
    ("lora --optimizer_type Prodigy", 2, "--optimizer Prodigy"),
    ("lora --train_batch_size 2", 2, "--batch-size 2"),
    ("lora --max_train_epochs 10", 2, "--epochs 10"),
    ("lora --num_train_epochs=10", 2, "--epochs 10"),
    ("lora --max_train_steps", 2, "--steps STEPS"),
    ("lora --lr_scheduler cosine", 2, "--scheduler cosine"),
    ("lora --shuffle_caption", 2, "--shuffle-captions"),
    ("lora --max_data_loader_n_workers 2", 2, "--workers 2"),
    ("lora --num_workers 2", 2, "--workers 2"),
    ("fit --min_snr_gamma 5", 2, "--set min_snr_gamma=5"),
    ("fit --min-snr-gamma=5", 2, "--set min_snr_gamma=5"),
    ("lora --cache_latents", 2, "--set cache_latents=true"),
    ("lora --flip-aug", 2, "--set flip_aug=true"),
    ("lora --multires_noise_discount 0.3 --seed 1", 2, "--set multires_noise_discount=0.3"),
    ("lora --network_args conv_dim=4 conv_alpha=1 --seed 1", 2, "--set 'network_args=conv_dim=4 conv_alpha=1'"),
    ("lora --pretrained_model_name_or_path base", 2, "--model"),
    ("lora --train_data_dir pictures", 2, "--data"),
    ("lora --instance_prompt ohwx", 2, "--trigger ohwx"),
    ("lora --class_data_dir dogs", 2, "--reg dogs"),
    ("lora --base-model base", 2, "--model base"),
    ("lora --v_pred", 2, "--prediction v"),
    ("lora --use_ema", 2, "no moving average"),
    ("lora --epochz 3", 2, "--epochs"),
    ("lora -preset dim32", 2, "sdxl-train lora --preset"),
]
WORDS_OUT_OF_PLACE = [
    ("train", 2, "sdxl-train lora"),
    ("loar", 2, "sdxl-train lora"),
    ("install", 2, "sdxl-train setup"),
    ("trian", 2, "sdxl-train lora"),
    ("resume cat", 2, "sdxl-train runs resume"),
    ("list", 2, "sdxl-train presets list or sdxl-train runs list"),
    ("runs delete cat", 2, "sdxl-train runs rm"),
    ("runs why cat", 2, "sdxl-train runs explain"),
    ("dataset chek", 2, "sdxl-train dataset check"),
    ("presets create", 2, "sdxl-train presets new"),
    ("publish cat", 2, "sdxl-train share"),
    ("upload cat", 2, "sdxl-train share --to hub"),
    ("help", 2, "sdxl-train --help"),
    ("tag pictures", 2, "sdxl-train dataset caption"),
    ("--preset gc lora", 2, "sdxl-train lora --preset gc"),
    ("lora pictures", 2, "sdxl-train lora --data pictures"),
    ("lora learning_rate=1e-4", 2, "sdxl-train lora --set learning_rate=1e-4"),
    ("plan lora", 2, "sdxl-train plan --kind lora"),
    ("runs show", 2, "sdxl-train runs show RUN"),
    ("queue logs 1", 2, "sdxl-train queue log"),
    ("queue add lroa", 2, "sdxl-train queue add lora"),
    ("queue move 1", 2, "sdxl-train queue move JOB PLACE"),
    ("queue log dog", 2, "sdxl-train queue list --all"),
    ("queue retry --failed", 2, "sdxl-train queue list"),
    ("queue stop", 2, "sdxl-train queue start"),
    ("queue start --gpu all", 2, "--gpu 0 or --gpu 0,1"),
    ("file resize cat --rank", 2, "sdxl-train file resize FILE --rank RANK"),
    ("runs list .", 2, "sdxl-train runs list --output ."),
    ("presets export dim32", 2, "sdxl-train presets export PRESET --to toml|kohya-gui|command"),
    ("lora --dry-run=yes", 2, "sdxl-train lora --dry-run"),
    ("lora --name", 2, "sdxl-train lora --name NAME"),
]
VALUES = [
    ("plan --gpu 8", 2, "sdxl-train plan --gpu-memory 8"),
    ("vram --gpu 12", 2, "sdxl-train vram --gpu-memory 12"),
    ("plan --gpu 8GB", 2, "--gpu-memory 8GB"),
    ("presets new mine --gpu 12", 2, "--gpu-memory 12"),
    ("plan --gpu-memory big", 2, "--gpu-memory 8"),
    ("plan", 6, "sdxl-train plan --gpu-memory 8"),
    ("lora --steps 2k", 2, "--steps 4"),
    ("lora --seed -1", 2, "--seed 0"),
    ("lora --resolution 1024x768", 2, "--set resolution=1024,768"),
    ("lora --on-oom stepdown", 2, "--on-oom step-down"),
    ("lora --steps 10 --epochs 2", 2, "give one of them"),
    ("dreambooth --dim 32", 2, "leave out --dim"),
    ("lora --gpu-memory 8", 2, "--dry-run"),
    ("plan --kind dora", 2, "one of: lora, locon, loha, lokr, dreambooth, embedding"),
    ("lora --no-guard loss,disk", 2, "nan"),
]
SETTINGS = [
    ("network-dim=8", "--set network_dim=8"),
    ("netwrk_dim=8", "network_dim"),
    ("lora_rnk=8", "network_dim"),
    ("conv_dim=8", "--set network_args=conv_dim=8"),
    ("rank_dropout=0.1", "--set network_args=rank_dropout=0.1"),
    ("num_workers=4", "--set max_data_loader_n_workers=4"),
    ("checkpointing_steps=100", "--set save_every_n_steps=100"),
    ("model=base", "--model base"),
    ("repeats=10", "--repeats 10"),
    ("output_dir=there", "--output"),
    ("is_v_pred=true", "--prediction v"),
    ("ema=true", "no moving average"),
    ("dim", "network_dim=64"),
]
UNDERSTOOD = [
    ("lr=2e-4", "--learning_rate 0.0002"),
    ("rank=16", "--network_dim 16"),
    ("lora_alpha=4", "--network_alpha 4"),
    ("batch_size=2", "--train_batch_size 2"),
    ("steps=100", "--max_train_steps 100"),
    ("epochs=3", "--max_train_epochs 3"),
    ("resolution=1024x768", "--resolution 1024,768"),
    ("optimizer=AdamW", "--optimizer_type AdamW"),
    ("grad-accum=2", "--gradient_accumulation_steps 2"),
    ("snr_gamma=5", "--min_snr_gamma 5"),
]


@pytest.fixture
def here(main: Main, tmp_path: Path) -> Main:
    """A folder with pictures, a model and nothing else."""
    write_pictures(tmp_path / "data")
    write_safetensors(tmp_path / "base.safetensors")
    return main


def hint(result: Result) -> str:
    """The answer: one error, in our style, with a hint."""
    assert result.stdout == ""
    assert "Usage:" not in result.stderr
    first, *more = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert more[0].startswith("hint:  ")
    return "\n".join(more)


def test_there_are_sixty_and_more() -> None:
    assert len(FLAGS_OF_OTHERS) + len(WORDS_OUT_OF_PLACE) + len(VALUES) + len(SETTINGS) > 60


@pytest.mark.parametrize(("line", "code", "told"), [*FLAGS_OF_OTHERS, *WORDS_OUT_OF_PLACE, *VALUES])
def test_a_line_that_can_not_be_read_is_answered_with_the_next_one(here: Main, line: str, code: int, told: str) -> None:
    result = here(*shlex.split(line))

    assert result.code == code, result.stderr
    assert told in hint(result)


@pytest.mark.parametrize(("setting", "told"), SETTINGS)
def test_a_setting_that_is_not_there_is_answered_with_the_right_one(here: Main, setting: str, told: str) -> None:
    result = here("lora", "--model", "base.safetensors", "--dry-run", "--set", setting)

    assert result.code == 3, result.stderr
    assert told in hint(result)


@pytest.mark.parametrize(("setting", "flag"), UNDERSTOOD)
def test_another_programs_name_is_understood_where_it_means_the_same(here: Main, setting: str, flag: str) -> None:
    result = here("lora", "--model", "base.safetensors", "--dry-run", "--gpu-memory", "48", "--set", setting)

    assert result.code == 0, result.stderr
    assert f" {flag} " in f"{result.stdout.rstrip()} "


def test_a_flag_and_a_setting_for_one_option_are_told_and_the_setting_counts(here: Main) -> None:
    line = ("lora", "--model", "base.safetensors", "--dry-run", "--gpu-memory", "24", "--dim", "8")

    result = here(*line, "--set", "rank=16")

    assert result.code == 0, result.stderr
    assert " --network_dim 16 " in result.stdout
    assert "warning: --dim does not count: --set network_dim=16 is for the same option" in result.stderr


def test_names_of_others_are_understood_in_a_preset_and_in_the_project_file(here: Main, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: dim32-gc\nrank: 8\nlearning_rate: 1.0e-4\n", encoding="utf-8")
    (tmp_path / "sdxl-train.yaml").write_text("set:\n  batch_size: 2\n", encoding="utf-8")

    told = here("lora", "-p", "mine.yaml", "-m", "base.safetensors", "--dry-run", "--gpu-memory", "24").stdout

    assert " --network_dim 8 " in told
    assert told.endswith(" --train_batch_size 2\n")


def test_one_option_under_two_names_in_a_file_is_told(here: Main, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: dim32-gc\nrank: 8\nnetwork_dim: 16\n", encoding="utf-8")

    result = here("presets", "check", "mine.yaml")

    assert (result.code, "mine.yaml:3: network_dim and rank are the same option" in result.stderr) == (3, True)


def test_an_option_outside_of_set_in_the_project_file_is_shown_its_place(here: Main, tmp_path: Path) -> None:
    (tmp_path / "sdxl-train.yaml").write_text("lr: 1.0e-4\ndataset: data\n", encoding="utf-8")

    told = hint(here("lora", "--dry-run"))

    assert "under `set:`, indented: `  learning_rate: 0.0001`" in told
    assert "the key is data" in told


def test_an_argument_of_the_optimizer_is_shown_its_list(
    here: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(tmp_path / "not-set-up"))
    (tmp_path / "mine.yaml").write_text("extends: dim32-gc\nd_coef: 2\n", encoding="utf-8")

    assert "instead: optimizer_args: d_coef=2" in hint(here("presets", "check", "mine.yaml"))
    assert "--set optimizer_args=d_coef=2" in hint(here("lora", "--d_coef", "2"))


def test_what_is_typed_as_a_run_is_offered_by_its_beginning(here: Main, tmp_path: Path) -> None:
    folder = tmp_path / "output" / "portrait"
    folder.mkdir(parents=True)
    (folder / record.RUN).write_text("{}", encoding="utf-8")

    assert "did you mean portrait?" in hint(here("runs", "show", "portrat"))
