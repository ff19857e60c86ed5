"""One picture: what it shows afterwards, and that what is right stays byte for byte."""

from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps

from sdxl_train_cli.dataset import convert_picture
from sdxl_train_cli.dataset.convert_picture import Alpha, RepairedPicture, RepairOptions
from sdxl_train_cli.errors import DatasetError

RED, BLUE = (220, 20, 20), (20, 20, 220)


def options(alpha: Alpha = Alpha.WHITE, size: tuple[int, int] | None = None) -> RepairOptions:
    return RepairOptions(alpha, 95, lambda width, height: size or (width, height))


def halves(left: object = RED, right: object = BLUE, mode: str = "RGB") -> Image.Image:
    """80 by 40, the left half of one colour and the right one of another."""
    image = Image.new(mode, (80, 40), left)
    image.paste(right, (40, 0, 80, 40))
    return image


def shown(repaired: RepairedPicture) -> Image.Image:
    assert repaired.content is not None
    image = Image.open(io.BytesIO(repaired.content))
    image.load()
    assert not {"icc_profile", "exif", "transparency"} & image.info.keys()
    return image


def near(found: object, wanted: tuple[int, ...], by: int = 12) -> bool:
    assert isinstance(found, tuple)
    return all(abs(one - other) <= by for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.jpeg", "a.webp", "a.bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_is_right_needs_no_change(tmp_path: Path, name: str, mode: str) -> None:
    halves(*([200, 40] if mode == "L" else [RED, BLUE]), mode=mode).save(tmp_path / name)

    assert convert_picture.repair(tmp_path / name, options()) == RepairedPicture(Path(name).suffix, None, ())


def test_the_suffix_becomes_what_the_content_is(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png", format="JPEG")
    halves().save(tmp_path / "b.JPG", format="JPEG")

    assert convert_picture.repair(tmp_path / "a.png", options()) == RepairedPicture(".jpg", None, ())
    assert convert_picture.repair(tmp_path / "b.JPG", options()) == RepairedPicture(".jpg", None, ())


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_stands_as_a_viewer_shows_it(tmp_path: Path, orientation: int) -> None:
    stored = halves()
    stored.paste((20, 220, 20), (0, 0, 40, 20))  # three colours tell each turn from every other
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)

    repaired = convert_picture.repair(tmp_path / "a.jpg", options())

    image, viewed = shown(repaired), ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    assert image.size == viewed.size
    for x, y in itertools.product((10, image.width - 10), (10, image.height - 10)):
        assert near(image.getpixel((x, y)), viewed.getpixel((x, y)))  # type: ignore[arg-type]  # three bands
    assert repaired.did == ("turned upright as EXIF says",)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    halves((0, 0, 0, 0), (*BLUE, 255), "RGBA").save(tmp_path / "a.png")

    image = shown(convert_picture.repair(tmp_path / "a.png", options()))

    assert image.mode == "RGB"
    assert (image.getpixel((10, 20)), image.getpixel((70, 20))) == ((255, 255, 255), BLUE)


def test_transparency_is_kept_for_masks(tmp_path: Path) -> None:
    halves((0, 0, 0, 0), (*BLUE, 255), "RGBA").save(tmp_path / "a.png")
    palette = halves(0, 1, "P")
    palette.putpalette([0, 0, 0, *BLUE])
    palette.save(tmp_path / "b.png", transparency=0)

    assert convert_picture.repair(tmp_path / "a.png", options(Alpha.KEEP)).content is None
    kept = shown(convert_picture.repair(tmp_path / "b.png", options(Alpha.KEEP)))

    assert (kept.getpixel((10, 20)), kept.getpixel((70, 20))) == ((0, 0, 0, 0), (*BLUE, 255))


def test_a_picture_whose_alpha_hides_nothing_stays_as_it_is(tmp_path: Path) -> None:
    halves((*RED, 255), (*BLUE, 255), "RGBA").save(tmp_path / "a.png")

    assert convert_picture.repair(tmp_path / "a.png", options()).content is None


@pytest.mark.parametrize("mode", ["P", "1", "CMYK", "LA"])
def test_other_colours_become_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    black_and_white = Image.new("L", (80, 40), 0)
    black_and_white.paste(255, (40, 0, 80, 40))
    black_and_white.convert(mode if mode != "CMYK" else "RGB").convert(mode).save(tmp_path / name, quality=95)

    image = shown(convert_picture.repair(tmp_path / name, options())).convert("RGB")

    assert near(image.getpixel((10, 20)), (0, 0, 0))
    assert near(image.getpixel((70, 20)), (255, 255, 255))


def test_sixteen_bits_become_eight_and_keep_their_greys(tmp_path: Path) -> None:
    grey = Image.frombytes("I;16", (80, 40), (40 * struct.pack("<H", 0x4000) + 40 * struct.pack("<H", 0xC000)) * 40)
    grey.save(tmp_path / "a.png")

    image = shown(convert_picture.repair(tmp_path / "a.png", options()))

    assert (image.mode, image.getpixel((10, 20)), image.getpixel((70, 20))) == ("L", 0x40, 0xC0)


def test_colours_follow_their_profile(tmp_path: Path) -> None:
    # Lab's own profile: its numbers mean colours far from what they would be as RGB.
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    meant = ImageCms.profileToProfile(halves(), ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    assert meant is not None
    meant.save(tmp_path / "a.tiff", icc_profile=lab.tobytes())

    repaired = convert_picture.repair(tmp_path / "a.tiff", options())

    assert near(shown(repaired).getpixel((10, 20)), RED)
    assert "to sRGB" in repaired.did[0]


def test_a_profile_that_is_srgb_or_broken_changes_nothing(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    halves().save(tmp_path / "a.png", icc_profile=srgb)
    halves().save(tmp_path / "b.png", icc_profile=b"no profile at all")

    assert convert_picture.repair(tmp_path / "a.png", options()).content is None
    assert convert_picture.repair(tmp_path / "b.png", options()).content is None


def test_of_several_frames_the_first_is_kept(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.gif", save_all=True, append_images=[halves(BLUE, RED)])

    repaired = convert_picture.repair(tmp_path / "a.gif", options())

    assert near(shown(repaired).getpixel((10, 20)), RED)
    assert repaired.did[0] == "kept the first of 2 frames"
    assert repaired.suffix == ".png"


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_large_picture_is_shrunk(tmp_path: Path, name: str) -> None:
    halves().resize((1600, 800)).save(tmp_path / name)

    repaired = convert_picture.repair(tmp_path / name, options(size=(100, 50)))

    image = shown(repaired)
    assert (image.size, repaired.suffix) == ((100, 50), Path(name).suffix)
    assert near(image.getpixel((10, 20)), RED)
    assert repaired.did == ("shrunk from 1600x800 to 100x50",)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not a readable picture"), (b"no picture", "not a readable picture"), (None, "can't be read")],
)
def test_what_is_broken_is_told(tmp_path: Path, content: bytes | None, words: str) -> None:
    broken = tmp_path / "a.jpg"
    halves().resize((800, 800)).save(broken, quality=95)
    broken.write_bytes(broken.read_bytes()[:-900] if content is None else content)

    with pytest.raises(DatasetError, match=words):
        convert_picture.repair(broken, options())


def test_a_drawing_that_another_program_would_have_to_run_is_no_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jpg", format="EPS")  # Pillow gives it to Ghostscript

    with pytest.raises(DatasetError, match="not a readable picture"):
        convert_picture.repair(tmp_path / "a.jpg", options())
    with pytest.raises(DatasetError, match="not a readable picture"):
        convert_picture.require_readable(tmp_path / "a.jpg")


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")

    with pytest.raises(DatasetError, match="more than 179 million pixels"):
        convert_picture.repair(tmp_path / "a.png", options())
