"""Problems and oddities of a dataset's captions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.dataset import caption, caption_text, run_captions, tokens
from sdxl_train_cli.dataset.file_facts import Caption, FileFault, Finding, SurveyedPicture, shown
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind, Hit
from sdxl_train_cli.dataset.folders import Subset
from sdxl_train_cli.recipe import Kind, Recipe

_WRITE = "write a caption into it, or delete it"
_A_TRIGGER = '--trigger "ohwx woman", or write captions beside the pictures'

Told = Callable[[Caption], str | None]
"""Returns what to say about a caption, or None if it is fine."""


def _fault(fault: FileFault) -> Told:
    return lambda read: read.error if read.fault is fault else None


_KINDS: tuple[tuple[FindingKind, Told], ...] = (
    (
        FindingKind("caption-unreadable", ERROR, "{file} can't be read: {detail}", "{count} captions can't be read",
                    "check that the file exists and that you can read it"),
        _fault(FileFault.UNREADABLE),
    ),
    (
        FindingKind("caption-not-utf8", ERROR, "{file} is not UTF-8", "{count} captions are not UTF-8",
                    "save it with the encoding UTF-8"),
        _fault(FileFault.NOT_UTF8),
    ),
    (
        FindingKind("caption-too-large", ERROR, "{file} is not a caption: {detail}",
                    "{count} files are named like captions but are not captions", "delete it, or move it elsewhere"),
        _fault(FileFault.NO_CAPTION),
    ),
    (
        FindingKind("caption-empty", ERROR, "{file} is empty", "{count} captions are empty", _WRITE),
        lambda read: "" if read.error is None and not read.lines else None,
    ),
    (
        FindingKind("caption-first-line", ERROR,
                    "{file} begins with an empty line, and only the first line is trained on",
                    "{count} captions begin with an empty line, and only the first line is trained on",
                    "delete the empty line"),
        lambda read: "" if read.error is None and read.lines and not read.text else None,
    ),
)  # fmt: skip
_LINES = FindingKind(
    "caption-lines", WARNING, "{file} has {detail}, of which only the first is trained on",
    "{count} captions have several lines, of which only the first is trained on", "write each as one line",
)  # fmt: skip
_MISSING = FindingKind(
    "caption-missing", WARNING, "no caption for {missing} of {whole} in {folder}: training uses an empty one",
    "no captions for {missing} of {whole} in {folder}: training uses empty ones", _A_TRIGGER,
    told_as="caption-missing-some",
)  # fmt: skip
_NONE = FindingKind(
    "caption-missing", ERROR,
    "all {whole} in {folder} have no caption, and no --trigger is given: nothing would say what they show",
    "all {whole} in {folder} have no caption, and no --trigger is given: nothing would say what they show", _A_TRIGGER,
    told_as="caption-missing-all",
)  # fmt: skip
_BORROWED = FindingKind(
    "caption-borrowed", ERROR, "{file} has no caption of its own, and sd-scripts takes {detail} for it",
    "{count} pictures have no caption of their own, and sd-scripts takes those of others",
    "write it a caption; sd-scripts leaves the last four parts of a name away, where underscores part it",
)  # fmt: skip
_FACE_PARTS = 4
"""Parts of a name, parted by underscores, in which sd-scripts expects a face's place (train_util: read_caption)."""
_LACKING = FindingKind(
    "trigger-absent", WARNING, "the trigger '{trigger}' is not in {lacking} of {whole} captions in {folder}",
    "the trigger '{trigger}' is not in {lacking} of {whole} captions in {folder}",
    "add it to them: training puts it first only if no caption has it", told_as="trigger-absent-some",
)  # fmt: skip
_LACKING_ALL = FindingKind(
    "trigger-absent", WARNING, "no caption in {folder} has the trigger '{trigger}'",
    "no caption in {folder} has the trigger '{trigger}'",
    "training puts it first in each; to write it into a copy of the files: {fixing}",
    told_as="trigger-absent-all",
)  # fmt: skip
_NO_WORD = FindingKind(
    "word-absent",
    ERROR,
    "",
    "no caption has the word '{word}', spelled so: the embedding would learn nothing",
    "add it to the captions, or let sd-scripts write them: --set use_object_template=true",
)
_FEW_WORDS = FindingKind(
    "word-absent",
    WARNING,
    "{file} spells the word '{word}' otherwise, and teaches the embedding nothing",
    "{count} captions spell the word '{word}' otherwise, and teach the embedding nothing",
    "capital and small letters count: spell it alike everywhere",
)
_CALLED = FindingKind(
    "trigger-in-regularisation", WARNING, "{file} is a regularisation caption and has the trigger '{trigger}'",
    "{count} regularisation captions have the trigger '{trigger}'",
    "regularisation pictures show the class without the subject: take the trigger out of their captions",
)  # fmt: skip
_WEIGHTED = FindingKind(
    "caption-weights", WARNING, "{file} has a weight in brackets that is trained as text: {detail}",
    "{count} captions have weights in brackets that are trained as text",
    "or write the words without brackets and numbers", ways=("weighted_captions=true",),
)  # fmt: skip
_REPEATED = FindingKind(
    "caption-repeats", WARNING, "{file} has a tag twice: {detail}", "{count} captions have a tag twice",
    "delete the repetitions: they take tokens and count double",
)  # fmt: skip
_ALIKE = FindingKind(
    "trigger-for-several", WARNING, "",
    "the pictures of {folders} have no captions, and the trigger '{trigger}' is all that is said of them: what they "
    "show is learned as one",
    "train one subject at a time, or write captions that tell them apart",
)  # fmt: skip
_WEIGHT = re.compile(r"\((?:[^()\\]|\\.)+:\s*\d*\.?\d+\s*\)")
"""`(word:1.3)`, which image programs and weighted_captions read as a weight."""
_LONGEST = "shorten it: tokens beyond 225 are never read"
_LONG = {
    75: FindingKind("caption-over-75", WARNING, "{file} has {detail}, of which {read} are read",
                    "{count} captions have more than 75 tokens, of which {read} are read",
                    "or shorten them", ways=("max_token_length=150",)),
    150: FindingKind("caption-over-150", WARNING, "{file} has {detail}, of which {read} are read",
              "{count} captions have more than 150 tokens, of which {read} are read",
              "or shorten them", ways=("max_token_length=225",)),
    225: FindingKind("caption-over-225", WARNING, "{file} has {detail}, of which {read} are read",
              "{count} captions have more than 225 tokens, of which {read} are read", _LONGEST),
}  # fmt: skip
"""Findings by token limit. Each caption is reported for the highest limit that it exceeds."""


def find(seen: Sequence[SurveyedPicture], recipe: Recipe | None, trigger: str | None) -> Iterator[Finding]:
    """Yield the findings."""
    read = [each.caption for each in seen if each.caption is not None]
    for kind, told in _KINDS:
        yield from kind.of_files([(each.path, words) for each in read if (words := told(each)) is not None])
    if recipe is None or not recipe.is_on("enable_wildcard"):
        several = [each for each in read if each.error is None and each.text and each.lines > 1]
        yield from _LINES.of_files([(each.path, f"{each.lines} lines") for each in several])
    trigger, word = _read(recipe, trigger)
    yield from _word(seen, trigger, word)
    groups = _by_folder(seen)
    for subset, group in groups.items():
        yield from _missing(subset, group)
        yield from _borrowed(subset, group)
        yield from _trigger(subset, group, trigger)
    yield from _alike(groups, trigger)
    yield from _in_text(read, recipe)
    yield from _long(seen, recipe)


def _read(recipe: Recipe | None, trigger: str | None) -> tuple[str | None, str | None]:
    """The trigger, and an embedding's word, that captions are looked through for; neither where none is read."""
    if recipe is None or recipe.kind is not Kind.EMBEDDING:
        return trigger, None
    if recipe.is_on("use_object_template") or recipe.is_on("use_style_template"):
        return None, None
    return trigger, str(recipe.get("token_string") or trigger or "") or None


def _in_text(read: Sequence[Caption], recipe: Recipe | None) -> Iterator[Finding]:
    """Find what is in the text of captions and is learned otherwise than meant."""
    sound = [each for each in read if each.error is None]
    if recipe is None or not recipe.is_on("weighted_captions"):
        weights = [(each.path, found.group()) for each in sound if (found := _WEIGHT.search(each.text))]
        yield from _WEIGHTED.of_files(weights)
    separator = str((recipe and recipe.get("caption_separator")) or ",")
    repeated = [(each.path, tag) for each in sound if (tag := _repeated_tag(each.text, separator))]
    yield from _REPEATED.of_files(repeated)


def _repeated_tag(text: str, separator: str) -> str | None:
    tags = [tag for part in text.split(separator) if (tag := part.strip())]
    folded = [tag.casefold() for tag in tags]
    if len(set(folded)) == len(folded):
        return None
    return next(tag for tag, same in zip(tags, folded, strict=True) if folded.count(same) > 1)


def _alike(groups: Mapping[Subset, Sequence[SurveyedPicture]], trigger: str | None) -> list[Finding]:
    """Find folders of which nothing but the same trigger is said."""
    bare = [
        subset.place.name
        for subset, group in groups.items()
        if not subset.is_reg and all(each.caption is None for each in group)
    ]
    if trigger is None or len(bare) < 2:  # noqa: PLR2004 - one subject needs no telling apart
        return []
    return _ALIKE.of_dataset(folders=shown(" and ".join(bare)), trigger=trigger)


def _by_folder(seen: Sequence[SurveyedPicture]) -> Mapping[Subset, list[SurveyedPicture]]:
    groups: dict[Subset, list[SurveyedPicture]] = {}
    for each in seen:
        groups.setdefault(each.subset, []).append(each)
    return groups


def _missing(subset: Subset, group: Sequence[SurveyedPicture]) -> list[Finding]:
    bare: list[Hit] = [(each.facts.path, "") for each in group if each.caption is None]
    if subset.class_tokens is not None or subset.is_reg:
        return []
    kind = _NONE if len(bare) == len(group) else _MISSING
    return kind.of_files(bare, missing=len(bare), whole=len(group), folder=subset.place)


def _borrowed(subset: Subset, group: Sequence[SurveyedPicture]) -> list[Finding]:
    """Find pictures that get the caption of a file whose name begins like theirs."""
    hits: list[Hit] = []
    for each in group if subset.metadata_file is None else ():
        parts = str(each.facts.path.with_suffix("")).split("_")
        other = Path("_".join(parts[:-_FACE_PARTS]) + subset.caption_extension)
        if each.caption is None and len(parts) > _FACE_PARTS and files.is_file(other):
            hits.append((each.facts.path, other.name))
    return _BORROWED.of_files(hits)


def _trigger(subset: Subset, group: Sequence[SurveyedPicture], trigger: str | None) -> list[Finding]:
    if not trigger:
        return []
    texts = [each.caption for each in group if each.caption is not None and each.caption.text]
    having: list[Hit] = [(each.path, "") for each in texts if caption_text.has_trigger(each.text, trigger)]
    lacking: list[Hit] = [(each.path, "") for each in texts if not caption_text.has_trigger(each.text, trigger)]
    folder, whole = subset.place, len(texts)
    if subset.is_reg:
        return _CALLED.of_files(having, trigger=trigger)
    kind = _LACKING if having else _LACKING_ALL
    fixing = _fixing(folder, trigger)
    return kind.of_files(lacking, lacking=len(lacking), folder=folder, trigger=trigger, whole=whole, fixing=fixing)


def _fixing(folder: Path, trigger: str) -> str:
    """What is typed to write a trigger into a copy of a folder's captions."""
    there = folder.absolute() if folder.name in {"", ".."} else folder
    copy = there.with_name(f"{there.name}-fixed")
    places = [shown(word) for word in (folder, "--to", copy, "--trigger", trigger)]
    return formatting.shell_line(["sdxl-train", "dataset", "fix", *places])


def _word(seen: Sequence[SurveyedPicture], trigger: str | None, word: str | None) -> list[Finding]:
    """Find captions without an embedding's word as it is spelled, trigger in front included."""
    if word is None:
        return []
    captions = {each.facts.path: run_captions.as_trained(each, trigger) for each in seen if not each.subset.is_reg}
    lacking = [path for path, text in captions.items() if word not in text]
    if captions and len(lacking) == len(captions):
        return _NO_WORD.of_dataset(word=word)
    otherwise: list[Hit] = [(path, "") for path in lacking if caption_text.has_trigger(captions[path], word)]
    return _FEW_WORDS.of_files(otherwise, word=word)


def _long(seen: Sequence[SurveyedPicture], recipe: Recipe | None) -> Iterator[Finding]:
    """Captions that are cut off. A trigger put in front counts too."""
    length = recipe.number("max_token_length") if recipe else None
    limit = int(length or tokens.USUAL_LENGTH)
    over: dict[int, list[Hit]] = {each: [] for each in _LONG}
    lengths = caption.token_counts(seen)
    for each in seen:
        whole = lengths.get(each.facts.path, 0)
        passed = [edge for edge in _LONG if whole > edge]
        if each.caption is not None and whole > limit and passed:
            about = "an estimated " if each.caption.is_estimate else ""
            over[passed[-1]].append((each.caption.path, f"{about}{whole} tokens"))
    for passed_limit, hits in over.items():
        yield from _LONG[passed_limit].of_files(hits, read=limit)
