"""What every call must keep: a documented exit code, no traceback, nothing a terminal obeys, within time and memory."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from attacks.calls import Called
from attacks.tally import Problem

MOST_SECONDS = 10.0
"""Of the processor's time: what a call takes on the wall says as much of the machine's other work."""
MOST_MIB = 1024
HARMLESS = "\n\t"
"""A tab moves nothing but the words behind it, and logs are full of them."""
_DOCUMENTED = {0, 2, 3, 4, 5, 6, 7, *(128 + signum for signum in (1, 2, 15))}
_FRAME = re.compile(r'File "[^"]*?(sdxl_train_cli/[^"]+)", line (\d+), in (\S+)')
_WHOLE_FILES = 1 << 20
_OBEYED = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, halves of letters, and ends of lines and paragraphs."""
_UNSEEN = {
    chr(number)
    for first, last in ((0x61C, 0x61C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069), (0xFEFF, 0xFEFF),
                        (0xE0000, 0xE007F))
    for number in range(first, last + 1)
}  # fmt: skip
"""What turns the direction of writing, byte order marks, and tags."""


def problems(called: Called, what: str = "") -> Iterator[Problem]:
    """Everything that is wrong with a call; `what` tells faults apart that have no place in the code."""
    told, command = called.told, f"{command_of(called.argv)} {what}".strip()
    if "Traceback (most recent call last)" in told or "Traceback (most recent call last)" in called.answer:
        yield _traceback(told)
    elif called.code not in _DOCUMENTED:
        why = f"exit code {called.code}" if called.code > 0 else f"ended by signal {-called.code}"
        why = f"hung: {why}" if called.code in {-9, -14} and called.wall_seconds > MOST_SECONDS else why
        yield Problem(f"{why}: {command}", told.strip()[-300:] or "nothing told")
    if called.code not in {0, 130, 143, 129} and called.code in _DOCUMENTED and not (told + called.answer).strip():
        yield Problem(f"no word of why: {command}", f"exit code {called.code}")
    for name, text in (("stdout", called.answer), ("stderr", told)):
        odd = control_characters(text, allowed="\r" if "--csv" in called.argv else "")
        if odd:
            yield Problem(f"control character on {name}: {command}", odd)
    if called.cpu_seconds > MOST_SECONDS:
        yield Problem(f"slow: {command}", f"{called.cpu_seconds:.1f} s of the processor")
    if called.peak_mib > MOST_MIB:
        yield Problem(f"memory: {command}", f"{called.peak_mib:.0f} MiB")


def control_characters(text: str, allowed: str = "") -> str:
    """The line around the first character that a terminal would obey, or nothing."""
    for number, char in enumerate(text):
        if char not in f"{HARMLESS}{allowed}" and (unicodedata.category(char) in _OBEYED or char in _UNSEEN):
            return repr(text[max(0, number - 60) : number + 30])
    return ""


def _traceback(told: str) -> Problem:
    frames = _FRAME.findall(told)
    last = next((line for line in reversed(told.splitlines()) if line and not line[0].isspace()), "")
    error = last.partition(":")[0]
    place = ":".join(frames[-1][:2]) if frames else "no frame of ours"
    return Problem(f"traceback: {place} {error}", last[:300])


def command_of(argv: Sequence[str]) -> str:
    """The words of the command itself, without values."""
    words = []
    for word in argv:
        if not re.fullmatch(r"[a-z]+", word) or len(words) == 2:  # noqa: PLR2004 - `dataset check`, `lora`
            break
        words.append(word)
    return " ".join(words)


def digest(*folders: Path) -> dict[str, str]:
    """What lies in folders: each file's kind and content, each link's target."""
    return {str(path): _fingerprint(path) for folder in folders for path in _below(folder)}


def lost(before: dict[str, str], what: str) -> Iterator[Problem]:
    """What is gone or changed; what came is no loss. `what` tells what was done."""
    for name, fingerprint in before.items():
        now = _fingerprint(Path(name))
        if now != fingerprint:
            became = "gone" if now == "gone" else "changed"
            yield Problem(f"a person's file is {became}: {what}", name)


def _below(folder: Path) -> Iterator[Path]:
    if not folder.is_symlink() and folder.is_dir():
        for root, folders, files in os.walk(folder):
            yield from (Path(root, name) for name in (*folders, *files))
    yield folder


def _fingerprint(path: Path) -> str:
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return f"link {path.readlink()}"
        if not stat.S_ISREG(facts.st_mode):
            return f"mode {stat.S_IFMT(facts.st_mode)}"
        if facts.st_size > _WHOLE_FILES:
            return f"{facts.st_size} bytes of {facts.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "gone"
    except OSError as error:
        return f"unreadable: {error.errno}"
