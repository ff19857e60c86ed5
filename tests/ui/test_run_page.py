"""A run's page: nothing in it is taken for HTML, and a real browser draws it alone, asking nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from kept_runs import DONE, SETTINGS, draw_samples, keep, keep_with_files, metrics
from patience import until
from playwright.sync_api import expect
from web_browser import EVIL, Listener, data, needs_browser, opened

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history
from sdxl_train_cli.ui import run_page, run_page_data
from sdxl_train_cli.ui.run_page import RunPage


def gathered(folder: Path) -> RunPage:
    return run_page_data.gather(history.load(folder), "python train.py")


def test_what_comes_from_the_run_never_ends_its_block(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", {**DONE, "outcome": "failed", "cause": EVIL}, preset=EVIL)
    html = run_page.html(gathered(folder))

    assert data(html)["cause"] == EVIL
    assert html.count("<script") == 3
    assert "taken'<" not in html.partition('id="data">')[2].partition("</script")[0]


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    found = replace(gathered(keep(tmp_path / "cat")), name="cat\udcff")
    run_page.write(found, tmp_path / "report.html")

    assert data((tmp_path / "report.html").read_text(encoding="utf-8"))["name"] == "cat\udcff"


def test_the_page_may_run_its_own_scripts_alone_and_fetch_nothing(tmp_path: Path) -> None:
    html = run_page.html(gathered(keep(tmp_path / "cat")))
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style

    def checksum(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy[1].split("; ") == [
        "default-src 'none'", "img-src data:", f"script-src {' '.join(map(checksum, scripts))}",
        f"style-src {checksum(style[1])}", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip
    assert "MIT License" in html


def test_a_page_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    found = gathered(keep(tmp_path / "cat"))
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="can't be written"):
        run_page.write(found, tmp_path / "file" / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat", "file"]


def test_a_page_that_is_stopped_while_it_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_beside: Path, _target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_page.write(gathered(keep(tmp_path / "cat")), tmp_path / "report.html")

    assert [path.name for path in tmp_path.iterdir()] == ["cat"]


def test_a_run_of_a_hundred_thousand_steps_makes_a_page_below_10_mb(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    line = '{"step": %d, "loss": 0.1234567%d, "average_loss": 0.1%d, "rates": {"unet": 1e-4, "text encoder": 5e-5}, "seconds": 1.31%d, "gpu_used_gib": 7.61%d, "gpu_total_gib": 12.0, "gpu_power_watts": 165.%d}\n'  # noqa: E501
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(line % ((step,) * 6) for step in range(1, 100_001))
    html = run_page.html(gathered(folder))

    assert len(data(html)["curves"]["steps"]) == 100_000  # type: ignore[index]
    assert len(html) < 10_000_000


# --- in a real browser


@pytest.fixture
def whole(tmp_path: Path, listener: Listener) -> Path:
    """A run with all that a page can show, and with names that try to break out of it."""
    fetch = f"{EVIL}<img src={listener.address}/a><link rel=stylesheet href={listener.address}/b>"
    (tmp_path / "prompts.txt").write_text(fetch.replace("\u2028", "") + "\n", encoding="utf-8")
    prompts = {"sample_prompts": {"value": str(tmp_path / "prompts.txt"), "origin": fetch}}
    folder = keep_with_files(tmp_path / "кот 🐈", settings={**SETTINGS, **prompts}, preset=fetch)
    path = metrics(folder, 200, gpu_power_watts=160.0)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[99] = '{"step": 100, "loss": "nan", "average_loss": "nan", "rates": {}}'
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    draw_samples(folder, "000100_00_20260102030401", "000200_00_20260102030402")
    return folder


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_draws_the_page_without_an_error_or_a_request(whole: Path, listener: Listener, dark: bool) -> None:
    run_page.write(gathered(whole), whole / "report.html")
    with opened(whole / "report.html", dark=dark) as (seen, said):
        expect(seen.locator("canvas")).to_have_count(5)
        expect(seen.locator('img[src^="data:image/webp"]')).to_have_count(2)
        dom = seen.content()

    assert said == []
    assert 'data-plots="5"' in dom
    assert "<title>кот 🐈 - sdxl-train</title>" in dom
    assert "&lt;img src=x onerror=" in dom
    assert "<img src=x" not in dom
    assert "not a number" in dom
    assert listener.asked == 0


@needs_browser
def test_what_watches_the_browser_sees_a_request_and_an_error(tmp_path: Path, listener: Listener) -> None:
    text = f"<img src={listener.address}/a><script>console.error('seen'); nothing.there</script>"
    (tmp_path / "run_page.html").write_text(text, encoding="utf-8")
    with opened(tmp_path / "run_page.html") as (seen, said):
        seen.content()

    until(lambda: listener.asked > 0)
    assert any("seen" in line for line in said)
    assert any("nothing is not defined" in line for line in said)


SMOOTHED = """() => {
  const slider = document.querySelector("input[type=range]");
  const step = plots[0].data[0].indexOf(100);
  const at = (weight) => { slider.value = weight; slider.dispatchEvent(new Event("input")); return plots[0].data[2]; };
  return {
    rough: Math.max(...at("0").map((v, i) => Math.abs((v ?? 0) - (plots[0].data[1][i] ?? 0)))),
    smooth: at("50")[19] > 2 * plots[0].data[1][19],
    gap: plots[0].data[1][step] === null && plots[0].data[2][step] === null && plots[0].data[3][step] > 0,
  };
}"""
ZOOMED = "([low, high]) => plots.every(({ scales: { x } }) => Math.abs(x.min - low) < 5 && Math.abs(x.max - high) < 5)"


@needs_browser
def test_the_slider_smooths_and_dragging_zooms_every_plot(whole: Path) -> None:
    (whole / "tried.html").write_text(run_page.html(gathered(whole)), encoding="utf-8")
    with opened(whole / "tried.html") as (seen, said):
        facts = seen.evaluate(SMOOTHED)
        over = seen.locator(".u-over").first
        over.scroll_into_view_if_needed()
        box = over.bounding_box()
        assert box is not None
        seen.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 40)
        seen.mouse.down()
        seen.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40, steps=5)
        seen.mouse.up()
        seen.wait_for_function(ZOOMED, arg=[50, 100])
        seen.get_by_role("button", name="Show all").click()
        seen.wait_for_function(ZOOMED, arg=[1, 200])
        plots = seen.evaluate("plots.length")

    assert said == []
    assert plots == 5
    assert facts["rough"] < 1e-9
    assert (facts["smooth"], facts["gap"]) == (True, True)
