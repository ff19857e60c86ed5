"""List the options of sd-scripts' training scripts that no code of a script reads, and where the others are read.

    python scripts/option_reads.py CHECKOUT RELEASE                          options without a read, a script at a time
    python scripts/option_reads.py CHECKOUT RELEASE --option clip_skip       the functions that read one

CHECKOUT is a folder with sd-scripts' files at RELEASE, whose shipped table names the options. What a script imports is
followed, and within it every function that `train` may call; a method counts by its name alone, so that a read may be
found that never happens, but none is missed that does. Fields of dataset classes count as reads: their values come from
the options of the same name. Rows of sdxl_train_cli/sdscripts/unread_options.toml are judged from this by hand.
"""

from __future__ import annotations

import argparse
import ast
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sdxl_train_cli.sdscripts import shipped

EXTRA = {"sdxl_train_network.py": ("networks/lora.py",)}
"""Modules that a script imports by a name that is itself an option."""
STARTS = ("read_config_from_file", "train")
ARGUMENTS = ("args", "self.args")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Code:
    """Every function and class of a script and what it imports."""

    functions: dict[str, list[Function]] = field(default_factory=lambda: defaultdict(list))
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=lambda: defaultdict(list))


def main() -> int:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("release", help="such as v0.10.1")
    parser.add_argument("--option", help="tell where this one is read")
    typed = parser.parse_args()
    for script, options in shipped.table(typed.release).scripts.items():
        found = reads(typed.checkout, script)
        names = [typed.option] if typed.option else [option.name for option in options if not found.get(option.name)]
        for name in names:
            sys.stdout.write(f"{script} {name} {' '.join(sorted(found.get(name, ())))}".rstrip() + "\n")
    return 0


def reads(checkout: Path, script: str) -> dict[str, set[str]]:
    """The functions that read each name, of those that a run of the script may call."""
    code = parsed(checkout, script)
    found: dict[str, set[str]] = defaultdict(set)
    waiting = [function for name in STARTS for function in code.functions[name]]
    seen = set[int]()
    while waiting:
        function = waiting.pop()
        if id(function) in seen or declares(function.name):
            continue
        seen.add(id(function))
        for name in read(function):
            found[name].add(function.name)
        for name in mentioned(function):
            waiting += code.functions.get(name, ())
            for kind in code.classes.get(name, ()):
                waiting += [part for part in kind.body if isinstance(part, Function) and part.name.startswith("__")]
    for kinds in code.classes.values():
        for kind in kinds:
            for name in fields(kind):
                found[name].add(kind.name)
    return found


def parsed(checkout: Path, script: str) -> Code:
    """A script and all that it imports from its own checkout."""
    code, waiting, seen = Code(), [script, *EXTRA.get(script, ())], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen or not (checkout / path).is_file():
            continue
        seen.add(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # upstream's own, such as escapes in docstrings
            tree = ast.parse((checkout / path).read_text(encoding="utf-8-sig"))
        waiting += imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, Function):
                code.functions[node.name].append(node)
            elif isinstance(node, ast.ClassDef):
                code.classes[node.name].append(node)
    return code


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the file of each module that may be imported."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name}" for name in names)]
        for name in names:
            yield from (name.replace(".", "/") + end for end in (".py", "/__init__.py"))


def mentioned(function: Function) -> Iterator[str]:
    """Yield each name and attribute in a function, those of functions within it too."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def read(function: Function) -> Iterator[str]:
    """Yield what is read of the parsed arguments; by a text too, as getattr would."""
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and ast.unparse(node.value) in ARGUMENTS:
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def fields(kind: ast.ClassDef) -> Iterator[str]:
    """Yield the annotated fields of a class."""
    for part in kind.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id


def declares(name: str) -> bool:
    """Whether a function only declares options to the parser."""
    return name == "setup_parser" or (name.startswith("add_") and name.endswith(("arguments", "options", "args")))


if __name__ == "__main__":
    sys.exit(main())
