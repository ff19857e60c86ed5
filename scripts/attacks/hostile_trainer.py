"""Lets the stand-in trainer print what ATTACK_OUTPUT names after its second step; stands in its repository.

Nothing here is a word that sd-scripts would mean: whatever is printed, the run goes on and delivers.
"""

from __future__ import annotations

import os
import sys
import time

_MIB = 1 << 20


def join(training) -> None:  # noqa: ANN001 - the stand-in's module, which has no type
    """Have the shape printed once the second step is made."""
    shape = SHAPES.get(os.environ.get("ATTACK_OUTPUT", ""))
    usual = training.Fault.after_step

    def after_step(fault, step, bar) -> None:  # noqa: ANN001 - as above
        if step == 2 and shape is not None:  # noqa: PLR2004
            shape(Mouth())
        usual(fault, step, bar)

    training.Fault.after_step = after_step


class Mouth:
    """Writes bytes, on both streams where they are small."""

    def say(self, content: bytes, times: int = 1) -> None:
        """Write this so often on stderr."""
        for _ in range(times):
            sys.stderr.buffer.write(content)
        sys.stderr.buffer.flush()

    def flood(self, content: bytes, seconds: float) -> None:
        """Write it for so long, as fast as it is taken."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.say(content)


def _bar(steps: str, total: str = "20", rate: str = "1.00", loss: str = "0.1") -> bytes:
    return f"\rsteps:  10%|#         | {steps}/{total} [00:01<00:09, {rate}it/s, avr_loss={loss}]".encode()


_SECONDS = float(os.environ.get("ATTACK_FLOOD_SECONDS", "5"))
_LINE = b"x" * 4095

SHAPES = {
    "flood-without-end": lambda mouth: mouth.flood(_LINE * 16, _SECONDS),
    "flood-of-lines": lambda mouth: mouth.flood((_LINE + b"\n") * 16, _SECONDS),
    "flood-of-short-lines": lambda mouth: mouth.flood(b"y\n" * 32_768, _SECONDS),
    "flood-of-returns": lambda mouth: mouth.flood(b"\r" * 65_536, _SECONDS),
    "flood-of-bars": lambda mouth: mouth.flood(_bar("2") * 500, _SECONDS),
    "flood-of-parts": lambda mouth: mouth.flood(b"\rcaching: 10%|#   | 1/10 [00:01<00:09]" * 500, _SECONDS),
    "flood-of-tracebacks": lambda mouth: mouth.flood(
        b'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: odd\n' * 500, _SECONDS
    ),
    "digits-without-end": lambda mouth: mouth.say(b"7" * 65_536, 2),
    "percent-without-end": lambda mouth: mouth.say(b"100%|" * 30_000, 2),
    "steps-without-end": lambda mouth: mouth.say(b"steps: 1%| |" * 20_000, 2),
    "epochs-without-end": lambda mouth: mouth.say(b"epoch 1/" + b"1" * 200_000 + b"x\n", 2),
    "spaces-without-end": lambda mouth: mouth.say(b"steps:" + b" " * 200_000 + b"\n", 2),
    "saving-without-end": lambda mouth: mouth.say(b"saving checkpoint: " * 20_000 + b"\n", 2),
    "loss-of-5000-digits": lambda mouth: mouth.say(_bar("2", loss="9" * 5000)),
    "step-of-5000-digits": lambda mouth: mouth.say(b"\rsteps:  10%|#| " + b"9" * 5000 + b"/20 [00:01<00:09, 1.00it/s]"),
    "total-of-5000-digits": lambda mouth: mouth.say(_bar("2", total="9" * 5000)),
    "rate-of-5000-digits": lambda mouth: mouth.say(_bar("2", rate="9" * 5000)),
    "clock-of-5000-digits": lambda mouth: mouth.say(
        b"\rsteps:  10%|#| 2/20 [00:01<" + b"9" * 5000 + b":09, 1.00it/s, avr_loss=0.1]"
    ),
    "length-of-5000-digits": lambda mouth: mouth.say(b"total optimization steps: " + b"9" * 5000 + b"\n"),
    "epoch-of-5000-digits": lambda mouth: mouth.say(b"epoch " + b"9" * 5000 + b"/" + b"9" * 5000 + b"\n"),
    "part-of-5000-digits": lambda mouth: mouth.say(b"10%|#| " + b"9" * 5000 + b"/" + b"9" * 5000 + b" [00:01\n"),
    "validation-of-400-digits": lambda mouth: mouth.say(b"val_loss=" + b"9" * 400 + b"\n"),
    "step-zero-of-zero": lambda mouth: mouth.say(_bar("0", total="0")),
    "rate-of-zero": lambda mouth: mouth.say(_bar("2", rate="0.00")),
    "odd-clock": lambda mouth: mouth.say(b"\rsteps:  10%|#| 2/20 [::::<:::?, 1.00it/s]"),
    "binary": lambda mouth: mouth.say(bytes(range(256)) * 4096),
    "nuls": lambda mouth: mouth.say(b"\0" * _MIB),
    "utf-16": lambda mouth: mouth.say(("\ufeff" + "steps: nothing\n" * 5000).encode("utf-16-le")),
    "half-letters": lambda mouth: mouth.say(b"\xe2\x96\n\xf0\x9f\n\xc3" * 20_000),
    "escape-codes": lambda mouth: mouth.say(
        b"\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m\nsaving checkpoint: /tmp/\x1b]0;owned\x07a.safetensors\n"
        b"epoch \x1b[31m1/2\nNaN found in latents \x1b]52;c;b3duZWQ=\x07\nTraceback \x1b[8mhidden\n"
    ),
    "one-line-of-20-mb": lambda mouth: mouth.say(b"z" * _MIB, 20),
    "colons-and-brackets": lambda mouth: mouth.say(b"[" * 100_000 + b"]" * 100_000 + b"\n" + b":" * 200_000 + b"\n"),
}
