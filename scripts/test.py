"""Check the project: `python scripts/test.py` makes a venv and runs ruff, mypy and pytest. Standard library only.

Arguments go to pytest. Where a source of sd-scripts can be reached (SDXL_TRAIN_SOURCE, or `source:` in the user's
config file), the tests marked `upstream` run too: setup and all smokes against the real sd-scripts, in the newest
release known here that the source has. With SDXL_TRAIN_SLOW_TESTS=1 they run in every known release that it has.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import project_venv
from project_venv import ROOT

FIND_SOURCE = """
import sys
sys.path.insert(0, "tests")
import upstream_source
found = upstream_source.find()
print(found or "", *(upstream_source.releases(found) if found else []), sep="\\n")
"""


def main() -> int:
    """Give the exit code of the first check that fails, or 0."""
    python = str(project_venv.make(".venv-dev", extra="[dev]"))
    source = subprocess.run([python, "-c", FIND_SOURCE], check=False, cwd=ROOT, capture_output=True, text=True)
    found, *releases = source.stdout.splitlines() or [""]
    is_slow = os.environ.get("SDXL_TRAIN_SLOW_TESTS") == "1"
    newest, *older = releases if found and releases else [""]
    tier = f"WITH the real sd-scripts {newest}".rstrip() if found else "WITHOUT sd-scripts (stand-in only)"
    if found and not is_slow:
        tier += f", without its slow tests{', and' if older else ''} {' '.join(older)}".rstrip()
        tier += " (SDXL_TRAIN_SLOW_TESTS=1)"
    _say(f"test tier: {tier}")
    if not found:
        print("to run the other tier too: SDXL_TRAIN_SOURCE=<a clone of sd-scripts> python scripts/test.py", flush=True)
    checks = (
        [python, "-m", "ruff", "check", "."],
        [python, "-m", "ruff", "format", "--check", "."],
        *([python, "-m", "mypy", "--platform", platform] for platform in ("linux", "darwin", "win32")),
        [python, "-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", *sys.argv[1:]],
    )
    again = [python, "-m", "pytest", "-n", "auto", "--dist", "loadfile", "-m", "upstream", *sys.argv[1:]]
    runs = [(check, {}) for check in checks]
    runs += [(again, {"SDXL_TRAIN_UPSTREAM_REF": release}) for release in older if is_slow]
    for check, variables in runs:
        print(
            "$", *(f"{name}={value}" for name, value in variables.items()), Path(check[0]).name, *check[1:], flush=True
        )
        code = subprocess.run(check, check=False, cwd=ROOT, env={**os.environ, **variables}).returncode
        if code != 0:
            return code
    _say(f"all checks passed, {tier}")
    return 0


def _say(text: str) -> None:
    line = "=" * (len(text) + 4)
    print(f"{line}\n| {text} |\n{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
