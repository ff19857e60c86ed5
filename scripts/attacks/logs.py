"""Logs made to be slow to read: `runs explain` answers about 4 MB of anything in two seconds."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attacks import judge
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from attacks.calls import Called
    from attacks.plan import AttackOptions

SIZE = 4 * 1024 * 1024
MOST_SECONDS = 2.0
MOST_MIB = 400
_FRAME = b'  File "/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1501, in _call_impl\n'
_TRACE = b"Traceback (most recent call last):\n" + _FRAME + b"    return forward_call(*args, **kwargs)\n"
_BAR = b"\rsteps:  10%|#         | 2/20 [00:01<00:09,  1.00it/s, avr_loss=0.1]"


def _filled(pattern: bytes) -> Callable[[random.Random], bytes]:
    return lambda _drawn: (pattern * (SIZE // len(pattern) + 1))[:SIZE]


def _hex(drawn: random.Random) -> bytes:
    return drawn.randbytes(SIZE // 2).hex().encode()


def _ansi(drawn: random.Random) -> bytes:
    return b"".join(b"\x1b[%d;%dm%c" % (drawn.randrange(99), drawn.randrange(99), 65 + n % 26) for n in range(500_000))


def _utf_16(_drawn: random.Random) -> bytes:
    return ("\ufeff" + "Traceback (most recent call last):\nValueError: odd\n" * 42_000).encode("utf-16-le")


def _words(drawn: random.Random) -> bytes:
    some = [
        b"CUDA",
        b"out",
        b"of",
        b"memory",
        b"File",
        b"Error:",
        b"line",
        b"'",
        b'"',
        b"[",
        b"(",
        b"No",
        b"module",
        b"named",
        b"size",
        b"mismatch",
        b"for",
        b"expected",
        b"got",
        b"NaN",
        b"steps:",
        b"/",
        b"\\",
        b".py",
        b"\n",
    ]
    return b" ".join(drawn.choices(some, k=SIZE // 5))[:SIZE]


SHAPES: dict[str, Callable[[random.Random], bytes]] = {
    "hex in one line": _hex,
    "blanks in one line": lambda _: b"a" + b" " * SIZE + b"a\n",
    "blanks in lines of 20,000": lambda _: (b" " * 20_000 + b"a\n") * 200,
    "nested brackets": lambda _: b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
    "tqdm bars": _filled(_BAR),
    "tracebacks": lambda _: (_TRACE + b"ValueError: odd\n") * 20_000,
    "frames without an end": lambda _: b"Traceback (most recent call last):\n" + _FRAME * 40_000,
    "a traceback in one line": lambda _: (_TRACE.replace(b"\n", b" ") * 20_000)[:SIZE],
    "one letter": _filled(b"x"),
    "UTF-16": _utf_16,
    "NULs": _filled(b"\0"),
    "colours": _ansi,
    "a title without an end": lambda _: b"\x1b]0;" + b"x" * SIZE,
    "titles without an end": _filled(b"\x1b]0;"),
    "quotes": _filled(b"'\""),
    "the words of failures": _words,
    "errors in one line": _filled(b"RuntimeError: CUDA out of memory. Tried to allocate "),
    "sizes in one line": _filled(b"size mismatch for lora_unet_a.weight: copying a param with shape "),
    "returns": _filled(b"\r"),
    "line ends": _filled(b"\r\n"),
    "tabs and odd blanks": _filled("\t\u00a0\u2003\u3000\x0b\x0c\x1c".encode()),
    "empty lines of blanks": _filled(b"   \n"),
    "digits": _filled(b"1234567890"),
    "colons": _filled(b":"),
    "dots": _filled(b"a.b."),
    "boxes": _filled("\u2502 \u2500\u256d".encode()),
    "log columns": _filled(b"2024-01-01 00:00:00 INFO     " + b"x" * 60 + b" train.py:1\n"),
    "paths": _filled(b"/a" * 200 + b"\n"),
    "binary": lambda drawn: drawn.randbytes(SIZE),
    "half letters": _filled(b"\xe2\x96"),
    "slashes": _filled(b"\\"),
    "lines that end the same": _filled(b"x" * 5000 + b" Error: \n"),
}


def attack(world: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Explain one log of each shape, from a file and in every third attempt with --json."""
    shapes, slowest = list(SHAPES), 0.0
    for number in range(count if options.is_short or options.count else max(count, len(shapes))):
        seed = options.seed + number
        shape = shapes[(seed - 1) % len(shapes)]
        with tempfile.TemporaryDirectory(dir=world.folder) as place:
            log = Path(place) / "hostile.log"
            log.write_bytes(SHAPES[shape](random.Random(seed)))  # noqa: S311 - the same log each time
            argv = ["runs", "explain", str(log), *(["--json"] if seed % 3 == 0 else [])]
            called = world.start(*argv).end(20)
            slowest = max(slowest, called.cpu_seconds)

            tally.judge(seed, f"{shape}: {' '.join(argv)}", list(_problems(shape, called)), None)
    tally.note(f"the slowest took {slowest:.2f} s")


def _problems(shape: str, called: Called) -> Iterator[Problem]:
    yield from (one for one in judge.problems(called, shape) if not one.key.startswith("slow"))
    if called.cpu_seconds > MOST_SECONDS:
        yield Problem(f"slow to explain: {shape}", f"{called.cpu_seconds:.1f} s")
    if called.peak_mib > MOST_MIB:
        yield Problem(f"memory to explain: {shape}", f"{called.peak_mib:.0f} MiB")
