"""A page in a real browser: what it drew, what its console said, whom it asked."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS
from playwright.sync_api import Page, expect, sync_playwright

EVIL = (
    "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    " <!-- фото кота 🐈 \u2028 {{data}}"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
expect.set_options(timeout=PATIENCE_SECONDS * 1000)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")


def data(html: str) -> dict[str, object]:
    """What the page's script is given, found as a browser finds it: up to the first end of a script."""
    start = html.index('id="data">') + len('id="data">')
    content = json.loads(html[start : html.index("</script", start)])
    assert isinstance(content, dict)
    return content


@contextmanager
def opened(html: Path, *, height: int = 900, dark: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """Load a file in a headless browser; give the page, and what its console and its errors say, as it grows."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": 1000, "height": height}, color_scheme=scheme)
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(html.as_uri())
        yield page, said
        browser.close()


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
