"""Tell the user's own command or web address that a run is over. What goes wrong is a warning, never an error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sdxl_train_cli import formatting, process
from sdxl_train_cli.environment import network
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records.run_end import RunEnd

_COMMAND_SECONDS = 30.0
_LONGEST_OUTPUT = 200
_HINT = "see `notify` in config.yaml; the run itself is as it was told"
_SHELL = ("cmd", "/c") if os.name == "nt" else ("/bin/sh", "-c")


def send(notify: str | Sequence[str], end: RunEnd) -> Problem | None:
    """Tell of the end of a run. A Problem if it could not be told."""
    if isinstance(notify, str) and notify.lower().startswith(("http://", "https://")):
        return _post(notify, end)
    argv = [*_SHELL, notify] if isinstance(notify, str) else [_filled(word, end) for word in notify]
    return _run(argv, end)


def _post(address: str, end: RunEnd) -> Problem | None:
    """POST JSON. The line stands under the three names by which chats and phones know it."""
    told = {**end.facts, "message": end.message, "content": end.message, "text": end.message}
    try:
        network.post_json(address, told)
    except OSError as error:
        # The address may hold a key, and so may the error's text.
        cause, code = getattr(error, "reason", None), getattr(error, "code", None)
        why = cause if isinstance(cause, OSError) else error
        reason = f"status {code}" if code else why.strerror or type(why).__name__
        return Problem(f"notify: {network.host(address)} was not told of the end: {reason}", _HINT)
    return None


def _run(argv: Sequence[str], end: RunEnd) -> Problem | None:
    try:
        done = process.run(argv, env={**os.environ, **_variables(end)}, timeout_seconds=_COMMAND_SECONDS)
    except (OSError, ValueError, TimeoutError) as error:
        return Problem(f"notify: the command was not run to its end: {error}", _HINT)
    if not done.code:
        return None
    said = formatting.cut((done.stderr or done.stdout).strip(), _LONGEST_OUTPUT)
    return Problem(f"notify: the command ended with {done.code}{f': {said}' if said else ''}", _HINT)


def _variables(end: RunEnd) -> Mapping[str, str]:
    """What the command finds in its environment."""
    found = {**end.facts, "message": end.message}
    texts = {name: "" if fact is None else str(fact) for name, fact in found.items()}
    return {f"SDXL_TRAIN_{name.upper()}": text.replace("\0", "") for name, text in texts.items()}


def _filled(word: str, end: RunEnd) -> str:
    """An argument with {message} and its like filled in."""
    for name, fact in {**end.facts, "message": end.message}.items():
        word = word.replace(f"{{{name}}}", "" if fact is None else str(fact))
    return word
