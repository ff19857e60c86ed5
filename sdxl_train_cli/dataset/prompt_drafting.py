"""Prompts for sample pictures, made of the trigger and of what the captions have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.dataset import caption_style, caption_text, overview
from sdxl_train_cli.dataset.file_facts import Survey

_TAGS_IN_PROMPT = 12
"""Of a prompt close to the pictures: what a person would type too, well within CLIP's 75 tokens."""
_MOST_WORDS = 40
"""A longer sentence says more about one picture than about the subject."""
_QUALITY = re.compile(
    r"masterpiece|(?:best|amazing|great|good|high) quality|(?:very )?aesthetic|absurdres|highres|newest|score_\d\w*"
)
"""Tags that say how good a picture is. They are used where the captions use them."""
_SUBJECT = re.compile(r"\d\+?(?:girl|boy|other)s?|solo|no humans")
_TAGGED_SETTINGS = (
    ("outdoors", "forest", "sunlight"), ("city", "night", "neon lights"), ("beach", "ocean", "blue sky"),
    ("indoors", "library", "bookshelf"),
)  # fmt: skip
_TOLD_SETTINGS = ("in a forest", "in a city at night", "at the beach", "in a library")
_MEDIA = ("photo", "photograph", "painting", "drawing", "illustration", "sketch")


@dataclass(frozen=True)
class DraftedPrompts:
    """Prompts, and whether the captions are tags."""

    prompts: tuple[str, ...]
    are_tags: bool


def draft(survey: Survey) -> DraftedPrompts:
    """One prompt close to the pictures, one with a setting that they don't have, one of little but the trigger.

    None where there is no trigger, since nothing would ask for what is learned.
    """
    captions = [overview.trained_caption(seen) for seen in survey.distinct if not seen.subset.is_reg]
    captions = [text for text in captions if text]
    are_tags = has_tags(captions)
    trigger = survey.pictures.trigger
    if not trigger or not captions:
        return DraftedPrompts((), are_tags)
    made = _of_tags(captions, trigger) if are_tags else _of_sentences(captions, trigger)
    return DraftedPrompts(tuple(dict.fromkeys(map(_harmless, made))), are_tags)


def has_tags(captions: Sequence[str]) -> bool:
    """Whether most captions are lists of tags, not sentences."""
    return sum(map(caption_style.is_tags, captions)) * 2 > len(captions)


def _of_tags(captions: Sequence[str], trigger: str) -> list[str]:
    pictures = [overview.split_tags(caption) - overview.split_tags(trigger) for caption in captions]
    common = _common_tags(pictures)
    quality = [tag for tag in common if _QUALITY.fullmatch(tag)]
    subject = [tag for tag in common if _SUBJECT.fullmatch(tag)]
    known = set().union(*pictures)
    setting = next((each for each in _TAGGED_SETTINGS if known.isdisjoint(each)), _TAGGED_SETTINGS[0])
    # A base without a subject tag draws a landscape: two prompts have it, and the third shows the trigger alone.
    tags = ([trigger, *common], [trigger, *subject, *setting, *quality], [trigger, *quality])
    return [", ".join(map(_escaped, each)) for each in tags]


def _common_tags(pictures: Sequence[set[str]]) -> list[str]:
    """The commonest tags that go together: each stands in half of the pictures that have those before it."""
    counts = Counter(tag for picture in pictures for tag in picture)
    having, chosen = list(pictures), list[str]()
    for tag, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        rest = [picture for picture in having if tag in picture]
        if len(rest) * 2 >= len(having):
            having, chosen = rest, [*chosen, tag]
        if len(chosen) == _TAGS_IN_PROMPT:
            break
    return chosen


def _of_sentences(captions: Sequence[str], trigger: str) -> list[str]:
    short = [text for text in captions if len(text.split()) <= _MOST_WORDS] or [
        " ".join(min(captions, key=len).split()[:_MOST_WORDS])
    ]
    words = [set(re.findall(r"\w+", text.lower())) for text in captions]
    counts = Counter(word for each in words for word in each)
    known = " ".join(captions).lower()
    setting = next((each for each in _TOLD_SETTINGS if each.rsplit(maxsplit=1)[-1] not in known), _TOLD_SETTINGS[0])
    medium = next((each for each in _MEDIA if counts[each] * 3 >= len(captions)), None)
    article = "an" if medium == "illustration" else "a"
    subject = trigger if medium is None else f"{article} {medium} of {trigger}"
    return [_with_trigger(_most_typical(short, counts), trigger), f"{subject} {setting}", subject]


def _most_typical(captions: Sequence[str], counts: Counter[str]) -> str:
    """The caption whose words most captions share."""

    def shared(text: str) -> float:
        words = set(re.findall(r"\w+", text.lower()))
        return sum(counts[word] for word in words) / max(1, len(words))

    return max(captions, key=shared)


def _with_trigger(caption: str, trigger: str) -> str:
    return caption if caption_text.has_trigger(caption, trigger) else f"{trigger}, {caption}"


def _escaped(tag: str) -> str:
    """Brackets would be read as weights (library/sdxl_lpw_stable_diffusion.py: parse_prompt_attention)."""
    return re.sub(r"(?<!\\)([()\[\]])", r"\\\1", tag)


def _harmless(prompt: str) -> str:
    """On one line, without what the prompts file takes for a flag or a comment."""
    return re.sub(r"\s*--+\s*", " ", " ".join(prompt.split())).lstrip("#").strip()
