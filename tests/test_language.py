"""Hints of the first evening: in Russian where it is asked for, with what English ones say to type."""

from __future__ import annotations

import ast
import functools
import re
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from base_models import write_base
from conftest import Result, write_pictures, write_safetensors

from sdxl_train_cli import gpu, language
from sdxl_train_cli.failures import translation
from sdxl_train_cli.gpu import hypothetical
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.run import prediction, validating
from sdxl_train_cli.sdscripts.base_model import BaseModel, Prediction

TYPED = re.compile(r"`[^`]+`|--[a-z][\w-]*")
CODE = [path.read_text(encoding="utf-8") for path in Path(language.__file__).parent.rglob("*.py")]
TRAINED = ("lora", "-m", "base.safetensors", "--no-vram-check", "--dry-run")


@pytest.mark.parametrize(
    ("variables", "is_russian"),
    [
        ({"SDXL_TRAIN_LANG": "ru"}, True),
        ({"SDXL_TRAIN_LANG": "en", "LANG": "ru_RU.UTF-8"}, False),
        ({"LANG": "ru_RU.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "ru_RU.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8"}, False),
        ({"LANG": "C"}, False),
    ],
)
def test_the_variable_decides_and_then_the_system(variables: dict[str, str], is_russian: bool) -> None:
    assert language.is_russian(variables) is is_russian


@pytest.mark.parametrize("name", language.russian())
def test_every_russian_text_has_an_english_one_in_the_code(name: str) -> None:
    assert any(f'"{name}"' in text for text in CODE) or name == "explain"


def test_lines_of_a_plan_that_depend_on_the_base_the_gpu_and_the_pictures_are_russian_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = Recipe(kind=Kind.LORA, name="x", description="", settings={"min_snr_gamma": Setting(value=5)})
    base = BaseModel(Prediction.V, "modelspec.prediction_type=v", has_sign=True)
    monkeypatch.setenv("SDXL_TRAIN_LANG", "ru")

    assert prediction.settle(recipe, base, None, "base").note == (
        "модель предсказывает v-prediction (modelspec.prediction_type=v), поэтому включено: v_parameterization"
        ", \u0430 min_snr_gamma взвешивает для v"
    )
    assert hypothetical(8, 0.5).name == "видеокарта на 8 ГБ"
    assert validating._when(1, 0, 10) == "после каждой эпохи"  # noqa: SLF001 - a part of the plan's note
    assert validating._when(2, 100, 10) == "каждые 2 эпох и каждые 100 шагов"  # noqa: SLF001 - as above
    assert validating._when(10, 100, 10) == "каждые 100 шагов и в конце"  # noqa: SLF001 - as above


@functools.cache
def said() -> dict[tuple[str, str], str]:
    """What the code gives to `language.said`: the English of each part, by its name."""
    calls = [
        (node, tree)
        for tree in map(ast.parse, CODE)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "language.said"
    ]
    return {
        (ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1])): ast.unparse(call.args[2]) for call, _ in calls
    }


def test_every_question_of_start_and_every_line_of_its_plan_has_a_russian_row_and_no_row_is_left_over() -> None:
    assert {*said()} == {(name, part) for name in ("start", "plan") for part in language.russian()[name]}


def test_a_russian_row_fills_in_nothing_that_the_code_does_not_give() -> None:
    code = "".join(CODE)
    for name, part in said():
        fields = {field for _, field, _, _ in string.Formatter().parse(language.russian()[name][part]) if field}
        assert all(f"{field}=" in code or f'"{field}"' in code for field in fields), part


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_safetensors(tmp_path / "base.safetensors")
    write_base(tmp_path / "unclear_vpred.safetensors")
    write_pictures(tmp_path / "pictures")
    write_pictures(tmp_path / "bare", caption=None)
    write_pictures(tmp_path / "some", count=2)
    (tmp_path / "some" / "1.txt").unlink()
    write_pictures(tmp_path / "part", count=2, caption="miku, smile")
    (tmp_path / "part" / "1.txt").write_text("smile", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"\0\1\2\3")
    return tmp_path


HINTS = {
    "not-set-up": ("lora", "-d", "pictures", "--home", "nowhere"),
    "no-folder": ("lora",),
    "folder-absent": (*TRAINED, "-d", "absent"),
    "folder-is-file": (*TRAINED, "-d", "file.bin"),
    "empty-folder": (*TRAINED, "-d", "empty"),
    "caption-missing-some": (*TRAINED, "-d", "some"),
    "caption-missing-all": (*TRAINED, "-d", "bare"),
    "trigger-absent-some": (*TRAINED, "-d", "part", "--trigger", "miku"),
    "trigger-absent-all": (*TRAINED, "-d", "pictures", "--trigger", "miku"),
    "no-gpu": ("lora", "-m", "base.safetensors", "-d", "pictures", "--dry-run"),
    "too-little-memory": ("lora", "-m", "base.safetensors", "-d", "pictures", "--dry-run", "--gpu-memory", "4"),
    "prediction-unknown": ("lora", "-m", "unclear_vpred.safetensors", "-d", "pictures", "--dry-run"),
}


def test_every_hint_has_a_case() -> None:
    assert HINTS.keys() == language.russian().keys() - {"explain", "start", "plan", "unanswered"}


@pytest.mark.parametrize("name", HINTS)
@pytest.mark.usefixtures("world")
def test_a_hint_is_told_in_russian_with_what_english_says_to_type(
    name: str, main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "prediction-unknown":
        monkeypatch.setattr(gpu, "devices", lambda: (hypothetical(24, 0.5),))
    english = main(*HINTS[name])
    monkeypatch.setenv("SDXL_TRAIN_LANG", "ru")
    russian = main(*HINTS[name])

    assert russian.code == english.code
    row = language.russian()[name]
    messages = [text for part, text in row.items() if part != "hint"]
    assert any(longest(text) in " ".join(russian.stderr.split()) for text in messages)
    assert longest(row["hint"]) in " ".join(russian.stderr.split())
    assert sorted(TYPED.findall(russian.stderr)) == sorted(TYPED.findall(english.stderr))
    assert not re.search("[\u0430-\u044f]", english.stderr)


def longest(text: str) -> str:
    """The longest part of a text between its {names}."""
    return max(re.split(r"\{[^}]+\}", text), key=len).strip()


def test_a_log_is_explained_in_russian_and_its_json_is_english(
    main: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log.txt").write_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n")
    monkeypatch.setenv("SDXL_TRAIN_LANG", "ru")

    labels = language.russian()["explain"]
    told = main("runs", "explain", "log.txt")

    cause, remedy, *_ = told.stdout.splitlines()
    assert cause == f"{labels['cause']} {translation.rows()['gpu-memory']['cause']}"
    assert remedy.startswith(f"{labels['remedy']} --batch-size 1")
    assert '"cause": "the GPU\'s memory ran out"' in main("runs", "explain", "log.txt", "--json").stdout
