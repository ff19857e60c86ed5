"""`dataset show`, as it is typed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Result
from odd_files import photo, saved
from web_browser import data

Facts = dict[str, Any]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two folders with repeats: of several shapes, a copy, a broken file, captions and names that are hard to print."""
    folder = tmp_path / "кот [old]"
    for number, size in enumerate(((1024, 1024), (1024, 1024), (1500, 1000), (300, 420))):
        saved(folder / "3_cat" / f"{number}.png", photo(number, size), f"ohwx cat, on a mat, {number}")
    saved(folder / "3_cat" / "copy.png", photo(0), "ohwx cat")
    saved(folder / "2_ohwx woman" / "line\nend [b].png", photo(9), "</script><b>кошка, \x1b[31mred")
    (folder / "2_ohwx woman" / "broken.png").write_bytes((folder / "3_cat" / "1.png").read_bytes()[:9000])
    return folder


def facts(cli: Cli, *arguments: object, cwd: Path | None = None) -> Facts:
    result = cli("dataset", "show", *arguments, "--json", cwd=cwd)
    assert result.code == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def on_a_terminal(cli: Cli, *arguments: object, columns: int = 80) -> list[str]:
    result = cli("dataset", "show", *arguments, FORCE_COLOR="1", COLUMNS=str(columns))
    assert result.code == 0, result.stderr
    return ANSI.sub("", result.stdout).splitlines()


def refused(result: Result, code: int) -> str:
    assert (result.code, result.stdout) == (code, "")
    assert "Traceback" not in result.stderr
    return result.stderr


# --- JSON


def test_json_has_counts_buckets_and_steps(fresh: Cli, mixed: Path) -> None:
    found = facts(fresh, mixed, "--batch-size", "2", "--epochs", "4", "--set", "gradient_accumulation_steps=2")

    assert (found["kind"], found["preset"], found["pictures"], found["regularisation"]) == ("lora", "dim32-gc", 7, 0)
    assert [(each["path"], each["repeats"], each["pictures"], each["captions"]) for each in found["folders"]] == [
        (str(mixed / "2_ohwx woman"), 2, 2, 1), (str(mixed / "3_cat"), 3, 5, 5),
    ]  # fmt: skip
    assert [(each["width"], each["height"], each["count"], each["batches"]) for each in found["buckets"]] == [
        (832, 1216, 3, 2), (1024, 1024, 11, 6), (1216, 832, 3, 2),
    ]  # fmt: skip
    assert (found["pictures_per_epoch"], found["batches_per_epoch"]) == (17, 10)
    assert (found["steps_per_epoch"], found["steps"], found["epochs"], found["is_exact"]) == (5, 20, 4.0, True)


def test_json_has_each_picture_with_its_crop_caption_and_tokens(fresh: Cli, mixed: Path) -> None:
    found = facts(fresh, mixed)
    (wide,) = found["buckets"][2]["pictures"]

    assert wide == {
        "path": str(mixed / "3_cat" / "2.png"), "width": 1500, "height": 1000, "repeats": 3, "is_reg": False,
        "resized": [1248, 832], "crop": [19, 0, 1481, 1000], "enlarged": 0.832, "lost": 0.0256,
        "caption": "ohwx cat, on a mat, 2", "tokens": wide["tokens"],
    }  # fmt: skip
    assert 8 <= wide["tokens"] <= 10
    assert {each["path"] for bucket in found["buckets"] for each in bucket["pictures"]} >= {
        str(mixed / "2_ohwx woman" / "line\nend [b].png")
    }


def test_json_has_problems_duplicates_and_what_cannot_be_read(fresh: Cli, mixed: Path) -> None:
    found = facts(fresh, mixed)
    kinds = {each["kind"]: (each["severity"], len(each["files"])) for each in found["findings"]}

    assert kinds["truncated"] == ("error", 1)
    assert kinds["duplicate"] == ("warning", 2)
    assert kinds["enlarged"] == ("warning", 1)
    assert found["duplicates"] == [
        {"kind": "duplicate", "pictures": [str(mixed / "3_cat" / name) for name in ("0.png", "copy.png")]}
    ]
    assert [each["path"] for each in found["unreadable"]] == [str(mixed / "2_ohwx woman" / "broken.png")]
    assert found["unreadable"][0]["error"]


def test_json_counts_tags_sizes_and_lengths(fresh: Cli, mixed: Path) -> None:
    found = facts(fresh, mixed)

    assert found["sizes"][0] == {"width": 1024, "height": 1024, "pictures": 4}
    assert found["tags"][:2] == [{"tag": "ohwx cat", "pictures": 5}, {"tag": "on a mat", "pictures": 4}]
    assert {"tag": "</script><b>кошка", "pictures": 1} in found["tags"]
    assert sum(bar["captions"] for bar in found["caption_lengths"]["bars"]) == 6


def test_regularisation_counts_in_the_steps(fresh: Cli, tmp_path: Path) -> None:
    for number in range(6):
        saved(tmp_path / "data" / f"{number}.png", photo(number), "ohwx cat")
    saved(tmp_path / "reg" / "a.png", photo(7), "a cat")
    found = facts(fresh, tmp_path / "data", "--reg", tmp_path / "reg", "--repeats", "2", "--epochs", "3")

    # 6 pictures twice and one for regularisation as often as all of them: 24 batches of one
    assert (found["regularisation"], found["pictures_per_epoch"]) == (1, 24)
    assert (found["batches_per_epoch"], found["steps_per_epoch"], found["steps"]) == (24, 24, 72)


# --- on a terminal, in a pipe


def test_tables_fit_into_80_columns(fresh: Cli, mixed: Path) -> None:
    lines = on_a_terminal(fresh, mixed.relative_to(fresh.folder), "--steps", "1000")
    text = "\n".join(lines)

    assert max(map(len, lines)) <= 80
    assert "1024x1024         4        11       11         0%         -  " in text
    assert re.search(r"^832x1216 +1 +3 +3 +\d% +2\.9x ", text, re.MULTILINE)
    assert re.search(r"^ohwx cat +5 +\S+$", text, re.MULTILINE)
    assert re.search(r"^the run +1000 steps, 58\.82 epochs *$", text, re.MULTILINE)


@pytest.mark.parametrize("columns", [80, 120])
def test_no_row_of_buckets_is_folded(fresh: Cli, mixed: Path, columns: int) -> None:
    lines = on_a_terminal(fresh, mixed, columns=columns)
    start = next(at for at, line in enumerate(lines) if line.startswith("bucket"))

    assert [line.split()[0] for line in lines[start : start + 4]] == ["bucket", "832x1216", "1024x1024", "1216x832"]


def test_in_a_pipe_a_row_is_a_line_and_nothing_of_a_caption_reaches_the_terminal_as_it_is(
    fresh: Cli, mixed: Path
) -> None:
    result = fresh("dataset", "show", mixed)

    assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b[31mred" in result.stdout
    assert f"       2         1        2  {mixed / '2_ohwx woman'}" in result.stdout.splitlines()
    assert "1 can't be decoded" in result.stdout
    assert "errors    truncated" in result.stdout
    assert "sdxl-train dataset check" in result.stderr


def test_many_buckets_are_cut_short(fresh: Cli, tmp_path: Path) -> None:
    for number in range(45):
        saved(tmp_path / "data" / f"{number}.png", photo(number, (128, 128 + 64 * number)), "cat")
    result = fresh("dataset", "show", tmp_path / "data", "--set", "bucket_no_upscale=true")

    assert result.code == 0, result.stderr
    assert "more buckets with fewer pictures: --json has all" in result.stdout
    assert len(result.stdout.splitlines()) < 90


# --- settings


def test_what_is_not_typed_comes_from_the_project_file(fresh: Cli, tmp_path: Path, mixed: Path) -> None:
    saved(tmp_path / "reg" / "1_cat" / "a.png", photo(20), "a cat")
    (tmp_path / "sdxl-train.yaml").write_text(
        f"kind: locon\ndata: '{mixed.name}'\nreg: reg\ntrigger: zzz\n"
        "set:\n  train_batch_size: 3\n  resolution: 768,768\n  min_bucket_reso: 256\n",
        encoding="utf-8",
    )
    own = facts(fresh)
    typed = facts(fresh, mixed / "3_cat", "--trigger", "cat", "--batch-size", "1")

    assert (own["kind"], own["batch_size"], own["regularisation"]) == ("locon", 3, 1)
    assert {"width": 768, "height": 768}.items() <= own["buckets"][1].items()
    assert own["folders"][1]["caption_prefix"] == "zzz,"
    assert (typed["kind"], typed["batch_size"], typed["regularisation"]) == ("locon", 1, 1)
    assert typed["folders"][0]["caption_prefix"] is None  # the captions have it
    assert facts(fresh, mixed.name, "--kind", "lora", "--preset", "dim32-gc")["kind"] == "lora"


def test_options_are_those_of_the_installed_sd_scripts_where_there_are_some(cli: Cli, fresh: Cli, mixed: Path) -> None:
    assert "no_such_option" in refused(cli("dataset", "show", mixed, "--set", "no_such_option=1"), 3)
    assert "kind" in refused(fresh("dataset", "show", mixed, "--kind", "lola"), 2)
    assert "--steps and --epochs" in refused(fresh("dataset", "show", mixed, "--steps", "9", "--epochs", "9"), 2)


# --- what can't be shown


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere", "does not exist"), ("empty", "holds no picture"), ("a.txt", "is a file, not a folder")],
)
def test_where_there_are_no_pictures_it_says_so(fresh: Cli, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    told = refused(fresh("dataset", "show", tmp_path / name), 4)

    assert words in told
    assert "hint: " in told


def test_pictures_of_which_none_can_be_decoded_are_shown_as_that(fresh: Cli, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"no picture")
    result = fresh("dataset", "show", tmp_path / "data", "--html", tmp_path / "page.html")
    found = facts(fresh, tmp_path / "data")

    assert result.code == 0, result.stderr
    assert (found["buckets"], found["steps_per_epoch"], found["epochs"]) == ([], 0, 0)
    assert len(found["unreadable"]) == 1


# --- the page


def test_the_page_is_one_file_and_its_path_goes_to_stdout(fresh: Cli, mixed: Path, tmp_path: Path) -> None:
    result = fresh("dataset", "show", mixed, "--html", "page кот.html")
    content = data(result.path.read_text(encoding="utf-8"))

    assert result.path == tmp_path / "page кот.html"
    assert "MB" in result.stderr or "kB" in result.stderr
    assert len(content["cards"]) == len(content["sources"]) == 7  # type: ignore[arg-type]
    assert [each["kind"] for each in content["alike"]] == ["duplicate"]  # type: ignore[attr-defined]
    assert {each["kind"] for each in content["findings"]} >= {"truncated", "duplicate"}  # type: ignore[attr-defined]


def test_the_page_may_be_given_as_a_folder_and_with_json(fresh: Cli, mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    assert facts(fresh, mixed, "--html", tmp_path / "out")["page"] == str(tmp_path / "out" / "dataset.html")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dataset.html"]


@pytest.mark.parametrize(("folder", "words"), [("file", "is a file"), ("nowhere", "does not exist")])
def test_a_page_that_has_no_place_is_told_before_anything_is_looked_at(
    fresh: Cli, tmp_path: Path, folder: str, words: str
) -> None:
    (tmp_path / "file").touch()
    told = refused(fresh("dataset", "show", tmp_path / "no pictures", "--html", tmp_path / folder / "page.html"), 2)

    assert f"{folder} {words}" in told
    assert "--html" in told


def test_the_originals_and_their_folder_stay_as_they_are(fresh: Cli, mixed: Path) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in [mixed, *mixed.rglob("*")]}

    before = state()
    fresh("dataset", "show", mixed, "--html", "page.html")

    assert state() == before
