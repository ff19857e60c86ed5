"""One command from a fresh clone to a trained LoRA file: `python scripts/smoke.py`. Standard library only.

Makes a venv for the CLI, runs `sdxl-train setup` where sd-scripts is not installed yet, then `sdxl-train smoke`.
All other arguments go to `sdxl-train smoke`. `--source PATH|URL` names a clone or mirror of sd-scripts;
`--rehearse` walks the same way with a stand-in trainer, without the network, and trains nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import project_venv
from project_venv import ROOT

STAND_IN = ROOT / "tests" / "standin" / "build.py"
REHEARSAL_HOME = ROOT / ".rehearsal"
REHEARSAL_OUTPUT = ROOT / "rehearsal-output"
"""What a stand-in wrote must never lie where a real result would."""


def main() -> int:
    """Give the exit code of the first step that fails, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="a clone or mirror of sd-scripts (also: SDXL_TRAIN_SOURCE)")
    parser.add_argument("--rehearse", action="store_true", help="the same procedure with a stand-in trainer")
    known, passed_on = parser.parse_known_args()
    python = project_venv.make(".venv")
    if known.rehearse:
        return _rehearse(python, passed_on)
    source = ["--source", known.source] if known.source else []
    code = _run(python, "setup", *source)
    if code != 0:
        print(
            "two options: name a clone or mirror of sd-scripts with --source PATH|URL,\n"
            "             or see the whole procedure without it: python scripts/smoke.py --rehearse",
            file=sys.stderr,
        )
        return code
    return _run(python, "smoke", *passed_on)


def _rehearse(python: Path, passed_on: list[str]) -> int:
    """Setup to LoRA file with the tests' stand-in, in a home of its own: a real environment is not touched."""
    print("REHEARSAL: a stand-in trainer replaces sd-scripts; nothing will be trained", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "sd-scripts"
        if subprocess.run([sys.executable, str(STAND_IN), str(repository)], check=False).returncode != 0:
            return 1
        home = ["--home", str(REHEARSAL_HOME)]
        output = ["--output", str(REHEARSAL_OUTPUT)]
        code = _run(python, "setup", "--source", str(repository), *home)
        code = code or _run(python, "smoke", *home, *output, *passed_on)
    if (REHEARSAL_HOME / ".sdxl-train-home").is_file():  # setup made it
        shutil.rmtree(REHEARSAL_HOME, ignore_errors=True)
    print("REHEARSAL: done; nothing was trained", file=sys.stderr, flush=True)
    return code


def _run(python: Path, *arguments: str) -> int:
    """Run the CLI; Ctrl-C is its own to handle, so wait for its word."""
    print("$ sdxl-train", *arguments, file=sys.stderr, flush=True)
    with subprocess.Popen([str(python), "-m", "sdxl_train_cli.cli", *arguments], env=dict(os.environ)) as child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda signum, _frame: child.send_signal(signum))
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
