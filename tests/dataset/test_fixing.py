"""`sdxl-train dataset fix` as a person uses it: the copy, the list of what was done, and an end at any moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli, Result
from PIL import Image

from sdxl_train_cli.dataset import fix_request, sources
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets


def picture(path: Path, number: int, size: tuple[int, int] = (96, 64), **options: object) -> Path:
    """A real picture, unlike every other of its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image.paste((number * 37 % 256, number * 91 % 256, number % 256), (0, 0, size[0] // 2, size[1]))
    image.save(path, **options)  # type: ignore[arg-type]  # Pillow's own
    return path


def caption(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a copy but the lists of what was done."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith((".fix", "fix.")))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def entries(folder: Path) -> dict[str, dict[str, object]]:
    _, *lines = (folder / "fix.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["source"]: entry for entry in map(json.loads, lines)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "мои [pics]"


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "новые"


@pytest.fixture
def fix(main: Callable[..., Result], data: Path, new: Path) -> Callable[..., Result]:
    return lambda *options: main("dataset", "fix", data, "--to", new, *options)


def test_what_is_right_is_copied_byte_for_byte(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "10_cat" / "a.png", 1)
    picture(data / "10_cat" / "b.jpg", 2)
    picture(data / "3_a dog" / "кот.webp", 3)
    caption(data / "10_cat" / "a.txt", "a cat, grass\n")
    before = tree(data)

    result = fix()

    assert (result.code, result.path) == (0, new)
    assert tree(new) == before == tree(data)
    assert "3 pictures, 0 of them changed, 0 left out" in result.stderr


def test_captions_are_cleaned_and_the_trigger_is_put_first(fix: Callable[..., Result], data: Path, new: Path) -> None:
    for number, name in enumerate("abcde"):
        picture(data / f"{name}.png", number)
    caption(data / "a.txt", "grass, Ohwx Cat\r\n\r\nsun\r\n".encode("utf-16"))
    caption(data / "b.caption", "рыжая кошка сидит на диване, большое окно".encode("cp1251"))
    caption(data / "c.TXT", "\ufeff  a cat ")
    caption(data / "d.txt", " \n")

    assert fix("--trigger", "ohwx cat").code == 0

    assert {name: content.decode() for name, content in tree(new).items() if name.endswith(".txt")} == {
        "a.txt": "ohwx cat, grass, sun\n",
        "b.txt": "ohwx cat, рыжая кошка сидит на диване, большое окно\n",
        "c.txt": "ohwx cat, a cat\n",
    }


def test_a_caption_that_can_not_be_read_must_be_looked_at_until_its_encoding_is_named(
    fix: Callable[..., Result], data: Path, new: Path
) -> None:
    picture(data / "a.png", 1)
    caption(data / "a.txt", "кошка".encode("cp1251"))

    result = fix()

    assert result.code == 4
    assert "a.png: caption left out: its encoding can't be detected" in result.stderr
    assert "--encoding" in result.stderr
    assert set(tree(new)) == {"a.png"}
    assert fix("--encoding", "cp1251").code == 0
    assert (new / "a.txt").read_text(encoding="utf-8") == "кошка\n"


def test_a_picture_that_is_there_twice_is_left_out_once(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "a copy.png", 1)
    shutil.copy(data / "a copy.png", data / "cat.png")
    caption(data / "cat.txt", "a cat")

    assert fix().code == 0

    assert set(tree(new)) == {"cat.png", "cat.txt"}
    assert entries(new)["a copy.png"]["left_out"] == "the same picture as cat.png"
    assert fix("--keep-duplicates").code == 0
    assert set(tree(new)) == {"cat.png", "cat.txt", "a copy.png"}


def test_pictures_of_one_stem_get_two_and_a_caption_each(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "a.jpg", 1)
    picture(data / "a.png", 2)
    caption(data / "a.txt", "a cat")

    assert fix().code == 0

    assert set(tree(new)) == {"a.jpg", "a.txt", "a-2.png", "a-2.txt"}


def test_names_become_safe_and_suffixes_tell_the_content(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "10_cat" / "a\nb.Png", 1)
    picture(data / "10_cat" / "scan.tiff", 2)
    picture(data / "10_cat" / "photo.png", 3, format="JPEG")
    picture(data / "10_cat" / "aux.png", 4)

    assert fix().code == 0

    assert set(tree(new)) == {f"10_cat/{name}" for name in ("a_b.png", "scan.png", "photo.jpg", "aux_.png")}
    assert len((new / "fix.log").read_text(encoding="utf-8").splitlines()) == 4


def test_what_is_broken_is_left_out_told_and_all_else_is_done(
    fix: Callable[..., Result], data: Path, new: Path
) -> None:
    picture(data / "a.png", 1)
    whole = picture(data / "b.jpg", 2).read_bytes()
    (data / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (data / "c.png").symlink_to("c.png")
    caption(data / "d.png", "no picture")

    result = fix()

    assert result.code == 4
    assert set(tree(new)) == {"a.png"}
    assert all(f"error: {name}: left out: " in result.stderr for name in ("b.jpg", "c.png", "d.png"))
    assert "Traceback" not in result.stderr
    picture(data / "b.jpg", 2)
    (data / "c.png").unlink()
    (data / "d.png").unlink()
    again = fix()
    assert (again.code, set(tree(new))) == (0, {"a.png", "b.jpg"})
    assert "1 were already done" in again.stderr


def test_large_pictures_shrink_to_what_their_bucket_needs_and_none_grows(
    fix: Callable[..., Result], data: Path, new: Path
) -> None:
    picture(data / "large.jpg", 1, (1200, 800))
    picture(data / "small.jpg", 2, (100, 60))

    assert fix("--size", 256).code == 0

    with Image.open(new / "large.jpg") as image:
        size = image.size
    assert 320 <= size[0] <= 480
    assert size[0] * 800 == pytest.approx(size[1] * 1200, rel=0.01)
    assert (new / "small.jpg").read_bytes() == (data / "small.jpg").read_bytes()


@pytest.mark.parametrize(("width", "height"), [(5000, 5000), (6000, 1000), (1400, 9000), (3000, 2000)])
def test_a_shrunk_picture_still_covers_its_bucket(width: int, height: int) -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc", presets.with_sizes(1024))

    shrunk = fix_request.shrunk_size(recipe, width, height)

    assert shrunk < (width, height)
    assert fix_request.shrunk_size(recipe, *shrunk) == shrunk
    assert min(shrunk) >= min(1024, fix_request.MARGIN * 512)


def test_the_copy_can_be_trained_on(fix: Callable[..., Result], data: Path, new: Path) -> None:
    for number, name in enumerate(("a.Png", "b.gif", "c.tiff", "d.jpg")):
        picture(data / name, number)
        caption(data / f"{name[0]}.caption" if number % 2 else data / f"{name[0]}.txt", "a cat\nsits")

    assert fix().code == 0

    scanned = sources.scan(new, regularisation=None, repeats=None, trigger=None)
    assert (scanned.count, scanned.subsets[0].captions, scanned.notes) == (4, 4, ())


def test_only_what_has_changed_is_done_again(fix: Callable[..., Result], data: Path, new: Path) -> None:
    for number, name in enumerate("abc"):
        picture(data / f"{name}.png", number)
    fix()
    stood = (new / "a.png").stat().st_ino
    picture(data / "b.png", 77)
    (data / "c.png").unlink()
    picture(data / "A.bmp", 78)

    result = fix()

    assert "2 were already done" not in result.stderr
    assert "1 were already done" in result.stderr
    assert (new / "a.png").stat().st_ino == stood
    assert (new / "b.png").read_bytes() == (data / "b.png").read_bytes()
    assert set(tree(new)) == {"a.png", "b.png", "A-2.bmp"}
    fix("--trigger", "x")
    assert (new / "a.png").stat().st_ino != stood


@pytest.mark.parametrize(
    "name", ["../mine.png", "../../mine.png", "a/../../mine.png", "a/b/mine.png", "{}/mine.png", 5]
)
@pytest.mark.parametrize("source", ["a.png", "gone.png"])
def test_a_journal_that_names_files_elsewhere_takes_nothing_away_and_writes_nothing_there(
    fix: Callable[..., Result], data: Path, new: Path, name: str | int, source: str
) -> None:
    """A copy that came from somebody else may say that anything is its product."""
    picture(data / "a.png", 1)
    fix()
    mine = [folder / "mine.png" for folder in (new.parent, new.parent.parent, new / "a" / "b")]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    head, line = (new / "fix.jsonl").read_text(encoding="utf-8").splitlines()
    named = name.format(new.parent) if isinstance(name, str) else name
    forged = {**json.loads(line), "source": source, "picture": named, "caption": named, "stamp": "old"}
    (new / "fix.jsonl").write_text(f"{head}\n{json.dumps(forged)}\n", encoding="utf-8")

    result = fix()

    assert result.code == 0, result.stderr
    assert [path.read_bytes() for path in mine] == [b"mine"] * 3
    assert (new / "a.png").read_bytes() == (data / "a.png").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few people make links")
def test_a_folder_of_the_copy_that_is_a_link_is_refused(
    fix: Callable[..., Result], data: Path, new: Path, tmp_path: Path
) -> None:
    picture(data / "10_cat" / "a.png", 1)
    fix()
    shutil.move(new / "10_cat", tmp_path / "elsewhere")
    (new / "10_cat").symlink_to(tmp_path / "elsewhere")
    (data / "10_cat" / "a.png").unlink()
    picture(data / "10_cat" / "b.png", 2)

    result = fix()

    assert result.code == 4
    assert "is a link, and a fix works only inside its own folder" in result.stderr
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["a.png"]


@pytest.fixture
def many(data: Path) -> Path:
    for number in range(60):
        picture(data / f"{number:02}.png", number, (700, 500), compress_level=1, optimize=False)
        Image.open(data / f"{number:02}.png").convert("RGBA").save(data / f"{number:02}.tiff")
        (data / f"{number:02}.png").unlink()
        caption(data / f"{number:02}.txt", f"cat {number}\n")
    return data


@pytest.mark.parametrize("after", [1, 7, 30])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_fix_goes_on_where_it_stopped(
    cli: Cli, many: Path, new: Path, signum: signal.Signals, after: int
) -> None:
    with cli.start("dataset", "fix", many, "--to", new, "--trigger", "ohwx") as running:
        for _ in waiting():
            if (new / "fix.jsonl").is_file() and len((new / "fix.jsonl").read_bytes().splitlines()) > after:
                break
        running.send(signum)
        ended = running.end()
    assert ended.code == (130 if signum == signal.SIGINT else -signal.SIGKILL)
    done = len((new / "fix.jsonl").read_bytes().splitlines()) - 1
    stood = {file: file.stat().st_ino for file in new.glob("*.png")}

    result = cli("dataset", "fix", many, "--to", new, "--trigger", "ohwx")

    assert result.code == 0, result.stderr
    assert f"{done} were already done" in result.stderr
    assert sum(file.stat().st_ino == inode for file, inode in stood.items()) >= done
    assert len(tree(new)) == 120
    assert (new / "59.txt").read_text(encoding="utf-8") == "ohwx, cat 59\n"
    assert not [*new.glob(".fix-*.new")]


def waiting() -> Iterator[None]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        yield
        time.sleep(0.01)
    pytest.fail("it took more than a minute")


def test_a_half_written_last_line_is_no_obstacle(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "a.png", 1)
    picture(data / "b.png", 2)
    fix()
    journal = (new / "fix.jsonl").read_bytes()
    (new / "fix.jsonl").write_bytes(journal[:-20])

    assert fix().code == 0

    assert set(entries(new)) == {"a.png", "b.png"}


def test_two_at_once_are_told_apart(cli: Cli, many: Path, new: Path) -> None:
    with cli.start("dataset", "fix", many, "--to", new) as running:
        for _ in waiting():
            if (new / "fix.jsonl").is_file():
                break
        second = cli("dataset", "fix", many, "--to", new)
        first = running.end()

    assert (first.code, second.code) in {(0, 4), (0, 0)}  # the first may have ended before the second began
    assert "another fix is running" in second.stderr or "60 were already done" in second.stderr
    assert len(tree(new)) == 120


@pytest.mark.parametrize("where", ["inside", "around", "same"])
def test_neither_folder_may_lie_in_the_other(
    main: Callable[..., Result], data: Path, tmp_path: Path, where: str
) -> None:
    picture(data / "a.png", 1)
    target = {"inside": data / "new", "around": tmp_path, "same": data}[where]

    result = main("dataset", "fix", data, "--to", target)

    assert result.code == 2
    assert "hint:  give --to a new folder" in result.stderr
    assert set(tree(data)) == {"a.png"}


def test_a_folder_with_other_files_is_not_written_into(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "a.png", 1)
    new.mkdir()
    caption(new / "diary.md", "mine")

    result = fix()

    assert result.code == 4
    assert "already holds files" in result.stderr
    assert set(tree(new)) == {"diary.md"}


def test_the_copy_of_another_folder_is_not_written_into(
    main: Callable[..., Result], data: Path, new: Path, tmp_path: Path
) -> None:
    picture(data / "a.png", 1)
    picture(tmp_path / "other" / "b.png", 2)
    main("dataset", "fix", data, "--to", new)

    result = main("dataset", "fix", tmp_path / "other", "--to", new)

    assert (result.code, set(tree(new))) == (4, {"a.png"})
    assert f"does not belong to a fix of {tmp_path / 'other'}" in result.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(fix: Callable[..., Result], data: Path, new: Path) -> None:
    picture(data / "a.png", 1).chmod(0)
    picture(data / "b.png", 1)

    result = fix()

    assert result.code == 4
    assert "a.png: left out: can't be read: Permission denied" in result.stderr
    assert set(tree(new)) == {"b.png"}


def test_an_empty_or_absent_folder_is_told(main: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    empty = main("dataset", "fix", tmp_path / "empty", "--to", tmp_path / "new")
    absent = main("dataset", "fix", tmp_path / "absent", "--to", tmp_path / "new")

    assert (empty.code, absent.code) == (4, 4)
    assert "holds no pictures" in empty.stderr
    assert "does not exist" in absent.stderr
    assert not (tmp_path / "new").exists()


def test_a_caption_that_was_edited_in_the_copy_survives_the_next_fix(
    fix: Callable[..., Result], data: Path, new: Path
) -> None:
    for number, name in enumerate("abc"):
        picture(data / f"{name}.png", number)
        caption(data / f"{name}.txt", "a cat\n")
    fix()
    for name in "ab":
        caption(new / f"{name}.txt", "mine\n")
    caption(data / "a.txt", "a dog\n")
    for name in ("b.png", "b.txt", "c.png", "c.txt"):
        (data / name).unlink()

    for _ in range(2):
        assert fix().code == 0
        assert {name: text for name, text in tree(new).items() if name.endswith(".txt")} == {
            "a.txt": b"mine\n", "b.txt": b"mine\n",
        }  # fmt: skip
    assert "caption edited in the copy: kept as it is" in entries(new)["a.png"]["did"]  # type: ignore[operator]
