"""What is gathered for a dataset's page: a card for each picture, with its bucket, crop, caption and problems."""

from __future__ import annotations

from pathlib import Path

from odd_files import check, photo, saved

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.ui import dataset_page_data
from sdxl_train_cli.ui.dataset_page import DatasetPage, PictureCard


def gathered(data: Path, settings: dict[str, Value] | None = None, **source: object) -> DatasetPage:
    overrides = [Override(option, value, "") for option, value in (settings or {}).items()]
    recipe = presets.load(Kind.LORA, "dim32-gc", overrides)
    checked = check(data, recipe, **source)
    return dataset_page_data.gather(checked, bucketing.arrange(recipe, checked.survey.readable), recipe)


def card(found: DatasetPage, name: str) -> PictureCard:
    (one,) = (each for each in found.cards if each.name == name)
    return one


def kinds(found: DatasetPage, name: str) -> dict[str, str]:
    return {found.findings[at].kind: detail for at, detail in card(found, name).findings}


def test_a_card_has_its_bucket_and_what_is_kept_of_the_file(tmp_path: Path) -> None:
    saved(tmp_path / "wide.png", photo(1, (1500, 1000)), "a cat, on a mat")
    saved(tmp_path / "square.png", photo(2))
    found = gathered(tmp_path)
    one = card(found, "wide.png")

    assert one.bucket is not None
    shelf = found.buckets[one.bucket]
    assert (shelf.width, shelf.height, shelf.pictures, shelf.batches, shelf.last_batch) == (1216, 832, 1, 1, 1)
    assert (one.size, one.resized, one.crop) == ((1500, 1000), (1248, 832), (19, 0, 1481, 1000))
    assert (one.caption, one.tokens, one.note, one.caption_note) == ("a cat, on a mat", 6, "", "")
    assert one.lost == round(32 / 1248, 4)


def test_cards_stand_in_the_order_of_the_files_that_thumbnails_are_made_of(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        saved(tmp_path / f"{name}.png", photo(ord(name), (200, 200)))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:300])
    files = dataset_page_data.files(check(tmp_path).survey)

    assert [each.name for each in gathered(tmp_path).cards] == ["a.png", "b.png", "c.png"]
    assert files == [tmp_path / "a.png", None, tmp_path / "c.png"]


def test_a_picture_that_cannot_be_decoded_is_in_no_bucket_and_says_why(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", photo(1))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    found = gathered(tmp_path)
    one = card(found, "b.png")

    assert (one.bucket, one.crop) == (None, None)
    assert one.note == kinds(found, "b.png")["truncated"]
    assert ("unreadable", "1") in found.tiles


def test_a_picture_has_the_problems_of_its_caption_too_and_what_there_is_to_say_of_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        saved(tmp_path / f"{name}.png", photo(ord(name), (400, 400)), "one line\nand another")
    found = gathered(tmp_path)

    assert kinds(found, "a.png") == {"caption-lines": "2 lines", "enlarged": "2.6 times"}
    assert {each.kind: each.cards for each in found.findings if each.cards} == {"caption-lines": 2, "enlarged": 2}


def test_files_that_belong_to_no_picture_are_named_with_the_problem(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", photo(1))
    for name in ("b.gif", "c.gif"):
        photo(2, (64, 64)).save(tmp_path / name)
    (found,) = (each for each in gathered(tmp_path).findings if each.kind == "other-format")

    assert (found.cards, found.others) == (0, (str(tmp_path / "b.gif"), str(tmp_path / "c.gif")))


def test_pictures_that_resemble_each_other_are_in_groups(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", photo(1))
    saved(tmp_path / "copy.png", photo(1))
    saved(tmp_path / "small.png", photo(1, (1024, 1024)).resize((700, 700)))
    saved(tmp_path / "other.png", photo(2))
    found = gathered(tmp_path)
    names = {group.kind: {found.cards[at].name for at in group.cards} for group in found.alike}

    assert names == {"duplicate": {"a.png", "copy.png"}, "near-duplicate": {"a.png", "small.png"}}
    assert found.alike_more == 0


def test_regularisation_pictures_that_are_not_used_say_so(tmp_path: Path) -> None:
    saved(tmp_path / "data" / "a.png", photo(1), "ohwx cat")
    for number in range(2):
        saved(tmp_path / "reg" / f"{number}.png", photo(5 + number), "a cat")
    found = gathered(tmp_path / "data", regularisation=tmp_path / "reg")

    assert [(each.is_reg, each.note) for each in found.cards] == [
        (False, ""), (True, ""), (True, "surplus regularisation picture"),
    ]  # fmt: skip
    assert ("for regularisation", "2") in found.tiles
    assert found.folders == ("data", "reg")


def test_captions_that_are_longer_than_what_is_read_are_told(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", photo(1), " ".join(["cat"] * 100))
    read_75, read_150 = (gathered(tmp_path, {"max_token_length": length}) for length in (75, 150))

    assert (read_75.read, read_75.lengths[-1]) == (75, ("76-150", 1, True))
    assert (read_150.read, read_150.lengths[-1]) == (150, ("76-150", 1, False))


def test_what_is_drawn_by_chance_is_told(tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path / f"{number}.png", photo(number, (200, 200)))
    found = gathered(tmp_path, {"validation_split": 0.5, "random_crop": True})

    assert [note.split()[0] for note in found.notes] == ["Which", "random_crop"]
    assert sum(each.note == "held back for validation" for each in found.cards) == 2
