"""Draw the house as its files are: packages, imports, the two floors, the straight line of `sdxl-train lora`.

    python scripts/draw_architecture.py             print the page
    python scripts/draw_architecture.py --write     write docs/architecture.md
    python scripts/draw_architecture.py --check     exit 1 where that page is another one

Standard library only. What a package, a module or a function is for is its own docstring's first line.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from house import ALONE, INSIDE, PACKAGE, PACKAGES, modules, own_imports, place, tree

PAGE = Path(__file__).resolve().parents[1] / "docs" / "architecture.md"
LAYERS = ("the ground", *PACKAGES)

START = "commands.train.train"
STRAIGHT_LINE = {
    START: (
        "recipes.project.load",
        "run.run_choices.choose",
        "run.preparation.prepare",
        "commands.train.launch",
    ),
    "commands.train.launch": (
        "environment.hub.require",
        "commands.ending.FollowedRun",
        "run.retry.carry_out",
    ),
    "run.preparation.prepare": (
        "environment.environment.require",
        "run.preparation._check",
        "records.runs.plan",
        "records.storage.require",
        "sdscripts.command.build",
    ),
    "run.preparation._check": (
        "run.recipe_checks.load_recipe",
        "dataset.checking.check",
        "dataset.checking.require_no_error",
        "run.preparation.choose_devices",
        "sdscripts.checkpoint.require_sdxl",
        "rules.named_files.require",
        "rules.tried_ways.only_working",
    ),
    "run.recipe_checks.load_recipe": (
        "recipes.presets.load",
        "rules.rules.require",
        "sdscripts.lycoris.resolve",
        "importers.named_code.require_harmless_recipe",
        "environment.required_packages.require",
    ),
    "run.retry.carry_out": ("commands.train.carry_out", "memory.step_down.next_reduction"),
    "commands.train.carry_out": ("records.runs.write", "run.launching.follow", "commands.train.remember"),
    "run.launching.follow": ("run.training.watch",),
    "run.training.watch": ("records.runs.running", "run.training._watch"),
    "run.training._watch": (
        "process.Child",
        "run.supervision.Supervision",
        "run.training._follow",
        "run.training._error",
        "run.examination.examine_result",
        "records.runs.write_outcome",
    ),
    "run.training._error": ("run.training._failure", "sdscripts.checkpoint.read_header"),
    "run.examination.examine_result": ("run.examination.examine",),
    "run.examination.examine": (
        "inspection.model_file.read",
        "inspection.weight_facts.examine",
        "inspection.verdict.judge",
        "inspection.verdict.summary",
    ),
    "run.training._failure": ("failures.diagnosis.explain",),
}
"""Who calls whom, in this order. Not every call: those that tell the story."""
LENT = "actions"
"""What a command lends is called by this name: `actions.carry_out`."""


def main() -> int:
    """Print, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--write", action="store_true")
    way.add_argument("--check", action="store_true")
    typed = parser.parse_args()
    made = page()
    if typed.check:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made else 1
    if typed.write:
        PAGE.write_text(made, encoding="utf-8", newline="\n")
    else:
        print(made, end="")
    return 0


def page() -> str:
    """The content of docs/architecture.md."""
    require_true()
    return TEMPLATE.format(
        packages="\n".join(package_rows()),
        ground="\n".join(ground_rows()),
        matrix="\n".join(matrix()),
        inside="\n".join(inside_rows()),
        line="\n".join(story(START, 0)),
    )


def promise(path: Path) -> str:
    """The first line of a module's docstring."""
    return first_line(tree(path))


def first_line(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first line of a docstring; nothing where there is none."""
    return (ast.get_docstring(node) or "").partition("\n")[0].replace("|", "\\|")


def package_rows() -> Iterator[str]:
    """Each package and what it is for, from the top down."""
    for name in reversed(PACKAGES):
        folder = PACKAGE / name
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        yield f"| `{name}` | {promise(path)} |"


def ground_rows() -> Iterator[str]:
    """Each module of the ground and what it is for."""
    for name, path in modules().items():
        if place(name) == 0 and name not in ALONE:
            yield f"| `{name}` | {promise(path)} |"


def matrix() -> Iterator[str]:
    """Which layer, a row, imports from which other, a column; an empty half on the right is the order."""
    found = {
        (place(name), place(other))
        for name, path in modules().items()
        if name not in ALONE
        for other in own_imports(path)
        if other not in ALONE
    }
    width = max(map(len, LAYERS))
    yield " " * (width + 4) + "".join(f"{number:3}" for number in range(len(LAYERS)))
    for row in reversed(range(len(LAYERS))):
        marks = ("." if row == column else "x" if (row, column) in found else "" for column in range(len(LAYERS)))
        yield f"{row:3} {LAYERS[row]:{width}}{''.join(f'{mark:>3}' for mark in marks)}".rstrip()


def inside_rows() -> Iterator[str]:
    """Each script of the training side, what it is for, and which modules of ours name it."""
    for script in sorted(INSIDE.glob("*.py")):
        users = [f"`{name}`" for name, path in modules().items() if names_script(path, script.name)]
        yield f"| `{script.name}` | {promise(script)} | {', '.join(users) or 'scripts/ alone'} |"


def names_script(path: Path, script: str) -> bool:
    """Whether a module names a script of the training side."""
    return any(isinstance(node, ast.Constant) and node.value == script for node in ast.walk(tree(path)))


def story(name: str, depth: int) -> Iterator[str]:
    """A function and what it calls, as a list within a list."""
    words = first_line(definition(name))
    yield f"{'   ' * depth}1. `{name}`" + (f": {words}" if words else "")
    for called in STRAIGHT_LINE.get(name, ()):
        yield from story(called, depth + 1)


def definition(name: str) -> ast.FunctionDef | ast.ClassDef:
    """Where a function or a class stands; LookupError where it does not."""
    module, _, own = name.rpartition(".")
    path = modules().get(module)
    for node in tree(path).body if path else ():
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == own:
            return node
    raise LookupError(f"STRAIGHT_LINE names {name}, and there is no such function")


def require_true() -> None:
    """LookupError where the line names what is not there, or in another order than it is called in."""
    for name, story_calls in STRAIGHT_LINE.items():
        for called in story_calls:
            definition(called)
        made = list(calls(definition(name)))
        places = [next((at for at, call in enumerate(made) if is_call_of(call, called)), -1) for called in story_calls]
        if -1 in places:
            raise LookupError(f"STRAIGHT_LINE: {name} does not call {story_calls[places.index(-1)]}")
        if places != sorted(places):
            raise LookupError(f"STRAIGHT_LINE: {name} calls these in another order: {', '.join(story_calls)}")


def is_call_of(call: str, name: str) -> bool:
    """Whether a call's words mean this function."""
    module, _, own = name.rpartition(".")
    return call in {own, f"{module.rpartition('.')[2]}.{own}", f"{LENT}.{own}"}


def calls(node: ast.AST) -> Iterator[str]:
    """What is called within a node, what stands in a call before the call itself."""
    for child in ast.iter_child_nodes(node):
        yield from calls(child)
    if isinstance(node, ast.Call):
        yield ast.unparse(node.func)


TEMPLATE = """\
# Architecture

Written by `python scripts/draw_architecture.py --write`; a test compares it with the code.

## Two floors

```
  our side: the Python of sdxl-train, without torch
  +---------------------------------------------------------------+
  |  commands, packages, ground                                   |
  +---------------------------------------------------------------+
      |  argv                 ^                        ^
      v                       | one JSON object        | output, files,
  +---------------------------------------------+      | TensorBoard events
  |  sdxl_train_cli/inside/*.py                 |      |
  +---------------------------------------------+      |
      |  import, or become the script                  |
      v                                                |
  +---------------------------------------------------------------+
  |  sd-scripts, torch                                            |
  +---------------------------------------------------------------+
  training side: the Python of the isolated environment
```

The floors never import each other. Files in `inside/` are run by path, and import nothing of ours:

| script | does | named by |
| --- | --- | --- |
{inside}

## Packages

A package imports what stands below it in this table, and the ground.

| package | holds |
| --- | --- |
{packages}

The ground is the modules of no package:

| module | holds |
| --- | --- |
{ground}

Which layer of a row imports from which layer of a column. Nothing stands right of the points: no package imports one
above it.

```
{matrix}
```

## The straight line of `sdxl-train lora`

Who calls whom, in this order; what is left out serves these.

{line}
"""

if __name__ == "__main__":
    sys.exit(main())
