"""Presets: the shipped ones keep to the table, and a user's are found, extended, overridden and checked."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdxl_train_cli
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import preset_folders, presets
from sdxl_train_cli.recipes.presets import ListedPreset, Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import OptionTable

TABLE = shipped.table()
SHIPPED = [(found.kind, found.name) for found in presets.list_presets()]
MULTIPLIED = (Kind.LOHA, Kind.LOKR)
VRAM_TABLE = Path(sdxl_train_cli.__file__).parent / "memory" / "vram_table.csv"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(kind: Kind, name_or_path: str, user_folder: Path | None = None) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        presets.load(kind, name_or_path, user_folder=user_folder)
    return caught.value


def shape_of_row(row: dict[str, str]) -> tuple[object, ...]:
    switches = (row[name] == "true" for name in ("full_bf16", "fp8_base", "gradient_checkpointing"))
    return row["kind"], row["network_dim"], row["conv_dim"], *switches


def shape_of_preset(kind: Kind, name: str) -> tuple[object, ...]:
    recipe = presets.load(kind, name)
    switches = (recipe.is_on(option) for option in ("full_bf16", "fp8_base", "gradient_checkpointing"))
    conv_dim = recipe.arguments("network_args").get("conv_dim", "")
    return kind.value, str(recipe.get("network_dim") or ""), conv_dim, *switches


def vram_rows() -> list[dict[str, str]]:
    lines = VRAM_TABLE.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_each_row_of_the_vram_table_has_a_preset() -> None:
    measured = {shape_of_row(row) for row in vram_rows()}

    assert measured <= {shape_of_preset(found.kind, found.name) for found in presets.list_presets()}


def test_no_description_has_figures_of_memory_which_depend_on_the_gpu() -> None:
    assert not [found.name for found in presets.list_presets() if "GB" in found.description]


def test_presets_are_listed_by_the_numbers_in_their_names() -> None:
    assert presets.names(Kind.DREAMBOOTH) == ["full", "gc"]
    by_size = presets.names_by_size(Kind.LORA)
    assert by_size[:5] == ["dim32", "dim32-bf16", "dim32-bf16-gc", "dim32-fp8-gc", "dim32-gc"]
    assert presets.names(Kind.LOKR).index("factor8-gc") < presets.names(Kind.LOKR).index("factor16-gc")


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_shipped_preset_has_no_problems_and_no_warnings(kind: Kind, name: str) -> None:
    recipe = rules.require(presets.load(kind, name), TABLE)

    assert list(rules.warnings(recipe)) == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in Kind if kind not in MULTIPLIED for name in presets.names_by_size(kind)]
)
def test_alpha_is_half_of_dim_in_a_preset_by_size(kind: Kind, name: str) -> None:
    recipe = presets.load(kind, name)
    arguments = recipe.arguments("network_args")

    assert (recipe.number("network_dim") or 0) == 2 * (recipe.number("network_alpha") or 0)
    assert int(arguments.get("conv_dim", "0")) == 2 * int(arguments.get("conv_alpha", "0"))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in MULTIPLIED for name in presets.names(kind)])
def test_alpha_is_1_where_matrices_are_multiplied(kind: Kind, name: str) -> None:
    recipe = presets.load(kind, name)

    assert recipe.number("network_alpha") == 1
    assert recipe.arguments("network_args").get("conv_alpha", "1") == "1"


def test_every_setting_knows_its_file_and_line() -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc")

    assert str(recipe.origin("gradient_checkpointing")) == "dim32-gc.yaml:4"
    assert str(recipe.origin("network_dim")).startswith("dim32.yaml:")
    assert str(recipe.origin("resolution")).startswith("_sdxl.yaml:")


def test_a_preset_that_does_not_exist_names_the_closest() -> None:
    error = refusal(Kind.LORA, "dim33-gc")

    assert str(error) == "no LoRA preset named 'dim33-gc'"
    assert str(error.problems[0].hint).startswith("try one of: dim32-gc, ")


def test_a_preset_of_another_kind_is_pointed_at() -> None:
    hint = refusal(Kind.LORA, "dim64-conv32-gc").problems[0].hint

    assert hint == "it is a LoCon preset: sdxl-train locon --preset dim64-conv32-gc"


@pytest.mark.parametrize("name", ["_base", "", "..", "nul\0"])
def test_what_is_no_name_of_a_preset_is_refused(name: str) -> None:
    assert str(refusal(Kind.LORA, name)).startswith("no LoRA preset named")


def test_an_override_replaces_a_value_and_keeps_where_it_came_from() -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("train_batch_size", 4, "--batch-size")])

    assert (recipe.get("train_batch_size"), str(recipe.origin("train_batch_size"))) == (4, "--batch-size")


def test_an_override_with_null_takes_an_option_away() -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc", [presets.parse_override("min_snr_gamma=null")])

    assert "min_snr_gamma" not in recipe.settings


def test_the_last_of_two_overrides_counts() -> None:
    overrides = [presets.parse_override(text) for text in ("seed=1", "seed=2")]

    assert presets.load(Kind.LORA, "dim32", overrides).get("seed") == "2"


def test_an_override_keeps_everything_behind_the_first_equals_sign() -> None:
    assert presets.parse_override("network_args=conv_dim=8 conv_alpha=4") == Override(
        "network_args", "conv_dim=8 conv_alpha=4", Origin("--set")
    )


@pytest.mark.parametrize("text", ["seed", "=1", " =1", ""])
def test_an_override_that_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--set: takes OPTION=VALUE, not '"):
        presets.parse_override(text)


def test_a_path_is_read_as_a_file_and_shown_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "mine" / "own.yaml", "extends: dim32-gc\ndescription: Mine\nnetwork_dim: 8\n")
    monkeypatch.chdir(tmp_path)

    recipe = presets.load(Kind.LORA, "mine/own.yaml")

    assert (recipe.name, recipe.description) == ("own", "Mine")
    assert str(recipe.origin("network_dim")) == "mine/own.yaml:3"
    assert recipe.is_on("gradient_checkpointing")


def test_a_file_in_the_current_folder_needs_no_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "own", "seed: 1\n")
    monkeypatch.chdir(tmp_path)

    assert str(presets.load(Kind.LORA, "own").origin("seed")) == "own:1"


def test_a_users_preset_is_found_by_name_in_the_folder_of_its_kind_and_above(tmp_path: Path) -> None:
    write(tmp_path / "lora" / "near.yaml", "seed: 1\n")
    write(tmp_path / "far.yml", "seed: 2\n")

    assert presets.load(Kind.LORA, "near", user_folder=tmp_path).get("seed") == 1
    assert presets.load(Kind.LORA, "far", user_folder=tmp_path).get("seed") == 2
    assert presets.names(Kind.LORA, tmp_path)[:2] == ["near", "far"]


def test_a_users_preset_goes_before_the_shipped_one_and_may_extend_it(tmp_path: Path) -> None:
    write(tmp_path / "lora" / "dim32-gc.yaml", "extends: dim32-gc\nseed: 7\n")

    recipe = presets.load(Kind.LORA, "dim32-gc", user_folder=tmp_path)

    assert (recipe.get("seed"), recipe.get("network_dim")) == (7, 32)


def test_null_takes_an_inherited_option_away(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml", "extends: dim32-gc\ngradient_checkpointing: null\n")

    assert "gradient_checkpointing" not in presets.load(Kind.LORA, str(path)).settings


@pytest.mark.parametrize("parent", ["parent", "parent.yaml", "./parent", "../lora/parent.yaml"])
def test_extends_takes_a_name_or_a_path_beside_the_file(tmp_path: Path, parent: str) -> None:
    write(tmp_path / "lora" / "parent.yaml", "seed: 3\n")
    path = write(tmp_path / "lora" / "child.yaml", f"extends: {parent}\n")

    recipe = presets.load(Kind.LORA, str(path))

    assert recipe.get("seed") == 3
    assert str(recipe.origin("seed")) == f"{tmp_path / 'lora' / 'parent.yaml'}:1"


def test_a_missing_parent_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml", "seed: 1\nextends: nowhere\n")

    assert str(refusal(Kind.LORA, str(path))) == f"{path}:2: extends 'nowhere', which does not exist"


def test_presets_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b\n")
    path = write(tmp_path / "b.yaml", "extends: a\n")

    assert "a.yaml:1: extends 'b', which leads back to itself" in str(refusal(Kind.LORA, str(path)))


def test_a_preset_that_extends_itself_by_path_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", "extends: ./a.yaml\n")

    assert "leads back to itself" in str(refusal(Kind.LORA, str(path)))


def test_a_chain_without_end_in_sight_is_refused(tmp_path: Path) -> None:
    for number in range(9):
        write(tmp_path / f"p{number}.yaml", f"extends: p{number + 1}\n")
    write(tmp_path / "p9.yaml", "seed: 1\n")

    assert "p7.yaml:1: extends through more than 8 files" in str(refusal(Kind.LORA, str(tmp_path / "p0.yaml")))
    assert presets.load(Kind.LORA, str(tmp_path / "p2.yaml")).get("seed") == 1


@pytest.mark.parametrize("text", ["extends: [a, b]\n", "extends: 5\n", "extends:\n", "description: true\n"])
def test_our_own_keys_take_one_line_of_text(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "own.yaml", text)

    assert "own.yaml:1: " in str(refusal(Kind.LORA, str(path)))
    assert "takes one line of text" in str(refusal(Kind.LORA, str(path)))


def test_a_preset_file_that_extends_another_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml", f"extends: {preset_folders.shipped_folder() / 'locon' / 'dim64-conv32.yaml'}\n")

    error = refusal(Kind.LORA, str(path))

    assert str(error) == f"{path}: is a LoCon preset, not a LoRA one"
    assert error.problems[0].hint == f"sdxl-train locon --preset {path}"


def test_a_users_presets_are_listed_even_when_one_is_broken(tmp_path: Path) -> None:
    write(tmp_path / "lora" / "good.yaml", "extends: dim32-gc\n")
    write(tmp_path / "lora" / "bad.yaml", "a: [\n")
    write(tmp_path / "any.yaml", "description: For every kind\nseed: 1\n")
    write(tmp_path / "full-own.yaml", "extends: full\n")

    own = [found for found in presets.list_presets(None, tmp_path) if not preset_folders.is_shipped(found.path)]

    assert [(found.kind, found.name) for found in own] == [
        (Kind.LORA, "bad"),
        (Kind.LORA, "good"),
        (None, "any"),
        (Kind.DREAMBOOTH, "full-own"),
    ]
    assert own[0].description.startswith("broken: ")
    assert own[1].description == "extends dim32-gc"
    assert [
        found.name for found in presets.list_presets(Kind.LOCON, tmp_path) if not preset_folders.is_shipped(found.path)
    ] == ["any"]


def test_the_kind_of_a_file_is_told_by_its_folder_or_by_what_it_extends(tmp_path: Path) -> None:
    assert presets.kind_of(write(tmp_path / "locon" / "a.yaml", "seed: 1\n")) is Kind.LOCON
    assert presets.kind_of(write(tmp_path / "b.yaml", "extends: gc\n")) is Kind.DREAMBOOTH
    assert presets.kind_of(write(tmp_path / "c.yaml", "seed: 1\n")) is None


def checked(path: Path, table: OptionTable, kind: Kind | None = None) -> list[Problem]:
    """Every problem of a preset file, as `presets check` finds them."""
    try:
        return list(rules.all_problems(presets.of_file(path, kind), table))
    except RecipeError as error:
        return list(error.problems)


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_every_shipped_file_passes_the_check(kind: Kind, name: str) -> None:
    path = preset_folders.shipped_folder() / kind.value / f"{name}.yaml"

    assert checked(path, TABLE) == []


def test_the_check_tells_names_types_and_combinations_with_their_lines(tmp_path: Path) -> None:
    text = "extends: dim32-gc\nnetwrk_dim: 8\nseed: many\nshuffle_caption: true\ntrain_batch_size: 0\n"
    path = write(tmp_path / "lora" / "own.yaml", text)

    lines = sorted(str(problem.where) for problem in checked(path, TABLE))

    assert lines == [f"{path}:{line}" for line in (2, 3, 4, 5)]


def test_the_check_tells_what_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in str(checked(tmp_path / "absent.yaml", TABLE)[0])


def test_the_check_asks_for_a_kind_that_it_cannot_see(tmp_path: Path) -> None:
    path = write(tmp_path / "own.yaml", "seed: 1\n")

    assert str(checked(path, TABLE)[0]) == f"{path}: does not say what it trains"
    assert "network_module is missing" in str(checked(path, TABLE, Kind.LORA)[0])


@given(st.text())
def test_any_override_is_taken_or_refused_in_words(text: str) -> None:
    try:
        override = presets.parse_override(text)
        rules.require(presets.load(Kind.LORA, "dim32", [override]), TABLE)
    except RecipeError as error:
        assert error.problems  # noqa: PT017 - either way is right


@given(st.sampled_from(sorted(TABLE.of(Kind.LOCON))), st.text())
def test_any_value_of_any_option_is_taken_or_refused_in_words(option: str, value: str) -> None:
    override = Override(option, value, "--set")
    try:
        recipe = rules.require(presets.load(Kind.LOCON, "dim64-conv32", [override]), TABLE)
    except RecipeError as error:
        assert error.problems  # noqa: PT017 - either way is right
    else:
        assert all(str(warning) for warning in rules.warnings(recipe))


@given(st.text())
def test_any_preset_argument_is_found_or_refused_in_words(text: str) -> None:
    try:
        presets.load(Kind.LORA, text)
    except RecipeError as error:
        assert error.problems  # noqa: PT017 - either way is right


MADE_FOR_USE = [found for found in presets.list_presets() if found.group is not None]


@pytest.mark.parametrize("found", MADE_FOR_USE, ids=lambda found: f"{found.kind.value}-{found.name}")
def test_a_preset_made_for_a_use_names_its_source_and_gives_a_reason_for_each_value(found: ListedPreset) -> None:
    head, _, values = found.path.read_text(encoding="utf-8").partition("\n\n")

    assert re.search(r"^# Sources?: \S+[/.]\S+", head, re.MULTILINE), "an address or a repository"
    assert [line for line in values.splitlines() if line and " # " not in line and not line.startswith("# ")] == []


def test_a_preset_made_for_a_use_is_the_persons_choice_and_no_offer_by_memory(tmp_path: Path) -> None:
    write(tmp_path / "lora" / "anime.yaml", "extends: dim32-gc\n")

    assert "anime" not in presets.names_by_size(Kind.LORA)
    assert "anime" in presets.names_by_size(Kind.LORA, tmp_path), "their own of that name"


def test_a_heading_is_not_inherited(tmp_path: Path) -> None:
    write(tmp_path / "lora" / "mine.yaml", "extends: anime\n")

    assert [found.group for found in presets.list_presets(Kind.LORA, tmp_path) if found.name == "mine"] == [None]


def test_the_preset_for_v_prediction_leaves_it_to_the_base_what_is_predicted() -> None:
    settings = presets.load(Kind.LORA, "anime-vpred").settings

    assert not {"v_parameterization", "zero_terminal_snr", "scale_v_pred_loss_like_noise_pred"} & settings.keys()


@pytest.mark.parametrize("found", MADE_FOR_USE, ids=lambda found: f"{found.kind.value}-{found.name}")
def test_a_preset_made_for_a_use_suits_a_card_of_12_gb(found: ListedPreset) -> None:
    assert found.kind is not None
    assert requirement.need(presets.load(found.kind, found.name)).high_gib < 11.5
