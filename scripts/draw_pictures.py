"""Draw the pictures of README.md from a real run: `.venv-dev/bin/python scripts/draw_pictures.py`.

A scaled-down SDXL of random weights trains on the processor, in minutes, with the environment of `sdxl-train setup`.
The live view becomes an SVG, the report a PNG in headless Chromium. Both are written to docs/pictures/.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from project_venv import ROOT
from rich.console import Console
from rich.terminal_theme import MONOKAI

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.environment import environment
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import history, runs
from sdxl_train_cli.run import launching, preparation, repeating, smoke
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeMaterial, SmokeSize
from sdxl_train_cli.run.supervision import Event
from sdxl_train_cli.sdscripts.progress import Step
from sdxl_train_cli.ui import live, run_page, run_page_data

PICTURES = ROOT / "docs" / "pictures"
NAME = "cat"
PROMPTS = ("a photo of ohwx cat --w 128 --h 128 --s 8", "a photo of ohwx cat on a beach --w 128 --h 128 --s 8")
COLUMNS = 100
SHARE = 0.7
"""How far the run has come when its live view is drawn."""
VIEWPORT = {"width": 1000, "height": 860}
_BELOW = 20
COLOURS = 64
"""A page of few colours: a palette makes the picture a third of its size."""
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class DrawnView(live.TerminalView):
    """A live view that is drawn once, near the end of the run, instead of on a terminal."""

    svg = ""

    def __enter__(self) -> DrawnView:  # noqa: PYI034 - typing.Self needs Python 3.11
        """Start no display."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to restore."""

    def show(self, event: Event) -> None:
        """Show one event of the run."""
        super().show(event)
        if isinstance(event, Step) and not self.svg and event.step >= SHARE * event.steps:
            console = Console(record=True, width=COLUMNS, force_terminal=True, file=io.StringIO())
            console.print(self.picture())
            self.svg = console.export_svg(title="sdxl-train lora", theme=MONOKAI)


def main() -> int:
    """Train, and draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120, help="length of the run")
    steps = parser.parse_args().steps
    if BROWSER is None:
        sys.exit("error: no Chromium is here\nhint:  apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), steps, BROWSER)
    return 0


def draw(folder: Path, steps: int, browser: str) -> None:
    """Train in this folder, and write both pictures."""
    where = workspace.home(None)
    installed = environment.require(where)
    size = SmokeSize(steps, scaled=True, gpu_index=None)
    material = smoke.make_material(installed, folder / "material", size)
    prepared = preparation.prepare(choices(material, folder, size), where, workspace.user_presets())
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures, prepared.prompts)
    view = DrawnView()
    launching.follow(prepared, view.show, frozenset())
    PICTURES.mkdir(exist_ok=True)
    # The font of the terminal is the reader's own: a page must not fetch one.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", view.svg, flags=re.DOTALL)
    (PICTURES / "live.svg").write_text(svg, encoding="utf-8")
    page = folder / "report.html"
    entry = history.require(str(prepared.run.folder), folder)
    run_page.write(run_page_data.gather(entry, formatting.shell_line(entry.record.argv), with_hashes=False), page)
    page.write_text(page.read_text(encoding="utf-8").replace(f"{folder}/", ""), encoding="utf-8")  # as typed
    photograph(page, PICTURES / "report.png", browser)


def choices(material: SmokeMaterial, folder: Path, size: SmokeSize) -> Choices:
    """A run as a person would start it, with the sizes of a smoke run."""
    chosen = smoke.choices(Kind.LORA, material, folder / "output", size, eight_bit=False)
    every = {"save_every_n_steps": size.steps // 3, "sample_every_n_steps": size.steps // 3}
    longer = tuple(Override(option, steps, Origin("pictures")) for option, steps in every.items())
    overrides = (*chosen.overrides, *longer)
    return replace(chosen, name=NAME, trigger="a photo of ohwx cat", samples=PROMPTS, overrides=overrides)


def photograph(page: Path, target: Path, browser: str) -> None:
    """Save a page as it looks in a browser, down to its samples."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_page(viewport=VIEWPORT, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_timeout(500)
        tab.locator(".samples").scroll_into_view_if_needed()
        tab.evaluate("scrollTo(0, 0)")
        samples = tab.locator(".card", has=tab.locator(".samples")).bounding_box()
        height = VIEWPORT["height"] if samples is None else samples["y"] + samples["height"] + _BELOW
        clip = {"x": 0, "y": 0, "width": VIEWPORT["width"], "height": height}
        tab.screenshot(path=str(target), full_page=True, clip=clip)
        opened.close()
    with Image.open(target) as picture:
        picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
