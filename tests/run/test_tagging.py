"""`sdxl-train dataset caption`, with a stand-in for sd-scripts' tagger that has the real one's habits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result
from patience import until
from PIL import Image

from sdxl_train_cli.dataset.untagged import TaggingJob
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.run import tagging


@pytest.fixture
def tagger(tmp_path: Path) -> Path:
    """A model's folder; the last column is how sure the stand-in is of a tag."""
    folder = tmp_path / "мой tagger"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"a model")
    rows = ("0,general,9,1", "1,blue_sky,0,0.9", "2,grass,0,0.3", "3,miku_(vocaloid),4,0.8")
    (folder / "selected_tags.csv").write_text("\n".join(("tag_id,name,category,count", *rows)), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pictures with odd names: two without a caption, one with an empty one, one with its own."""
    folder = tmp_path / "мои [pics]"
    folder.mkdir()
    for number, name in enumerate(("кот 1.Png", "b.jpg", "c.webp", "own.png")):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(folder / name)
    (folder / "c.txt").write_text(" \n", encoding="utf-8")
    (folder / "own.txt").write_text("my own\n", encoding="utf-8")
    return folder


def captions(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.txt")}


@pytest.fixture
def caption(main: Callable[..., Result], data: Path, tagger: Path) -> Callable[..., Result]:
    return lambda *options: main("dataset", "caption", data, "--model", tagger, *options)


def test_pictures_without_a_caption_get_tags_and_others_keep_theirs(caption: Callable[..., Result], data: Path) -> None:
    result = caption()

    assert result.code == 0, result.stderr
    tags = "blue sky, miku (vocaloid)\n"
    assert captions(data) == {"кот 1.txt": tags, "b.txt": tags, "c.txt": tags, "own.txt": "my own\n"}
    assert "3 captions written" in result.stderr
    assert "1 pictures keep their captions" in result.stderr


def test_the_threshold_and_the_trigger_count(caption: Callable[..., Result], data: Path) -> None:
    assert caption("--threshold", 0.2, "--trigger", "Grass").code == 0

    assert captions(data)["b.txt"] == "Grass, blue sky, miku (vocaloid)\n"


def test_captions_are_overwritten_only_when_told(caption: Callable[..., Result], data: Path) -> None:
    (data / "own.txt").rename(data / "own.caption")

    assert caption("--overwrite").code == 0

    assert (data / "own.caption").read_text(encoding="utf-8") == "blue sky, miku (vocaloid)\n"
    assert "own.txt" not in captions(data)


def test_new_captions_have_the_suffix_that_the_folder_has(caption: Callable[..., Result], data: Path) -> None:
    (data / "c.txt").unlink()
    (data / "own.txt").rename(data / "own.caption")

    caption()

    assert {file.name for file in data.glob("*.caption")} == {"кот 1.caption", "b.caption", "c.caption", "own.caption"}
    assert not captions(data)


def test_numbered_folders_are_all_looked_at(main: Callable[..., Result], tmp_path: Path, tagger: Path) -> None:
    for folder in ("10_cat", "3_a dog"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "data" / folder / "a.png")

    assert main("dataset", "caption", tmp_path / "data", "--model", tagger).code == 0

    assert all((tmp_path / "data" / folder / "a.txt").is_file() for folder in ("10_cat", "3_a dog"))


def test_a_broken_picture_is_told_and_the_others_are_tagged(caption: Callable[..., Result], data: Path) -> None:
    (data / "b.jpg").write_bytes(b"no picture")

    result = caption()

    assert result.code == 4
    assert f"error: {data / 'b.jpg'} is not a readable picture" in result.stderr
    assert set(captions(data)) == {"кот 1.txt", "c.txt", "own.txt"}


def test_a_picture_without_tags_gets_no_caption(
    caption: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN_TAGGER", "silent@0")

    result = caption()

    assert result.code == 0
    assert "no tag reached 0.35, so no caption: b.jpg" in result.stderr
    assert "b.txt" not in captions(data)


def test_a_failure_is_told_in_a_line_and_loses_nothing(
    caption: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("STANDIN_TAGGER", "crash@2")

    result = caption()

    assert result.code == 4
    assert "error: the tagger failed: RuntimeError: the stand-in was told to crash" in result.stderr
    assert str(home / "tagger.log") in result.stderr
    assert {name for name, text in captions(data).items() if "sky" in text} == {"b.txt", "c.txt"}
    monkeypatch.delenv("STANDIN_TAGGER")
    assert caption().code == 0


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_it_and_keeps_every_whole_caption(
    cli: Cli, data: Path, tagger: Path, signum: signal.Signals, code: int
) -> None:
    with cli.start("dataset", "caption", data, "--model", tagger, STANDIN_TAGGER="hang@2") as running:
        until(lambda: len(captions(data)) == 3 and (data / "c.txt").stat().st_size > 2)
        running.send(signum)
        result = running.end()

    assert result.code == code, result.stderr
    assert set(captions(data)) == {"b.txt", "c.txt", "own.txt"}
    assert not any("half" in text for text in captions(data).values())
    assert not [file for file in data.iterdir() if file.name.startswith(".")]


def test_a_model_that_must_be_fetched_from_a_hub_that_is_away_is_told_before_anything_starts(
    cli: Cli, data: Path
) -> None:
    result = cli("dataset", "caption", data)

    assert result.code == 4
    assert f"the tagger {tagging.USUAL_MODEL} must be fetched once, and http://127.0.0.1:9 can't" in result.stderr


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nowhere", "no folder"),
        ("мои [pics]", "it has no model.onnx and no selected_tags.csv"),
        ("a/b/c/d", "is not a name"),
    ],
)
def test_a_model_that_is_none_is_told(main: Callable[..., Result], data: Path, given: str, words: str) -> None:
    result = main("dataset", "caption", data, "--model", given)

    assert result.code == 4
    assert words in result.stderr
    assert f"hint:  --model {tagging.USUAL_MODEL}" in result.stderr


def test_a_list_of_tags_that_is_none_is_told(caption: Callable[..., Result], tagger: Path) -> None:
    (tagger / "selected_tags.csv").write_bytes(b"\xff\xfe nonsense")

    result = caption()

    assert result.code == 4
    assert "is not a tagger's list of tags" in result.stderr


def test_nothing_starts_where_every_picture_has_a_caption(main: Callable[..., Result], data: Path) -> None:
    for name in ("кот 1", "b", "c"):
        (data / f"{name}.txt").write_text("a cat", encoding="utf-8")

    assert main("dataset", "caption", data, "--model", "nowhere at all").code == 0


def test_without_the_extra_the_command_that_installs_it_is_named(
    caption: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Environment, "has", lambda _self, extra: extra is not Extra.TAGGER)

    result = caption()

    assert result.code == 5
    assert "onnxruntime (for the tagger) is not installed, and this command needs it" in result.stderr
    assert "hint:  run `sdxl-train setup --extra tagger`" in result.stderr


def test_a_caption_that_somebody_writes_meanwhile_is_kept(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    jobs = [
        TaggingJob(tmp_path / "a.png", tmp_path / "a.txt"),
        TaggingJob(tmp_path / "a.png", tmp_path / "b.txt", replaces_words=True),
    ]
    desk = tagging._LinkFolder(tmp_path / "links", jobs, None)  # noqa: SLF001 - between its start and its end
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("mine\n", encoding="utf-8")
    for file in ("000000.txt", "000001.txt"):
        (tmp_path / "links" / file).write_text("tag\n", encoding="utf-8")

    assert desk.collect() == len(jobs)
    assert captions(tmp_path) == {"a.txt": "mine\n", "b.txt": "tag\n"}
    assert desk.kept == [tmp_path / "a.txt"]
