"""What is known of sd-scripts before it is installed: the option tables of two releases, shipped as data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.importers import exporting, option_translation
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import json_schema, presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import optimizer, shipped

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import ship_options

RELEASES = sorted(path.stem for path in shipped.RELEASES.iterdir())
PRESETS = [(kind, name) for kind in Kind for name in presets.names(kind)]


def test_both_releases_that_count_are_shipped_and_one_is_pinned() -> None:
    assert {"v0.10.1", "v0.11.1", shipped.PINNED_RELEASE} <= set(RELEASES)
    assert shipped.table().release == shipped.PINNED_RELEASE


@pytest.mark.parametrize("release", RELEASES)
def test_a_file_is_as_the_script_writes_it_and_holds_no_help_of_upstreams(release: str) -> None:
    text = (shipped.RELEASES / f"{release}.json").read_text(encoding="utf-8")

    assert ship_options.text(shipped.table(release), json.loads(text)["commit"]) == text
    assert '"help"' not in text


def test_the_two_releases_differ_by_what_v0_11_added() -> None:
    old, new = shipped.table("v0.10.1"), shipped.table("v0.11.1")

    for kind in Kind:
        assert new.of(kind).keys() - old.of(kind).keys() == {"train_inpainting", "skip_image_resolution"}
        assert old.of(kind).items() <= new.of(kind).items()
    assert old.optimizers == new.optimizers


def test_what_only_one_script_has_or_has_otherwise_stays_its_own() -> None:
    network, full = shipped.table().of(Kind.LORA), shipped.table().of(Kind.DREAMBOOTH)

    assert "network_dim" not in full
    assert "block_lr" not in network
    assert (network["save_model_as"].default, full["save_model_as"].default) == ("safetensors", None)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("kind", "name"), PRESETS)
def test_every_preset_is_taken_by_every_release(kind: Kind, name: str, release: str) -> None:
    assert rules.require(presets.load(kind, name), shipped.table(release))


def test_a_default_is_one_that_both_scripts_have_and_zero_is_a_value() -> None:
    assert shipped.default_number("max_train_steps") == 1600
    assert shipped.default_number("learning_rate") == 2e-6
    assert shipped.defaults()["keep_tokens"] == 0
    assert shipped.defaults()["lr_scheduler"] == "constant"
    assert not {"save_model_as", "network_dim", "sdpa", "optimizer_type"} & shipped.defaults().keys()


def test_what_is_no_number_is_not_given_as_one() -> None:
    with pytest.raises(TypeError, match="lr_scheduler is not a number"):
        shipped.default_number("lr_scheduler")


def test_an_optimizer_whose_arguments_are_known_is_one_that_setup_asks_for() -> None:
    assert shipped.table().optimizers.keys() <= optimizer.ASKED.keys()
    assert "betas" in (shipped.table().optimizers["adamw8bit"] or ())


@pytest.fixture
def other_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pinned release's file with another default in one line."""
    text = (shipped.RELEASES / f"{shipped.PINNED_RELEASE}.json").read_text(encoding="utf-8")
    line = '{"name": "max_train_steps", "type": "int", "default": 1600}'
    assert text.count(line) == 1
    (tmp_path / f"{shipped.PINNED_RELEASE}.json").write_text(text.replace(line, line.replace("1600", "1700")), "utf-8")
    caches = (shipped.table, shipped.defaults)
    monkeypatch.setattr(shipped, "RELEASES", tmp_path)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("other_default")
def test_a_default_stands_in_one_line_of_one_file_and_all_that_is_told_follows_it() -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("max_train_steps", None, "--set")])
    late = presets.load(
        Kind.LORA, "dim32-gc", [Override("max_train_steps", None, "--set"), Override("initial_step", 1650, "--set")]
    )

    assert bucketing.arrange(recipe, []).steps == 1700
    assert not list(rules.problems(late))
    assert option_translation.is_off("max_train_steps", 1700)
    assert not option_translation.is_off("max_train_steps", 1600)
    assert exporting.kohya_gui(recipe).fields["max_train_steps"] == 1700
    properties = json_schema.build(shipped.table(), None, {})["properties"]
    assert isinstance(properties, dict)
    assert properties["max_train_steps"]["default"] == 1700


def test_no_module_reads_the_files_when_it_is_imported() -> None:
    code = (
        "import importlib, pkgutil, sdxl_train_cli\n"
        "for found in pkgutil.walk_packages(sdxl_train_cli.__path__, 'sdxl_train_cli.'):\n"
        "    if '.inside' not in found.name and not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "from sdxl_train_cli.sdscripts import shipped\n"
        "print(shipped.table.cache_info().misses)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")

    assert ran.stdout == "0\n"
