"""A recorded run's choices make the same run again, argument by argument."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_pictures
from kept_runs import keep

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import history, runs
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import preparation, repeating
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices

PRESET = "extends: dim32-gc\ndescription: mine\nlearning_rate: 3.3e-05\nnoise_offset: 0.0357\n"


@pytest.fixture
def choices(tmp_path: Path, model: Path) -> Choices:
    (tmp_path / "mine.yaml").write_text(PRESET, encoding="utf-8")
    return Choices(
        kind=Kind.LORA,
        preset=str(tmp_path / "mine.yaml"),
        model=str(model),
        data=write_pictures(tmp_path / "мои коты", caption="a cat"),
        output=tmp_path / "output",
        name="cat",
        trigger="ohwx",
        repeats=3,
        overrides=(
            Override("max_train_steps", 6, "--steps"),
            Override("seed", 0, "--seed"),
            Override("max_grad_norm", None, "--set"),
        ),
        on_processor=True,
        check_vram=False,
    )


def prepare(chosen: Choices, home: Path) -> Prepared:
    return preparation.prepare(chosen, Home(home), home / "presets")


def recorded(chosen: Choices, home: Path) -> tuple[Prepared, Loaded]:
    prepared = prepare(chosen, home)
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures)
    return prepared, history.load(prepared.run.folder)


def test_a_run_made_again_has_the_same_arguments_but_for_its_folder(choices: Choices, home: Path) -> None:
    first, entry = recorded(choices, home)
    again = repeating.choices_of(entry, None, home / "presets")
    second = prepare(again.choices, home)

    assert again.notes == ()
    assert second.run.name == "cat-2"
    assert [word.replace("cat-2", "cat") for word in second.argv] == first.argv
    assert second.recipe == first.recipe
    assert second.pictures == first.pictures
    assert list(repeating.changes(entry, second)) == []


def test_a_preset_that_is_gone_or_has_changed_changes_nothing(choices: Choices, home: Path) -> None:
    first, entry = recorded(choices, home)
    preset = Path(choices.preset)
    for text in (PRESET.replace("3.3e-05", "1.0") + "network_dropout: 0.1\n", "no: [preset", None):
        if text is None:
            preset.unlink()
        else:
            preset.write_text(text, encoding="utf-8")
        again = repeating.choices_of(entry, "cat", home / "presets")

        second = prepare(again.choices, home)
        assert [word.replace("cat-2", "cat") for word in second.argv] == first.argv
        assert bool(again.notes) == (text is None or not text.startswith("extends"))


def test_what_was_chosen_holds_in_every_folder(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "data")
    chosen = Choices(
        kind=Kind.LORA, preset="dim32-gc", model=model.name, data=Path("data"), output=Path("output"), name="cat",
        vae="gone.pt",
    )  # fmt: skip
    kept = repeating.inputs(chosen)

    assert (kept.model, kept.data, kept.output) == (str(model), tmp_path / "data", tmp_path / "output")
    assert (kept.preset, kept.vae) == ("dim32-gc", "gone.pt")
    assert repeating.inputs(replace(chosen, model="org/model")).model == "org/model"


def test_what_has_changed_since_is_told(choices: Choices, home: Path) -> None:
    unseeded = (*choices.overrides, Override("seed", None, "--set"))
    chosen = replace(choices, overrides=unseeded)
    _, entry = recorded(chosen, home)
    (choices.data / "0.txt").write_text("a dog", encoding="utf-8")
    installed = entry.record.environment
    assert installed is not None
    older = installed.model_copy(update={"commit": "0123456789abcdef", "packages": {"torch": "1"}})
    entry = Loaded(entry.folder, entry.state, entry.record.model_copy(update={"environment": older}))

    told = list(repeating.changes(entry, prepare(repeating.choices_of(entry, None, home).choices, home)))

    assert any("sd-scripts has changed since that run" in note and "0123456789" in note for note in told)
    assert "the pictures or captions have changed since" in told
    assert any("no seed" in note for note in told)


def test_an_older_record_cannot_be_repeated_and_says_why(tmp_path: Path) -> None:
    entry = history.load(keep(tmp_path / "cat"))

    with pytest.raises(UsageError, match="does not tell what was chosen") as caught:
        repeating.choices_of(entry, None, tmp_path)
    assert "--all" in str(caught.value.problems[0].hint)
