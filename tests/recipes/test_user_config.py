"""The user's config file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipes import user_config
from sdxl_train_cli.recipes.user_config import UserConfig


def test_without_a_config_file_nothing_is_set(tmp_path: Path) -> None:
    assert user_config.load(tmp_path) == UserConfig()


def test_the_config_file_names_source_and_home(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("source: ../sd-scripts\nhome: ~/big disk\n", encoding="utf-8")

    assert user_config.load(tmp_path) == UserConfig(source="../sd-scripts", home="~/big disk")


def test_the_config_file_knows_no_other_key(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("homes: x\n", encoding="utf-8")

    with pytest.raises(RecipeError, match=r"config\.yaml:1: unknown key 'homes'"):
        user_config.load(tmp_path)
