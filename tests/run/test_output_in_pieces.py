"""What the trainer prints is understood the same, however the reads cut it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.process import Child
from sdxl_train_cli.sdscripts import progress

SIGNS = (
    "steps:  25%|\u2588\u2588\u258c       | 1/4 [00:01<00:03,  1.73s/it, avr_loss=0.125]",
    "steps: 100%|\u2588\u2588\u2588\u2588\u2588\u2588| 4/4 [00:04<00:00,  1.73it/s, avr_loss=nan]",
    "saving checkpoint: /out/\u043a\u043e\u0442.safetensors",
    "saving state at step 2",
    "epoch 2/3",
    "\x1b[32mmodel saved.\x1b[0m",
    "\u5b66\u7fd2\u753b\u50cf caching latents...",
    "",
)
OUTPUT = st.lists(st.tuples(st.sampled_from(SIGNS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
                            st.sampled_from(["\n", "\r", "\r\n", "\r\r"])), max_size=12)  # fmt: skip


class Fed(Child):
    """The reader of a child, with reads that a test has cut."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._fed = chunks

    def _arriving(self) -> Iterator[bytes | None]:
        return iter(self._fed)


def understood(chunks: Sequence[bytes]) -> list[object]:
    found: list[object] = []
    for line in Fed(chunks).lines():
        if line:
            bar, words = progress.split(line)
            found.extend(event for event in (bar, progress.parse(words)) if event is not None)
    return [repr(event) for event in found]  # NaN is not equal to itself


@given(OUTPUT, st.lists(st.integers(0, 2000)))
def test_a_read_may_end_at_any_byte(output: list[tuple[str, str]], cuts: list[int]) -> None:
    content = "".join(words + end for words, end in output).encode()
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    pieces = [content[start:end] for start, end in itertools.pairwise(places) if start < end]

    assert understood(pieces) == understood([content] if content else [])


@given(st.permutations(SIGNS))
def test_events_may_come_in_any_order(lines: list[str]) -> None:
    content = "".join(f"{line}\n" for line in lines).encode()

    assert sorted(map(str, understood([content]))) == sorted(map(str, understood(["\n".join(SIGNS).encode() + b"\n"])))


@given(st.sampled_from(SIGNS[:2]), st.sampled_from(["x", "12", "]", "\u5b66", "\x1b[2K"]))
def test_a_bar_is_found_within_other_text(bar: str, glued: str) -> None:
    assert progress.split(glued + bar + glued)[0] is not None
