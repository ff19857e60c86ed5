"""`sdxl-train share`: what a person sees, and one clear line with a hint for what can't be shared."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import kept_runs
import pytest
import shared_runs
from conftest import Result

from sdxl_train_cli import process

Main = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shared_runs.keep(tmp_path / "output" / "cat")


@pytest.mark.usefixtures("run")
def test_the_path_is_on_stdout_and_what_is_in_it_and_left_out_on_stderr(main: Main, tmp_path: Path) -> None:
    told = main("share", "cat")

    assert (told.code, told.path) == (0, tmp_path / "share" / "cat")
    assert "previews/2.png" in told.stderr
    assert "left out (the words of the captions): metadata ss_tag_frequency" in told.stderr
    assert "warning" not in told.stderr


@pytest.mark.usefixtures("run")
def test_a_dry_run_writes_nothing(main: Main, tmp_path: Path) -> None:
    told = main("share", "cat", "-o", "out.zip", "--civitai", "--dry-run")

    assert (told.code, told.stdout) == (0, "")
    assert "would make" in told.stderr
    assert "civitai.md" in told.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in {"share", "out.zip"}) == []


@pytest.mark.usefixtures("run")
def test_json_is_all_of_it_and_nothing_else(main: Main, tmp_path: Path) -> None:
    found = json.loads(main("share", "cat", "--json", "-o", "out").stdout)

    assert (found["path"], found["written"], found["uploaded"]) == (str(tmp_path / "out"), True, None)
    assert set(found["files"]) == {"cat.safetensors", "README.md", "SHA256SUMS", "previews/1.png", "previews/2.png"}
    assert (found["base"], found["licence"]) == ("SDXL 1.0", "CreativeML Open RAIL++-M")
    assert {"where": "metadata ss_tag_frequency", "why": "the words of the captions"} in found["left_out"]


@pytest.mark.usefixtures("run")
def test_the_run_may_be_named_by_its_folder_or_its_file(main: Main, tmp_path: Path) -> None:
    for at, named in enumerate(("cat", "output/cat", "output/cat/cat.safetensors")):
        assert main("share", named, "-o", f"out{at}").code == 0
    cards = {(tmp_path / f"out{at}" / "README.md").read_bytes() for at in range(3)}
    assert len(cards) == 1


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ("cot", 2, "no run 'cot'"),
        ("cat --checkpoint 4", 2, "no checkpoint '4'"),
        ("none.safetensors", 2, "no run"),
        ("cat --to civitai", 2, "--to takes hub"),
        ("cat --repo me/cat", 2, "add --to hub"),
        ("cat --private", 2, "add --to hub"),
        ("cat --to hub -o out.zip", 2, "give -o a folder"),
        ("cat --to hub -o out.rar", 2, "give -o a folder"),
        ("cat --to hub --repo a/b/c", 2, "--repo takes USER/NAME"),
        ("cat --strength 3", 2, "--strength takes 0 to 2"),
        ("cat --preview none.png", 2, "no picture at"),
        ("cat --preview none.png --no-previews", 2, "leave out one of them"),
        ("cat --name a/b", 2, "no name for a file"),
        ("cat -o output", 2, "it is no share"),
        ("output/cat/cat.safetensors --checkpoint 3", 2, "leave out --checkpoint"),
        ("ended", 2, "has no final .safetensors file"),
    ],
)
@pytest.mark.usefixtures("run")
def test_what_is_wrong_is_one_error_with_a_hint(main: Main, tmp_path: Path, typed: str, code: int, words: str) -> None:
    kept_runs.keep(tmp_path / "output" / "ended", {"outcome": "failed"})
    told = main("share", *shlex.split(typed))

    assert (told.code, told.stdout) == (code, "")
    assert words in told.stderr
    assert told.stderr.count("error: ") == 1
    assert "hint: " in told.stderr
    assert not (tmp_path / "share").exists()


@pytest.mark.skipif(process.WINDOWS, reason="splits the hint as a POSIX shell does")
@pytest.mark.parametrize("typed", [".", "~", "мои картинки", "my pictures/", "linked"])
@pytest.mark.usefixtures("run")
def test_a_folder_of_other_things_is_answered_with_a_place_in_it(
    main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    for name in ("home", "мои картинки", "my pictures"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"")
    (tmp_path / "linked").symlink_to(tmp_path / "home", target_is_directory=True)

    refused = main("share", "cat", "-o", typed)
    hint = shlex.split(refused.stderr.partition("hint: ")[2])
    assert (refused.code, hint[0], Path(hint[1]).name) == (2, "-o", "cat")
    shared = main("share", "cat", *hint)

    assert (shared.code, shared.path) == (0, Path(hint[1]).absolute())
    assert (shared.path / "cat.safetensors").is_file()


@pytest.mark.parametrize("typed", ["x.rar", "x.7z", "x.tar", "x.tar.gz", "x.TGZ", "x.safetensors"])
@pytest.mark.usefixtures("run")
def test_no_folder_is_called_like_a_file_of_another_kind(main: Main, tmp_path: Path, typed: str) -> None:
    told = main("share", "cat", "-o", typed)

    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.endswith("hint:  -o x.zip\n")
    assert not (tmp_path / typed).exists()


@pytest.mark.usefixtures("run")
def test_best_is_the_one_that_the_ranking_names(main: Main, tmp_path: Path) -> None:
    best = json.loads(main("best", "cat", "--json").stdout)
    shared = main("share", "cat", "--checkpoint", "best", "-o", "out")

    assert shared.code == 0
    named = Path(str(best["best"]["file"] if isinstance(best["best"], dict) else best["best"])).name
    moment = "" if named == "cat.safetensors" else "saved at step 3"
    assert moment in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("run")
def test_a_place_that_can_not_be_written_is_told(main: Main, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")

    told = main("share", "cat", "-o", "file/out")
    assert told.code == 2
    assert "can't be written" in told.stderr


@pytest.mark.skipif(process.WINDOWS, reason="sends SIGINT")
def test_ctrl_c_leaves_nothing(run: Path, tmp_path: Path) -> None:
    """The trained file of 400 MB of zeros takes long enough to be cut off."""
    whole = (run / "cat.safetensors").read_bytes()
    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    header["lora_unet_more.alpha"] = {"dtype": "F32", "shape": [100_000_000], "data_offsets": [0, 400_000_000]}
    text = json.dumps(header).encode()
    with (run / "cat.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + 400_000_000)
    place = tmp_path / "there"
    place.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "sdxl_train_cli", "share", str(run), "-o", str(place / "out")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while child.poll() is None and not any(place.iterdir()):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, told = child.communicate(timeout=60)

    assert (child.returncode, told.strip()[-7:]) == (130, "stopped")
    assert list(place.iterdir()) == []
