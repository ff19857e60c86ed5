"""Sample pictures are found as they come, and one of a single colour is told from one that shows something."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sdxl_train_cli.run import samples
from sdxl_train_cli.run.samples import NewSamples


def test_only_pictures_that_came_since_are_new(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "old.png")
    seen = NewSamples(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "new.png")
    (tmp_path / "notes.txt").write_text("no picture")

    assert seen.new() == [tmp_path / "new.png"]
    assert seen.new() == []


def test_a_folder_that_comes_later_is_looked_into(tmp_path: Path) -> None:
    seen = NewSamples(tmp_path / "sample")
    assert seen.new() == []
    (tmp_path / "sample").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "sample" / "a.png")

    assert len(seen.new()) == 1


def test_one_colour_has_no_spread_and_a_gradient_has(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "flat.png")
    Image.linear_gradient("L").save(tmp_path / "gradient.png")
    (tmp_path / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")

    assert samples.color_spread(tmp_path / "flat.png") == 0
    assert samples.color_spread(tmp_path / "gradient.png") == 255
    assert samples.color_spread(tmp_path / "half.png") is None
