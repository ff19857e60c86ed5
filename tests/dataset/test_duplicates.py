"""Pictures that look the same are found among others, and others are not taken for them."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from odd_files import photo
from PIL import Image, ImageDraw

from sdxl_train_cli.dataset import duplicates, picture
from sdxl_train_cli.dataset.file_facts import PictureFacts

SIDE = 256


def facts(path: Path, image: Image.Image, **options: object) -> PictureFacts:
    image.save(path, **options)
    return picture.read_facts(path)


def drawn(seed: int, shapes: int) -> Image.Image:
    """Something on white ground, such as a logo or a sticker."""
    numbers = random.Random(seed)  # noqa: S311 - the same pictures each time
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(shapes):
        left, top, size = numbers.randrange(40, 160), numbers.randrange(40, 160), numbers.randrange(20, 90)
        draw.ellipse((left, top, left + size, top + size), fill=tuple(numbers.randbytes(3)))
    return image


def of_hash(number: int, difference_hash: int) -> PictureFacts:
    name = f"{number}.png"
    return PictureFacts(
        Path(name), 1, name, "PNG", 64, 64, "RGB", 1, 1, has_alpha=False, difference_hash=difference_hash, error=None
    )


def test_a_difference_hash_tells_which_squares_grow_lighter_to_the_right_and_then_downwards(tmp_path: Path) -> None:
    across = Image.linear_gradient("L").rotate(90)
    one_light_square = Image.new("L", (9, 9))
    one_light_square.putpixel((1, 0), 255)

    hashes = [
        facts(tmp_path / f"{number}.png", image).difference_hash
        for number, image in enumerate((across, across.rotate(270), one_light_square.resize((144, 144), 0)))
    ]

    assert hashes == [(2**64 - 1) << 64, 2**64 - 1, 1 << 127]


@pytest.mark.parametrize("image", [photo(1, (SIDE, SIDE)), drawn(1, 8)], ids=["photo", "on white"])
def test_a_picture_that_was_saved_again_smaller_is_near(tmp_path: Path, image: Image.Image) -> None:
    one = facts(tmp_path / "1.png", image)
    again = facts(tmp_path / "2.jpg", image.resize((SIDE * 3 // 4, SIDE * 3 // 4)), quality=70)

    assert duplicates.near([one, again]) == [(one, again)]
    assert duplicates.exact([one, again]) == []


def test_drawings_on_a_plain_ground_are_not_taken_for_one_another(tmp_path: Path) -> None:
    found = [facts(tmp_path / f"{number}.png", drawn(number, 3 + number % 6)) for number in range(150)]

    assert duplicates.near(found) == []


def test_each_of_a_group_looks_like_its_first() -> None:
    first = int.from_bytes(random.Random(1).randbytes(16), "big")  # noqa: S311 - the same hash each time
    chain = [of_hash(number, first ^ ((1 << 4 * number) - 1)) for number in range(6)]

    groups = duplicates.near(chain)

    assert groups
    for group in groups:
        hashes = [each.difference_hash or 0 for each in group]
        assert all((hashes[0] ^ each).bit_count() <= duplicates.MOST_BITS for each in hashes)


def test_a_copy_is_told_as_a_copy_alone(tmp_path: Path) -> None:
    one = facts(tmp_path / "1.png", photo(1, (SIDE, SIDE)))
    copy = replace(one, path=tmp_path / "2.png")

    assert duplicates.near([one, copy]) == []
    assert duplicates.exact([one, copy]) == [(one, copy)]


def test_ten_thousand_drawings_are_compared_in_a_moment() -> None:
    pictures = []
    for number in range(10_000):
        bits = random.Random(number).sample(range(128), 14)  # noqa: S311 - the same hashes each time
        pictures.append(of_hash(number, sum(1 << bit for bit in bits)))
    start = time.monotonic()

    found = duplicates.near(pictures)

    assert len(found) < 100
    assert time.monotonic() - start < 20  # it is one second; comparing each with each is a minute


def test_thousands_with_the_same_bar_at_the_top_take_seconds_and_like_ones_are_found() -> None:
    """20,000 screenshots of one program took a minute: each was compared with all before it."""
    numbers = random.Random(3)  # noqa: S311 - the same hashes each time
    hashes = [numbers.getrandbits(112) << 16 | 0b1011_0110_0101_1011 for _ in range(20_000)]
    start = time.process_time()

    groups = duplicates.near([*map(of_hash, range(len(hashes)), hashes), of_hash(-1, hashes[777] ^ 1 << 90 ^ 1 << 40)])

    assert [[each.path.name for each in group] for group in groups] == [["777.png", "-1.png"]]
    assert time.process_time() - start < 20


def test_where_many_share_a_piece_the_first_that_is_alike_is_still_the_first() -> None:
    numbers = random.Random(4)  # noqa: S311 - the same hashes each time
    firsts = [numbers.getrandbits(112) << 16 | 0xBEEF for _ in range(200)]
    copies = [first ^ 1 << numbers.randrange(16, 128) for first in firsts for _ in range(3)]

    groups = duplicates.near(list(map(of_hash, range(800), [*firsts, *copies])))

    assert [[int(each.path.stem) for each in group] for group in groups] == [
        [at, *range(200 + 3 * at, 203 + 3 * at)] for at in range(200)
    ]
