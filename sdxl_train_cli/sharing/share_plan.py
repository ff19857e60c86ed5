"""Plan a share: every file of it, in memory but for the weights. Touches nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.inspection import programs, strengths
from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.lora_files import traces
from sdxl_train_cli.records import record
from sdxl_train_cli.sdscripts import model_spec
from sdxl_train_cli.sdscripts.base_model import Prediction
from sdxl_train_cli.sharing import bases, card, civitai, model_copy, previews, private, training_facts
from sdxl_train_cli.sharing.bases import BaseSigns
from sdxl_train_cli.sharing.image_programs import SharedModel
from sdxl_train_cli.sharing.model_copy import ModelCopy
from sdxl_train_cli.sharing.previews import Preview
from sdxl_train_cli.sharing.private import Cleaner, LeftOut
from sdxl_train_cli.sharing.share_facts import ShareFacts
from sdxl_train_cli.sharing.subject import Subject

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class ShareChoices:
    """What was asked for. None leaves it to what is known of the file."""

    name: str | None = None
    title: str | None = None
    trigger: str | None = None
    base: str | None = None
    licence: str | None = None
    author: str | None = None
    description: str = ""
    strength: float | None = None
    previews: tuple[Path, ...] | None = None
    """None takes the run's samples, and none wants no picture."""
    with_tags: bool = False
    for_civitai: bool = False


@dataclass(frozen=True)
class Share:
    """Everything that will be shared."""

    facts: ShareFacts
    contents: Mapping[str, bytes]
    """Of every file but the trained one, by its name within the share."""
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Problem, ...]

    @property
    def copy(self) -> ModelCopy:
        """The trained file."""
        return self.facts.copy

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file, in the order in which they are written."""
        found = {self.facts.model.file: self.copy.size_bytes}
        return found | {name: len(content) for name, content in self.contents.items()}


def plan(subject: Subject, choices: ShareChoices) -> Share:
    """Look at everything. UsageError or ModelError says what can't be shared; nothing is written."""
    stem, strength = choose_name(subject, choices), _strength(subject, choices)
    cleaner, trigger = _cleaned_trigger(subject, choices, stem)
    scrubbed = cleaner.metadata(dict(subject.model.metadata), keep_captions=choices.with_tags)
    copied = model_copy.plan(subject.path, scrubbed.kept)
    base = bases.of(_signs(subject, choices, cleaner))
    word = _trigger(subject) if subject.kind == "embedding" else None
    model = SharedModel(stem, subject.kind, copied.hashes, base.file, word)
    shown = _previews(subject, choices, model, cleaner)
    typed = None if choices.licence is None else bases.licence(choices.licence)
    facts = ShareFacts(
        title=cleaner.text("the title", choices.title or stem) or stem,
        model=model,
        look=subject.model,
        readings=programs.readings(subject.model),
        copy=copied,
        trigger=stem if subject.kind == "embedding" else trigger,
        strength=strength,
        description=cleaner.text("the description", choices.description),
        author=choices.author and private.printable(choices.author),
        base=base,
        licence=typed or base.licence,
        is_licence_typed=typed is not None,
        is_v_prediction=_predicts_v(subject),
        moment=None if subject.is_final or subject.saved is None else subject.saved.moment,
        training=training_facts.gather(subject, cleaner, with_tags=choices.with_tags),
        previews=tuple(shown),
    )
    contents = _contents(facts, for_civitai=choices.for_civitai)
    return Share(facts, contents, tuple(cleaner.left_out), tuple(_warnings(facts, subject)))


def _cleaned_trigger(subject: Subject, choices: ShareChoices, stem: str) -> tuple[Cleaner, str | None]:
    """What removes names, and the trigger without them.

    A trigger is what the file is for. It keeps a name that it can't do without, or that was typed just now.
    """
    known, told = traces.names_here(), _told(subject)
    trigger = choices.trigger if choices.trigger is not None else _trigger(subject)
    strict = Cleaner.of(known, told, (stem, choices.trigger or ""))
    clean = strict.text("the trigger", trigger) if trigger else ""
    if clean or not trigger:
        return strict, clean or None
    lenient = Cleaner.of(known, told, (stem, trigger))
    return lenient, lenient.text("the trigger", trigger) or None


def _contents(facts: ShareFacts, *, for_civitai: bool) -> dict[str, bytes]:
    """Every file but the trained one. The last holds the checksums of all others."""
    found = {preview.name: preview.content for preview in facts.previews}
    found |= {name: text.encode() for name, text in (civitai.files(facts) if for_civitai else {}).items()}
    found[card.FILE] = card.text(facts).encode()
    sums = {facts.model.file: facts.copy.hashes.sha256}
    sums |= {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    found[SUMS] = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    return found


def choose_name(subject: Subject, choices: ShareChoices) -> str:
    """What the file is called, without its suffix. UsageError for what can be no name."""
    name = choices.name or (subject.path.stem if subject.entry is None else subject.entry.name)
    problem = record.name_problem(name)
    if problem:
        raise UsageError(f"'{formatting.cut(name)}' is no name for a file: {problem}", "--name my-lora")
    return name.removesuffix(".safetensors")


def _strength(subject: Subject, choices: ShareChoices) -> Strength:
    """Of a network, to begin with: as typed, as the verdict and the drawn pictures say, or the usual range."""
    judged = None if subject.verdict is None else subject.verdict.kept_strength
    return Strength.exactly(choices.strength) if choices.strength is not None else judged or strengths.USUAL


def _trigger(subject: Subject) -> str | None:
    inputs = None if subject.entry is None else subject.entry.record.inputs
    word = None if subject.entry is None else subject.entry.record.settings.get("token_string")
    recorded = inputs.trigger if inputs is not None else None
    return recorded or (str(word.value) if word is not None else None) or _told_trigger(subject)


def _told_trigger(subject: Subject) -> str | None:
    """The trigger that a file's own metadata names."""
    return subject.model.metadata.get(model_spec.TRIGGER) or None


def _signs(subject: Subject, choices: ShareChoices, cleaner: Cleaner) -> BaseSigns:
    """What names the base: what was typed alone, else the run and the file's metadata."""
    if choices.base is not None:
        return BaseSigns((choices.base,), is_typed=True)
    metadata = subject.model.metadata
    inputs = None if subject.entry is None else subject.entry.record.inputs
    names = [inputs.model if inputs is not None else "", metadata.get("ss_sd_model_name", "")]
    shown = [
        each if each.count("/") == 1 and not each.startswith(("/", ".", "~")) else _file_name(each) for each in names
    ]
    clean = (cleaner.text("the base's name", each) for each in shown if each)
    return BaseSigns(tuple(each for each in clean if each), metadata.get("ss_new_sd_model_hash"))


def _file_name(path: str) -> str:
    return traces.file_name(path) if path else ""


def _predicts_v(subject: Subject) -> bool:
    settings = {} if subject.entry is None else subject.entry.record.settings
    trained = settings.get("v_parameterization")
    said = Prediction.V.label in {subject.model.prediction, subject.model.said_prediction}
    return trained.value is True if trained is not None else said


def _previews(subject: Subject, choices: ShareChoices, model: SharedModel, cleaner: Cleaner) -> list[Preview]:
    strength = _strength(subject, choices).figure
    if choices.previews is not None:
        sources = previews.given(choices.previews, strength)
    elif subject.entry is None:
        sources = []
    else:
        drawn = previews.of_grid(subject.entry, subject.path, strength)
        sources = drawn or previews.of_run(subject.entry, subject.saved)
    return previews.make(sources, model, cleaner)


def _told(subject: Subject) -> list[str]:
    """Texts of the run in which home folders, and so users' names, may stand."""
    metadata = subject.model.metadata
    texts = [*metadata, *metadata.values(), str(subject.path)]
    if subject.entry is not None:
        texts.append(json.dumps(subject.entry.record.model_dump(mode="json"), ensure_ascii=False))
    return texts


def _warnings(facts: ShareFacts, subject: Subject) -> Iterator[Problem]:
    fatal = [finding for finding in _findings(facts) if finding.is_fatal]
    if fatal:
        yield Problem(f"the run found it of no use: {fatal[0].message}", f"sdxl-train inspect {_word(subject.path)}")
    if facts.trigger is None and facts.model.kind == "network":
        yield Problem("the trigger isn't known, so the card names none", "--trigger WORDS")
    if not facts.base.name:
        called = f" by its file's name {facts.base.file}" if facts.base.file else ""
        yield Problem(f"the base isn't known{called}, so neither is its licence", "--base FILE_OR_ID")
    elif facts.licence is None:
        yield Problem(f"the licence of {facts.base.name} isn't known here", "look at its page, and add --license NAME")
    own = facts.base.licence
    if own is not None and own.same_licence and own is not facts.licence:
        words = f"the licence of {facts.base.name} asks that this file is shared under the same one: {own.name}"
        yield Problem(words, "leave out --license")
    if not facts.previews:
        yield Problem("no picture is shared", "--preview FILE adds one")
    names = _allowed(facts)
    if names:
        yield Problem(
            f"{' and '.join(names)} stands in the trigger or the file's name, and so is shared", "--name NAME"
        )


def _findings(facts: ShareFacts) -> Sequence[record.ExaminationFinding]:
    return () if facts.training.examination is None else facts.training.examination.findings


def _allowed(facts: ShareFacts) -> list[str]:
    """Names of this user or machine that the trigger or the file's name holds."""
    known = traces.names_here()
    shown = f"{facts.trigger or ''} {facts.model.stem}"
    found = {traces.find(word, known) for word in shown.replace("-", " ").replace("_", " ").split()}
    return sorted(filter(None, found))


def _word(path: Path) -> str:
    return formatting.shell_word(path)
