"""A folder of pictures is seen as sd-scripts will see it, and all that is wrong with it is told beforehand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import write_pictures
from PIL import Image

from sdxl_train_cli.dataset import sources, trainer_config
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.errors import DatasetError, Problem

NOT_ROOT = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")


def picture(path: Path, caption: str | None = None, suffix: str = ".txt") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (200, 90, 120)).save(path, format="BMP" if path.suffix.lower() == ".bmp" else "PNG")
    if caption is not None:
        path.with_suffix(suffix).write_text(caption, encoding="utf-8")
    return path


def scan(
    data: Path, reg: Path | None = None, repeats: int | None = None, trigger: str | None = None
) -> TrainingPictures:
    return sources.scan(data, regularisation=reg, repeats=repeats, trigger=trigger)


def refused(data: Path, reg: Path | None = None, repeats: int | None = None, trigger: str | None = None) -> Problem:
    """The one problem of a folder that is not taken."""
    with pytest.raises(DatasetError) as caught:
        scan(data, reg, repeats, trigger)
    (problem,) = caught.value.problems
    return problem


# --- which folders


def test_a_folder_of_captioned_pictures_is_one_subset(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    picture(tmp_path / "2.JPG", "a dog")

    pictures = scan(tmp_path, repeats=3)

    assert pictures.count == 2
    assert pictures.notes == ()
    assert trainer_config.config(pictures, tmp_path) == {
        "datasets": [
            {
                "subsets": [
                    {"image_dir": str(tmp_path), "num_repeats": 3, "caption_extension": ".txt", "is_reg": False},
                ]
            }
        ]
    }


def test_numbered_folders_are_subsets_with_repeats_and_name(tmp_path: Path) -> None:
    for name in ("10_cat woman", "5_a_b", "3_"):
        picture(tmp_path / name / "1.png", "text" if name == "3_" else None)

    found = {folder.image_dir.name: (folder.num_repeats, folder.class_tokens) for folder in scan(tmp_path).subsets}

    assert found == {"10_cat woman": (10, "cat woman"), "5_a_b": (5, "a_b"), "3_": (3, None)}


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    assert refused(tmp_path / "absent").message == f"{tmp_path / 'absent'} does not exist"


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    assert "is a picture, not a folder of pictures" in refused(picture(tmp_path / "1.png")).message


@pytest.mark.parametrize("name", ["x" * 300, "nul\0", "~nobody-of-this-name/pictures"])
def test_a_folder_that_cannot_exist_is_told_without_a_traceback(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError):
        scan(tmp_path / name)
    with pytest.raises(DatasetError):
        scan(Path(name))


def test_a_missing_folder_of_regularization_pictures_names_its_flag(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "1.png", "a cat")

    problem = refused(tmp_path / "pictures", reg=tmp_path / "absent")

    assert problem.hint == "give --reg a folder of pictures"


def test_an_empty_folder_holds_no_picture(tmp_path: Path) -> None:
    problem = refused(tmp_path)

    assert problem.message == f"{tmp_path} holds no picture that sd-scripts can read"
    assert problem.hint == "it needs png, jpg or webp files"


def test_pictures_of_another_format_are_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "1.gif").touch()

    assert refused(tmp_path).hint == "it has .gif files: convert them to png or jpg"


def test_pictures_one_folder_further_down_are_pointed_at(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png", "a cat")

    problem = refused(tmp_path)

    assert problem.message == f"{tmp_path} has no pictures itself; its folder cat has"
    assert problem.hint == f"give --data {tmp_path / 'cat'}, or put repeats into the folders' names: 1_cat"


def test_the_folder_of_numbered_ones_is_pointed_at_from_above(tmp_path: Path) -> None:
    """As kohya_ss lays a project out: img, log and model side by side."""
    picture(tmp_path / "img" / "10_cat" / "1.png", "a cat")
    (tmp_path / "log").mkdir()

    problem = refused(tmp_path)

    assert problem.message == f"{tmp_path} has no pictures itself; its folder img has folders such as 10_cat"
    assert problem.hint == f"give --data {tmp_path / 'img'}"


def test_pictures_beside_numbered_folders_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")
    picture(tmp_path / "10_cat" / "1.png", "a cat")

    assert "holds both pictures and numbered folders such as 10_cat" in refused(tmp_path).message


def test_every_folder_without_a_number_beside_numbered_ones_is_told(tmp_path: Path) -> None:
    for name in ("10_cat", "dog", "cow"):
        picture(tmp_path / name / "1.png", "text")

    with pytest.raises(DatasetError) as caught:
        scan(tmp_path)

    assert [problem.hint for problem in caught.value.problems] == ["rename it to 1_cow", "rename it to 1_dog"]


def test_folders_that_hold_no_pictures_do_not_matter(tmp_path: Path) -> None:
    picture(tmp_path / "10_cat" / "1.png", "a cat")
    (tmp_path / "notes").mkdir()
    picture(tmp_path / ".thumbnails" / "1.png")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._1.png").write_bytes(b"Mac OS X")

    assert [subset.image_dir.name for subset in scan(tmp_path).subsets] == ["10_cat"]


def test_an_empty_numbered_folder_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "10_cat" / "1.png", "a cat")
    (tmp_path / "5_dog").mkdir()

    assert refused(tmp_path).message == f"{tmp_path / '5_dog'} holds no picture that sd-scripts can read"


def test_zero_repeats_would_leave_the_folder_out(tmp_path: Path) -> None:
    picture(tmp_path / "0_cat" / "1.png", "a cat")

    assert refused(tmp_path).message == f"{tmp_path / '0_cat'} is repeated 0 times: it would be left out"


def test_a_date_before_the_name_is_not_taken_for_repeats(tmp_path: Path) -> None:
    picture(tmp_path / "20240115_birthday" / "1.png", "a cake")

    problem = refused(tmp_path)

    assert problem.message == f"{tmp_path / '20240115_birthday'} would be repeated 20240115 times in each pass"
    assert problem.hint == "put a date after the repeats: 1_20240115_birthday"


@pytest.mark.parametrize("name", ["-3_cat", " 5_cat", "5 _cat", "+5_cat", "10", "_cat"])
def test_what_is_no_plain_number_is_no_number_of_repeats(tmp_path: Path, name: str) -> None:
    picture(tmp_path / name / "1.png", "a cat")

    assert "has no pictures itself" in refused(tmp_path).message


def test_digits_of_another_script_are_digits_as_they_are_to_sd_scripts(tmp_path: Path) -> None:
    picture(tmp_path / "\uff15_cat" / "1.png")

    assert scan(tmp_path).subsets[0].num_repeats == 5


def test_repeats_are_said_in_one_place_only(tmp_path: Path) -> None:
    picture(tmp_path / "10_cat" / "1.png", "a cat")

    assert refused(tmp_path, repeats=2).message.startswith("--repeats is given, but the folders in")


def test_regularization_pictures_keep_their_own_name_and_need_no_captions(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "1.png", "a cat")
    picture(tmp_path / "reg" / "1_woman" / "1.png")
    picture(tmp_path / "reg" / "1_woman" / "2.png")

    pictures = scan(tmp_path / "pictures", reg=tmp_path / "reg", trigger="ohwx")
    training, regularization = pictures.subsets

    assert (training.class_tokens, training.is_reg) == ("ohwx", False)
    assert (regularization.class_tokens, regularization.is_reg) == ("woman", True)
    assert pictures.count == 1
    assert scan(tmp_path / "pictures", reg=tmp_path / "reg" / "1_woman").subsets[1].class_tokens is None


def test_the_same_pictures_cannot_be_trained_on_and_held_against(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", "a cat")

    assert "sd-scripts would ignore the second" in refused(tmp_path, reg=tmp_path / ".").message


@NOT_ROOT
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)

    assert refused(tmp_path / "locked").message == f"{tmp_path / 'locked'} can't be read: Permission denied"


# --- which pictures and captions


@pytest.mark.parametrize("name", [".hidden.png", "._1.png", "Thumbs.db", "desktop.ini", ".DS_Store"])
def test_what_file_managers_leave_behind_is_no_picture(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "1.png", "a cat")
    (tmp_path / name).write_bytes(b"junk")

    pictures = scan(tmp_path)

    assert pictures.count == 1
    assert pictures.notes == ()


@pytest.mark.parametrize(
    "name", ["with space.png", "кот.png", "b[r]a*c?k.png", "line\nbreak.png", 'it\'s "a".png', "a.b.c.PNG", "dots..png"]
)
def test_a_picture_may_have_any_name(tmp_path: Path, name: str) -> None:
    picture(tmp_path / name, "a cat")

    pictures = scan(tmp_path)

    assert (pictures.subsets[0].pictures, pictures.subsets[0].captions, pictures.notes) == (1, 1, ())


def test_a_linked_picture_is_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "1.png")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.png").symlink_to("../elsewhere/1.png")

    assert scan(tmp_path / "data", trigger="cat").count == 1


@pytest.mark.parametrize("suffix", [".txt", ".caption"])
def test_captions_of_either_suffix_are_read(tmp_path: Path, suffix: str) -> None:
    picture(tmp_path / "1.png", "a cat", suffix)

    subset = scan(tmp_path).subsets[0]

    assert (subset.caption_extension, subset.captions) == (suffix, 1)


def test_captions_of_both_suffixes_cannot_be_mixed(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.png", "a cat")
    picture(tmp_path / "3.png", "a cat", ".caption")

    assert refused(tmp_path).message == "some captions are .txt and some .caption: 3.caption"


def test_a_folder_named_as_a_caption_is_none(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "1.txt").mkdir()

    assert scan(tmp_path, trigger="cat").subsets[0].captions == 0


# --- the trigger


def test_the_trigger_is_the_caption_of_pictures_without_one(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "1.png")
    picture(tmp_path / "parent" / "4_cat" / "1.png")

    for folder in ("data", "parent"):
        subset = scan(tmp_path / folder, trigger="ohwx cat").subsets[0]
        assert (subset.class_tokens, subset.caption_prefix) == ("ohwx cat", None)


# --- fingerprint


def fingerprint(folder: Path, reg: Path | None = None) -> str:
    return trainer_config.fingerprint(scan(folder, reg, trigger="ohwx"))


def test_the_same_pictures_in_another_place_have_the_same_fingerprint(tmp_path: Path) -> None:
    first, second = write_pictures(tmp_path / "a" / "cats"), write_pictures(tmp_path / "b" / "коты")

    assert fingerprint(first) == fingerprint(second)


def test_a_caption_a_size_a_name_or_a_place_that_changes_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "cats")
    seen = [fingerprint(folder)]
    (folder / "0.txt").write_text("another caption\n", encoding="utf-8")
    seen.append(fingerprint(folder))
    with (folder / "1.png").open("ab") as file:
        file.write(b"\0")
    seen.append(fingerprint(folder))
    (folder / "2.png").rename(folder / "3.png")
    seen.append(fingerprint(folder))
    (tmp_path / "parent").mkdir()
    folder.rename(tmp_path / "parent" / "10_cats")
    seen.append(fingerprint(tmp_path / "parent"))
    (tmp_path / "parent" / "10_cats").rename(tmp_path / "parent" / "20_cats")
    seen.append(fingerprint(tmp_path / "parent"))
    seen.append(fingerprint(tmp_path / "parent", write_pictures(tmp_path / "reg")))

    assert len(set(seen)) == len(seen)


def test_a_file_that_is_not_trained_on_leaves_the_fingerprint_alone(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "cats")
    before = fingerprint(folder)
    (folder / "notes.md").write_text("x", encoding="utf-8")
    (folder / ".hidden.png").touch()

    assert fingerprint(folder) == before


def test_a_picture_that_is_gone_by_the_time_of_the_fingerprint_is_told(tmp_path: Path) -> None:
    looked = scan(write_pictures(tmp_path / "cats"))
    shutil.rmtree(tmp_path / "cats")

    with pytest.raises(DatasetError, match="can't be read"):
        trainer_config.fingerprint(looked)
