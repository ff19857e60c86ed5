"""Whatever stands in a dataset's files and flags: a call ends, with facts or with an error in words.

`SDXL_TRAIN_EXAMPLES=2000` tries that many; the same ones each time.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result
from odd_files import picture
from PIL import Image

from sdxl_train_cli.dataset import checking, decode_memory, fix_sources, fixing, sources, untagged
from sdxl_train_cli.dataset.checking import DatasetSource
from sdxl_train_cli.dataset.convert_picture import Alpha
from sdxl_train_cli.dataset.file_facts import FileFault
from sdxl_train_cli.dataset.fix_journal import NAME
from sdxl_train_cli.dataset.fix_request import build
from sdxl_train_cli.dataset.picture import read_facts
from sdxl_train_cli.errors import DatasetError, SdxlTrainError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets

Main = Callable[..., Result]
EXAMPLES = int(os.environ.get("SDXL_TRAIN_EXAMPLES", "120"))
SECONDS = 10.0
LONG, NUL, HALF = "a caption " * 30, "a\0b", "\ud800"
TEXTS = (
    "a.png",
    "b.png",
    "",
    ".",
    "..",
    "../../a.png",
    "/etc/passwd",
    "/dev/zero",
    LONG,
    NUL,
    HALF,
    "\x1b[31m",
    "\n",
    "~",
)
NUMBERS = (0, -1, 1, 10**400, -(10**400), 1e308, True)
ANY = (*TEXTS, *NUMBERS, None, [], {}, [[[[]]]], ["a"], float("inf"), float("nan"))
KEYS = ("image_dir", "num_repeats", "caption_extension", "class_tokens", "metadata_file", "is_reg", "resolution",
        "batch_size", "keep_tokens", "unknown", "caption_prefix", "min_bucket_reso")  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the names are of files that no Windows has")


def config(folder: Path, drawn: random.Random) -> Path:
    def table(*more: str) -> dict[str, object]:
        return {key: drawn.choice(ANY) for key in (*drawn.sample(KEYS, drawn.randrange(4)), *more)}

    dataset = {**table(), "subsets": [{"image_dir": str(folder), **table()} for _ in range(drawn.randrange(1, 3))]}
    content = json.dumps({"datasets": [dataset], **({"general": table()} if drawn.random() < 0.3 else {})})
    return written(folder / "config.json", content, drawn)


def metadata(folder: Path, drawn: random.Random) -> Path:
    form = drawn.choice(("object", "lines", "table"))
    keys = ("file_name", "image_path", "caption", "text", "tags", "unknown")
    rows = [{key: drawn.choice(ANY) for key in drawn.sample(keys, 3)} for _ in range(drawn.randrange(1, 5))]
    if form == "object":
        return written(folder / "meta.json", json.dumps({str(drawn.choice(TEXTS)): row for row in rows}), drawn)
    if form == "lines":
        return written(folder / "metadata.jsonl", "\n".join(map(json.dumps, rows)), drawn)
    lines = [",".join(f'"{value}"' for value in row.values()) for row in rows]
    return written(folder / "metadata.csv", "\n".join([",".join(drawn.sample(keys, 3)), *lines]), drawn)


def written(path: Path, content: str, drawn: random.Random) -> Path:
    """Some files are cut off, or no text."""
    plain = content.encode("utf-8", "surrogatepass")
    path.write_bytes(plain[: drawn.randrange(1, len(plain))] if drawn.random() < 0.1 else plain)
    return path.parent if path.name.startswith("metadata.") and drawn.random() < 0.5 else path


def flags(folder: Path, drawn: random.Random) -> Path:
    return folder / drawn.choice(TEXTS)


MAKERS: tuple[Callable[[Path, random.Random], Path], ...] = (config, metadata, flags)


def call(folder: Path, drawn: random.Random) -> None:
    data = drawn.choice(MAKERS)(folder, drawn)
    reg = folder / drawn.choice(TEXTS) if drawn.random() < 0.2 else None
    repeats = drawn.choice((None, None, 0, -3, 10**400))
    recipe = presets.load(Kind.LORA, "dim32-gc", sources.overrides(data))
    checking.check(DatasetSource(data, reg, repeats, drawn.choice((None, LONG, NUL, HALF))), recipe)
    fix_sources.list_pictures(data)
    untagged.find_untagged(data, overwrite=False)


def test_every_hostile_dataset_ends_in_facts_or_in_an_error_of_ours(tmp_path: Path) -> None:
    slow, refused = list[int](), 0
    for number in range(EXAMPLES):
        folder = tmp_path / str(number)
        for name in ("a.png", "b.png"):
            picture(folder / name, "a cat")
        start = time.process_time()
        try:
            call(folder, random.Random(number))  # noqa: S311 - the same ones each time
        except SdxlTrainError:
            refused += 1
        slow += [number] if time.process_time() - start > SECONDS else []

    assert not slow
    assert 0 < refused < EXAMPLES


def test_a_caption_in_the_place_of_a_name_is_told_as_a_picture_that_is_not_there(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": LONG, "text": "a.png"}), encoding="utf-8")

    checked = checking.check(DatasetSource(tmp_path), None)

    assert "names pictures that do not exist" in str(checked.errors[0].problem)


@pytest.mark.parametrize("name", ["a.png", "a.txt", "a_0064x0048_sdxl.npz"])
def test_a_pipe_in_a_dataset_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    picture(data / "b.png", "a cat")
    if name != "a.png":
        picture(data / "a.png")
    os.mkfifo(data / name)

    checking.check(DatasetSource(data), None)
    fixed = fix(data, tmp_path / "fixed")

    made = {entry.source for entry in fixed.entries if entry.picture}
    assert made == {"a.png", "b.png"} - {name}


def test_a_file_of_50_gb_with_the_name_of_a_picture_is_not_read(tmp_path: Path) -> None:
    os.truncate(picture(tmp_path / "a.png"), 50 << 30)

    facts = read_facts(tmp_path / "a.png")

    assert (facts.fault, facts.error) == (FileFault.TOO_LARGE, "53.7 GB; the limit is 1.1 GB")


def test_a_picture_that_takes_too_much_memory_is_told_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (3000, 2000)).save(tmp_path / "a.webp")
    monkeypatch.setattr(decode_memory, "LARGEST_BYTES", 51_000_000)

    facts = read_facts(tmp_path / "a.webp")

    assert facts.fault is FileFault.TOO_LARGE
    assert facts.error == "6 million pixels; for a WEBP like this the limit is 3 million"


def fix(data: Path, folder: Path) -> fixing.FixResult:
    wanted = build(size=64, alpha=Alpha.WHITE, quality=90, trigger=None, encoding=None, keep_duplicates=True)
    return fixing.fix(fix_sources.list_pictures(data).items, data, folder, wanted, lambda _done, _all: None)


@pytest.mark.parametrize("where", ["../{name}", "{folder}/{name}", "..\\{name}", "./{name}"])
def test_a_strangers_journal_removes_nothing_outside_the_copy(tmp_path: Path, where: str) -> None:
    picture(tmp_path / "data" / "a.png", "a cat")
    copy = tmp_path / "copy"
    fix(tmp_path / "data", copy)
    (tmp_path / "mine.png").write_bytes(b"mine")
    named = where.format(name="mine.png", folder=tmp_path)
    entry = {"source": "gone.png", "picture": named, "caption": None, "did": [], "left_out": None, "look": False,
             "stamp": "", "size": 4}  # fmt: skip
    with (copy / NAME).open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(entry) + "\n")

    fix(tmp_path / "data", copy)

    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_fix_works_in_no_folder_that_a_link_leads_out_of(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png", "a cat")
    fix(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "copy" / "link").symlink_to(tmp_path)

    with pytest.raises(DatasetError, match="is a link"):
        fix(tmp_path / "data", tmp_path / "copy")


def test_a_journal_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "a.png", "a cat")
    fix(tmp_path / "data", tmp_path / "copy")
    with (tmp_path / "copy" / NAME).open("r+b") as journal:
        journal.truncate(1 << 30)  # takes no room on disk

    tracemalloc.start()
    with pytest.raises(DatasetError, match="larger than 67,108,864 bytes"):
        fix(tmp_path / "data", tmp_path / "copy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


def test_what_was_put_in_the_place_of_a_fixed_picture_is_not_removed(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(tmp_path / "data" / name, name)
    fix(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "copy" / "b.png").write_bytes(b"a drawing of mine")
    (tmp_path / "data" / "b.png").unlink()

    fix(tmp_path / "data", tmp_path / "copy")

    assert (tmp_path / "copy" / "b.png").read_bytes() == b"a drawing of mine"


def test_a_copy_is_not_made_through_a_link(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "2_cat" / "a.png", "a cat")
    picture(tmp_path / "data" / "3_dog" / "b.png", "a dog")
    fix(tmp_path / "data", tmp_path / "copy")
    for file in (tmp_path / "copy" / "2_cat").iterdir():
        file.unlink()
    (tmp_path / "copy" / "2_cat").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy" / "2_cat").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DatasetError, match="is a link"):
        fix(tmp_path / "data", tmp_path / "copy")

    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("flags", [
    ("--steps", "9" * 400), ("--resolution", "9" * 400), ("--set", f"max_bucket_reso={10**9}"),
    ("--set", f"keep_tokens={10**60}"), ("--batch-size", "9" * 100),
])  # fmt: skip
def test_figures_that_no_run_has_are_refused_in_a_line(
    tmp_path: Path, flags: tuple[str, str], main: Callable[..., Result]
) -> None:
    picture(tmp_path / "a.png", "a cat")

    done = main("dataset", "check", str(tmp_path), *flags)

    assert done.code in {2, 3}
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith(("error: ", "Usage: "))


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/a", "a\0b", "\ud800"], ids=["long", "deep", "NUL", "half"])
def test_names_that_no_file_can_have_are_refused_in_a_line(
    tmp_path: Path, name: str, main: Callable[..., Result]
) -> None:
    picture(tmp_path / "a.png", "a cat")
    data = str(tmp_path)
    calls = (["check", name], ["show", name], ["fix", name, "--to", data + "2"], ["check", data, "--reg", name],
             ["fix", data, "--to", f"{data}2/{name}"], ["show", data, "--html", f"{data}/{name}"])  # fmt: skip

    for call_ in calls:
        done = main("dataset", *call_)
        assert done.code in {2, 4}, (call_, done.stderr)
