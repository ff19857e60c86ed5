"""Write which of sd-scripts' training scripts takes which option, and what `accelerate launch` takes, into a data file.

    python scripts/ship_scripts.py v0.10.1 --checkout FOLDER --python PYTHON

FOLDER holds sd-scripts' files at that release; PYTHON is the Python of an environment that can import them, such as the
one of `sdxl-train setup`. Each script's own parser is asked. The file is sdxl_train_cli/sdscripts/script_options.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.sdscripts import script_options

_ASK = """
import contextlib, importlib, json, sys
from accelerate.commands.launch import launch_command_parser
sys.path.insert(0, ".")
asked = {}
def flags(parser):
    return sorted({name for one in parser._actions for name in one.option_strings if name[:2] == "--"} - {"--help"})
with contextlib.redirect_stdout(sys.stderr):
    for script in sys.argv[2:]:
        with contextlib.suppress(ImportError, AttributeError):
            asked[script] = flags(importlib.import_module(script[:-3]).setup_parser())
    asked[sys.argv[1]] = flags(launch_command_parser())
print(json.dumps(asked))
"""


def main() -> int:
    """Ask one release and write the file anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", help="the release's name, such as v0.11.1")
    parser.add_argument("--checkout", type=Path, required=True, help="sd-scripts' files at that release")
    parser.add_argument("--python", type=Path, required=True, help="a Python that can import them")
    typed = parser.parse_args()
    known = files.read_json(script_options.FILE) if script_options.FILE.is_file() else {}
    if not isinstance(known, dict):
        raise TypeError(f"{script_options.FILE} is no table")
    known[typed.release] = ask(typed.checkout, typed.python)
    files.write(script_options.FILE, text(known))
    sys.stdout.write(f"{script_options.FILE}\n")
    return 0


def ask(checkout: Path, python: Path) -> dict[str, list[str]]:
    """The scripts that take each option."""
    found = [*checkout.glob("*train*.py"), *checkout.glob("fine_tune.py")]
    scripts = sorted(path.name for path in found if "def setup_parser" in path.read_text("utf-8"))
    command = [str(python), "-c", _ASK, script_options.LAUNCHER, *scripts]
    asked = json.loads(subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout)
    names = sorted({name for taken in asked.values() for name in taken})
    return {name: sorted(script for script, taken in asked.items() if name in taken) for name in names}


def text(known: Mapping[str, Mapping[str, list[str]]]) -> str:
    """The file: an option a line, and `*` for those that every training script takes."""
    releases = []
    for release, options in sorted(known.items()):
        every = sorted({script for scripts in options.values() for script in scripts} - {script_options.LAUNCHER, "*"})
        lines = [f"  {json.dumps(name)}: {json.dumps(_short(scripts, every))}" for name, scripts in options.items()]
        scripts_line = f'  "{script_options.SCRIPTS}": {json.dumps(every)}'
        rest = [line for line in lines if not line.startswith(f'  "{script_options.SCRIPTS}"')]
        releases.append(f' "{release}": {{\n' + ",\n".join([scripts_line, *rest]) + "\n }")
    return "{\n" + ",\n".join(releases) + "\n}\n"


def _short(scripts: list[str], every: list[str]) -> list[str]:
    return ["*", *sorted(set(scripts) - set(every))] if set(every) <= set(scripts) else scripts


if __name__ == "__main__":
    sys.exit(main())
