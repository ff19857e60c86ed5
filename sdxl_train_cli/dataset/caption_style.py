"""How captions are written: as tags or in sentences; and the word that a dataset seems to have for its subject."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.dataset.file_facts import Survey, SurveyedPicture

_WORDS_OF_A_TAG = 3.0
"""Mean of words between commas, up to which a caption is tags. Sentences have more."""
_LEAST_TAGS = 3
_MOST_OF_THEM = 0.9
_GENERAL_TAGS = re.compile(r"\d\+?(?:girl|boy|other)s?|solo|no humans|masterpiece|best quality|highres|absurdres")
"""First tags of captions that name no subject."""

_USUAL = re.compile(
    r"(?:^|\s)(?:hair|eyes?|background|viewer|breasts?|sleeves?|skirt|shirt|dress|uniform|hat|bow|ribbon|jacket|gloves?"
    r"|shoes|boots|socks|thighhighs|pantyhose|swimsuit|bikini|ears?|tail|wings?|horns?|mouth|smile|blush|bangs|ponytail"
    r"|twintails|braid|ahoge|glasses|jewelry|earrings|necktie|choker|collar|focus|body|shot|view|standing|sitting|lying"
    r"|indoors|outdoors|sky|simple|monochrome|greyscale|sketch|quality|portrait|photo|photograph|photorealistic|realistic"
    r"|man|woman|girl|boy|male|female|person|cat|dog)$"
)
"""Ends of tags that say what many pictures show: of Danbooru's commonest, and of plain photos."""


@dataclass(frozen=True)
class CaptionStyle:
    """Captions of the pictures that are trained."""

    pictures: int
    captioned: int
    tagged: int
    """Captions that are tags."""
    trigger: str | None
    """The first tag of nearly every caption, or the class of the only folder such as `10_cat`."""
    common: str | None = None
    """What may be the trigger: that word, else a tag of every caption that is none of the usual ones."""

    @property
    def are_tags(self) -> bool:
        """Whether most captions are tags."""
        return self.captioned > 0 and self.tagged * 2 > self.captioned

    def __str__(self) -> str:
        if not self.captioned:
            return "none"
        kind = "tags" if self.are_tags else "sentences"
        lacking = self.pictures - self.captioned
        return f"{kind}{f'; {lacking} of {self.pictures} pictures have none' if lacking else ''}"


def look(survey: Survey) -> CaptionStyle:
    """Look at the captions of a dataset."""
    seen = [each for each in survey.distinct if not each.subset.is_reg and each.facts.error is None]
    texts = [each.caption.text for each in seen if each.caption and each.caption.error is None and each.caption.text]
    tagged = [text for text in texts if is_tags(text)]
    trigger = _first_tag(tagged) or _class_word(seen)
    return CaptionStyle(len(seen), len(texts), len(tagged), trigger, trigger or _common_tag(tagged))


def is_tags(text: str) -> bool:
    """Whether a caption is a list of tags, not sentences."""
    parts = [part.split() for part in text.split(",") if part.strip()]
    return len(parts) >= _LEAST_TAGS and sum(map(len, parts)) <= _WORDS_OF_A_TAG * len(parts)


def _first_tag(tagged: Sequence[str]) -> str | None:
    firsts = Counter(text.split(",")[0].strip() for text in tagged)
    word, count = firsts.most_common(1)[0] if firsts else ("", 0)
    is_general = _GENERAL_TAGS.fullmatch(word.lower())
    return word if word.isprintable() and word and count >= _MOST_OF_THEM * len(tagged) and not is_general else None


def _common_tag(tagged: Sequence[str]) -> str | None:
    """The tag that is in every caption and foremost in one, usual tags left out."""
    tags = [[tag.strip() for tag in text.split(",")] for text in tagged]
    everywhere = set.intersection(*map(set, tags)) if tags else set()
    return next((tag for tag in tags[0] if tag in everywhere and not _is_usual(tag)), None) if tags else None


def _is_usual(tag: str) -> bool:
    plain = tag.lower().replace("_", " ").strip()
    is_word = bool(plain) and tag.isprintable()
    return not is_word or bool(_GENERAL_TAGS.fullmatch(plain) or _USUAL.search(plain))


def _class_word(seen: Sequence[SurveyedPicture]) -> str | None:
    words = {each.subset.class_tokens for each in seen}
    return words.pop() if len(words) == 1 else None
