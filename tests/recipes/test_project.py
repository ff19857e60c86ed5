"""The project file and the user's config: what they say, and what in them is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.recipes.project import Project

TEXTS = {"kind": "lora", "preset": "dim32-gc", "model": "base.safetensors", "data": "data", "output": "output"}


def write(folder: Path, text: str) -> Path:
    (folder / PROJECT_FILE).write_text(text, encoding="utf-8")
    return folder


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        project.load(write(folder, text))
    return [str(problem) for problem in caught.value.problems]


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert project.load(tmp_path) == Project()


def test_a_file_says_what_is_trained(tmp_path: Path) -> None:
    text = "kind: locon\ndata: ../картинки\ntrigger: ohwx woman\nvae:\nset:\n  network_dim: 64\n  seed: null\n"

    assert project.load(write(tmp_path, text)) == Project(
        kind=Kind.LOCON,
        data="../картинки",
        trigger="ohwx woman",
        overrides=(
            Override("network_dim", 64, Origin(PROJECT_FILE, 6)),
            Override("seed", None, Origin(PROJECT_FILE, 7)),
        ),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "set:\n", "set: {}\n", "kind:\nmodel: null\n"])
def test_a_file_may_say_nothing(tmp_path: Path, text: str) -> None:
    assert project.load(write(tmp_path, text)) == Project()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: lora\nmodle: x\n", "2: unknown key 'modle'"),
        ("kind: LoRA\n", "no kind 'LoRA'"),
        ("set: 5\n", "1: set takes `option: value` lines under it"),
        ("set: [a, b]\n", "1: set takes `option: value` lines under it"),
        ("set:\n  network_args: {a: 1}\n", "2: 'network_args' takes a value or a list"),
        ("data: [a, b]\n", "1: data takes one value, not a list"),
        ("data: {a: b}\n", "1: 'data' takes a value or a list, not a mapping"),
        ("trigger: yes\n", "1: trigger takes text, and YAML reads true or false here"),
        ("name: 010\n", "1: name takes text, and YAML reads a number here"),
        ("data: 1_000\n", "1: data takes text, and YAML reads a number here"),
        ("name: 1.0\n", "1: name takes text"),
        ("- lora\n", "does not hold `option: value` lines"),
        ("kind: lora\n  model: x\n", "2: is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (problem,) = refused(tmp_path, text)

    assert problem.startswith(PROJECT_FILE)
    assert words in problem


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    assert len(refused(tmp_path, "a: 1\nset: 2\nname: [x]\nb: 3\n")) == 4


def test_a_template_reads_back_as_what_was_chosen(tmp_path: Path) -> None:
    path = project.write_template(tmp_path, TEXTS)

    assert path == tmp_path / PROJECT_FILE
    assert project.load(tmp_path) == Project(
        kind=Kind.LORA, preset="dim32-gc", model="base.safetensors", data="data", output="output"
    )


def test_a_template_is_plain_where_it_can_be(tmp_path: Path) -> None:
    text = project.write_template(tmp_path, {**TEXTS, "trigger": "ohwx woman"}).read_text(encoding="utf-8")

    assert "\nmodel: base.safetensors\n" in text
    assert '\ntrigger: "ohwx woman"\n' in text
    assert "\n# name: my-lora\n" in text


@pytest.mark.parametrize(
    "name", ["yes", "NO", "null", "123", "1e5", "~", "кот", "{x}", "a: b", "# a", "'", '"', "", "y"]
)
def test_an_odd_name_reads_back_as_it_was(tmp_path: Path, name: str) -> None:
    project.write_template(tmp_path, {**TEXTS, "name": name})

    assert project.load(tmp_path).name == name


@given(st.fixed_dictionaries(dict.fromkeys(("model", "data", "output", "name", "trigger"), st.text())))
def test_a_template_of_any_texts_reads_back(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> None:
    folder = tmp_path_factory.mktemp("project")
    project.write_template(folder, {**TEXTS, **texts})
    loaded = project.load(folder)

    assert {key: getattr(loaded, key) for key in texts} == texts


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path, "kind: locon\n")

    with pytest.raises(UsageError, match="already exists"):
        project.write_template(tmp_path, TEXTS)

    assert project.load(tmp_path).kind is Kind.LOCON


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be written: No such file"):
        project.write_template(tmp_path / "absent", TEXTS)
