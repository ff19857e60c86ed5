"""A dataset's page: it stays small, takes no caption for HTML, and a real browser draws it and asks nobody."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import pytest
from odd_files import check, photo, saved
from PIL import Image
from playwright.sync_api import expect
from web_browser import EVIL, Listener, data, needs_browser, opened

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.ui import dataset_page, dataset_page_data


def html(folder: Path) -> str:
    """The page as `sdxl-train dataset show --html` writes it."""
    recipe = presets.load(Kind.LORA, "dim32-gc", [])
    checked = check(folder, recipe)
    arranged = bucketing.arrange(recipe, checked.survey.readable)
    sources = list(dataset_page.sources(dataset_page_data.files(checked.survey)))
    return dataset_page.html(dataset_page_data.gather(checked, arranged, recipe), sources)


@pytest.fixture
def whole(tmp_path: Path, listener: Listener) -> Path:
    """All that a page can show, with captions that try to break out of it."""
    fetch = f"{EVIL}<img src={listener.address}/a><link rel=stylesheet href={listener.address}/b>"
    folder = tmp_path / "кот 🐈 [old]"
    saved(folder / "2_cat" / "wide.png", photo(1, (1500, 1000)), fetch.replace("\u2028", "") + ", long tag")
    saved(folder / "2_cat" / "narrow [1].jpg", photo(2, (300, 1900)), "ohwx, long hair")
    saved(folder / "2_cat" / "copy.jpg", photo(2, (300, 1900)), "ohwx")
    saved(folder / "5_ohwx woman" / "small <b>.png", photo(3, (300, 300)), None)
    (folder / "5_ohwx woman" / "broken.png").write_bytes((folder / "2_cat" / "wide.png").read_bytes()[:9000])
    return folder


# --- thumbnails


def test_thumbnails_are_smaller_the_more_there_are() -> None:
    assert dataset_page.side(1) == dataset_page.side(20) == dataset_page.MOST_SIDE
    assert (
        dataset_page.MOST_SIDE
        > dataset_page.side(500)
        > dataset_page.side(2000)
        > dataset_page.side(10_000)
        >= dataset_page.LEAST_SIDE
    )
    assert dataset_page.side(2000) ** 2 * 2000 * 0.2 <= dataset_page.PICTURES_BYTES


def test_a_thumbnail_takes_no_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_page, "PICTURES_BYTES", 30_000)
    noise = Image.effect_noise((600, 600), 90)
    files = [saved(tmp_path / f"{number}.png", noise) for number in range(3)]
    made = list(dataset_page.sources(files))

    assert all(each is not None and len(each) <= 10_000 for each in made)


def test_thumbnails_come_in_the_order_of_the_cards_with_none_where_there_is_no_picture(tmp_path: Path) -> None:
    files: list[Path | None] = [saved(tmp_path / f"{size}.png", photo(size, (size, 100))) for size in (300, 200, 400)]
    made = list(dataset_page.sources([files[0], None, *files[1:]]))

    def width(source: str | None) -> int | None:
        if source is None:
            return None
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
            return image.width

    assert [width(source) for source in made] == [300, None, 200, 400]


# --- in a real browser


def test_what_comes_from_captions_never_ends_its_block(whole: Path) -> None:
    made = html(whole)
    (wide,) = (card for card in data(made)["cards"] if card["name"] == "wide.png")  # type: ignore[attr-defined]

    assert wide["caption"].startswith("</script><script>")
    assert made.count("<script") == 2
    assert "://" not in made.partition('id="data">')[0]


PICTURES = 'img[src^="data:image/webp"]'


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_draws_every_picture_without_an_error_or_a_request(
    whole: Path, tmp_path: Path, listener: Listener, dark: bool
) -> None:
    (tmp_path / "dataset.html").write_text(html(whole), encoding="utf-8")
    with opened(tmp_path / "dataset.html", height=5000, dark=dark) as (seen, said):
        expect(seen.locator(PICTURES)).to_have_count(6)  # four in their buckets, two side by side
        seen.wait_for_function("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
        dom = seen.content()

    assert said == []
    assert listener.asked == 0
    assert "<title>кот 🐈 [old] - sdxl-train dataset</title>" in dom
    assert 'data-cards="5"' in dom
    assert "&lt;img src=x onerror=" in dom
    assert "<img src=x" not in dom
    for words in ("narrow [1].jpg", "small &lt;b&gt;.png", "no caption of its own", "1216 \u00d7 832", "Side by side"):
        assert words in dom


HANDS = """() => {
const facts = {};
const all = (what) => [...document.querySelectorAll(what)];
const with_words = (what, words) => all(what).find((one) => one.textContent.includes(words));
const shown = () => all(".buckets .item").filter((one) => one.checkVisibility())
  .map((one) => one.querySelector(".name").textContent).sort().join("|");
const button = (name) => with_words(".buckets .item", name).querySelector(".shot");
const image = button("wide.png").querySelector("img"), frame = button("wide.png").querySelector(".crop");
const outer = image.getBoundingClientRect(), inner = frame.getBoundingClientRect();
facts.frame = [inner.left - outer.left, inner.right - outer.left].map((one) => (one / outer.width).toFixed(3)).join(" ")
  + " " + (inner.height / outer.height).toFixed(3);
facts.shape = (outer.width / outer.height).toFixed(2);
const choose = (select, value) => { select.value = value; select.dispatchEvent(new Event("change")); };
with_words(".finding", "exact copies").querySelector("button").click();
facts.duplicates = shown();
choose(tools.problem, "none"); facts.fine = shown();
choose(tools.problem, ""); choose(tools.folder, "1"); facts.folder = shown();
choose(tools.folder, "");
tools.search.value = "LONG"; filter(); facts.found = shown(); facts.count = tools.count.textContent;
tools.search.value = "nothing like it"; filter(); facts.nothing = shown();
tools.search.value = ""; filter(); facts.all = tools.count.textContent;
button("wide.png").click();
facts.opened = dialog.querySelector("dl").innerText.replace(/\\s+/g, " ");
dialog.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
facts.before = dialog.querySelector("h2").textContent;
dialog.querySelector("button").click();
facts.closed = !dialog.open;
facts.wide = document.documentElement.scrollWidth <= innerWidth;
return facts;
}"""


@needs_browser
def test_the_frame_the_filters_and_an_opened_picture_tell_what_is_there(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "tried.html").write_text(html(whole), encoding="utf-8")
    with opened(tmp_path / "tried.html") as (seen, said):
        facts = seen.evaluate(HANDS)

    assert said == []
    assert facts["frame"] == "0.013 0.987 1.000"  # 19 to 1481 of 1500, the whole height
    assert facts["shape"] == "1.50"
    assert facts["duplicates"] == "copy.jpg|narrow [1].jpg"
    assert facts["folder"] == "broken.png|small <b>.png"
    assert (facts["found"], facts["count"]) == ("narrow [1].jpg|wide.png", "2 of 5 pictures")
    assert (facts["nothing"], facts["all"]) == ("", "5 pictures")
    assert "bucket 1216 \u00d7 832 cut away 3 %: 19 px left, 19 px right repeats 2" in facts["opened"]
    assert facts["before"] == "small <b>.png"
    assert (facts["closed"], facts["wide"]) == (True, True)


@needs_browser
def test_two_thousand_pictures_are_drawn_at_once_and_few_of_them_decoded(tmp_path: Path) -> None:
    saved(tmp_path / "data" / "a.png", photo(1, (320, 240)))
    made = html(tmp_path / "data")
    (one,) = re.findall(r'"data:image/webp;base64,[^"]+"', made)
    (card,) = re.findall(r'"cards":\[(\{.*?\})\],"sources"', made)
    many = made.replace(f'"sources":[{one}]', f'"sources":[{",".join([one] * 2000)}]')
    many = many.replace(f'"cards":[{card}]', f'"cards":[{",".join([card] * 2000)}]')
    (tmp_path / "many.html").write_text(many, encoding="utf-8")
    with opened(tmp_path / "many.html") as (seen, said):
        expect(seen.locator(PICTURES)).not_to_have_count(0)
        pictures, dom = seen.locator(PICTURES).count(), seen.content()

    assert said == []
    assert 'data-cards="2000"' in dom
    assert 1 < pictures < 200
    assert dom.count("<") / 2 < 40_000
