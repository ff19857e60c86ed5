"""A text on the terminal that is drawn anew until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.live import Live
from rich.text import Text

from sdxl_train_cli.ui import console


def watch(lines: Callable[[], Sequence[str]], seconds: float) -> None:
    """Draw lines of text again and again. Blocks; a signal ends it."""
    with Live(console=console.err, auto_refresh=False, transient=True) as live:
        while True:
            text = Text("\n").join(Text(line) for line in lines())
            text.no_wrap, text.overflow = True, "ellipsis"
            live.update(text, refresh=True)
            time.sleep(seconds)
