"""The page of a run: what it shows, that nothing in it is taken for HTML, and that a real browser draws it alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kept_runs import DONE, SETTINGS, US, keep, keep_with_files, metrics
from patience import PATIENCE_SECONDS
from PIL import Image

from sdxl_train_cli import history, report
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.report import Page

EVIL = (
    "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    " <!-- фото кота 🐈 \u2028 {{data}}"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")


def page(folder: Path) -> Page:
    return report.page(history.load(folder), "python train.py")


def data(html: str) -> dict[str, object]:
    """What the page's script is given, found as a browser finds it: up to the first end of a script."""
    start = html.index('id="data">') + len('id="data">')
    content = json.loads(html[start : html.index("</script", start)])
    assert isinstance(content, dict)
    return content


def tables(shown: Page) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {table.title: table.rows for table in shown.tables}


def draw(folder: Path, *names: str, size: tuple[int, int] = (64, 64)) -> None:
    (folder / "sample").mkdir(exist_ok=True)
    for name in names:
        Image.effect_noise(size, 60).save(folder / "sample" / f"{folder.name}_{name}.png")


def test_checkpoints_are_shown_with_size_and_checksum(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    content = (folder / "cat.safetensors").read_bytes()

    assert tables(page(folder))["Checkpoints"][-1] == (
        "cat.safetensors", "final", f"{len(content)} B", hashlib.sha256(content).hexdigest(),
    )  # fmt: skip


@pytest.mark.parametrize(("supervisor", "word"), [(None, "incomplete"), (US, "being written")])
def test_a_checkpoint_that_is_not_whole_has_no_checksum(tmp_path: Path, supervisor: int | None, word: str) -> None:
    folder = keep_with_files(tmp_path / "cat", supervisor=supervisor)
    with (folder / "cat.safetensors").open("ab") as file:
        file.truncate(20)

    assert tables(page(folder))["Checkpoints"][-1][-1] == word


def test_settings_come_with_their_origins_and_data_with_its_facts(tmp_path: Path) -> None:
    subset = {"path": "/коты/10_cat", "pictures": 3, "repeats": 10, "class_tokens": "ohwx cat"}
    shown = page(keep(tmp_path / "cat", dataset={"fingerprint": "f1", "folders": [subset]}))

    assert ("network_dim", "32", "dim32.yaml:4") in tables(shown)["Settings"]
    assert tables(shown)["Data"] == (("/коты/10_cat", "3", "10", "ohwx cat", "training"),)
    assert next(table.note for table in shown.tables if table.title == "Data").endswith("f1")


def test_a_failed_run_tells_its_cause_and_remedy(tmp_path: Path) -> None:
    shown = page(keep(tmp_path / "cat", {"outcome": "failed", "cause": "out of memory", "remedy": "--batch-size 1"}))

    assert (shown.state, shown.cause, shown.remedy) == ("failed", "out of memory", "--batch-size 1")


def test_an_older_run_without_metrics_and_samples_says_so(tmp_path: Path) -> None:
    shown = page(keep(tmp_path / "cat"))

    assert "holds no metrics" in shown.curves_note
    assert shown.samples.pictures == ()
    assert data(report.html(shown))["name"] == "cat"


def test_samples_stand_by_moment_and_prompt(tmp_path: Path) -> None:
    lines = ("# mine", "a cat --n bad", "", "мой кот")
    (tmp_path / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")
    prompts = {"sample_prompts": {"value": str(tmp_path / "prompts.txt"), "origin": "--set"}}
    folder = keep(tmp_path / "cat", settings=prompts)
    draw(folder, "000003_00_20260102030401", "000003_02_20260102030402", "e000001_01_20260102030403")
    samples = page(folder).samples

    assert samples.moments == ("step 3", "epoch 1")
    assert samples.prompts == ("a cat --n bad", "мой кот", "prompt 3")
    assert {(one.moment, one.prompt) for one in samples.pictures} == {("step 3", 0), ("step 3", 2), ("epoch 1", 1)}


def test_too_many_samples_are_left_out_evenly_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep(tmp_path / "cat")
    draw(folder, *(f"{step:06}_00_{20260102000000 + step}" for step in range(1, 18)))
    one = len(page(folder).samples.pictures[0].source)
    monkeypatch.setattr(report, "PICTURES_BYTES", int(4.5 * one))
    samples = page(folder).samples

    assert samples.moments == ("step 1", "step 5", "step 9", "step 13", "step 17")
    assert samples.note.startswith("12 of 17 pictures are left out")


def test_a_broken_sample_is_told(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    draw(folder, "000003_00_20260102030401")
    (folder / "sample" / "cat_000006_00_20260102030402.png").write_bytes(b"\x89PNG")

    assert page(folder).samples.note == "1 pictures could not be read."


def test_what_comes_from_the_run_never_ends_its_block(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", {**DONE, "outcome": "failed", "cause": EVIL}, name=EVIL, preset=EVIL)
    html = report.html(page(folder))

    assert data(html)["name"] == EVIL
    assert html.count("<script") == 3
    assert "taken'<" not in html.partition('id="data">')[2].partition("</script")[0]


def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    shown = replace(page(keep(tmp_path / "cat")), name="cat\udcff")
    report.write(shown, tmp_path / "report.html")

    assert data((tmp_path / "report.html").read_text(encoding="utf-8"))["name"] == "cat\udcff"


def test_the_page_may_run_its_own_scripts_alone_and_fetch_nothing(tmp_path: Path) -> None:
    html = report.html(page(keep(tmp_path / "cat")))
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
    shown = page(keep(tmp_path / "cat"))
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="can't be written"):
        report.write(shown, tmp_path / "file" / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat", "file"]


def test_a_run_of_a_hundred_thousand_steps_makes_a_page_below_10_mb(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    line = '{"step": %d, "loss": 0.1234567%d, "average_loss": 0.1%d, "rates": {"unet": 1e-4, "text encoder": 5e-5}, "seconds": 1.31%d, "gpu_used_gib": 7.61%d, "gpu_total_gib": 12.0, "gpu_power_watts": 165.%d}\n'  # noqa: E501
    with (folder / "metrics.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(line % ((step,) * 6) for step in range(1, 100_001))
    html = report.html(page(folder))

    assert len(data(html)["curves"]["steps"]) == 100_000  # type: ignore[index]
    assert len(html) < 10_000_000


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_600_000, "16.6 MB"), (6_938_040_682, "6.9 GB")],
)
def test_sizes_are_written_as_people_write_them(size_bytes: int, words: str) -> None:
    assert report.size(size_bytes) == words


# --- in a real browser


def browse(html: Path, *flags: str) -> tuple[str, list[str]]:
    """Load a file in a headless browser; give the page as it ended up, and what its console said."""
    done = subprocess.run(
        [
            str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1000,900",
            "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000",
            f"--user-data-dir={html.parent / 'browser'}", "--enable-logging=stderr", *flags,
            "--dump-dom", html.as_uri(),
        ],
        capture_output=True, encoding="utf-8", errors="replace", timeout=2 * PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


class Listener:
    """Counts who asks a port of this machine."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


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
    draw(folder, "000100_00_20260102030401", "000200_00_20260102030402")
    return folder


@needs_browser
@pytest.mark.parametrize("flags", [(), ("--blink-settings=preferredColorScheme=0",)], ids=["light", "dark"])
def test_a_browser_draws_the_page_without_an_error_or_a_request(
    whole: Path, listener: Listener, flags: tuple[str, ...]
) -> None:
    report.write(page(whole), whole / "report.html")
    dom, console = browse(whole / "report.html", *flags)

    assert console == []
    assert 'data-plots="5"' in dom
    assert dom.count("<canvas") == 5
    assert dom.count('src="data:image/webp') == 2
    assert "<title>кот 🐈 - sdxl-train</title>" in dom
    assert "&lt;img src=x onerror=" in dom
    assert "<img src=x" not in dom
    assert "no number" in dom
    assert listener.asked == 0


@needs_browser
def test_what_watches_the_browser_sees_a_request_and_an_error(tmp_path: Path, listener: Listener) -> None:
    text = f"<img src={listener.address}/a><script>console.error('seen'); nothing.there</script>"
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    _, console = browse(tmp_path / "page.html")

    assert listener.asked > 0
    assert any("seen" in line for line in console)
    assert any("nothing is not defined" in line for line in console)


@needs_browser
def test_the_slider_smooths_and_dragging_zooms_every_plot(whole: Path) -> None:
    """The page's own policy forbids a test's script too: it is taken off the copy that is tried out."""
    hands = """<script>
    const facts = document.documentElement.dataset;
    const slider = document.querySelector("input[type=range]");
    const step = plots[0].data[0].indexOf(100);
    const at = (weight) => { slider.value = weight; slider.dispatchEvent(new Event("input")); return plots[0].data[2]; };
    facts.rough = String(Math.max(...at("0").map((v, i) => Math.abs((v ?? 0) - (plots[0].data[1][i] ?? 0)))));
    facts.smooth = String(at("0.9")[19] > 2 * plots[0].data[1][19]);
    facts.gap = String(plots[0].data[1][step] === null && plots[0].data[2][step] === null && plots[0].data[3][step] > 0);
    const over = plots[0].over, box = over.getBoundingClientRect();
    const mouse = (kind, x, target) => target.dispatchEvent(new MouseEvent(kind,
      { clientX: box.left + x * box.width, clientY: box.top + 40, button: 0, bubbles: true, view: window, movementX: 9 }));
    mouse("mouseenter", 0.25, over); mouse("mousemove", 0.25, over); mouse("mousedown", 0.25, over); mouse("mousemove", 0.5, over); mouse("mouseup", 0.5, document);
    setTimeout(() => {
      facts.zoomed = plots.map((one) => Math.round(one.scales.x.min) + "-" + Math.round(one.scales.x.max)).join(" ");
      [...document.querySelectorAll("button")].find((one) => one.textContent === "Show all").click();
      setTimeout(() => { facts.all = plots.map((one) => one.scales.x.min + "-" + one.scales.x.max).join(" "); }, 50);
    }, 300);
    </script>"""  # noqa: E501
    html = re.sub(r"<meta http-equiv[^>]+>", "", report.html(page(whole))).replace("</body>", hands + "</body>")
    (whole / "tried.html").write_text(html, encoding="utf-8")
    dom, console = browse(whole / "tried.html")
    facts = dict(re.findall(r'data-(\w+)="([^"]*)"', dom.partition(">")[2].partition(">")[0]))

    assert console == []
    assert float(facts["rough"]) < 1e-9
    assert (facts["smooth"], facts["gap"]) == ("true", "true")
    zoomed = facts["zoomed"].split()
    assert len(zoomed) == 5
    assert len(set(zoomed)) == 1
    low, high = map(int, zoomed[0].split("-"))
    assert abs(low - 50) < 5
    assert abs(high - 100) < 5
    assert set(facts["all"].split()) == {"1-200"}
