"""TOMLs, command lines, OneTrainer's JSON and trained networks as presets, and what of them is refused."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path

import pytest
from foreign_files import (
    FOLDER,
    TABLE,
    entry,
    imported,
    of_form,
    of_text,
    options,
    recipe_of,
    require_sound,
    write_network,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_train_cli.errors import ModelError, RecipeError
from sdxl_train_cli.importers import format_detection, preset_building, values
from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.importers.preset_building import ImportedPreset
from sdxl_train_cli.recipe import Kind, Value

ALL = sorted(path.name for path in FOLDER.iterdir())
RECORD = {
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "12",
    "ss_network_alpha": "6.0",
    "ss_network_args": '{"conv_dim": "4", "conv_alpha": "2", "dropout": null}',
    "ss_network_dropout": "None",
    "ss_learning_rate": "1.0",
    "ss_unet_lr": "None",
    "ss_text_encoder_lr": "[0.0, 0.0]",
    "ss_optimizer": "prodigyopt.prodigy.Prodigy(decouple=True,betas=(0.9, 0.99),d_coef=2)",
    "ss_lr_scheduler": "cosine",
    "ss_max_train_steps": "800",
    "ss_max_grad_norm": "0.0",
    "ss_min_snr_gamma": "None",
    "ss_mixed_precision": "bf16",
    "ss_seed": "9",
    "ss_cache_latents": "True",
    "ss_full_fp16": "False",
    "ss_training_comment": "None",
    "ss_datasets": json.dumps(
        [
            {
                "resolution": [1024, 768],
                "batch_size_per_device": 3,
                "enable_bucket": True,
                "min_bucket_reso": 320,
                "max_bucket_reso": 1536,
                "subsets": [{"shuffle_caption": True, "keep_tokens": 2, "flip_aug": False, "image_dir": "me"}],
            }
        ]
    ),
    "ss_tag_frequency": '{"me": {"cat": 3, "dog": 1}}',
    "ss_sd_scripts_commit_hash": "0123456789abcdef0123456789abcdef01234567",
    "ss_sd_model_name": "/home/somebody/base.safetensors",
    "ss_new_thing": "1",
}


@pytest.mark.parametrize("name", ALL)
def test_each_becomes_a_sound_preset_that_holds_no_place_of_its_author(name: str) -> None:
    found = imported(name)

    require_sound(found)
    assert "somebody" not in str(dict(found.changes))
    assert "C:" not in str(dict(found.changes))


# --- TOML of sd-scripts


def test_a_toml_of_sd_scripts_is_taken_with_its_zero() -> None:
    found = imported("config_lora.toml")

    assert found.kind is Kind.LORA
    given = options(found)
    assert found.changes["max_grad_norm"] == 0
    assert (given["learning_rate"], given["unet_lr"]) == (0.0003, 0.0004)
    assert given["resolution"] == "896,1152"
    assert given["lr_scheduler_num_cycles"] == 3
    assert given["sdpa"] is True
    assert "training_comment" not in given
    assert entry(found, "epoch").what is KeyFate.IGNORED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v2 = true\nnetwork_dim = 4\nlearning_rate = 1e-4", "Stable Diffusion 2"),
        ('clip_l = "x"\nae = "y"\nnetwork_dim = 4\nlearning_rate = 1', "Flux"),
        ('network_module = "networks.lora_flux"\nlearning_rate = 1e-4', "Flux"),
        ('[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir = "x"\n', "dataset configuration"),
        ("a = 1\n", "not a known settings file"),
        ("a = [1\n", "not TOML"),
        ("seed = 1\nseed = 2\nlearning_rate = 1", "not TOML"),
        ("learning_rate = " + "[" * 5000 + "]" * 5000, "nested|not TOML"),
        ("{" * 5000, "not JSON|nested"),
        ('{"sdxl": true, "sdxl": false, "LoRA_type": "Standard"}', "set twice"),
        ('{"hello": 1}', "neither kohya_ss nor OneTrainer"),
        ("[1, 2]", "not a known settings file|not TOML"),
        ("python train_network.py --network_dim 4", "train_network.py, which does not train SDXL"),
        ("accelerate launch flux_train_network.py --network_dim 4", "does not train SDXL"),
        ("", "not a known settings file"),
    ],
)  # fmt: skip
def test_what_holds_no_settings_for_sdxl_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        of_text(text)


def test_a_misspelt_option_is_not_understood_and_not_lost() -> None:
    found = of_text(
        'network_module = "networks.lora"\nlearning_rat = 1\nmixed_precision = "bf-16"\nlearning_rate = "1e-4"'
    )

    assert entry(found, "learning_rat").what is KeyFate.UNKNOWN
    assert "bf-16" in entry(found, "mixed_precision").note
    assert options(found)["learning_rate"] == 1e-4
    require_sound(found)


def test_options_of_the_pictures_stay_ours_where_a_dataset_config_has_them() -> None:
    found = of_text('network_module = "networks.lora"\nlearning_rate = 0.001\ndataset_config = "some.toml"')

    assert "min_bucket_reso" not in found.changes
    assert entry(found, "dataset_config").what is KeyFate.IGNORED


# --- LoRA Easy Training Scripts


def test_an_easy_toml_is_taken_with_its_subsets_and_its_missing_optimizer_is_named() -> None:
    found = imported("easy.toml")

    given = options(found)
    assert found.kind is Kind.LOCON
    assert given["network_args"] == ("algo=locon", "conv_dim=8", "conv_alpha=4.0")
    assert (given["train_batch_size"], given["resolution"]) == (2, "1024,1024")
    assert given["lr_warmup_steps"] == 0.1
    assert given["shuffle_caption"] is True
    assert given["debiased_estimation_loss"] is True
    assert found.changes["max_grad_norm"] == 0
    assert "LoraEasyCustomOptimizer" in entry(found, "optimizer_args.optimizer_type").note


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[train_mode]\ntrain_mode = "textual_inversion"\n[general_args.args]\nsdxl = true', "textual inversion"),
        ('[train_mode]\ntrain_mode = "lora"\n[general_args.args]\nsdxl = false', "Stable Diffusion 1 or 2"),
        ('[train_mode]\ntrain_mode = "lora"\n[flux_args.args]\nae = "x"\n[general_args.args]\nsdxl = true', "Flux"),
    ],
)
def test_an_easy_toml_that_is_not_for_sdxl_is_refused(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        of_text(text)


def test_subsets_that_differ_leave_the_option_out() -> None:
    text = (FOLDER / "easy.toml").read_text(encoding="utf-8")
    found = of_text(text + '\n[[subsets]]\nshuffle_caption = false\nkeep_tokens = 1\nname = "second"\n')

    assert entry(found, "subsets.shuffle_caption").what is KeyFate.IGNORED
    assert options(found)["keep_tokens"] == 1


def test_a_zero_that_its_own_program_loses_counts_here_and_that_is_said() -> None:
    """The backend leaves out whatever is empty, and zero is."""
    found = of_text(
        "[general_args.args]\nsdxl = true\n[optimizer_args.args]\nlearning_rate = 1e-4\nmax_grad_norm = 0.0\n"
        "prior_loss_weight = 0.0\nmin_snr_gamma = 0\n"
    )

    assert (options(found)["max_grad_norm"], options(found)["prior_loss_weight"]) == (0, 0)
    assert "drops this zero" in entry(found, "optimizer_args.max_grad_norm").note
    assert not entry(found, "optimizer_args.min_snr_gamma").note


def test_a_secret_is_not_shown() -> None:
    found = of_text('[general_args.args]\nsdxl = true\n[logging_args.args]\nwandb_api_key = "a1b2c3"\n')
    flag = of_text("python sdxl_train_network.py --network_module=networks.lora --huggingface_token a1b2c3")

    assert "a1b2c3" not in str((found, flag))
    assert "WANDB_API_KEY" in entry(found, "logging_args.wandb_api_key").note


@pytest.mark.parametrize(
    ("words", "kind"),
    [("algo=locon preset=attn-mlp conv_dim=8", Kind.LORA), ("algo=lora preset=full-lin", Kind.LOCON),
     ("algo=locon", Kind.LOCON), ("algo=loha preset=attn-mlp", Kind.LOHA)],
)  # fmt: skip
def test_a_network_of_lycoris_is_of_the_kind_whose_layers_it_trains(words: str, kind: Kind) -> None:
    """Once, a locon of LyCORIS' attn-mlp was refused: it is a LoRA by the layers that it has."""
    found = of_text(
        f"python sdxl_train_network.py --network_module lycoris.kohya --network_dim 8 --network_args {words}"
    )

    assert found.kind is kind
    require_sound(found)


# --- OneTrainer


def test_a_onetrainer_lora_is_taken_as_far_as_sd_scripts_has_its_settings() -> None:
    found = imported("onetrainer.json")

    given = options(found)
    assert found.kind is Kind.LOCON  # without a choice of layers OneTrainer trains the convolutions too
    assert (given["network_dim"], given["network_alpha"]) == (12, 6.0)
    assert given["network_args"] == ("conv_dim=12", "conv_alpha=6.0")
    assert (given["learning_rate"], given["unet_lr"]) == (0.0001, 0.0002)
    assert (given["min_snr_gamma"], given["max_train_epochs"]) == (7.0, 12)
    assert given["optimizer_args"] == ("weight_decay=0.03", "betas=0.9,0.98")
    assert found.changes["max_grad_norm"] == 0
    assert entry(found, "ema").what is KeyFate.IGNORED


def onetrainer(**changes: object) -> ImportedPreset:
    form = json.loads((FOLDER / "onetrainer.json").read_text(encoding="utf-8"))
    return of_text(json.dumps({**form, **changes}))


@pytest.mark.parametrize(
    ("changes", "kind", "module", "arguments"),
    [
        ({"layer_filter_preset": "attn-mlp"}, Kind.LORA, "networks.lora", None),
        ({"layer_filter": "attentions"}, Kind.LORA, "networks.lora", None),
        ({"lora_layer_preset": "full"}, Kind.LOCON, "networks.lora", ("conv_dim=12", "conv_alpha=6.0")),
        ({"layer_filter_preset": "attn-only"}, Kind.LORA, "lycoris.kohya", ("algo=lora", "preset=attn-only")),
        ({"layer_filter": "attn2,ff"}, Kind.LORA, "networks.lora", None),
        ({"peft_type": "LOHA"}, Kind.LOHA, "lycoris.kohya", ("algo=loha",)),
        (
            {"peft_type": "LOHA", "layer_filter_preset": "attn-mlp"},
            Kind.LOHA, "lycoris.kohya", ("algo=loha", "preset=attn-mlp"),
        ),
        (
            {"lora_decompose": True, "layer_filter_preset": "attn-mlp"},
            Kind.LORA, "lycoris.kohya", ("algo=lora", "dora_wd=True", "preset=attn-mlp"),
        ),
    ],
)  # fmt: skip
def test_the_layers_that_onetrainer_trains_are_those_that_are_trained_here(
    changes: dict[str, object], kind: Kind, module: str, arguments: tuple[str, ...] | None
) -> None:
    found = onetrainer(**changes)
    given = recipe_of(found)

    assert found.kind is kind
    assert (given.get("network_module"), given.get("network_args")) == (module, arguments)
    assert any(one.key in {"layer_filter_preset", "layer_filter", *changes, "(layer_filter_preset)"} and one.note
               for one in found.entries)  # fmt: skip


def test_what_onetrainer_multiplies_rates_by_is_multiplied_here() -> None:
    """By the root of the batch, or of how often gradients are collected (modules/util/NamedParameterGroup.py)."""
    given = options(onetrainer(batch_size=4, learning_rate_scaler="BATCH"))
    plain = options(onetrainer(batch_size=4, learning_rate_scaler="NONE"))

    assert (given["learning_rate"], given["unet_lr"]) == (0.0002, 0.0004)
    assert (plain["learning_rate"], plain["unet_lr"]) == (0.0001, 0.0002)


@pytest.mark.parametrize(
    ("changes", "option", "value"),
    [
        ({"unet": {"weight_dtype": "FLOAT_8"}, "text_encoder": {"weight_dtype": "FLOAT_8"}}, "fp8_base", True),
        ({"unet": {"gradient_checkpointing": False}}, "gradient_checkpointing", None),
        ({"gradient_checkpointing": "OFF"}, "gradient_checkpointing", None),
        ({"gradient_checkpointing": "CPU_OFFLOADED"}, "gradient_checkpointing", True),
        ({"min_snr_gamma": 5.0}, "min_snr_gamma", 5.0),
        ({"training_method": "FINE_TUNE", "unet": {"weight_dtype": "BFLOAT_16"}}, "full_bf16", True),
        ({"training_method": "FINE_TUNE", "unet": {"weight_dtype": "FLOAT_32"}}, "full_bf16", None),
        ({"training_method": "FINE_TUNE", "weight_dtype": "BFLOAT_16", "unet": {}}, "full_bf16", True),
    ],
)
def test_precisions_and_switches_of_onetrainer_are_those_of_sd_scripts(
    changes: dict[str, object], option: str, value: Value | None
) -> None:
    assert (recipe_of(onetrainer(**changes)).get(option) or None) == value


def test_a_key_of_onetrainer_is_taken_renamed_or_computed_as_it_was() -> None:
    found = onetrainer(train_dtype="BFLOAT_16")

    assert entry(found, "learning_rate").what is KeyFate.TAKEN
    assert entry(found, "batch_size").what is KeyFate.RENAMED
    assert entry(found, "train_dtype").what is KeyFate.COMPUTED
    assert entry(found, "(layer_filter_preset)").what is KeyFate.COMPUTED
    assert not any(one.key == "loss_weight_fn" for one in of_text(json.dumps(
        {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "training_method": "LORA"})).entries)  # fmt: skip


def test_every_key_of_a_onetrainer_file_is_told() -> None:
    keys = json.loads((FOLDER / "onetrainer.json").read_text(encoding="utf-8")).keys()

    assert keys <= {one.key.partition(".")[0] for one in imported("onetrainer.json").entries}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "FLUX_DEV_1"}, "FLUX"),
        ({"model_type": "STABLE_DIFFUSION_15"}, "STABLE_DIFFUSION_15"),
        ({"training_method": "EMBEDDING"}, "EMBEDDING"),
        ({"peft_type": "OFT_2"}, "OFT_2"),
    ],
)
def test_a_onetrainer_file_that_is_not_for_sdxl_is_refused(change: dict[str, str], words: str) -> None:
    form = json.loads((FOLDER / "onetrainer.json").read_text(encoding="utf-8"))
    with pytest.raises(RecipeError, match=words):
        of_text(json.dumps({**form, **change}))


def test_a_onetrainer_file_for_an_inpainting_model_draws_masks_and_caches_no_latents() -> None:
    form = json.loads((FOLDER / "onetrainer.json").read_text(encoding="utf-8"))

    found = of_text(json.dumps({**form, "model_type": "STABLE_DIFFUSION_XL_10_BASE_INPAINTING"}))

    (said,) = (one for one in found.entries if one.key == "model_type")
    assert "train_inpainting" in (said.option or said.note)  # v0.10.1 has no such option
    assert found.changes["cache_latents"] is False


# --- command lines


def test_a_shell_line_is_taken_with_its_variables_and_stops_at_its_end() -> None:
    found = imported("train.sh")

    given = options(found)
    assert found.kind is Kind.LOCON
    assert given["learning_rate"] == 1e-4
    assert given["optimizer_args"] == ("weight_decay=0.1", "betas=(0.9,0.99)")
    assert entry(found, "--seed").what is KeyFate.UNKNOWN
    assert entry(found, "--foo").what is KeyFate.UNKNOWN
    assert not any("done" in one.shown for one in found.entries)


@pytest.mark.parametrize(
    "text",
    [
        'accelerate launch ^\r\n "D:\\a b\\sdxl_train.py" ^\r\n --vae "D:\\" --learning_rate 3e-5 ^\r\n --sdpa',
        "$rate = 3e-5 # low\naccelerate launch .\\sdxl_train.py `\n  --learning_rate $rate `\n --sdpa",
        "set RATE=3e-5\npython sdxl_train.py --learning_rate %RATE% --sdpa",
        "RATE=3e-5\npython sdxl_train.py --learning_rate=${RATE} \\\n  --sdpa; rm -rf /tmp/x",
        "python sdxl_train.py\n--learning_rate 3e-5\n--sdpa",
    ],
)  # fmt: skip
def test_lines_of_every_shell_are_read(text: str) -> None:
    found = of_text(text)

    assert found.kind is Kind.DREAMBOOTH
    assert found.changes["learning_rate"] == 3e-5
    assert entry(found, "--sdpa").what is KeyFate.TAKEN
    assert not any("rm" in one.shown.split() for one in found.entries)


def test_only_the_first_of_two_calls_is_taken_and_the_other_is_told() -> None:
    found = of_text("python sdxl_train.py --learning_rate 1e-5\npython sdxl_train.py --learning_rate 1e-4")

    assert entry(found, "call 2").what is KeyFate.IGNORED


def test_a_quote_that_is_not_closed_is_refused() -> None:
    with pytest.raises(RecipeError, match="not closed"):
        of_text('python sdxl_train.py --learning_rate "1e-5')


# --- trained networks


def test_a_network_tells_what_made_it(tmp_path: Path) -> None:
    tensors = ("lora_unet_a.lora_down.weight", "lora_te1_a.lora_down.weight")
    path = write_network(tmp_path / "моя.safetensors", RECORD, tensors)

    found = preset_building.build(format_detection.read(path, path.name), TABLE, path.name)

    given = options(found)
    assert found.kind is Kind.LOCON
    assert (given["network_dim"], given["network_alpha"]) == (12, 6.0)
    assert given["network_args"] == ("conv_dim=4", "conv_alpha=2")
    assert given["optimizer_type"] == "Prodigy"
    assert given["optimizer_args"] == ("decouple=True", "betas=(0.9,0.99)", "d_coef=2")
    assert given["text_encoder_lr"] == (0,)
    assert (given["resolution"], given["train_batch_size"], given["min_bucket_reso"]) == ("1024,768", 3, 320)
    assert (given["shuffle_caption"], given["keep_tokens"]) == (True, 2)
    assert "cache_text_encoder_outputs" not in given
    assert "min_snr_gamma" not in given
    assert found.changes["max_grad_norm"] == 0
    assert entry(found, "ss_new_thing").what is KeyFate.UNKNOWN
    assert found.facts == (
        f"trained by sd-scripts {RECORD['ss_sd_scripts_commit_hash']}",
        "its captions had 2 different tags",
    )
    assert "somebody" not in str(found.changes)
    require_sound(found)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({}, "no record of its training"),
        ({"ss_base_model_version": "sd_v1"}, "sd_v1"),
        ({"ss_v2": "True"}, "Stable Diffusion 2"),
        ({"ss_base_model_version": "flux1"}, "flux1"),
        ({"ss_epoch": "1"}, "does not say"),
    ],
)
def test_a_network_that_is_not_for_sdxl_or_tells_nothing_is_refused(
    tmp_path: Path, record: dict[str, str], words: str
) -> None:
    path = write_network(tmp_path / "a.safetensors", record)
    with pytest.raises(RecipeError, match=words):
        format_detection.read(path, path.name)


@pytest.mark.parametrize("content", [b"PK\x03\x04rest", b"\x80\x02}q\x00."])
def test_no_pickle_is_opened_whatever_it_is_called(tmp_path: Path, content: bytes) -> None:
    for name in ("a.ckpt", "a.json", "a.safetensors", "a.pt"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RecipeError, match="pickle"):
            format_detection.read(tmp_path / name, name)


@pytest.mark.parametrize("content", [b"", b"\x00" * 40, b"\xff" * 40, b"caf\xe9 = 1", b"a" * (1024 * 1024 + 1)])
def test_what_is_no_text_or_too_much_of_it_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RecipeError):
        format_detection.read(tmp_path / "a.json", "a.json")


def test_a_folder_or_nothing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.json", Path("a\0b")):
        with pytest.raises(RecipeError, match="cannot be read"):
            format_detection.read(path, "x")


# --- nothing is smuggled in


@pytest.mark.parametrize("text", ["--output_dir=/etc", "one\ntwo", "one\0two", "\x1b[2J", "-- --seed 1"])
def test_a_value_that_could_be_more_than_a_value_is_not_taken(text: str) -> None:
    form = {
        "LoRA_type": "Standard",
        "sdxl": True,
        "max_train_steps": 9,
        "training_comment": text,
        "max_resolution": "1024",
    }
    found = of_text(json.dumps(form))

    assert entry(found, "training_comment").what is KeyFate.UNKNOWN
    assert "training_comment" not in found.changes
    assert entry(found, "training_comment").shown.isprintable()


@pytest.mark.parametrize("text", ["a=1 --output_dir /etc", "--seed"])
def test_a_list_that_could_hold_an_option_is_not_taken(text: str) -> None:
    form = {
        "LoRA_type": "Standard",
        "sdxl": True,
        "max_train_steps": 9,
        "optimizer_args": text,
        "max_resolution": "1024",
    }

    assert "--output_dir" not in str(of_text(json.dumps(form)).changes)
    assert entry(of_text(json.dumps(form)), "optimizer_args").what is KeyFate.UNKNOWN


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            {"ss_optimizer": "subprocess.Popen(shell=True)"},
            "optimizer_type as 'subprocess.Popen', which is another kind of code",
        ),
        ({"ss_optimizer": "builtins.exec"}, "another kind of code, not an optimizer"),
        ({"ss_optimizer": "pip._internal.utils.subprocess.call_subprocess"}, "another kind of code, not an optimizer"),
        ({"ss_optimizer": "torch.utils.cpp_extension.load"}, "another kind of code, not an optimizer"),
        ({"ss_network_module": "os"}, "another kind of code, not a network"),
        ({"ss_network_module": "setuptools.command.easy_install"}, "another kind of code, not a network"),
        ({"ss_network_module": "networks.lora --output_dir /"}, "is not the name of a network"),
    ],
)
def test_a_file_that_names_other_code_than_a_trainers_is_refused(
    tmp_path: Path, record: dict[str, str], words: str
) -> None:
    """sd-scripts imports and calls what these options name: a stranger's file reached Python's own library."""
    path = write_network(tmp_path / "a.safetensors", {**RECORD, **record})

    with pytest.raises(RecipeError, match=words):
        preset_building.build(format_detection.read(path, "some"), TABLE, "some")


@pytest.mark.parametrize(
    ("arguments", "base"),
    [
        ({"algo": "loha", "preset": "attn-mlp"}, "dim16-gc"),
        ({"algo": "loha", "preset": "attn-mlp", "conv_dim": "8", "conv_alpha": "1"}, "dim16-conv8-gc"),
    ],
)
def test_of_two_bases_that_leave_as_much_to_say_the_one_with_the_same_network_counts(
    tmp_path: Path, arguments: dict[str, str], base: str
) -> None:
    """A LoHa that LyCORIS had trained from dim16-gc extended dim16-conv8-gc."""
    network = {"ss_network_module": "lycoris.kohya", "ss_network_args": json.dumps(arguments)}
    rest = {"ss_network_dim": "16", "ss_network_alpha": "1.0", "ss_gradient_checkpointing": "True"}
    path = write_network(tmp_path / "a.safetensors", {**RECORD, **network, **rest})

    assert preset_building.build(format_detection.read(path, "some"), TABLE, "some").base == base


@pytest.mark.parametrize("name", ["schedulefree.AdamWScheduleFree", "pytorch_optimizer.CAME", "AdamW8bit"])
def test_an_optimizer_of_another_package_is_taken_by_its_name(name: str) -> None:
    assert options(of_form(optimizer=name))["optimizer_type"] == name


def test_a_schedule_of_pythons_own_code_is_refused_too() -> None:
    with pytest.raises(RecipeError, match="not a schedule"):
        of_form(lr_scheduler_type="os.system")


# --- no content of a file makes more than a refusal in words


def attempt(path: Path) -> None:
    with suppress(RecipeError, ModelError):
        require_sound(preset_building.build(format_detection.read(path, "some"), TABLE, "some"))


PIECES = [b"", b"\0", b"\n", b'"', b"\\", b"--", b"[", b"{", b"=", b"\xff", b"9" * 400, b"1e999", b"nan", b"true", b"-",
          b"'", b"$x", b"/a/b/c"]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=40)
@given(data=st.data())
def test_no_change_of_bytes_makes_more_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    content = bytearray((FOLDER / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.sampled_from(PIECES))
        content[place : place + data.draw(st.integers(0, 8))] = piece
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(bytes(content))
    attempt(path)


ANY_TEXT = st.text(max_size=20) | st.sampled_from(
    [
        "None",
        "True",
        "[",
        "{",
        "[]",
        "{}",
        '{"a": {"b": 1}}',
        "[1, 2]",
        "1e999",
        "nan",
        "-1",
        "(1, 2)",
        "a(b",
        "x(y=1,)",
    ]
)


@settings(max_examples=150)
@given(record=st.dictionaries(st.sampled_from(sorted(RECORD)), ANY_TEXT, max_size=8))
def test_no_record_of_a_network_makes_more_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, str]
) -> None:
    attempt(write_network(tmp_path_factory.mktemp("fuzz") / "a.safetensors", {**RECORD, **record}))


@settings(max_examples=60)
@given(words=st.lists(st.text(alphabet="-=$%'\"\\ ;&|\nab1.,`^", max_size=12), max_size=8))
def test_no_command_line_makes_more_than_a_refusal(words: list[str]) -> None:
    with suppress(RecipeError):
        require_sound(of_text("python sdxl_train.py --learning_rate 1e-5 " + " ".join(words)))


@pytest.mark.parametrize("raw", [10**400, -(10**400), 1e308 * 10, math.nan, "9" * 5000, "1e999", 10**18])
def test_a_number_that_no_training_takes_is_none(raw: object) -> None:
    """A whole number that no float holds made a traceback."""
    assert values.number(raw) is None
