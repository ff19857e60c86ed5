"""Presets for other programs: what is written comes back as the same preset."""

from __future__ import annotations

import json
import shlex

import pytest
from foreign_files import FOLDER, TABLE, differing, imported, of_text, options, recipe_of, said
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.commands.presets.import_export import TargetForm
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import exporting
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules

SHIPPED = [(kind, name) for kind in Kind if kind is not Kind.EMBEDDING for name in presets.names(kind)]
IMPORTED = sorted(path.name for path in FOLDER.iterdir())


def written(recipe: Recipe, target: TargetForm) -> str:
    if target is TargetForm.KOHYA_GUI:
        form = exporting.kohya_gui(recipe)
        assert form.lost == ()
        return untrusted_files.json_text(form.fields)
    return exporting.toml(recipe) if target is TargetForm.TOML else shlex.join(exporting.command(recipe))


@pytest.mark.parametrize("target", TargetForm)
@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_every_shipped_preset_comes_back_from_every_program(kind: Kind, name: str, target: TargetForm) -> None:
    recipe = rules.require(presets.load(kind, name), TABLE)

    found = of_text(written(recipe, target))

    assert found.kind is kind
    assert differing(options(found), said(recipe)) == {}


@pytest.mark.parametrize("target", [TargetForm.TOML, TargetForm.COMMAND])
def test_what_trains_an_embedding_does_not_come_back_as_another_kind(target: TargetForm) -> None:
    recipe = rules.require(presets.load(Kind.EMBEDDING, "word"), TABLE)

    with pytest.raises(RecipeError, match="trains a textual inversion"):
        of_text(written(recipe, target))


def test_options_of_an_embedding_alone_are_told_from_a_loras() -> None:
    with pytest.raises(RecipeError, match="trains a textual inversion"):
        of_text("--token_string=ohwx --learning_rate=5e-4 --train_batch_size=1")


@pytest.mark.parametrize("target", TargetForm)
@pytest.mark.parametrize("name", IMPORTED)
def test_import_export_import_is_stable(name: str, target: TargetForm) -> None:
    first = imported(name)

    second = of_text(written(rules.require(recipe_of(first), TABLE), target))
    third = of_text(written(rules.require(recipe_of(second), TABLE), target))

    assert differing(options(first), options(second)) == {}
    assert (second.kind, second.base, second.changes) == (third.kind, third.base, third.changes)


def test_a_form_carries_a_zero_that_a_field_would_lose_as_a_flag() -> None:
    recipe = presets.load(Kind.LORA, "dim32").replaced({"max_grad_norm": Setting(value=0, origin="--set")})

    form = exporting.kohya_gui(recipe)

    assert "--max_grad_norm=0" in str(form.fields["additional_parameters"]).split()


def test_what_a_form_cannot_hold_is_named() -> None:
    words = Setting(value=("a='b c'",), origin="--set")
    recipe = presets.load(Kind.LORA, "dim32").replaced({"lr_scheduler_args": words})

    assert exporting.kohya_gui(recipe).lost == ("lr_scheduler_args",)


def test_a_form_is_one_that_the_gui_opens() -> None:
    form = json.loads(untrusted_files.json_text(exporting.kohya_gui(presets.load(Kind.LOCON, "dim64-conv32")).fields))

    assert form["LoRA_type"] == "Kohya LoCon"
    assert (form["conv_dim"], form["conv_alpha"]) == ("32", "16")
    assert (form["sdxl"], form["xformers"]) == (True, "sdpa")


RATE = st.floats(1e-8, 1, allow_nan=False).map(lambda number: float(f"{number:.3g}"))
OPTIONS: dict[str, st.SearchStrategy[Value]] = {
    "network_dim": st.integers(1, 512),
    "network_alpha": st.floats(0, 512).map(lambda number: round(number, 3)),
    "learning_rate": RATE,
    "unet_lr": RATE,
    "max_grad_norm": st.sampled_from([0, 0.5, 1.0, 3]),
    "min_snr_gamma": st.sampled_from([0, 1, 5, 7.5]),
    "noise_offset": st.sampled_from([0, 0.0357, 0.1]),
    "multires_noise_iterations": st.integers(1, 10),
    "prior_loss_weight": st.sampled_from([0, 0.5, 1]),
    "lr_warmup_steps": st.sampled_from([0, 0.05, 0.125, 0.333, 1, 250]),
    "lr_scheduler": st.sampled_from(["cosine", "linear", "cosine_with_restarts"]),
    "lr_scheduler_num_cycles": st.integers(1, 5),
    "max_train_epochs": st.integers(1, 500),
    "max_train_steps": st.integers(1, 90000),
    "seed": st.integers(1, 2**32 - 1),
    "train_batch_size": st.integers(1, 64),
    "training_comment": st.sampled_from(["short", 'a "quoted" one', "one, two; three", "яблоко", "1e5", "true"]),
    "optimizer_args": st.sampled_from([("weight_decay=0.1",), ("weight_decay=0.1", "betas=(0.9,0.99)")]),
    "scale_weight_norms": st.sampled_from([0, 1, 2.5]),
    "save_every_n_epochs": st.integers(1, 9),
    "ip_noise_gamma": st.sampled_from([0.05, 0.1]),
    "network_dropout": st.sampled_from([0, 0.1]),
    "vae_batch_size": st.integers(1, 8),
    "zero_terminal_snr": st.booleans(),
    "gradient_checkpointing": st.booleans(),
    "debiased_estimation_loss": st.booleans(),
    "xformers": st.just(False),
    "save_n_epoch_ratio": st.integers(1, 4),
}


@settings(max_examples=120, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(changes=st.fixed_dictionaries({}, optional=OPTIONS), target=st.sampled_from(TargetForm))
def test_any_settings_come_back_from_any_program(changes: dict[str, Value], target: TargetForm) -> None:
    changed = {option: Setting(value=value, origin="--set") for option, value in changes.items()}
    try:
        recipe = rules.require(presets.load(Kind.LORA, "dim32").replaced(changed), TABLE)
    except RecipeError:
        return
    if changes.get("max_train_epochs"):
        recipe = recipe.replaced({"max_train_steps": None})  # beside epochs it counts for nothing

    found = of_text(written(recipe, target))

    expected = said(recipe)
    if "unet_lr" in expected and expected["unet_lr"] == expected["learning_rate"]:
        del expected["unet_lr"]
    if target is TargetForm.KOHYA_GUI and "multires_noise_iterations" not in expected:
        expected.pop("multires_noise_discount", None)
    assert differing(options(found), expected) == {}
