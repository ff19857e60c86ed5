"""`sdxl-train runs explain`: how a run ended, according to its log."""

from __future__ import annotations

import io
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from sdxl_train_cli import files, formatting, handed_file, language, layout
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.workspace import OutputOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.failures import diagnosis, log
from sdxl_train_cli.failures.diagnosis import Diagnosis, Ending, LogFinding
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.failures.run_story import RunStory
from sdxl_train_cli.failures.signature import Failure
from sdxl_train_cli.memory import out_of_memory
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run.preparation import device_now
from sdxl_train_cli.sdscripts import states
from sdxl_train_cli.ui import console

_CHUNK_BYTES = 64 * 1024
_GOES_ON = "the run is still going, or was cut off{reached}"

Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN|LOGFILE",
        help="A run's folder or name, a log, or - for stdin",
        autocompletion=completion.run_names,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def explain(target: Target, output: OutputOption = None, as_json: Json = False) -> None:
    """Explain why a run failed and what to type next. Takes any log of sd-scripts."""
    if target == "-":
        path, lines = None, log.decode(_stdin())
    else:
        path = _log(target, output)
        lines = _read(path)
    entry = _entry(path)
    facts = replace(_run_facts(entry), in_russian=language.is_russian() and not as_json)
    finding = _as_recorded(diagnosis.examine(lines, facts), entry)
    if path is not None:
        _require_log(path, finding)
    ways = _ways(finding, entry)
    if as_json:
        state = None if entry is None else entry.state.value
        console.data({**_facts(finding, path), "state": state, "would_fit": ways})
        return
    for line in (
        *(_recorded(entry, finding) or _told(finding)),
        *([_say("would-fit", "what would fit:")] if ways else []),
        *(f"  {way}" for way in ways),
    ):
        console.out(line)
    if path is not None:
        console.note(_say("full-output", "full output: {path}").format(path=path))


def _say(part: str, english: str) -> str:
    return language.text("explain", part, english)


def _require_log(path: Path, finding: LogFinding) -> None:
    """UsageError for a file of another kind, unless a failure is found in it: a terminal's text may begin so."""
    other = handed_file.other_kind(path, "log caption", "a log")
    if other is not None and finding.diagnosis is None:
        raise UsageError(other)


def _stdin() -> bytes:
    return _end_of(sys.stdin.buffer)


def _end_of(stream: BinaryIO) -> bytes:
    """The end of a pipe's data, however much there is."""
    chunks = deque[bytes](maxlen=-(-log.TAIL_BYTES // _CHUNK_BYTES))
    while chunk := stream.read(_CHUNK_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def _log(target: str, output: Path | None) -> Path:
    """The log to explain. UsageError if there is none."""
    typed = layout.expand(Path(target))
    try:
        if typed.exists() and not typed.is_dir():
            return typed
        place = workspace.output(output) if output is not None or not typed.is_dir() else typed.parent
        folders = [typed, place / target]
        logs = [Run(folder, folder.name).log for folder in folders if folder.is_dir()]
        found = next((path for path in logs if path.is_file()), None)
    except (OSError, ValueError) as error:  # a name that is too long, or contains a NUL byte
        raise UsageError(f"'{target[:80]}' is not a valid name of a run or a log", "give a path") from error
    if found is not None:
        return found
    if logs:
        raise UsageError(f"there is no train.log in {logs[0].parent}", "give the log itself: any text file will do")
    raise UsageError(
        f"there is no file '{target}', and no run of that name in {place}",
        "give a run's folder, a log file, or - to read from a pipe",
    )


def _read(path: Path) -> list[str]:
    try:
        # A pipe is read if given explicitly. Other special files could block.
        with path.open("rb") if path.is_fifo() else files.open_plain(path) as file:
            if not file.seekable():
                return log.decode(_end_of(file))
            return log.read_tail(file, file.seek(0, io.SEEK_END))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", "check its permissions") from error


def _entry(path: Path | None) -> Loaded | None:
    """The run that a log belongs to, if its record is valid."""
    if path is None or path.name != record.LOG or not files.is_file(path.with_name(record.RUN)):
        return None
    entry = history.load(path.parent)
    return None if entry.state is RunState.BROKEN else entry


def _run_facts(entry: Loaded | None) -> RunFacts:
    if entry is None:
        return RunFacts()
    card = entry.record.gpu
    return RunFacts(entry.record.recipe, None if card is None else card.name)


def _as_recorded(finding: LogFinding, entry: Loaded | None) -> LogFinding:
    """The finding for a run recorded as done: it finished, whatever else the log says.

    Its steps are those of the whole run: the trainer's bar counts from where it was resumed.
    """
    if entry is None or entry.state is not RunState.DONE:
        return finding
    steps = entry.outcome.steps if entry.outcome else None
    story = finding.story if steps is None else replace(finding.story, step=steps)
    return replace(finding, ending=Ending.FINISHED, diagnosis=None, story=story)


def _recorded(entry: Loaded | None, finding: LogFinding) -> list[str]:
    """What the record adds to the log. Empty if nothing."""
    if entry is None or finding.diagnosis is not None:
        return []
    outcome = entry.outcome
    steps = None if outcome is None or outcome.steps is None else f" at step {outcome.steps}"
    run = formatting.shell_word(entry.folder)
    go_on = f"to resume: sdxl-train runs resume {run}"
    if not states.complete(entry.folder):
        go_on = f"it saved no state to resume from; to start again: sdxl-train runs rerun {run}"
    told: dict[RunState, list[str | None]] = {
        RunState.RUNNING: ["this run is still running"],
        RunState.UNKNOWN: [entry.problem],
        RunState.STOPPED: [f"this run was stopped{steps or ''} by Ctrl-C or a termination signal", go_on],
        RunState.INTERRUPTED: ["this run was cut off: sdxl-train was killed, or the computer lost power", go_on],
    }
    if outcome is not None and outcome.cause:
        remedies = (outcome.remedy or "").splitlines()
        labels = ("remedy:", *[""] * len(remedies))
        remedy = [f"{label:<8} {line}" for label, line in zip(labels, remedies, strict=False)]
        told[RunState.FAILED] = [f"cause:   {outcome.cause}", *remedy]
    if outcome is not None and outcome.note:
        told[RunState.DONE] = ["this run finished: its model was saved", outcome.note]
    return [line for line in told.get(entry.state, []) if line]


def _told(finding: LogFinding) -> list[str]:
    known = finding.diagnosis
    begun, reached = _begun(finding), _reached(finding.story)
    if finding.ending is Ending.STOPPED and known is not None:
        stopped = _say("stopped", "this run was stopped{reached}: {cause}")
        return [*begun, stopped.format(reached=reached, cause=known.cause), *_ways_on(known)]
    if known is not None:
        cause, source = _say("cause", "cause:  "), _say("source", "source: ")
        return [*begun, f"{cause} {known.cause}", *_ways_on(known), f"{source} {known.source}"]
    if finding.ending is Ending.FINISHED:
        return [*begun, _say("finished", "this run finished{reached}: its model was saved").format(reached=reached)]
    if finding.ending is Ending.UNKNOWN:
        head = _say("unknown", "unknown failure; the last meaningful lines:")
    elif finding.last_words:
        head = _say(
            "open", "this log shows no failure: the run is still going, or was cut off{reached}; its last lines:"
        )
    elif finding.story.step is not None:
        head = _say(
            "only-progress", "this log shows nothing but progress: the run is still going, or was cut off{reached}"
        )
    else:
        return [_say("nothing", "this log has nothing useful in it")]
    head = head.format(reached=reached)
    return [*begun, head, *(f"  {line}" for line in finding.last_words)]


def _ways_on(known: Diagnosis) -> list[str]:
    remedies = known.remedy.splitlines()
    label = _say("remedy", "remedy: ")
    labels = (label, *[" " * len(label)] * (len(remedies) - 1))
    ways = [f"{label} {line}" for label, line in zip(labels, remedies, strict=True)]
    return [*ways, f"{_say('log', 'the log:')} {known.evidence}"]


def _begun(finding: LogFinding) -> list[str]:
    story = finding.story
    if story.state is None:
        return []
    if finding.diagnosis is not None and finding.diagnosis.kind is Failure.RESUME:
        return [f"this run could not be resumed from {story.state}"]
    at = "" if story.resumed_at is None else f", at step {story.resumed_at}"
    return [f"this run was resumed from {story.state}{at}"]


def _reached(story: RunStory) -> str:
    if story.step is None:
        return ""
    of = "" if story.steps is None else _say("of-steps", " of {steps}").format(steps=story.steps)
    return _say("at-step", " at step {step}").format(step=story.step) + of


def _ways(finding: LogFinding, entry: Loaded | None) -> list[str]:
    """Flags with which a run of ours that ran out of memory would fit."""
    known = finding.diagnosis
    if entry is None or known is None or known.kind is not Failure.GPU_MEMORY or entry.record.recipe is None:
        return []
    device = device_now(entry.record.gpu.index if entry.record.gpu else None)
    return out_of_memory.for_memory(entry.record.recipe, device, workspace.user_presets())


def _facts(finding: LogFinding, path: Path | None) -> dict[str, object]:
    known = finding.diagnosis
    return {
        "ending": finding.ending.value,
        "failure": None if known is None else known.name,
        "kind": None if known is None else known.kind.value,
        "cause": None if known is None else known.cause,
        "remedy": None if known is None else known.remedy,
        "evidence": None if known is None else known.evidence,
        "source": None if known is None else known.source,
        "last_words": list(finding.last_words),
        "step": finding.story.step,
        "steps": finding.story.steps,
        "resumed_from": finding.story.state,
        "resumed_at": finding.story.resumed_at,
        "all_losses_zero": finding.story.all_losses_zero,
        "log": None if path is None else str(path),
    }
