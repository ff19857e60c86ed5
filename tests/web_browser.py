"""A page in a real browser: what it drew, what its console said, whom it asked."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS

EVIL = (
    "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>"
    " <!-- фото кота 🐈 \u2028 {{data}}"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt-get install chromium")


def data(html: str) -> dict[str, object]:
    """What the page's script is given, found as a browser finds it: up to the first end of a script."""
    start = html.index('id="data">') + len('id="data">')
    content = json.loads(html[start : html.index("</script", start)])
    assert isinstance(content, dict)
    return content


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


def with_hands(html: str, script: str) -> str:
    """A copy of the page to try out: a script of the test's own, which the page's policy would forbid."""
    return re.sub(r"<meta http-equiv[^>]+>", "", html).replace("</body>", f"<script>{script}</script></body>")


def told(dom: str) -> dict[str, str]:
    """What scripts have left at the root of the page: `document.documentElement.dataset`."""
    return dict(re.findall(r'data-([\w-]+)="([^"]*)"', dom.partition("<html")[2].partition(">")[0]))


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
