"""A venv for one purpose in the project's folder, made or mended with the standard library alone."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)


def make(name: str, *, extra: str = "") -> Path:
    """Give the Python of `ROOT/name`, with the project installed in it; what is up to date is left alone."""
    if sys.version_info < OLDEST:
        sys.exit(f"error: this is Python {sys.version.split()[0]}\nhint:  run it with Python 3.10 or newer")
    folder = ROOT / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = _fingerprint(extra)
    mark = folder / "installed.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    if folder.exists() and not mark.is_file():
        sys.exit(f"error: {folder} exists and was not made by this script\nhint:  move or remove it, and try again")
    print(f"making {name} and installing the project into it", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        mark.touch()  # before anything else: a folder without it is somebody else's
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: no venv could be made: {error}\nhint:  on Debian and Ubuntu: apt install python3-venv")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable"]
    if subprocess.run([*install, f"{ROOT}{extra}"], check=False, stdout=sys.stderr).returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        sys.exit("error: the project's packages could not be installed\nhint:  check the network or proxy, try again")
    mark.write_text(wanted, encoding="utf-8")
    return python


def _fingerprint(extra: str) -> str:
    """Changes with what would be installed, with the Python and with the place (venvs hold absolute paths)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") + extra + sys.version + str(ROOT)
    return hashlib.sha256(text.encode()).hexdigest()
