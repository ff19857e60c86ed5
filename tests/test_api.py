"""The Python API: what docs/python_api.md promises, and its example."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from sdxl_train_cli import api
from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.ranking import keeping
from sdxl_train_cli.run.supervision import StepMetrics

DOCS = Path(__file__).parents[1] / "docs"
CHANGES: dict[str, api.Value | None] = {"max_train_steps": 3, "save_every_n_steps": None, "save_state": None}


def example(cli: Cli, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(DOCS / "example.py"), *map(str, arguments)]
    return subprocess.run(argv, env=cli.environ, cwd=cli.folder, capture_output=True, encoding="utf-8", check=False)


def test_the_example_says_what_it_would_start(cli: Cli, pictures: Path, model: Path) -> None:
    ran = example(cli, pictures, model, "--dry-run")

    assert ran.returncode == 0, ran.stderr
    assert re.match(r"needs up to \d+\.\d GB", ran.stdout)
    assert "--max_train_steps 800" in ran.stdout
    assert not (cli.folder / "output").exists()


def test_the_example_names_what_is_wrong_with_its_hint(cli: Cli, tmp_path: Path, model: Path) -> None:
    ran = example(cli, tmp_path / "nowhere", model, "--dry-run")

    assert ran.returncode == 4
    assert "nowhere" in ran.stderr


def test_the_example_without_arguments_says_how_it_is_called(cli: Cli) -> None:
    ran = example(cli)

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "python docs/example.py PICTURES MODEL" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.fixture
def _set_up(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(home))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_set_up")
def test_a_run_is_prepared_launched_and_read(pictures: Path, model: Path) -> None:
    events: list[api.Event] = []

    prepared = api.prepare(
        api.Kind.LORA, model=model, data=pictures, preset="dim32", changes=CHANGES, name="cat", check_vram=False
    )
    assert not prepared.run.folder.exists()
    result = api.launch(prepared, events.append)
    run = api.read_run("cat")

    assert result.result == prepared.run.folder / "cat.safetensors"
    assert (result.steps, api.read_curves(run).steps) == (3, (1, 2, 3))
    assert sum(isinstance(event, StepMetrics) for event in events) == 3
    assert run.state is api.RunState.DONE
    assert str(run.record.settings["max_train_steps"].origin) == "changes"
    assert [listed.name for listed in api.list_runs()] == ["cat"]


@pytest.mark.usefixtures("_set_up")
def test_samples_and_validation_are_decided_by_arguments(pictures: Path, model: Path) -> None:
    def argv(**chosen: Any) -> list[str]:  # noqa: ANN401 - as the function takes them
        given = {"model": model, "data": pictures, "changes": CHANGES, "trigger": "cat", "gpu_memory_gib": 24.0}
        return api.prepare(api.Kind.LORA, **{**given, **chosen}).argv

    assert "--sample_prompts" in argv()
    assert "--sample_prompts" not in argv(samples=())
    assert "--sample_prompts" in argv(trigger=None, samples="a cat in a park")
    held = argv(validation=0.34)
    assert held[held.index("--validation_split") + 1] == "0.34"
    assert "--validation_split" not in argv(validation=0.0)
    with pytest.raises(RecipeError, match="has to be between 0 and 1"):
        argv(validation=1.5)


@pytest.mark.usefixtures("_set_up")
def test_keep_best_is_refused_where_nothing_tells_the_best_and_done_at_the_end(
    pictures: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Path] = []
    monkeypatch.setattr(keeping, "keep_best", judged.append)
    changes = {**CHANGES, "save_every_n_steps": 1}

    def prepare(validation: float, *, keep_best: bool) -> api.Prepared:
        return api.prepare(
            api.Kind.LORA, model=model, data=pictures, changes=changes, check_vram=False, validation=validation,
            keep_best=keep_best,
        )  # fmt: skip

    with pytest.raises(RecipeError, match="nothing would tell which is best"):
        prepare(0.0, keep_best=True)
    api.launch(prepare(0.34, keep_best=False))
    kept = prepare(0.34, keep_best=True)
    api.launch(kept)

    assert judged == [kept.run.folder]


def test_a_preset_is_loaded_and_checked_before_setup() -> None:
    recipe = api.load_preset(api.Kind.LORA, changes={"network_dim": 8, "save_state": None})

    assert (recipe.name, recipe.get("network_dim"), recipe.get("save_state")) == ("dim32-gc", 8, None)
    assert api.estimate_memory(recipe).low_gib < api.estimate_memory(api.load_preset(api.Kind.LORA)).low_gib
    with pytest.raises(RecipeError, match="network_dims"):
        api.load_preset(api.Kind.LORA, changes={"network_dims": 8})


def test_a_run_that_is_not_there_is_no_traceback_but_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run 'cat'"):
        api.read_run("cat", tmp_path)


def test_the_page_names_every_function_and_no_other() -> None:
    page = (DOCS / "python_api.md").read_text(encoding="utf-8")
    functions = {name for name in api.__all__ if name.islower()}

    assert set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE)) == functions
    assert set(re.findall(r"\bapi\.(\w+)", page)) <= set(api.__all__)
