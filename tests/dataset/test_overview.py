"""What is counted of a dataset is what an epoch will see."""

from __future__ import annotations

from pathlib import Path

from odd_files import check, photo, saved

from sdxl_train_cli.dataset import caption, overview
from sdxl_train_cli.dataset.overview import Overview

SMALL = (64, 48)


def picture(path: Path, caption: str | None = None, size: tuple[int, int] = SMALL) -> Path:
    return saved(path, photo(len(str(path)), size), caption)


def counted(data: Path, **source: object) -> Overview:
    return overview.summarize(check(data, **source).survey)


def test_sizes_come_with_the_most_frequent_first_and_what_cannot_be_decoded_apart(tmp_path: Path) -> None:
    for name, size in (("a", (64, 48)), ("b", (48, 64)), ("c", (64, 48))):
        picture(tmp_path / f"{name}.png", "a cat", size)
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    found = counted(tmp_path)

    assert found.sizes == ((64, 48, 2), (48, 64, 1))
    assert found.unread == 1
    assert {one.path.name for one in check(tmp_path).survey.readable} == {"a.png", "b.png", "c.png"}


def test_tags_are_counted_once_a_caption_in_lower_case_with_the_trigger_that_is_put_first(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "Cat, cat , red hair,, ")
    picture(tmp_path / "b.png", "cat, кошка")

    assert counted(tmp_path, trigger="ohwx").tags == (("cat", 2), ("ohwx", 2), ("red hair", 1), ("кошка", 1))


def test_captions_of_regularisation_are_not_counted(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "1_cat" / "a.png", "ohwx cat")
    picture(tmp_path / "reg" / "1_cat" / "b.png", "a dog, of another kind")
    found = counted(tmp_path / "data", regularisation=tmp_path / "reg")

    assert found.tags == (("ohwx cat", 1),)
    assert sum(bar.count for bar in found.lengths) == 1
    assert [folder.is_reg for folder in found.folders] == [False, True]


def test_a_picture_without_a_caption_counts_with_the_words_of_its_folder(tmp_path: Path) -> None:
    picture(tmp_path / "5_ohwx cat" / "a.png")

    assert counted(tmp_path).tags == (("ohwx cat", 1),)


def test_lengths_of_captions_are_counted_in_bars_up_to_the_longest(tmp_path: Path) -> None:
    for number, words in enumerate((0, 3, 15, 16, 75, 76)):
        picture(tmp_path / f"{number}.png", " ".join(["cat"] * words))
    found = counted(tmp_path)

    assert [(bar.label, bar.count) for bar in found.lengths] == [
        ("0", 1), ("1-15", 2), ("16-30", 1), ("31-45", 0), ("46-60", 0), ("61-75", 1), ("76-150", 1),
    ]  # fmt: skip


def test_the_last_bar_has_no_end(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", " ".join(["cat"] * 400))
    last = counted(tmp_path).lengths[-1]

    assert (last.label, last.most, last.count) == ("226 or more", None, 1)


def test_the_trigger_that_is_put_first_counts_in_the_length(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", "cat")
    survey = check(tmp_path, trigger="dog dog dog").survey

    assert caption.token_counts(survey.seen) == {tmp_path / "a.png": 5}  # with the comma
    assert overview.trained_caption(survey.seen[0]) == "dog dog dog, cat"
