"""Rules: each speaks where it should, and is silent once the recipe is mended."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import silent_cases
from rule_cases import FULL, LORA, NAMES, REFUSED, SEVERAL, SHAPES, WARNED, Changes

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules, value_rules
from sdxl_train_cli.rules.rule import RuleHint
from sdxl_train_cli.sdscripts import options, shipped

TABLE = shipped.table("v0.11.1")  # has all options of v0.10.1 too
ALL_OPTIONS = {option for kind in Kind for option in TABLE.of(kind)}


def changed(kind: Kind, *changes: Changes) -> Recipe:
    recipe = presets.load(kind, NAMES[kind])
    for change in changes:
        recipe = recipe.replaced(
            {
                name: None if value is None else Setting(value=value, origin=f"--set {name}")
                for name, value in change.items()
            }
        )
    return recipe


def words(found: Iterable[Problem]) -> list[str]:
    return [problem.message for problem in found]


def warned(recipe: Recipe) -> list[str]:
    return words(rules.warnings(rules.require(recipe, TABLE)))


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), REFUSED + SHAPES)
def test_a_recipe_is_refused_until_it_is_mended(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    with pytest.raises(RecipeError) as caught:
        rules.require(changed(kind, change), TABLE)
    assert sentence in str(caught.value)

    after = words(rules.all_problems(changed(kind, change, mend), TABLE))
    assert not [message for message in after if sentence in message]


WARNED += silent_cases.WARNED
WARNED += [
    (
        kind,
        {"optimizer_type": "pytorch_optimizer.AdamG", "optimizer_args": None, "learning_rate": "1"},
        "destroys the model with most optimizers",
        {"learning_rate": rate},
    )
    for kind, rate in ((LORA, "1e-4"), (FULL, "1e-5"))
]


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), WARNED)
def test_a_recipe_is_warned_of_until_it_is_mended(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    assert [message for message in warned(changed(kind, change)) if sentence in message]
    assert not [message for message in warned(changed(kind, change, mend)) if sentence in message]


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), SEVERAL)
def test_what_several_gpus_can_not_do_is_refused_there_alone(
    kind: Kind, change: Changes, sentence: str, mend: Changes
) -> None:
    def said(*changes: Changes, processes: int = 2) -> list[str]:
        recipe = changed(kind, *changes).model_copy(update={"processes": processes})
        return [message for message in words(rules.all_problems(recipe, TABLE)) if sentence in message]

    assert said(change)
    assert not said(change, mend)
    assert not said(change, processes=1)


def test_every_rule_has_a_case() -> None:
    recipes = [changed(kind, change) for kind, change, _, _ in REFUSED]
    recipes += [changed(kind, change).model_copy(update={"processes": 2}) for kind, change, _, _ in SEVERAL]
    problems = {message for recipe in recipes for message in words(rules.all_problems(recipe, TABLE))}
    warnings = {message for kind, change, _, _ in WARNED for message in warned(changed(kind, change))}

    assert {rule.words for rule in rules.CONFLICTS} <= problems
    assert {rule.words for rule in rules.TRAPS} <= warnings


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), silent_cases.REFUSED + silent_cases.WARNED)
def test_a_hint_of_flags_mends_what_trains_nothing(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    def said(recipe: Recipe) -> list[Problem]:
        typed = options.convert(recipe, TABLE)
        return [one for one in (*rules.all_problems(recipe, TABLE), *rules.warnings(typed)) if sentence in one.message]

    (problem,) = said(changed(kind, change))
    typed = [word.partition("=")[::2] for word in re.findall(r"--set (\S+?)(?=[,;:]?(?:\s|$))", problem.hint or "")]
    typed = typed if ", or --set" not in (problem.hint or "") else typed[:1]

    assert mend
    assert not typed or not said(
        changed(kind, change, {name: None if value == "null" else value for name, value in typed})
    )


def test_every_option_in_a_rule_is_one_of_sd_scripts() -> None:
    looked_at = {option for rule in (*rules.CONFLICTS, *rules.TRAPS) for option in rule.options}

    assert looked_at | value_rules.OWNED.keys() | value_rules.RANGES.keys() <= ALL_OPTIONS


@pytest.mark.parametrize("option", sorted(value_rules.OWNED))
def test_what_sdxl_train_sets_itself_is_refused_with_the_way_to_say_it(option: str) -> None:
    recipe = changed(FULL, {option: {"dataset_repeats": "3", "console_log_level": "INFO"}.get(option, "true")})

    found = [problem for problem in rules.all_problems(recipe, TABLE) if problem.message.startswith(option)]

    assert [problem.message for problem in found] == [f"{option} is set by sdxl-train itself"]
    assert found[0].hint == value_rules.OWNED[option]
    assert str(found[0].where) == f"--set {option}"


def test_a_switch_of_ours_that_is_off_is_let_pass() -> None:
    assert words(rules.all_problems(changed(LORA, {"v2": "false"}), TABLE)) == []


@pytest.mark.parametrize("option", sorted(value_rules.RANGES))
def test_a_number_below_its_range_is_refused(option: str) -> None:
    kind = next(kind for kind in Kind if option in TABLE.of(kind))

    messages = words(rules.all_problems(changed(kind, {option: "-1"}), TABLE))

    assert any(message.startswith(f"{option} has to be ") for message in messages)


def test_a_problem_points_at_the_line_that_caused_it() -> None:
    problem = next(rules.all_problems(changed(LORA, {"shuffle_caption": "true"}), TABLE))

    assert str(problem.where) == "--set shuffle_caption"
    assert [way.flags for way in problem.ways] == [
        "--set shuffle_caption=null",
        "--set cache_text_encoder_outputs=null --set cache_text_encoder_outputs_to_disk=null",
    ]


def test_everything_that_is_wrong_is_raised_at_once() -> None:
    change: Changes = {"netwrk_dim": "8", "seed": "many", "shuffle_caption": "true", "vae": "a.safetensors"}

    with pytest.raises(RecipeError) as caught:
        rules.require(changed(LORA, change), TABLE)

    assert [str(problem.where) for problem in caught.value.problems] == [
        "--set seed",
        "--set netwrk_dim",
        "--set vae",
        "--set shuffle_caption",
    ]


def test_an_option_of_the_wrong_type_is_told_once_and_not_judged_further() -> None:
    messages = words(rules.all_problems(changed(LORA, {"network_train_unet_only": "perhaps"}), TABLE))

    assert messages == ["network_train_unet_only: is a switch, true or false, not 'perhaps'"]


def test_what_require_gives_back_is_typed() -> None:
    recipe = rules.require(changed(LORA, {"network_dim": "8", "network_alpha": "4"}), TABLE)

    assert (recipe.get("network_dim"), recipe.get("network_alpha")) == (8, 4.0)


def test_max_token_length_is_judged_even_before_anything_is_set_up() -> None:
    recipe = changed(LORA).replaced({"max_token_length": Setting(value=77, origin="a.yaml:1")})

    assert words(rules.problems(recipe)) == ["max_token_length must be 150 or 225 (75 if not set), not 77"]


def test_lists_from_a_file_are_judged_like_text() -> None:
    settings = {
        "resolution": Setting(value=(1024, 1024), origin="a.yaml:1"),
        "block_lr": Setting(value=(1e-5,) * 23, origin="a.yaml:2"),
        "face_crop_aug_range": Setting(value=(2.0, 4.0), origin="a.yaml:3"),
        "optimizer_args": Setting(value=("relative_step=False", "eps=(1e-30, 1e-3)"), origin="a.yaml:4"),
    }

    assert words(rules.problems(changed(FULL).replaced(settings))) == []
    assert words(rules.all_problems(changed(FULL).replaced(settings), TABLE)) == []


def test_what_can_be_typed_is_no_prose() -> None:
    """Only ways out are tried before they are told."""
    hints = {rule.words: rule.hint for rule in (*rules.CONFLICTS, *rules.TRAPS)}
    prose = {
        words: hint.advice if isinstance(hint, RuleHint) else hint
        for words, hint in hints.items()
        if not callable(hint)
    }

    assert not {words: text for words, text in prose.items() if text and "--set" in text}


@pytest.mark.parametrize("name", ["pytorch_optimizer.AdamG", "pytorch_optimizer.AdaDelta", "pytorch_optimizer.SM3"])
def test_a_high_rate_is_refused_only_for_optimizers_that_are_known(name: str) -> None:
    recipe = changed(LORA, {"optimizer_type": name, "learning_rate": "1"})

    assert words(rules.all_problems(recipe, TABLE)) == []
    assert any("this one is not known here" in text for text in warned(recipe))


def test_an_argument_that_is_taken_out_leaves_the_others() -> None:
    arguments = "decouple=True growth_rate=1 weight_decay=0.01"
    recipe = changed(LORA, {"optimizer_type": "Prodigy", "learning_rate": "1", "optimizer_args": arguments})
    (problem,) = rules.all_problems(recipe, TABLE)

    assert [way.settings for way in problem.ways] == [("optimizer_args=decouple=True weight_decay=0.01",)]


def test_infinity_is_told_as_sd_scripts_reads_it() -> None:
    recipe = changed(LORA, {"optimizer_type": "Prodigy", "learning_rate": "1", "optimizer_args": "growth_rate=inf"})
    spelled = recipe.replaced({"optimizer_args": Setting(value="growth_rate=1e999", origin="--set")})

    (problem,) = rules.all_problems(recipe, TABLE)
    assert "infinity is 1e999" in problem.message
    assert [way.settings for way in problem.ways] == [("optimizer_args=growth_rate=1e999",)]
    assert words(rules.all_problems(spelled, TABLE)) == []


@pytest.mark.parametrize("scale", ["True", "False"])
def test_adafactor_with_a_rate_of_its_own_is_judged_by_it(scale: str) -> None:
    arguments = f"relative_step=False scale_parameter={scale} warmup_init=False"
    adafactor = {"optimizer_type": "Adafactor", "optimizer_args": arguments, "lr_scheduler": "cosine"}
    high, usual = ({**adafactor, "learning_rate": rate} for rate in ("1", "1e-4"))

    assert any("destroys the model" in text for text in words(rules.all_problems(changed(LORA, high), TABLE)))
    assert words(rules.all_problems(changed(LORA, usual), TABLE)) == []
