"""Diagnose a run's log: how it ended, and the cause and remedy of a failure. Unknown failures are not guessed at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

from sdxl_train_cli.failures import (
    known_failures,
    log,
    ranks,
    refused_config_key,
    refused_keyword,
    refused_options,
    remedies,
    run_story,
    tracebacks,
    translation,
)
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.failures.run_story import RunStory
from sdxl_train_cli.failures.signature import Failure, Rank, Signature
from sdxl_train_cli.failures.tracebacks import ParsedLog, RaisedError
from sdxl_train_cli.sdscripts import progress

WORDS = 6
"""Lines shown for an unknown failure."""
_NAN_LOSS, _ZERO_LOSS, _NO_STEPS = "nan-loss", "zero-loss", "no-steps"
_OF_THE_WHOLE = {_NAN_LOSS, _ZERO_LOSS, _NO_STEPS}
"""Signatures that count though the run ended well. Two of them are found in progress bars, which count for no other."""
_FINISHED = "model saved."
_CUT = "the log breaks off within a traceback"
_TAKEN_APART = {
    "options": refused_options.explain,
    "arguments": refused_keyword.explain,
    "config-keys": refused_config_key.explain,
}
_MENTION = re.compile(r"\w{1,60}(?:Error|Exception)\b|\b(?:[Ee]rror|ERROR|[Ff]ailed)\b")
_NEAR_THE_END = 12
"""Final lines searched for errors in mid-line. Earlier errors were survived."""
_WIDEST = 400
"""Characters shown of a line."""
_RUN = re.compile(r"((?<!\\)\.|\\[wdsS]|\[(?:\\.|[^\]\\])+\])([*+])")
"""An unbounded repetition of a character class. It could match across the whole log, from every position."""


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong and how to fix it."""

    cause: str
    remedy: str
    kind: Failure
    name: str
    """The signature's name."""
    source: str
    """Where the wording was found."""
    evidence: str
    """The log line that shows it."""


class Ending(str, Enum):
    """How a run ended according to its log."""

    FINISHED = "finished"
    KNOWN = "known-failure"
    UNKNOWN = "unknown-failure"
    STOPPED = "stopped"
    """By Ctrl-C, a signal or a closed terminal. The diagnosis says how to go on."""
    OPEN = "no-end"
    """Neither finished nor failed: the run continues, or was cut off."""


@dataclass(frozen=True)
class LogFinding:
    """Result of reading a log."""

    ending: Ending
    diagnosis: Diagnosis | None
    last_words: tuple[str, ...]
    """The last meaningful lines, at most six. Includes the evidence if that is an error."""
    story: RunStory
    """How far the run came."""


def examine(lines: Sequence[str], facts: RunFacts = RunFacts()) -> LogFinding:  # noqa: B008 - it is frozen
    """How the run in the log ended. If the log holds several runs, the last one."""
    lines = ranks.of_the_first(run_story.last_run(log.clean_lines(lines)))
    found = _examine(lines)
    if found.diagnosis is None:
        return found
    told = _in_russian(found.diagnosis) if facts.in_russian else found.diagnosis
    return replace(found, diagnosis=replace(told, remedy=remedies.in_full(told.remedy, facts, lines)))


def _in_russian(known: Diagnosis) -> Diagnosis:
    """The same in Russian; as it is where it has words of its own, or none in Russian."""
    row, signature = translation.rows().get(known.name), known_failures.by_name(known.name)
    if row is None or (known.cause, known.remedy) != (signature.cause, signature.remedy):
        return known
    return replace(known, cause=row["cause"], remedy=row["remedy"])


def _examine(lines: Sequence[str]) -> LogFinding:
    story = run_story.read(lines)
    finished, rest = _after_the_end(lines)
    account = tracebacks.parse(rest)
    known = _in_detail(_known(account), lines) or _told_by_the_whole(lines, story)
    words = _last_words(account)
    if known is not None and (not finished or known.name in _OF_THE_WHOLE or _errors(account)):
        ending = Ending.STOPPED if known.kind is Failure.STOPPED else Ending.KNOWN
        return LogFinding(ending, known, words, story)
    if _errors(account):
        return LogFinding(Ending.UNKNOWN, None, words, story)
    return LogFinding(Ending.FINISHED if finished else Ending.OPEN, None, words, story)


def explain(lines: Sequence[str], facts: RunFacts = RunFacts()) -> Diagnosis | None:  # noqa: B008 - it is frozen
    """The cause of the failure in a log. None if no signature matches."""
    return examine(lines, facts).diagnosis


def last_error(lines: Sequence[str]) -> str | None:
    """First line of the last error, ignoring the launcher's."""
    errors = _errors(tracebacks.parse(ranks.of_the_first(run_story.last_run(log.clean_lines(lines)))))
    return errors[-1].words[0] if errors else None


def _after_the_end(lines: Sequence[str]) -> tuple[bool, Sequence[str]]:
    """Whether a run finished, and the lines after that. A later run's start resets it.

    The finished run's bar is drawn once more at the end.
    """
    ends = [number for number, line in enumerate(lines) if _FINISHED in line]
    if not ends:
        return False, lines
    rest = lines[ends[-1] + 1 :]
    bars = (bar for line in rest if (bar := progress.split(line)[0]) is not None)
    goes_on = any("running training" in line for line in rest) or any(bar.step < bar.steps for bar in bars)
    return not goes_on, rest


def _known(account: ParsedLog) -> Diagnosis | None:
    everywhere = "\n".join(line for line in account.rest if not tracebacks.is_noise(line) or "Warning" in line)
    found = _first(Rank.ROOT, everywhere, account)
    if found is not None:
        return found
    for error in _chain(account):
        found = _matching(Rank.CAUSE, _text(error), error.frames, everywhere, loose=True)
        if found is not None:
            return found
    found = _first(Rank.CAUSE, everywhere, None)
    if found is not None or not _errors(account):
        found = found or _first(Rank.AFTERMATH, everywhere, account) or _mentioned(account)
        return found or _matching(Rank.STAGE, _CUT, account.cut, everywhere, loose=True)
    last = _errors(account)[-1]
    return _matching(Rank.AFTERMATH, _text(last), "", everywhere, loose=True) or _matching(
        Rank.STAGE, _text(last), last.frames, everywhere, loose=True
    )


def _mentioned(account: ParsedLog) -> Diagnosis | None:
    """Diagnose an error mentioned in mid-line near the end of a log that has no proper error."""
    for line in reversed(account.rest[-_NEAR_THE_END:]):
        if _MENTION.search(line) and not tracebacks.is_noise(line):
            told = tracebacks.without_commands(line)
            found = _matching(Rank.CAUSE, told, account.cut, "\n".join(account.rest), loose=True)
            if found is not None:
                return found
    return None


def _chain(account: ParsedLog) -> Iterator[RaisedError]:
    """The last error, then the errors during whose handling it was raised. Other errors would be guesses."""
    errors = _errors(account)
    for number in range(len(errors) - 1, -1, -1):
        yield errors[number]
        if number and not errors[number - 1].caused:
            return


def _text(error: RaisedError) -> str:
    return tracebacks.without_commands("\n".join(error.words))


def _first(rank: Rank, text: str, account: ParsedLog | None) -> Diagnosis | None:
    """Find a signature that may match any line, else one that matches an error's text."""
    found = _matching(rank, tracebacks.without_commands(text), "", text, loose=False)
    for error in () if account is None else reversed(account.errors):
        found = found or _matching(rank, _text(error), error.frames, text, loose=True)
    return found


def _matching(rank: Rank, text: str, frames: str, rest: str, *, loose: bool) -> Diagnosis | None:
    """The first signature of a rank that matches a text. `loose` includes signatures restricted to errors.

    `rest` is what else the log says.
    """
    for signature in known_failures.load():
        if signature.rank is not rank or signature.name in _OF_THE_WHOLE or not (loose or signature.anywhere):
            continue
        match = _compiled(signature.pattern).search(text)
        if match and _is_in_place(signature, f"{frames}\n{text}", rest):
            return _diagnosis(signature, _line_at(text, match.start(), match.end()))
    return None


def _is_in_place(signature: Signature, frames: str, rest: str) -> bool:
    """Whether the frames and the other lines are those of a signature whose words have been found."""
    return (
        (signature.within is None or _compiled(signature.within).search(frames) is not None)
        and (signature.without is None or _compiled(signature.without).search(frames) is None)
        and (signature.beside is None or _compiled(signature.beside).search(rest) is not None)
    )


def _in_detail(known: Diagnosis | None, lines: Sequence[str]) -> Diagnosis | None:
    """A diagnosis with each part of a command line told, if its signature says that the error lists them."""
    taken_apart = None if known is None else known_failures.by_name(known.name).taken_apart
    if known is None or taken_apart is None:
        return known
    told = _TAKEN_APART[taken_apart](lines)
    return replace(known, cause=told.cause, remedy=told.remedy) if told else known


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern. A space matches any whitespace, as lines may be wrapped. Repetitions are bounded."""
    bounded = _RUN.sub(lambda run: run[1] + ("{0,400}" if run[2] == "*" else "{1,400}"), pattern)
    return re.compile(bounded.replace(" ?", r"\s*").replace(" ", r"\s+"), re.MULTILINE)


def _line_at(text: str, start: int, end: int) -> str:
    first = text.rfind("\n", 0, start) + 1
    last = text.find("\n", end)
    return " ".join(text[first : len(text) if last < 0 else last].split())[:_WIDEST]


def _diagnosis(signature: Signature, evidence: str) -> Diagnosis:
    return Diagnosis(signature.cause, signature.remedy, signature.kind, signature.name, signature.source, evidence)


def _errors(account: ParsedLog) -> list[RaisedError]:
    """The trainer's own errors. Errors after the launcher's belong to a window around both, or to their shutdown.

    So do those after Ctrl-C.
    """
    launchers = [number for number, error in enumerate(account.errors) if error.is_launchers]
    own = [error for error in account.errors[: launchers[-1]] if not error.is_launchers] if launchers else []
    own = own or [error for error in account.errors if not error.is_launchers]
    stops = [number for number, error in enumerate(own) if error.is_stop]
    return own[: stops[0] + 1] if stops else own


def _last_words(account: ParsedLog) -> tuple[str, ...]:
    errors = _errors(account)
    if errors:
        return tuple(line[:_WIDEST] for line in errors[-1].words[:WORDS])
    told = tracebacks.without_commands("\n".join(account.rest)).splitlines()
    useful = [line for line in told if not tracebacks.is_noise(line) and not tracebacks.is_launchers(line)]
    return tuple(line[:_WIDEST] for line in useful[-WORDS:])


def _bars(lines: Sequence[str]) -> Iterator[str]:
    return (line for line in reversed(lines) if "loss=" in line and "|" in line)


def _last_bar(lines: Sequence[str]) -> str:
    return " ".join(next(_bars(lines), "").split())[:_WIDEST]


def _told_by_the_whole(lines: Sequence[str], story: RunStory) -> Diagnosis | None:
    """What no error tells: a loss of NaN at the end, one of 0 throughout, or a run without steps."""
    nan, zero, no_steps = map(known_failures.by_name, (_NAN_LOSS, _ZERO_LOSS, _NO_STEPS))
    if re.search(nan.pattern, _last_bar(lines)):
        return _diagnosis(nan, _last_bar(lines))
    said = next((line for line in lines if _compiled(no_steps.pattern).search(line)), None)
    if said is not None:
        return _diagnosis(no_steps, " ".join(said.split()))
    return _diagnosis(zero, _last_bar(lines)) if story.all_losses_zero else None
