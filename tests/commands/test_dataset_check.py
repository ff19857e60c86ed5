"""`sdxl-train dataset check`, as it is typed."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from conftest import Cli, write_pictures
from odd_files import photo
from patience import until
from PIL import Image

from sdxl_train_cli.dataset.survey_cache import NAME

MAKER, ORIENTATION = 271, 274
"""EXIF tags."""
CLEAN = "3 pictures, 3 captions in {}: nothing is wrong\n"


def good(folder: Path, count: int = 3, caption: str = "a photo of ohwx") -> Path:
    """Pictures with nothing to say of them, but that they are few."""
    folder.mkdir(parents=True)
    for number in range(count):
        noise = Image.effect_noise((8, 8), 100).resize((1024, 1024))
        Image.merge("RGB", (noise, noise, noise)).save(folder / f"{number}.jpg")
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
    return folder


@pytest.fixture
def bare(tmp_path: Path, cli: Cli) -> Cli:
    """Without an environment, as before the first `sdxl-train setup`, and with a cache of its own."""
    return Cli(
        tmp_path, {**cli.environ, "SDXL_TRAIN_HOME": str(tmp_path / "none"), "SDXL_TRAIN_CACHE": str(tmp_path / "kept")}
    )


STEPS = ("--steps", "100")
"""Of which each of three pictures is seen 33 times."""


@pytest.mark.parametrize("name", ["pictures", "Мои фото и подписи", "old [1] {2}"])
def test_a_clean_folder_is_told_in_one_line_with_or_without_an_environment(
    cli: Cli, bare: Cli, tmp_path: Path, name: str
) -> None:
    data = good(tmp_path / name)

    for run in (cli, bare):
        done = run("dataset", "check", data, *STEPS, "--strict")
        assert (done.code, done.stdout, done.stderr) == (0, CLEAN.format(data), "")


def test_errors_end_with_4_and_warnings_only_where_that_is_asked_for(bare: Cli, tmp_path: Path) -> None:
    data = good(tmp_path / "pictures")
    (data / "old.gif").touch()
    lax, strict = bare("dataset", "check", data, *STEPS), bare("dataset", "check", data, *STEPS, "--strict")
    (data / "4.jpg").write_bytes(b"")
    broken = bare("dataset", "check", data, *STEPS)

    assert (lax.code, strict.code, broken.code) == (0, 4, 4)
    assert lax.stdout == strict.stdout
    assert broken.stdout.splitlines() == [
        "error: 4.jpg is not a readable picture",
        "  hint: delete it, or save it again as png or jpg",
        f"warning: no caption for 1 of 4 in {data}: training uses an empty one",
        "  4.jpg",
        '  hint: --trigger "ohwx woman", or write captions beside the pictures',
        "warning: old.gif: sd-scripts can't read this kind of picture",
        "  hint: convert them to png or jpg",
        f"4 pictures, 3 captions in {data}: 1 error and 2 warnings",
    ]


def test_of_many_files_ten_are_named_and_json_has_all(bare: Cli, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "pictures", 30)
    told = bare("dataset", "check", data).stdout
    found = json.loads(bare("dataset", "check", data, "--json").stdout)
    enlarged = next(each for each in found["findings"] if each["kind"] == "enlarged")

    assert "warning: 30 pictures are enlarged, and train blurred\n  0.png: 18.7 times\n" in told
    assert "\n  and 20 more: --json names all\n" in told
    assert (found["pictures"], found["captions"], found["errors"]) == (30, 30, 0)
    assert (enlarged["severity"], len(enlarged["files"])) == ("warning", 30)
    assert enlarged["files"][0] == {"path": str(data / "0.png"), "detail": "18.7 times"}


def test_the_project_file_says_what_is_looked_at_and_for_what(bare: Cli, tmp_path: Path) -> None:
    data = good(tmp_path / "pictures", caption="a photo of abcd")
    project = {"kind": "locon", "data": "pictures", "trigger": "abcd", "set": {"resolution": "512,512"}}
    (tmp_path / "sdxl-train.yaml").write_text(json.dumps(project), encoding="utf-8")

    as_written = bare("dataset", "check", *STEPS, cwd=tmp_path)
    otherwise = bare("dataset", "check", data, *STEPS, "--trigger", "ohwx", "--resolution", "2048", cwd=tmp_path)

    assert (as_written.code, as_written.stdout) == (0, CLEAN.format(data))
    assert "warning: no caption in " in otherwise.stdout
    assert "3 pictures are enlarged" in otherwise.stdout


def test_without_a_name_the_folder_data_is_looked_at(bare: Cli, tmp_path: Path) -> None:
    none = bare("dataset", "check")
    data = good(tmp_path / "data")

    assert (none.code, none.stderr) == (
        2, "error: no pictures are given, and there is no folder ./data\nhint:  name the folder of pictures\n",
    )  # fmt: skip
    assert bare("dataset", "check", *STEPS).stdout == CLEAN.format(data)


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (("nowhere",), 4, "nowhere does not exist"),
        (("file",), 4, "file is a file, not a folder"),
        (("pictures", "--reg", "nowhere"), 4, "nowhere does not exist"),
        (("pictures", "--preset", "absent"), 3, "no LoRA preset named 'absent'"),
        (("pictures", "--kind", "absent"), 2, "no kind 'absent'"),
        (("pictures", "--steps", "1", "--epochs", "1"), 2, "--steps and --epochs"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_a_hint(
    bare: Cli, tmp_path: Path, typed: tuple[str, ...], code: int, words: str
) -> None:
    good(tmp_path / "pictures", 1)
    (tmp_path / "file").touch()

    done = bare("dataset", "check", *typed)

    assert (done.code, done.stdout) == (code, "")
    assert words in done.stderr
    assert [line[:6] for line in done.stderr.splitlines()] == ["error:", "hint: "]


def test_an_empty_folder_is_told(bare: Cli, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()

    done = bare("dataset", "check", "pictures")

    assert done.code == 4
    assert done.stdout.startswith(f"error: {tmp_path / 'pictures'} holds no picture that sd-scripts can read\n")


def test_photos_of_a_phone_that_lie_on_their_side_are_one_error_with_the_command_that_mends_them(
    bare: Cli, tmp_path: Path
) -> None:
    data = tmp_path / "holiday"
    data.mkdir()
    for number in range(20):
        exif = Image.Exif()
        exif[ORIENTATION], exif[MAKER] = 1 + 5 * (number % 2), "Phone"
        photo(number, (1440, 1080)).save(data / f"IMG_{number:04}.JPG", exif=exif)
        (data / f"IMG_{number:04}.txt").write_text("ohwx woman", encoding="utf-8")

    lines = bare("dataset", "check", data).stdout.splitlines()
    mended = bare("dataset", "fix", data, "--to", tmp_path / "right")

    assert lines == [
        "error: 10 pictures are stored rotated, and sd-scripts ignores their EXIF entry",
        *(f"  IMG_{number:04}.JPG: on its side" for number in range(1, 20, 2)),
        f"  hint: `sdxl-train dataset fix {data} --to NEWDIR` makes a repaired copy",
        f"20 pictures, 20 captions in {data}: 1 error",
    ]
    assert mended.code == 0, mended.stderr
    assert bare("dataset", "check", mended.path).stdout.endswith(": nothing is wrong\n")


@pytest.mark.parametrize("kind", ["lora", "locon", "dreambooth"])
def test_a_training_looks_first_and_does_not_start_with_errors(
    cli: Cli, tmp_path: Path, model: Path, kind: str
) -> None:
    data = good(tmp_path / "pictures")
    (data / "1.jpg").write_bytes(b"")
    (data / "2.txt").write_bytes("café".encode("latin-1"))

    done = cli(kind, "--model", model, "--data", data, "--no-vram-check")

    assert done.code == 4
    assert [line for line in done.stderr.splitlines() if not line.startswith("hint:  ")] == [
        f"error: {data / '1.jpg'} is not a readable picture",
        f"error: {data / '2.txt'} is not UTF-8",
    ]
    assert not (tmp_path / "output").exists()


# --- what is remembered


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals as on Unix")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_stopped_in_the_middle_nothing_is_broken(bare: Cli, tmp_path: Path, name: str) -> None:
    signum = signal.Signals[name]
    data = good(tmp_path / "pictures")
    slow = io.BytesIO()
    Image.linear_gradient("L").resize((6000, 6000)).save(slow, "PNG", compress_level=1)  # small on disk, slow to read
    for number in range(10, 50):
        (data / f"{number}.png").write_bytes(slow.getvalue() + bytes([number]))
        (data / f"{number}.txt").write_text("ohwx", encoding="utf-8")

    with bare.start("dataset", "check", data) as running:
        until((tmp_path / "kept" / NAME).exists)
        running.send(signum)
        stopped = running.end()

    assert stopped.code == (-signum if name == "SIGKILL" else 128 + signum)
    assert (stopped.stdout, stopped.stderr) == ("", "" if name == "SIGKILL" else "\nstopped\n")
    for path in data.glob("[1-9][0-9].*"):
        path.unlink()
    assert bare("dataset", "check", data, *STEPS).stdout == CLEAN.format(data)
    with sqlite3.connect(tmp_path / "kept" / NAME) as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    kept.close()


def test_two_at_once_hinder_each_other_in_nothing(bare: Cli, tmp_path: Path) -> None:
    data = good(tmp_path / "pictures", 12)

    with bare.start("dataset", "check", data) as one, bare.start("dataset", "check", data) as other:
        results = [one.end(), other.end()]

    assert [(done.code, done.stderr) for done in results] == [(0, ""), (0, "")]
    assert results[0].stdout == results[1].stdout


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
def test_where_nothing_can_be_kept_it_is_done_without(bare: Cli, tmp_path: Path) -> None:
    data = good(tmp_path / "pictures")
    (tmp_path / "file").touch()
    full = ("bash", "-c", 'ulimit -f 4; exec "$@"', "bash")
    """Files of 4 kB at most, as on a full disk."""

    in_a_file = bare("dataset", "check", data, *STEPS, SDXL_TRAIN_CACHE=str(tmp_path / "file" / "deep"))
    on_a_full_disk = bare("dataset", "check", data, *STEPS, through=full)
    (tmp_path / "kept" / NAME).write_bytes(os.urandom(5000))
    after_a_broken_one = bare("dataset", "check", data, *STEPS)

    for done in (in_a_file, on_a_full_disk, after_a_broken_one):
        assert (done.code, done.stdout, done.stderr) == (0, CLEAN.format(data), "")
