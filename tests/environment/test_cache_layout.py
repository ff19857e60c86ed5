"""Whether latents of several sizes have a cache on disk of their own is read from the installed sd-scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.environment import cache_layout, environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home


@pytest.mark.parametrize(("call", "apart"), [("(8, reso, multi_resolution=True)", True), ("(8, reso)", False)])
def test_the_installed_code_says_whether_sizes_share_a_cache(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str, apart: bool
) -> None:
    installed = environment.require(Home(home))
    assert cache_layout.keeps_sizes_apart(installed)
    monkeypatch.setattr(Environment, "checkout", tmp_path)
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "strategy_sd.py").write_text(f"expected{call}\n", encoding="utf-8")

    assert cache_layout.keeps_sizes_apart(installed) is apart
