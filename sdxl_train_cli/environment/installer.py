"""Create the venv and install packages with uv. Failures are summarised in one line; uv's output is in the log."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from uv import find_uv_bin

from sdxl_train_cli import process, redact
from sdxl_train_cli.environment.toolchain import InstallPlan, Toolchain
from sdxl_train_cli.errors import SetupError

Report = Callable[[str], None]
"""Called with one line for the waiting user."""


@dataclass(frozen=True)
class Installer:
    """Destinations of an installation's output."""

    log: BinaryIO
    log_path: Path
    report: Report


def make_venv(folder: Path, python: str | None, row: Toolchain | None, tools: Installer) -> None:
    """Create a venv with the requested Python, else the best known version, else any that sd-scripts supports."""
    known_good = [row.python, row.python_range] if row else [sys.executable]
    wanted = [python] if python else known_good
    for version in wanted:
        tools.report(f"making a venv with Python {version}")
        code, _ = _uv(["venv", "--no-project", "--python", version, str(folder)], tools)
        if code == 0:
            return
    known = f"Python {row.python_range}, which {row.name} runs with" if row else "any Python 3"
    raise SetupError(f"no Python {wanted[-1]} was found, and none could be fetched", f"install {known}")


def install(python: Path, plan: InstallPlan, tools: Installer) -> None:
    """Install the plan's requirements in a single resolution, so that nothing replaces the chosen torch."""
    if not plan.requirements:
        return
    tools.report(f"installing torch ({plan.build.value}) and {len(plan.requirements) - 1} requirements, several GB")
    backend = ["--torch-backend", plan.backend] if plan.backend else []
    code, lines = _uv(["pip", "install", "--python", str(python), *backend, *plan.requirements], tools)
    if code != 0:
        raise _explained(lines, tools)


def _uv(arguments: Sequence[str], tools: Installer) -> tuple[int, list[str]]:
    lines = []
    # Trust the system's certificates, as pip and git do: company proxies use their own.
    variables = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1", **os.environ}
    with process.Child([find_uv_bin(), *arguments], cwd=tools.log_path.parent, env=variables) as child:
        for heard in child.lines():
            if heard is None:
                continue
            line = redact.text(heard)  # an index URL may contain a password
            with contextlib.suppress(OSError):  # on a full disk, uv itself fails and says so
                tools.log.write(f"{line}\n".encode())
            lines.append(line)
            if re.match(r" *Downloading |Resolved |Prepared |Installed ", line):
                tools.report(line.strip())
        return child.wait(), lines


_CAUSES = (
    (r"No space left|not enough space|os error 28|os error 112", "the disk is full",
     "free some space, or choose another place with --home"),
    (r"[Cc]ertificate", "the package index's certificate is not trusted",
     "set SSL_CERT_FILE to the certificates of your network"),
    (r"dns error|error sending request|Failed to fetch|Could not connect|timed out",
     "the package index can't be reached", "check the network or proxy (HTTPS_PROXY, UV_DEFAULT_INDEX) and try again"),
    (r"[Nn]o solution found", "the requirements conflict with each other",
     "try without --extra, or another --python"),
    (r"[Pp]ermission denied|os error 13", "a file can't be written", "choose another place with --home"),
)  # fmt: skip


def _explained(lines: Sequence[str], tools: Installer) -> SetupError:
    words = "\n".join(lines)
    for sign, message, hint in _CAUSES:
        if re.search(sign, words):
            return SetupError(f"{message} (full log: {tools.log_path})", hint)
    last = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "uv said nothing")
    return SetupError(f"packages could not be installed: {last.strip()}", f"full log: {tools.log_path}")
