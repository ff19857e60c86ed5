"""Every problem of a dataset is found, with the right files and the right weight; what trains well is left in peace."""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

import pytest
from odd_files import SIDE, check, kinds, photo, picture, png, saved, turned
from PIL import Image

from sdxl_train_cli.dataset import checking, findings
from sdxl_train_cli.dataset.checking import DatasetSource
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override

NOT_ON_WINDOWS = {"mixed-case": ("error", ["mixed.Png"]), "odd-name": ("error", ["two\nlines.png"])}
NOT_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")


def recipe(**settings: object) -> Recipe:
    """The usual LoRA with these settings."""
    return presets.load(Kind.LORA, "dim32-gc", tuple(Override(key, value, "test") for key, value in settings.items()))


def refused(data: Path, **source: object) -> Problem:
    """The one error of a dataset that a training does not start with."""
    with pytest.raises(DatasetError) as caught:
        checking.require(DatasetSource(data, **source), None)
    (problem,) = caught.value.problems
    return problem


def warnings(data: Path, **source: object) -> list[str]:
    """What a training tells, of pictures alone."""
    return [problem.message for problem in checking.require(DatasetSource(data, **source), None).warnings]


# --- one of each


def clean(folder: Path, count: int = 12) -> Path:
    for number in range(count):
        saved(folder / f"{number}.png", photo(number), f"ohwx, number {number}")
    return folder


def one_of_each(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Put one of each problem among clean pictures; give what has to be found."""
    clean(folder, 8)
    image = photo(100)
    saved(folder / "whole.jpg", image, "ohwx")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:9000])
    (folder / "text.png").write_text("<!DOCTYPE html>", encoding="utf-8")
    (folder / "absent.png").symlink_to("nowhere.png")
    (folder / "bomb.png").write_bytes(png(20_000, 20_000))
    saved(folder / "mixed.Png", photo(101), "ohwx")
    saved(folder / "really-jpeg.png", photo(102), "ohwx", format="JPEG")
    saved(folder / "moves.webp", photo(103), "ohwx", save_all=True, append_images=[photo(104)])
    saved(folder / "print.jpg", photo(105).convert("CMYK"), "ohwx")
    saved(folder / "deep.png", Image.linear_gradient("L").resize((SIDE, SIDE)).convert("I;16"), "ohwx")
    clear = photo(107).convert("RGBA")
    clear.putpixel((5, 5), (0, 0, 0, 128))
    saved(folder / "clear.png", clear, "ohwx")
    (folder / "turned.jpg").write_bytes(turned(photo(108), 6))
    saved(folder / "pair.png", photo(109), "ohwx")
    saved(folder / "pair.webp", photo(110), None)
    shutil.copy(folder / "0.png", folder / "copy.png")
    saved(folder / "resaved.jpg", photo(1).resize((SIDE + 64, SIDE + 64)), "ohwx", quality=70)
    saved(folder / "small.png", photo(111, (200, 200)), "ohwx")
    saved(folder / "long.png", photo(112, (3600, 700)), "ohwx")
    for name in ("cut", "text", "absent", "bomb", "turned", "copy"):
        (folder / f"{name}.txt").write_text("ohwx", encoding="utf-8")
    for number, (name, content) in enumerate({
        "empty": b"", "first-line-empty": b"\nohwx", "latin": "ohwx café".encode("latin-1"), "lines": b"ohwx\nand more",
        "over-75": b"ohwx" + b" cat" * 80, "over-150": b"ohwx" + b" cat" * 160, "over-225": b"ohwx" + b" cat" * 240,
        "no-trigger": b"a cat",
    }.items()):  # fmt: skip
        saved(folder / f"{name}.png", photo(200 + number), None)
        (folder / f"{name}.txt").write_bytes(content)
    saved(folder / "bare.png", photo(300), None)
    (folder / "stray.txt").write_text("ohwx", encoding="utf-8")
    (folder / "other.gif").touch()
    (folder / "deeper" / "still").mkdir(parents=True)
    (folder / "deeper" / "still" / "1.png").touch()
    (folder / "back").symlink_to(".", target_is_directory=True)
    (folder / "large.txt").write_bytes(b"cat " * 300_000)
    saved(folder / "large.png", photo(301), None)
    if sys.platform != "win32":
        saved(folder / "two\nlines.png", photo(302), "ohwx")
    (folder / "1_0512x0512_sdxl.npz").touch()
    (folder / "2.npz").touch()
    (folder / "3_te_outputs.npz").touch()
    (folder / "4_1024x1024_sdxl.npz").touch()
    for name in ("3_te_outputs.npz", "4_1024x1024_sdxl.npz"):
        os.utime(folder / name, (1, 1))
    return {
        "unreadable": ("error", ["absent.png"]),
        "no-picture": ("error", ["text.png"]),
        "truncated": ("error", ["cut.jpg"]),
        "too-large": ("error", ["bomb.png"]),
        "rotated": ("error", ["turned.jpg"]),
        "deep-colours": ("error", ["deep.png"]),
        "caption-not-utf8": ("error", ["latin.txt"]),
        "caption-empty": ("error", ["empty.txt"]),
        "caption-first-line": ("error", ["first-line-empty.txt"]),
        "caption-too-large": ("error", ["large.txt"]),
        "stale-latents": ("error", ["1_0512x0512_sdxl.npz"]),
        "link-loop": ("error", ["back"]),
        "wrong-suffix": ("warning", ["really-jpeg.png"]),
        "animated": ("warning", ["moves.webp"]),
        "cmyk": ("warning", ["print.jpg"]),
        "alpha": ("warning", ["clear.png"]),
        "same-stem": ("warning", ["pair.png", "pair.webp"]),
        "duplicate": ("warning", ["0.png", "copy.png"]),
        "near-duplicate": ("warning", ["1.png", "resaved.jpg"]),
        "caption-lines": ("warning", ["lines.txt"]),
        "caption-missing": ("warning", ["bare.png"]),
        "trigger-absent": ("warning", ["no-trigger.txt"]),
        "caption-over-75": ("warning", ["over-75.txt"]),
        "caption-over-150": ("warning", ["over-150.txt"]),
        "caption-over-225": ("warning", ["over-225.txt"]),
        "old-latents": ("warning", ["2.npz"]),
        "older-latents": ("warning", ["4_1024x1024_sdxl.npz"]),
        "stale-text-cache": ("warning", ["3_te_outputs.npz"]),
        "other-format": ("warning", ["other.gif"]),
        "unread-caption": ("warning", ["stray.txt"]),
        "skipped-folder": ("warning", ["deeper"]),
        "enlarged": ("warning", ["small.png"]),
        "cropped": ("warning", ["long.png"]),
    } | ({} if sys.platform == "win32" else NOT_ON_WINDOWS)


def test_one_of_each_problem_is_found_with_the_right_file_and_weight(tmp_path: Path) -> None:
    expected = one_of_each(tmp_path)
    # a run without a trigger for bare pictures: a class token would be their caption
    found = kinds(check(tmp_path, recipe(max_train_steps=1000, max_token_length=None), trigger="ohwx"))
    missing = kinds(check(tmp_path, recipe(max_train_steps=1000, max_token_length=None)))

    assert found | {"caption-missing": missing["caption-missing"]} == expected


def test_a_clean_folder_gives_none(tmp_path: Path) -> None:
    assert check(clean(tmp_path), recipe(), trigger="ohwx").findings == ()
    assert check(tmp_path, None).findings == ()


def test_errors_come_first_and_a_training_has_each_in_one_line(tmp_path: Path) -> None:
    one_of_each(tmp_path)
    weights = [each.severity.value for each in check(tmp_path, recipe(), trigger="ohwx").findings]

    with pytest.raises(DatasetError) as caught:
        checking.require(DatasetSource(tmp_path), recipe())

    assert weights == sorted(weights)
    assert len(caught.value.problems) == weights.count("error")
    assert all(problem.hint and "\n" not in str(problem) for problem in caught.value.problems)


# --- pictures


@pytest.mark.skipif(sys.platform == "win32", reason="its file system knows no case")
def test_a_suffix_in_mixed_case_would_be_missed(tmp_path: Path) -> None:
    saved(tmp_path / "1.Jpg", photo(1))

    problem = refused(tmp_path)

    assert problem.message == f"{tmp_path / '1.Jpg'}: sd-scripts misses suffixes in mixed case"
    assert problem.hint == "rename it to .jpg"


def test_a_broken_link_which_sd_scripts_would_stumble_over_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    (tmp_path / "2.png").symlink_to("absent.png")

    assert refused(tmp_path, trigger="cat").message == f"{tmp_path / '2.png'} can't be read: No such file or directory"


def test_a_link_that_leads_to_itself_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    (tmp_path / "2.png").symlink_to("2.png")

    assert "2.png can't be read: " in refused(tmp_path, trigger="cat").message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_pipe_named_as_a_picture_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.png")

    assert refused(tmp_path, trigger="cat").message == f"{tmp_path / '1.png'} can't be read: not a plain file"


def test_a_folder_named_as_a_picture_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    (tmp_path / "2.png").mkdir()

    assert refused(tmp_path, trigger="cat").message == f"{tmp_path / '2.png'} can't be read: not a plain file"


@NOT_ROOT
def test_a_picture_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat").chmod(0)

    assert refused(tmp_path).message == f"{tmp_path / '1.png'} can't be read: Permission denied"


@pytest.mark.parametrize("content", [b"", b"this is text", b"<!DOCTYPE html>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_picture_is_told(tmp_path: Path, content: bytes) -> None:
    picture(tmp_path / "1.png", "a cat").write_bytes(content)

    assert refused(tmp_path).message == f"{tmp_path / '1.png'} is not a readable picture"


def test_a_program_for_printers_is_not_run_to_see_what_it_shows(tmp_path: Path) -> None:
    file = io.BytesIO()
    photo(1, (64, 64)).save(file, "EPS")
    picture(tmp_path / "1.png", "a cat").write_bytes(file.getvalue())

    assert "is not a readable picture" in refused(tmp_path).message


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_picture_that_is_cut_off_is_told_before_the_run_and_not_by_it(tmp_path: Path, form: str) -> None:
    path = saved(tmp_path / f"1.{form.lower()}", Image.effect_noise((600, 500), 90).convert("RGB"))
    assert check(tmp_path).findings == ()

    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    assert refused(tmp_path).message.startswith(f"{path} is cut off or broken: ")


def test_a_picture_of_impossible_size_is_told_and_no_memory_is_spent_on_it(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat").write_bytes(png(100_000, 100_000))

    assert "decompression bomb" in refused(tmp_path).message


def test_a_very_large_picture_is_taken_without_a_warning(tmp_path: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "1.png")  # Pillow warns of more than 89 million pixels

    assert warnings(tmp_path, trigger="night") == []


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_of_turning_but_upright_is_told(tmp_path: Path, orientation: int) -> None:
    (tmp_path / "1.jpg").write_bytes(turned(photo(1, (80, 64)), orientation))

    found = kinds(check(tmp_path, trigger="cat"))

    assert found == ({} if orientation == 1 else {"rotated": ("error", ["1.jpg"])})


def test_exif_that_makes_no_sense_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(turned(photo(1, (80, 64)), 600))

    assert check(tmp_path, trigger="cat").findings == ()


def test_alpha_that_is_opaque_throughout_is_none(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)).convert("RGBA"))
    paletted = photo(2, (64, 64)).quantize(16)
    saved(tmp_path / "2.png", paletted, transparency=200)  # a place of the palette that no pixel has

    assert check(tmp_path).findings == ()


@pytest.mark.parametrize("mode", ["P", "LA", "PA", "RGBA"])
def test_transparent_parts_are_seen_in_every_mode(tmp_path: Path, mode: str) -> None:
    clear = photo(1, (64, 64)).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 20, 20))
    saved(tmp_path / "1.png", clear.quantize() if mode in {"P", "PA"} else clear.convert(mode))

    assert kinds(check(tmp_path)) == {"alpha": ("warning", ["1.png"])}


def test_transparent_parts_that_are_masks_are_meant(tmp_path: Path) -> None:
    clean(tmp_path)
    clear = photo(50).convert("RGBA")
    clear.putalpha(128)
    saved(tmp_path / "clear.png", clear)

    assert kinds(check(tmp_path, recipe())) == {"alpha": ("warning", ["clear.png"])}
    assert check(tmp_path, recipe(alpha_mask=True)).findings == ()


def test_two_of_one_name_and_size_would_share_the_cache_on_disk(tmp_path: Path) -> None:
    clean(tmp_path)
    saved(tmp_path / "0.webp", photo(60), None)

    on_disk = recipe(cache_latents_to_disk=True)

    assert kinds(check(tmp_path, recipe())) == {"same-stem": ("warning", ["0.png", "0.webp"])}
    assert kinds(check(tmp_path, on_disk)) == {"same-stem": ("error", ["0.png", "0.webp"])}


def test_a_phones_picture_with_a_second_one_behind_it_is_a_jpeg(tmp_path: Path) -> None:
    saved(tmp_path / "1.jpg", photo(1, (64, 64)), format="MPO", save_all=True, append_images=[photo(2, (64, 64))])

    assert check(tmp_path).findings == ()


def test_pictures_of_one_colour_are_not_taken_for_copies(tmp_path: Path) -> None:
    for number in range(3):
        saved(tmp_path / f"{number}.png", Image.new("RGB", (64, 64), (40 * number, 0, 0)))

    assert check(tmp_path).findings == ()


# --- captions


def test_every_broken_file_is_told_at_once(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        picture(tmp_path / name, "").write_bytes(b"")

    with pytest.raises(DatasetError) as caught:
        checking.require(DatasetSource(tmp_path), None)

    assert [problem.message for problem in caught.value.problems] == [
        "2 files are not readable pictures: 1.png, 2.png",
        "2 captions are empty: 1.txt, 2.txt",
    ]


def test_where_every_picture_has_both_captions_the_unread_ones_are_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    picture(tmp_path / "1.png", "cat, indoors", ".caption")

    assert warnings(tmp_path) == [f"{tmp_path / '1.caption'}: sd-scripts does not read it as a caption"]


def test_a_caption_without_a_picture_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    (tmp_path / "2.png.txt").write_text("a cat", encoding="utf-8")

    assert kinds(check(tmp_path)) == {"unread-caption": ("warning", ["2.png.txt"])}


def test_of_many_files_a_training_names_a_few(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    for number in range(7):
        (tmp_path / f"{number}.GIF").touch()

    assert warnings(tmp_path) == [
        "sd-scripts can't read this kind of picture: 0.GIF, 1.GIF, 2.GIF, 3.GIF, 4.GIF and 2 more"
    ]


@pytest.mark.parametrize("caption", ["", "\n", "  \n\t\n", "\ufeff"])
def test_an_empty_caption_is_told(tmp_path: Path, caption: str) -> None:
    picture(tmp_path / "1.png", caption)

    assert refused(tmp_path).message == f"{tmp_path / '1.txt'} is empty"


def test_a_caption_that_begins_with_an_empty_line_would_train_as_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "\na cat")

    assert "begins with an empty line" in refused(tmp_path).message


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "\ufeffohwx cat")

    assert check(tmp_path, trigger="ohwx").findings == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "cp1251"])
def test_a_caption_in_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "1.txt").write_bytes("a cat: кот".encode(encoding))

    assert refused(tmp_path).message == f"{tmp_path / '1.txt'} is not UTF-8"


def test_utf16_of_plain_letters_does_not_pass_for_utf8(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "1.txt").write_bytes("a cat".encode("utf-16-le"))

    assert refused(tmp_path).message == f"{tmp_path / '1.txt'} is not UTF-8"


def test_a_file_of_megabytes_is_no_caption(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "cat " * 300_000)

    assert "larger than 1 MB" in refused(tmp_path).message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_more_lines_than_the_first_are_told_unless_they_are_meant(tmp_path: Path, end: str) -> None:
    clean(tmp_path)
    (tmp_path / "1.txt").write_bytes(f"a cat{end}a dog{end}".encode())

    assert kinds(check(tmp_path, recipe())) == {"caption-lines": ("warning", ["1.txt"])}
    assert check(tmp_path, recipe(enable_wildcard=True)).findings == ()


def test_a_line_ends_where_it_ends_for_sd_scripts(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "one\u2028two\x0bthree\x85four\n\n")

    assert warnings(tmp_path) == []


def test_tokens_that_are_read_are_not_too_many(tmp_path: Path) -> None:
    clean(tmp_path)
    (tmp_path / "1.txt").write_text("cat " * 100, encoding="utf-8")

    assert kinds(check(tmp_path, recipe(max_token_length=75))) == {"caption-over-75": ("warning", ["1.txt"])}
    assert check(tmp_path, recipe(max_token_length=150)).findings == ()


def test_a_trigger_that_is_put_first_takes_its_share_of_the_tokens(tmp_path: Path) -> None:
    clean(tmp_path)
    (tmp_path / "1.txt").write_text("cat " * 75, encoding="utf-8")

    found = kinds(check(tmp_path, recipe(max_token_length=75), trigger="abcd"))

    assert found["caption-over-75"] == ("warning", ["1.txt"])
    assert "caption-over-75" not in kinds(check(tmp_path, recipe(max_token_length=75)))


# --- the trigger


def test_without_captions_and_trigger_nothing_would_be_learned(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")

    problem = refused(tmp_path)

    assert problem.message.startswith(f"all 1 in {tmp_path} have no caption, and no --trigger is given")
    assert "--trigger" in str(problem.hint)


def test_some_pictures_without_a_caption_train_with_an_empty_one(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)))
    saved(tmp_path / "2.png", photo(2, (64, 64)), None)

    assert warnings(tmp_path) == [f"no caption for 1 of 2 in {tmp_path}: training uses an empty one: 2.png"]
    assert warnings(tmp_path, trigger="a photo") == []


def test_a_picture_without_a_caption_that_would_take_anothers_is_told(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", photo(1, (64, 64)), "a cat")
    saved(tmp_path / "a_dog_in_the_rain.png", photo(2, (64, 64)), None)
    saved(tmp_path / "a_dog_in_rain.png", photo(3, (64, 64)), None)

    found = check(tmp_path, trigger="ohwx")

    assert kinds(found)["caption-borrowed"] == ("error", ["a_dog_in_the_rain.png"])
    assert [error.details for error in found.errors if error.kind == "caption-borrowed"] == [("a.txt",)]


@pytest.mark.parametrize("captions", [("a cat, OHWX", "ohwx"), ("Ohwx cat",)])
def test_a_trigger_in_every_caption_changes_nothing(tmp_path: Path, captions: tuple[str, ...]) -> None:
    for number, caption in enumerate(captions):
        saved(tmp_path / f"{number}.png", photo(number, (64, 64)), caption)

    checked = check(tmp_path, trigger="ohwx")

    assert (checked.survey.pictures.has_prefix, checked.findings) == (False, ())


def test_a_trigger_in_no_caption_is_put_before_each(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)), "a cat")
    saved(tmp_path / "2.png", photo(2, (64, 64)), "a dog")

    checked = check(tmp_path, trigger="ohwx")

    assert checked.survey.pictures.subsets[0].caption_prefix == "ohwx,"
    assert kinds(checked) == {"trigger-absent": ("warning", ["1.txt", "2.txt"])}
    command = f"sdxl-train dataset fix {tmp_path} --to {tmp_path}-fixed --trigger ohwx"
    assert str(checked.findings[0].hint).endswith(f"a copy of the files: {command}")


def test_a_trigger_in_some_captions_is_told_and_none_is_changed(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)), "ohwx cat")
    saved(tmp_path / "2.png", photo(2, (64, 64)), "a dog")

    checked = check(tmp_path, trigger="ohwx")

    assert [each.problem.message for each in checked.findings] == [
        f"the trigger 'ohwx' is not in 1 of 2 captions in {tmp_path}"
    ]
    assert not checked.survey.pictures.has_prefix


@pytest.mark.parametrize("text", ["a man at two desks", "kids with masks", "he asks her"])
def test_a_trigger_within_another_word_does_not_count(tmp_path: Path, text: str) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)), text)

    assert check(tmp_path, trigger="sks").survey.pictures.has_prefix


@pytest.mark.parametrize("text", ["SKS man", "a photo of (sks:1.2)", "1girl,sks,solo", "sks_man"])
def test_a_trigger_counts_however_it_is_set_apart(tmp_path: Path, text: str) -> None:
    saved(tmp_path / "1.png", photo(1, (64, 64)), text)

    assert not check(tmp_path, trigger="sks").survey.pictures.has_prefix


# --- regularisation


def test_regularisation_pictures_beyond_the_others_are_not_used(tmp_path: Path) -> None:
    clean(tmp_path / "data")
    for number in range(13):
        saved(tmp_path / "reg" / f"{number}.png", photo(400 + number), None)

    found = kinds(check(tmp_path / "data", recipe(), regularisation=tmp_path / "reg", trigger="ohwx"))

    assert found == {"unused-regularisation": ("warning", ["9.png"])}


def test_the_trigger_does_not_belong_into_captions_of_regularisation(tmp_path: Path) -> None:
    clean(tmp_path / "data")
    saved(tmp_path / "reg" / "1.png", photo(400), "ohwx, a woman")

    found = kinds(check(tmp_path / "data", recipe(), regularisation=tmp_path / "reg", trigger="ohwx"))

    assert found == {"trigger-in-regularisation": ("warning", ["1.txt"])}


# --- folders


def test_a_folder_that_would_be_left_out_does_not_hide_the_others_problems(tmp_path: Path) -> None:
    picture(tmp_path / "10_cat" / "1.png", "")
    (tmp_path / "5_dog").mkdir()
    picture(tmp_path / "0_cow" / "1.png", "a cow")
    picture(tmp_path / "sheep" / "1.png", "a sheep")

    found = [(each.kind, each.files[0].name) for each in check(tmp_path).errors]

    assert found == [
        ("skipped-folder", "sheep"),
        ("skipped-folder", "0_cow"),
        ("empty-folder", "5_dog"),
        ("caption-empty", "1.txt"),
    ]


# --- size and length


def test_how_much_is_enlarged_and_cropped_away_is_told(tmp_path: Path) -> None:
    clean(tmp_path)
    saved(tmp_path / "small.png", photo(50, (400, 400)))
    saved(tmp_path / "long.png", photo(51, (3600, 700)))

    details = {each.kind: each.details for each in check(tmp_path, recipe()).findings}

    assert details["enlarged"] == ("2.6 times",)
    assert details["cropped"][0].endswith("%")
    assert "enlarged" not in kinds(check(tmp_path, recipe(bucket_no_upscale=True)))


def test_a_picture_that_fits_into_no_bucket_is_an_error(tmp_path: Path) -> None:
    clean(tmp_path)
    saved(tmp_path / "thin.png", photo(50, (1000, 20)))

    assert kinds(check(tmp_path, recipe(bucket_no_upscale=True)))["too-narrow"] == ("error", ["thin.png"])


def test_a_bucket_of_less_than_a_batch_is_told(tmp_path: Path) -> None:
    clean(tmp_path)
    saved(tmp_path / "wide.png", photo(50, (1344, 768)))

    found = kinds(check(tmp_path, recipe(train_batch_size=4, max_train_steps=500)))

    assert found == {"small-bucket": ("warning", ["wide.png"])}


def test_accumulation_over_more_batches_than_an_epoch_has_is_told_and_the_hint_helps(tmp_path: Path) -> None:
    """Accelerate ends a step with the pass over the pictures, and divides by all batches that were asked for."""
    clean(tmp_path)  # 12 pictures
    (found,) = check(tmp_path, recipe(max_train_steps=100, gradient_accumulation_steps=16)).findings

    assert (found.kind, found.problem.hint) == (
        "accumulation-over-epoch",
        "--set gradient_accumulation_steps=12, or more --repeats",
    )
    assert "has 12 batches, and gradient_accumulation_steps is 16" in found.message()
    assert not check(tmp_path, recipe(max_train_steps=100, gradient_accumulation_steps=12)).findings


@pytest.mark.parametrize(
    ("caption", "kind"),
    [
        ("ohwx, (blue eyes:1.3), hat", "caption-weights"),
        ("ohwx, (a \\(b\\) c: .5)", "caption-weights"),
        ("ohwx, hatsune miku \\(vocaloid\\), (smile)", None),
        ("ohwx, 10:30 (morning)", None),
        ("ohwx, hat, Hat , smile", "caption-repeats"),
        ("ohwx, hat, red hat", None),
        ("ohwx, , , hat", None),
    ],
)
def test_what_is_in_the_text_of_captions_and_learned_otherwise_than_meant_is_told(
    tmp_path: Path, caption: str, kind: str | None
) -> None:
    clean(tmp_path)
    (tmp_path / "3.txt").write_text(caption, encoding="utf-8")

    found = kinds(check(tmp_path, recipe(max_train_steps=500)))

    assert found == ({kind: ("warning", ["3.txt"])} if kind else {})


def test_weights_in_brackets_are_fine_where_they_are_read(tmp_path: Path) -> None:
    clean(tmp_path)
    (tmp_path / "3.txt").write_text("ohwx, (blue eyes:1.3)", encoding="utf-8")
    weighted = recipe(max_train_steps=500, weighted_captions=True, cache_text_encoder_outputs=None)

    assert not check(tmp_path, weighted).findings


def test_two_folders_of_which_only_the_trigger_is_said_are_told(tmp_path: Path) -> None:
    for folder in ("10_cat", "10_dog"):
        for number in range(6):
            saved(tmp_path / folder / f"{number}.png", photo(number + 6 * (folder == "10_dog")), None)

    one = checking.check(DatasetSource(tmp_path, trigger="ohwx"), recipe(max_train_steps=500))
    (tmp_path / "10_dog" / "1.txt").write_text("ohwx, a dog", encoding="utf-8")
    other = checking.check(DatasetSource(tmp_path, trigger="ohwx"), recipe(max_train_steps=500))

    (told,) = [found for found in one.findings if found.kind == "trigger-for-several"]
    assert told.message().startswith(
        "the pictures of 10_cat and 10_dog have no captions, and the trigger 'ohwx' is all"
    )
    assert "trigger-for-several" not in {found.kind for found in other.findings}


@pytest.mark.parametrize(("steps", "kind"), [(36, "few-passes"), (60, None), (3600, None), (4800, "many-passes")])
def test_lengths_that_make_no_sense_are_told(tmp_path: Path, steps: int, kind: str | None) -> None:
    found = kinds(check(clean(tmp_path), recipe(max_train_steps=steps)))

    assert found == ({kind: ("warning", [])} if kind else {})


@pytest.mark.parametrize(("passes", "words"), [(1, "once"), (2, "2 times")])
def test_how_often_pictures_are_seen_is_told(tmp_path: Path, passes: int, words: str) -> None:
    pictures = len(list(clean(tmp_path).glob("*.png")))
    (found,) = check(tmp_path, recipe(max_train_steps=passes * pictures)).findings

    assert found.message().endswith(f"show each of the {pictures} pictures {words}: too few to learn them")


def test_the_options_that_decide_what_keeps_pictures_out_are_all_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way out that changes none of them has the pictures looked at once for all."""
    saved(tmp_path / "1.png", photo(1, (64, 64)), "a cat")
    found = check(tmp_path).survey
    asked: set[str] = set()
    get = Recipe.get
    monkeypatch.setattr(Recipe, "get", lambda recipe, option: asked.add(option) or get(recipe, option))

    for switches in ({}, dict.fromkeys(("cache_latents_to_disk", "cache_text_encoder_outputs_to_disk"), True)):
        settings = {name: Setting(value=value, origin="--set") for name, value in switches.items()}
        findings.errors_with(presets.load(Kind.LORA, "dim32-gc").replaced(settings), found, "")

    assert asked
    assert asked <= set(findings.DECIDING)
