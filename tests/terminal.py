"""A command whose questions are answered at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from conftest import Result
from patience import PATIENCE_SECONDS, until


def answer(*words: object, typed: str, cwd: Path, environ: Mapping[str, str]) -> Result:
    """Run a command with these lines typed at its terminal."""
    import pty  # noqa: PLC0415 - not on Windows

    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", *map(str, words)]
    with subprocess.Popen(
        argv, cwd=cwd, env={**environ, "TERM": "dumb"}, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        os.write(ours, typed.encode())
        out, told = child.communicate(timeout=PATIENCE_SECONDS)
    os.close(ours)
    os.close(theirs)
    return Result(child.returncode, out.decode(), told.decode())


def stop_at(
    question: str, *words: object, signum: int, cwd: Path, environ: Mapping[str, str], typed: str = ""
) -> Result:
    """Run a command and send it a signal when it asks this; `typed` answers the questions before."""
    import pty  # noqa: PLC0415 - as above

    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", *map(str, words)]
    log = cwd / "asked.txt"
    with (
        log.open("wb") as err,
        subprocess.Popen(
            argv, cwd=cwd, env={**environ, "TERM": "dumb"}, stdin=theirs, stdout=subprocess.PIPE, stderr=err
        ) as child,
    ):
        os.write(ours, typed.encode())
        until(lambda: question in log.read_text(encoding="utf-8") or child.poll() is not None)
        child.send_signal(signum)
        out, _ = child.communicate(timeout=PATIENCE_SECONDS)
    os.close(ours)
    os.close(theirs)
    told = log.read_text(encoding="utf-8")
    log.unlink()
    return Result(child.returncode, out.decode(), told)
