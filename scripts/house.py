"""What the house is built of, read from its files: packages in their order, modules, and who imports whom."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "sdxl_train_cli"
INSIDE = PACKAGE / "inside"
OURS = PACKAGE.name

PACKAGES = (
    "sdscripts", "rules", "recipes", "failures", "environment", "inspection", "dataset", "importers", "memory",
    "records", "lora_files", "ranking", "run", "jobs", "cluster", "sweeps", "sharing", "api", "ui", "commands", "cli",
)  # fmt: skip
"""From the ground up: a package imports what stands before it, and the ground, which is the modules of no package."""
ALONE = ("process_guard", "__init__")
"""Run by path, and the version."""


@cache
def modules() -> dict[str, Path]:
    """Our side, by dotted name."""
    files = (path for path in PACKAGE.rglob("*.py") if INSIDE not in path.parents)
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(files)}


@cache
def tree(path: Path) -> ast.Module:
    """A file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, wherever in it: `pathlib`, `sdxl_train_cli.errors`."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative import")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def own_imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, by the names that `modules` gives them."""
    names = {name.removeprefix(f"{OURS}.") for name in imports(path) if name.startswith(f"{OURS}.")}
    known = modules()
    return {name if name in known else name.rpartition(".")[0] or "__init__" for name in names}


def outside(path: Path) -> set[str]:
    """The libraries that a file imports, Python's own included."""
    return {name.partition(".")[0] for name in imports(path)} - {OURS, "__future__"}


def place(name: str) -> int:
    """Where a module's package stands: the ground is 0."""
    package = {"__main__": "cli"}.get(name, name).partition(".")[0]
    is_ground = "." not in name and package not in PACKAGES
    return 0 if is_ground else 1 + PACKAGES.index(package)
