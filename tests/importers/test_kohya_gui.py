"""Forms of the kohya_ss GUI: every tab, what older versions called otherwise, and zeros that stay zeros."""

from __future__ import annotations

import json

import pytest
from foreign_files import FOLDER, entry, imported, of_form, of_text, options, require_sound
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import kohya_fields
from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.recipe import Kind


def test_a_lora_form_becomes_a_preset_that_says_what_differs() -> None:
    found = imported("gui_lora.json")

    assert found.kind is Kind.LORA
    given = options(found)
    assert given["network_dim"] == 24
    assert given["max_train_epochs"] == 7
    assert given["lr_scheduler_type"] == "StepLR"
    assert given["lr_scheduler_args"] == ("step_size=50",)
    assert given["text_encoder_lr"] == (0.00005,)
    assert given["noise_offset"] == 0.05
    assert given["shuffle_caption"] is True
    assert "multires_noise_iterations" not in given
    assert "unet_lr" not in given
    assert found.changes["cache_text_encoder_outputs"] is False
    require_sound(found)


def test_every_key_of_a_form_is_told() -> None:
    for name in ("gui_lora.json", "gui_lokr.json", "gui_finetune.json"):
        keys = json.loads((FOLDER / name).read_text(encoding="utf-8")).keys()
        told = {one.key.split()[0] for one in imported(name).entries}
        assert keys <= told, name


def test_what_stands_in_additional_parameters_wins() -> None:
    found = imported("gui_lora.json")

    assert found.changes["max_grad_norm"] == 0
    assert entry(found, "additional_parameters --max_grad_norm").what is KeyFate.TAKEN


def test_a_place_on_its_authors_machine_stays_behind_and_what_goes_with_it() -> None:
    found = imported("gui_lora.json")

    for key in ("lora_network_weights", "dim_from_weights", "output_dir", "pretrained_model_name_or_path"):
        assert entry(found, key).what is KeyFate.IGNORED, key
    assert "first try" not in str(found.changes)


def test_a_key_that_the_gui_has_not_got_is_not_understood() -> None:
    assert entry(imported("gui_lora.json"), "my_own_key").what is KeyFate.UNKNOWN


def test_buckets_that_sdxl_does_not_take_are_raised_to_what_it_takes() -> None:
    assert options(imported("gui_lora.json"))["bucket_reso_steps"] == 32


def test_a_zero_that_the_gui_would_lose_counts() -> None:
    found = of_form(max_grad_norm=0, prior_loss_weight=0)

    assert found.changes["max_grad_norm"] == 0
    assert found.changes["prior_loss_weight"] == 0
    assert "drops this zero" in entry(found, "max_grad_norm").note


def test_a_lokr_form_means_what_lycoris_would_have_made_of_it() -> None:
    found = imported("gui_lokr.json")

    assert found.kind is Kind.LOKR
    arguments = options(found)["network_args"]
    assert isinstance(arguments, tuple)
    assert set(arguments) == {
        "algo=lokr", "preset=attn-mlp", "conv_dim=8", "conv_alpha=2", "factor=12", "rank_dropout=0.1",
        "use_tucker=True",
    }  # fmt: skip
    require_sound(found)


def test_a_finetune_form_trains_the_whole_model() -> None:
    found = imported("gui_finetune.json")

    assert found.kind is Kind.DREAMBOOTH
    given = options(found)
    assert (given["lr_warmup_steps"], given["max_train_epochs"]) == (40, 5)
    assert (given["learning_rate_te1"], given["learning_rate_te2"]) == (0.000003, 0)
    assert given["fused_backward_pass"] is True
    require_sound(found)


@pytest.mark.parametrize(("rates", "trained"), [((0.00001, 0), True), ((0, 0), False)])
def test_in_the_dreambooth_tab_the_rates_decide_about_the_text_encoders(
    rates: tuple[float, float], trained: bool
) -> None:
    form = {"sdxl": True, "optimizer": "AdamW", "learning_rate": 0.00002, "max_train_steps": "50", "epoch": 1,
            "learning_rate_te1": rates[0], "learning_rate_te2": rates[1], "max_resolution": "1024,1024",
            "mixed_precision": "bf16", "max_grad_norm": 0}  # fmt: skip
    found = of_text(json.dumps(form))

    assert found.kind is Kind.DREAMBOOTH
    assert options(found).get("train_text_encoder") == (trained or None)


@pytest.mark.parametrize(
    ("text", "unet", "switch"),
    [(0, 0.001, "network_train_unet_only"), (0.001, 0, "network_train_text_encoder_only")],
)
def test_a_rate_of_zero_leaves_a_part_out(text: float, unet: float, switch: str) -> None:
    assert options(of_form(text_encoder_lr=text, unet_lr=unet))[switch] is True


def test_cached_text_encoders_that_are_trained_too_are_not_cached() -> None:
    found = of_form(sdxl_cache_text_encoder_outputs=True, text_encoder_lr=0.001, unet_lr=0.001)

    assert "cache_text_encoder_outputs" not in options(found)
    assert "can't be trained" in entry(found, "sdxl_cache_text_encoder_outputs").note
    require_sound(found)


@pytest.mark.parametrize(
    ("name", "module", "algo"),
    [(name, network.module, network.algo) for name, network in kohya_fields.NETWORKS.items() if network.algo != "ia3"],
)
def test_every_type_of_network_is_its_module(name: str, module: str, algo: str | None) -> None:
    found = of_form(LoRA_type=name, network_dim=8, network_alpha=4, conv_dim=8, conv_alpha=2, unit=4)

    given = options(found)
    assert given["network_module"] == module
    words = given.get("network_args", ())
    assert isinstance(words, tuple)
    assert (f"algo={algo}" in words) == (algo is not None)
    require_sound(found)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"LoRA_type": "Standard", "sdxl": False, "optimizer": "AdamW"}, "Stable Diffusion 1 or 2"),
        ({"LoRA_type": "Flux1", "flux1_checkbox": True}, "Flux"),
        ({"LoRA_type": "Standard", "sd3_checkbox": True}, "SD3"),
        ({"LoRA_type": "Flux1", "sdxl": True}, "Flux1"),
        ({"num_vectors_per_token": 4, "sdxl": True, "optimizer": "AdamW"}, "textual inversion"),
    ],
)
def test_what_is_not_for_sdxl_is_refused_in_words(form: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        of_text(json.dumps(form))


def test_older_names_are_known() -> None:
    assert options(of_form(use_8bit_adam=True))["optimizer_type"] == "AdamW8bit"
    assert options(of_form(xformers=True))["sdpa"] is True
    assert options(of_form(LoRA_type="LoCon", conv_dim=8))["network_module"] == "lycoris.kohya"


ANY_VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=12),
    st.sampled_from(["", "0", "1e-4", "--seed=1", "a\nb", "C:\\x", "/home/x/y", "True", "no", "1,2", "a=b c=d", "\0"]),
    st.lists(st.integers() | st.text(max_size=4), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
OTHERS = {"LoRA_type", "epoch", "additional_parameters", "lr_warmup", "lr_warmup_steps", "unet_lr", "text_encoder_lr"}
KEYS = sorted({*kohya_fields.FIELDS, *kohya_fields.NO_OPTION, *kohya_fields.NETWORK_KEYS, *OTHERS, "xformers"})


@settings(max_examples=100)
@given(st.dictionaries(st.sampled_from(KEYS), ANY_VALUE, max_size=12), st.sampled_from(["sdxl", "sdxl_checkbox"]))
def test_no_form_makes_more_than_a_refusal_in_words(fields: dict[str, object], box: str) -> None:
    text = json.dumps({"LoRA_type": "Standard", **fields, box: True})
    try:
        found = of_text(text)
    except RecipeError:
        return
    require_sound(found)
    told = {one.key.split(" ")[0] for one in found.entries}
    assert {key.split(" ")[0] for key in fields} <= told
    assert "/home/x" not in str(found.changes)
    assert not any(str(value).startswith("--") for value in found.changes.values())
