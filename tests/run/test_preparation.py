"""What was typed, what the project file says and the defaults become one choice; and a GPU is chosen."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import gpu
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.project import Project
from sdxl_train_cli.run import preparation, run_choices
from sdxl_train_cli.run.run_choices import Choices, Elsewhere
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sdscripts.processes import Processes

KEYS = ("preset", "model", "vae", "data", "reg", "output", "name", "trigger", "prediction")


def choose(kind: Kind = Kind.LORA, **texts: str) -> Choices:
    given_texts = {**dict.fromkeys(KEYS), **texts}
    return run_choices.choose(kind, given_texts, (), repeats=None, gpu_index=None, gpu_memory_gib=None, check_vram=True)


# --- choose


def test_the_defaults_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()

    assert choose() == Choices(
        kind=Kind.LORA,
        preset="dim32-gc",
        model=checkpoint.SDXL_BASE,
        data=Path("data"),
        output=Path("output"),
        name="data",
    )


@pytest.mark.parametrize("kind", list(Kind))
def test_the_standard_preset_of_each_kind_is_there(kind: Kind) -> None:
    assert choose(kind, data="x").preset in presets.names(kind)


def test_without_pictures_and_a_folder_data_the_next_thing_to_type_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").touch()

    with pytest.raises(UsageError) as caught:
        choose(Kind.LOCON)

    assert "sdxl-train locon --data FOLDER" in str(caught.value.problems[0].hint)


def test_what_was_typed_counts(tmp_path: Path) -> None:
    chosen = choose(data=str(tmp_path / "my cat"), reg="reg", vae="vae.pt", output="out", trigger="ohwx")

    assert (chosen.name, chosen.regularisation, chosen.vae) == ("my-cat", Path("reg"), "vae.pt")
    assert (chosen.output, chosen.trigger) == (Path("out"), "ohwx")


def test_an_empty_text_takes_away_what_the_project_file_says() -> None:
    texts = run_choices.fill_in(Kind.LORA, Project(trigger="ohwx", vae="vae.pt", data="x"), {"trigger": "", "vae": ""})
    chosen = run_choices.choose(
        Kind.LORA, texts, (), repeats=None, gpu_index=None, gpu_memory_gib=None, check_vram=True
    )

    assert (chosen.trigger, chosen.vae) == (None, None)


# --- filled


def test_what_was_typed_comes_before_the_project_file() -> None:
    written = Project(kind=Kind.LORA, preset="mine", model="a", data="b")

    filled = run_choices.fill_in(Kind.LORA, written, {"model": "typed", "data": None})

    assert filled == {**dict.fromkeys(KEYS), "preset": "mine", "model": "typed", "data": "b"}


@pytest.mark.parametrize(("kind", "preset"), [(Kind.LOCON, None), (None, "mine"), (Kind.LORA, "mine")])
def test_the_project_files_preset_counts_for_its_own_kind(kind: Kind | None, preset: str | None) -> None:
    filled = run_choices.fill_in(Kind.LORA, Project(kind=kind, preset="mine", model="a"), {})

    assert (filled["preset"], filled["model"]) == (preset, "a")


# --- name_for


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/pictures/cat", "cat"),
        ("/pictures/my cat [v2]", "my-cat-v2"),
        ("/pictures/10_кот_cat", "10_-_cat"),
        ("/pictures/мои картинки", "run"),
        ("/pictures/..", "run"),
        ("/", "run"),
        ("/pictures/.hidden", "hidden"),
        ("/pictures/cat/", "cat"),
        ("~nobody-of-this-name", "nobody-of-this-name"),
    ],
)
def test_a_run_is_named_after_its_pictures(folder: str, name: str) -> None:
    assert run_choices.name_for(Path(folder)) == name


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_folder_gives_a_name_that_every_file_system_takes(folder: str) -> None:
    name = run_choices.name_for(Path("/pictures") / folder)

    assert name
    assert set(name) <= set(string.ascii_letters + string.digits + "_.-")
    assert name[0] not in "-."


# --- choose_device


def card(index: int, free_gib: float) -> Gpu:
    return Gpu(index, f"card {index}", 24.0, free_gib, (8, 6), "550.54.14")


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (card(0, 2.0), card(1, 20.0), card(2, 8.0)))


def device(index: int | None = None) -> int | None:
    chosen = preparation.choose_device(index)
    return None if chosen is None else chosen.index


@pytest.mark.usefixtures("cards")
def test_the_freest_gpu_is_taken() -> None:
    assert device() == 1


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("visible", "index"), [("2", 2), ("0,2", 2), ("0, 2", 2), ("", 1), ("GPU-1a2b3c", 1), ("7,0", 0)]
)
def test_the_gpus_that_the_environment_allows_are_kept_to(
    monkeypatch: pytest.MonkeyPatch, visible: str, index: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert device() == index
    assert device(0) == 0


@pytest.mark.usefixtures("cards")
def test_a_gpu_that_is_not_there_is_told_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no GPU 3") as caught:
        device(3)
    assert caught.value.problems[0].hint == "the GPUs: 0: card 0, 1: card 1, 2: card 2"

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(UsageError, match="no GPU CUDA_VISIBLE_DEVICES=7"):
        device()


def test_without_a_gpu_there_is_none_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: ())

    assert device() is None
    with pytest.raises(UsageError, match="no GPU 0"):
        device(0)


@pytest.mark.parametrize(("change", "is_offline"), [(None, True), ("huggingface_repo_id=me/cat", False)])
def test_the_hub_stays_within_reach_of_a_run_that_uploads(change: str | None, is_offline: bool, tmp_path: Path) -> None:
    changes = [presets.parse_override(change)] if change else []
    recipe = presets.load(Kind.LORA, "dim32-gc", changes)

    found = preparation.variables(Home(tmp_path), "base.safetensors", Processes(), recipe, own_tokenizers=True)

    assert ("HF_HUB_OFFLINE" in found) is is_offline


@pytest.mark.parametrize(
    ("there", "on_processor", "indices"),
    [
        (Elsewhere(gpu.hypothetical(80.0, 1.0)), False, [0, 1]),
        (Elsewhere(gpu.hypothetical(80.0, 1.0)), True, []),
        (Elsewhere(), False, []),
        (None, False, [3, 5]),
    ],
)
def test_the_gpus_of_another_computer_count_where_a_run_is_checked_for_it(
    monkeypatch: pytest.MonkeyPatch, there: Elsewhere | None, on_processor: bool, indices: list[int]
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: [gpu.hypothetical(24.0, 1.0, 3), gpu.hypothetical(24.0, 1.0, 5)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    inputs = replace(choose(data="x"), processes=2, on_processor=on_processor)

    assert [device.index for device in preparation.choose_devices(inputs, elsewhere=there)] == indices
