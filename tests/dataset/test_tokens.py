"""Tokens are counted as CLIP's own tokenizer does; where its vocabulary is lacking, an estimate is near and says so."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sdxl_train_cli.dataset import caption, caption_findings, tokens
from sdxl_train_cli.dataset.file_facts import Caption, FileFault, PictureFacts, SurveyedPicture
from sdxl_train_cli.dataset.folders import Subset

COUNTS = {
    "": 0,
    " \t ": 0,
    "a photo of a cat": 5,
    "A PHOTO  of\ta cat": 5,
    "ohwx woman": 2,
    "1girl, solo, red dress": 7,
    "masterpiece, best quality, ultra-detailed": 8,
    "it's 1024x1024": 11,
    "don't": 2,
    "a café “quoted”": 5,
    "A&amp;B": 3,
    "кот": 4,
    "猫": 3,
    "<|endoftext|> cat": 2,
}
"""As the tokenizer that OpenAI published with CLIP counts them."""


def seen(folder: Path, read: Caption) -> SurveyedPicture:
    subset = Subset(folder, 1, None, ".txt", None, is_reg=False, pictures=1, captions=1)
    path = folder / "1.png"
    facts = PictureFacts(path, 1, "", "PNG", 64, 64, "RGB", 1, 1, has_alpha=False, difference_hash=None, error=None)
    return SurveyedPicture(subset, facts, read)


needs_clip = pytest.mark.skipif(tokens.counter()[1], reason="no instant-clip-tokenizer is built for this Python")


@needs_clip
@pytest.mark.parametrize("text", COUNTS)
def test_a_caption_has_as_many_tokens_as_clip_takes(text: str) -> None:
    count, _ = tokens.counter()

    assert count(text) == COUNTS[text]


@needs_clip
def test_an_estimate_is_near() -> None:
    text = "a portrait photo of ohwx woman in a red dress, standing outdoors, looking at viewer, soft light, blue sky"

    assert tokens.estimate(text) == pytest.approx(tokens.counter()[0](text), rel=0.15)


def test_an_estimate_says_that_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("cat " * 80, encoding="utf-8")
    read = caption.read(tmp_path / "1.txt", tokens.estimate, is_estimate=True)

    (found,) = caption_findings.find([seen(tmp_path, read)], None, None)

    assert found.problem.message == f"{tmp_path / '1.txt'} has an estimated 80 tokens, of which 75 are read"


def test_a_caption_that_is_gone_meanwhile_is_told(tmp_path: Path) -> None:
    read = caption.read(tmp_path / "1.txt", tokens.estimate)

    (found,) = caption_findings.find([seen(tmp_path, read)], None, None)

    assert read.fault is FileFault.UNREADABLE
    assert (found.kind, found.problem.message) == (
        "caption-unreadable", f"{tmp_path / '1.txt'} can't be read: No such file or directory",
    )  # fmt: skip


def test_a_thousand_captions_are_counted_in_a_moment() -> None:
    text = ", ".join(["ohwx woman", *("red dress", "standing outdoors", "looking at viewer", "soft light") * 6])
    start = time.monotonic()

    count, _ = tokens.counter()
    counts = {count(f"{text}, {number}") for number in range(1000)}

    assert max(counts) > 75
    assert time.monotonic() - start < 5  # it is a tenth of one
