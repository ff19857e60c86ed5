"""Good text made bad: values, keys, lines and bytes that nobody would write, and somebody will."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

TITLE = "\x1b]0;owned\x07"
TEXTS = (
    "",
    " ",
    TITLE,
    "\x1b[2J\x1b[31mred",
    "\u009b31m",
    "a\rb",
    "a\nb",
    "a\x00b",
    "\x7f",
    "\x08\x08",
    "\u202egnp.exe",
    "..",
    "../..",
    ".",
    "~",
    "~nobody",
    "-",
    "--help",
    "-rf",
    "x" * 300,
    "x" * 5000,
    "\u00e9" * 200,
    "a" * 255,
    "a/" * 400 + "a",
    "\ud800",
    "a\udcffb",
    "%s%n%d",
    "${HOME}",
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"',
    "con",
    "nul.txt",
    "a:b",
    "file:///none",
    "http://127.0.0.1:9/x",
    "1e999",
    "nan",
    "inf",
    "0x10",
    "\uff11\uff12",
    "9" * 400,
    "9" * 5000,
    "-0",
    "1_000",
    "[old]",
    "[bold red]x[/]",
    "{0}",
    "{}",
    "\U0001f600",
    "\u0600",
    "null",
    "true",
    "fifo",
    "data",
    "dangling",
    "loop",
    "mine",
    "data/0.png",
    "data/0.txt",
    "\ufeff",
    "\u2028",
    "a\tb",
    "*",
    "?",
    "#",
    "a, b" * 50,
    "None",
    "@file",
    "key=value",
    "=",
    "a=" + "b" * 3000,
    "cat",
    "cat.safetensors",
    "C:\\x",
    "\\\\host\\x",
)
NUMBERS: tuple[object, ...] = (
    0, 1, -1, 2, 3, 64, 255, 2**31 - 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**18, -(2**63), 10**40, 0.1, -0.5, 1e-320,
    1e308, 1.5, 1e16,
)  # fmt: skip
RAWS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 400, "-" + "9" * 400, "9" * 5000, "0." + "9" * 5000,
    "1e-999", "[" * 300 + "]" * 300, "[" * 100_000, '{"a":' * 50_000, "[" * 20_000 + "]" * 20_000, '"\\ud800"',
    '"\\u001b[31mred"', '"\\u0000"', "00", "+1", "0x10", ".5", "'single'", "undefined", "//", '"\\x41"', "1_000",
)  # fmt: skip
"""Parts of JSON, or nearly, that no writer of JSON makes."""
HOT_TEXTS = (
    TITLE, "\x1b[31mred", "x" * 300, "\u009b31m", "a\rb", "a\nb", "x" * 300, "x" * 5000, "\u00e9" * 200, "\ud800",
    "a\x00b", "", "9" * 400, "9" * 5000, "..", "fifo", "loop", "data", "/" * 300,
)  # fmt: skip
"""Those that have told most."""
HOT_NUMBERS = ("9" * 400, "-" + "9" * 400, "9" * 5000, "1e999", "NaN", "Infinity", "-1", "0", "99999999999999999999")
WHOLES = (b"[" * 100_000, b'{"a":' * 50_000, b"", b"\x00" * 4096, b"9" * 5000, b"null", b"[]", b'"\\ud800"', b"{}")
"""Files that are JSON from end to end, or would be."""
SHAPES: tuple[object, ...] = (
    None, True, False, [], {}, [[]], [None], {"": None}, ["a"] * 2000, [0] * 2000, [{}], {"a": {"b": {"c": []}}},
    {f"k{number}": number for number in range(2000)},
)  # fmt: skip
ODD_BYTES = (b"\x00", b"\xff", b"\x1b[31m", b"\x80\x81", b"\r", b"\xed\xa0\x80", b"\xc2\x9b", b"{", b'"')
_MARK = "@@RAW{}@@"


class Spoiler:
    """Draws what is wrong; the same for the same seed."""

    def __init__(self, drawn: random.Random) -> None:
        self.drawn = drawn
        self._raws: list[str] = []

    def value(self, was: object = None) -> Any:  # noqa: ANN401 - anything is the point
        """A hostile value, often of the kind that stood there; some stand for raw text, which `dumped` puts in."""
        if self.chance(0.6) and isinstance(was, str):
            return self.drawn.choice(HOT_TEXTS)
        if self.chance(0.6) and isinstance(was, int | float):
            return self._raw(HOT_NUMBERS)
        others = (self.drawn.choice(TEXTS), self.drawn.choice(NUMBERS), self._raw(RAWS), self.drawn.choice(SHAPES))
        return self.drawn.choice(others)

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.drawn.random() < share

    def _raw(self, raws: Sequence[str]) -> str:
        self._raws.append(self.drawn.choice(raws))
        return _MARK.format(len(self._raws) - 1)

    def document(self, document: Any) -> Any:  # noqa: ANN401 - JSON
        """A copy with one to three things wrong."""
        spoiled = copy.deepcopy(document)
        for _ in range(self.drawn.choice((1, 1, 1, 2, 3))):
            spoiled = self._once(spoiled)
        return spoiled

    def _once(self, document: Any) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(document, dict | list) or not document or self.chance(0.03):
            return self.value()
        holder, key = self._place(document)
        act = self.drawn.choices((self._replace, self._remove, self._add, self._rename), (65, 10, 15, 10))[0]
        act(holder, key)
        return document

    def _place(self, holder: Any) -> tuple[Any, Any]:  # noqa: ANN401 - JSON
        """Any value's holder and key; what stands higher is drawn more often, as there is less of it."""
        key = self.drawn.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if isinstance(inner, dict | list) and inner and self.chance(0.6):
            return self._place(inner)
        return holder, key

    def _replace(self, holder: Any, key: Any) -> None:  # noqa: ANN401 - JSON
        holder[key] = self.value(holder[key])

    def _remove(self, holder: Any, key: Any) -> None:  # noqa: ANN401 - JSON
        holder.pop(key)

    def _add(self, holder: Any, key: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(holder, dict):
            holder[self.drawn.choice((*TEXTS, str(key).upper(), f"{key}x"))] = self.value()
        else:
            holder[key:key] = [copy.deepcopy(holder[key])] * self.drawn.choice((1, 50, 500))

    def _rename(self, holder: Any, key: Any) -> None:  # noqa: ANN401 - JSON
        if isinstance(holder, dict):
            holder[self.drawn.choice(TEXTS)] = holder.pop(key)

    def dumped(self, document: Any, *, indent: int | None = None) -> bytes:  # noqa: ANN401 - JSON
        """As JSON, raw parts as they are; sometimes spoiled as a text too."""
        text = json.dumps(document, ensure_ascii=self.chance(0.5), indent=indent)
        for number, raw in enumerate(self._raws):
            text = text.replace(json.dumps(_MARK.format(number)), raw)
        content = text.encode("utf-8", "surrogatepass")
        if self.chance(0.06):
            return self.drawn.choice(WHOLES)
        return self.content(content) if self.chance(0.1) else content

    def raw(self) -> str:
        """A value as it would stand in a text."""
        if self.chance(0.4):
            return self.drawn.choice((*HOT_NUMBERS, *RAWS))
        text = self.drawn.choice((*HOT_TEXTS, *TEXTS, *(str(number) for number in NUMBERS)))
        return text if self.chance(0.4) else json.dumps(text, ensure_ascii=self.chance(0.7))

    def lines(self, text: str, marks: str = ":=") -> bytes:
        """A text whose lines say `key: value` or `key = value`, some of them wrong."""
        lines = text.split("\n")
        for _ in range(self.drawn.choice((1, 1, 1, 2, 4))):
            at = self.drawn.randrange(len(lines))
            mark = next((one for one in marks if one in lines[at]), marks[0])
            key = lines[at].partition(mark)[0]
            wrong = (
                [f"{key}{mark} {self.raw()}"],
                [f"{self.drawn.choice((*HOT_TEXTS, *TEXTS))}{mark} {self.raw()}"],
                [lines[at]] * self.drawn.choice((2, 4, 300)),
                [f"k{number}{mark} {number}" for number in range(self.drawn.choice((1, 30, 3000)))],
                [self.drawn.choice(ODD_LINES)],
            )
            lines[at : at + 1] = self.drawn.choices(wrong, (60, 10, 10, 10, 10))[0]
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        return self.content(content) if self.chance(0.15) else content

    def content(self, content: bytes) -> bytes:
        """Bytes that are cut, turned, doubled or written in another encoding."""
        drawn = self.drawn
        at, end = sorted(drawn.randrange(len(content) + 1) for _ in range(2))
        odd, line_end = drawn.choice(ODD_BYTES), drawn.choice((b"\r", b"\r\n", b"\x0b", b"\xe2\x80\xa8"))
        turned = bytearray(content)
        for _ in range(drawn.choice((1, 5, 50)) if content else 0):
            turned[drawn.randrange(len(turned))] = drawn.randrange(256)
        encoding = drawn.choice(("utf-16", "utf-16-be", "utf-8-sig", "utf-32"))
        return drawn.choice((
            content[:at],
            content[:at] + content[end:],
            content[:at] + odd * drawn.choice((1, 3, 5000)) + content[at:],
            content[:end] + content[at:end] * drawn.choice((1, 20)) + content[end:],
            bytes(turned),
            content.decode("utf-8", "replace").encode(encoding),
            content.replace(b"\n", line_end),
            drawn.choice((b"", b"\x00" * 4096, drawn.randbytes(3000), b"[" * 200_000, b"\xef\xbb\xbf", b"\n" * 9999)),
        ))  # fmt: skip


ODD_LINES = (
    "!!python/object/apply:os.system [touch pwned]",
    "- " * 3000,
    "? " * 2000,
    "{" * 3000,
    "a: &a [*a, *a]",
    "<<: *none",
    "&x a: *x",
    "--- ---",
    "%YAML 9.9",
    "key: |\n  text",
    "key: >\n",
    "\tkey: tab",
    "a: b: c",
    "'",
    '"',
    "[",
    "x: &x [1,1,1,1,1,1,1,1]\ny: &y [*x,*x,*x,*x,*x,*x,*x,*x]\nz: &z [*y,*y,*y,*y,*y,*y,*y,*y]\nw: [*z,*z,*z,*z,*z,*z]",
    "!!binary aGk=",
    "!!timestamp 2001-12-14t21:59:43.10-05:00",
    "2001-01-01: 2001-01-01",
    "extends: extends",
    "[[a]]",
    "[a.b.c",
    "x = '''",
    "x = 1979-05-27T07:32:00Z",
    "a.b.c.d.e = 1",
    "[" + "a." * 3000 + "b]",
    "\x1b[31m: x",
)
