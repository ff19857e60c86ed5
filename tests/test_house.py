"""The house as it is built: two floors that never import each other, an order of packages, a door for each library."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from sdxl_train_cli import cli

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from house import ALONE, INSIDE, OURS, PACKAGE, PACKAGES, imports, modules, outside, own_imports, place

DOORS = {
    "rich": {"ui.console", "ui.live"},
    "yaml": {"recipes.yaml_file"},
    "git": {"environment.upstream"},
    "subprocess": {"process", "process_guard", "formatting"},
    "psutil": {"environment.machine", "process", "process_family", "run.telemetry", "records.run_owner"},
    "pynvml": {"gpu"},
    "PIL": {
        "sharing.previews",
        "sharing.told_drawing",
        "dataset.folders",
        "dataset.picture",
        "dataset.convert_picture",
        "dataset.decode_memory",
        "run.samples",
        "ui.thumbnails",
    },
    "uv": {"environment.installer"},
    "urllib": {"environment.network"},
    "packaging": {
        "environment.beside",
        "environment.package_faults",
        "environment.gathering",
        "environment.wheel_folder",
    },
    "filelock": {"environment.building", "dataset.fixing", "run.drawing_watch", "sweeps.store", "sweeps.cache_turn"},
    "charset_normalizer": {"dataset.caption_text"},
    "pathvalidate": {"dataset.safe_names"},
    "platformdirs": {"layout"},
    "pydantic": {
        "recipe",
        "sdscripts.options",
        "environment.doctor_answer",
        "environment.doctor_table",
        "environment.environment",
        "environment.existing_torch",
        "environment.toolchain",
        "failures.signature",
        "inspection.weight_facts",
        "lora_files.comparing",
        "records.record",
        "records.history",
        "ranking.weight_course",
        "memory.memory_settings",
        "memory.measurements",
        "memory.shared_measurements",
        "ranking.grid",
        "ranking.picture_scores",
        "sweeps.store",
        "sweeps.sweep",
    },
    "instant_clip_tokenizer": {"sdscripts.clip_words"},
    "optuna": {"sweeps.suggestions"},
    "ftfy": {"dataset.tokens"},
    "typer": {"cli", "commands"},
    "tomli": {"untrusted_files"},
    "tomli_w": {"untrusted_files"},
}
MOST_LINES = 40
LONG_FUNCTIONS = {
    "api.prepare": "a parameter of the documented API on each line",
    "commands.train.train": "a flag of the command on each line",
    "run.run_choices.choose": "a flag of the commands on each line",
    "run.preparation._check": "the checks of a new run in their order",
    "run.resuming.prepare": "the checks of a resumed run in their order",
    "run.training._watch": "start, follow, judge and record: one try block must hold them",
}
"""Each is a straight line that a split would hide, for this reason."""
TRAINING_SIDE = {"torch", "torchvision", "accelerate", "bitsandbytes", "transformers", "diffusers", "safetensors"}


NAMES = sorted(name for name in modules() if name not in ALONE and not name.endswith("__init__"))


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_its_own_package_and_those_before_it(name: str) -> None:
    above = {other for other in own_imports(modules()[name]) if other not in ALONE and place(other) > place(name)}

    assert not above


def test_every_package_has_its_place() -> None:
    assert {name.partition(".")[0] for name in NAMES if "." in name} | {"api", "cli"} == set(PACKAGES)


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({name: own_imports(path) for name, path in modules().items()}).prepare()


def test_a_class_name_stands_once() -> None:
    """Not even in two packages: whoever searches for a name finds one thing."""
    found = defaultdict(list)
    for name in NAMES:
        for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(name)

    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_imports_stand_at_the_top_but_for_a_few_each_with_its_reason() -> None:
    """The command table in cli.py and the first line of all in __main__.py are where imports are to be late."""
    late, without_reason = [], []
    for name in set(NAMES) - {"cli", "__main__"}:
        source = modules()[name].read_text(encoding="utf-8")
        functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
        for node in {node for each in functions for node in ast.walk(each)}:
            if isinstance(node, ast.Import | ast.ImportFrom):
                late.append(name)
                if not re.search(r"PLC0415 - \w", source.splitlines()[node.lineno - 1]):
                    without_reason.append(f"{name}:{node.lineno}")

    assert not without_reason
    assert len(late) < 22, sorted(late)


def test_a_function_is_short_or_has_a_reason() -> None:
    long = {
        f"{name}.{node.name}"
        for name in NAMES
        for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MOST_LINES
    }

    assert long == set(LONG_FUNCTIONS)


def test_only_commands_and_the_app_import_commands() -> None:
    users = {name for name, path in modules().items() if any(one.startswith("commands") for one in own_imports(path))}

    assert {name.partition(".")[0] for name in users} <= {"cli", "commands"}


def test_listing_the_commands_imports_none_of_them_and_no_large_library() -> None:
    told = (
        "import sys; from sdxl_train_cli import cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    commands = "print(*(name for name in sys.modules if name.startswith('sdxl_train_cli.commands.')))"
    ran = subprocess.run([sys.executable, "-c", f"{told}; {commands}"], check=True, capture_output=True, text=True)
    tops, imported = ran.stdout.split("\n")[:2]

    assert not {"pydantic", "rich", "yaml", "PIL", "psutil", "git"} & set(tops.split())
    assert imported == ""


def test_what_shares_a_file_imports_nothing_that_trains() -> None:
    told = "import sys; from sdxl_train_cli.commands import share; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)

    assert not [name for name in ran.stdout.split() if name.startswith(("sdxl_train_cli.run", "sdxl_train_cli.memory"))]


def imported_within_functions(path: Path) -> int:
    functions = (
        node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    )
    return sum(isinstance(inner, (ast.Import, ast.ImportFrom)) for node in functions for inner in ast.walk(node))


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "commands").rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_command_imports_at_its_top(path: Path) -> None:
    assert imported_within_functions(path) == 0


def test_every_command_of_the_table_can_be_imported_and_helps() -> None:
    for _, row in cli.each_command():
        module, _, function = row.function.rpartition(".")
        found = getattr(importlib.import_module(f"{OURS}.commands.{module}"), function)
        assert (inspect.getdoc(found) or "").startswith(row.help.split(":")[0].split(".")[0]) or module in {
            "train",
            "sweep.adding",
        }


def test_modules_that_stand_alone_import_none_of_ours() -> None:
    assert not any(own_imports(modules()[name]) for name in ALONE)


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    users = {name for name, path in modules().items() if library in outside(path)}

    assert {name if name in DOORS[library] else name.partition(".")[0] for name in users} == DOORS[library]


def test_every_library_has_its_door() -> None:
    used = set().union(*(outside(path) for path in modules().values()))

    assert used - set(sys.stdlib_module_names) <= set(DOORS)


def test_nothing_on_our_side_imports_the_training_sides_libraries() -> None:
    users = {name: outside(path) & TRAINING_SIDE for name, path in modules().items()}

    assert not {name: used for name, used in users.items() if used}


@pytest.mark.parametrize("path", sorted(INSIDE.glob("*.py")), ids=lambda path: path.name)
def test_a_script_of_the_training_side_imports_nothing_of_ours(path: Path) -> None:
    assert OURS not in {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_opens_with_its_promise(path: Path) -> None:
    promise = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]

    assert promise.rstrip(":").strip()


PRINTERS = {"ui.printing", "ui.console", "__main__", "process_guard"}
"""The doors to stdout and stderr, and what runs before or without them."""
PAST_THE_DOOR = {"print", "echo", "secho", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}


def printed_past_the_door(path: Path) -> set[str]:
    """print(), typer.echo(), and the streams themselves where they are written to or handed on."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
    written = {ast.unparse(call.func).removesuffix(".write") for call in calls}
    handed = {ast.unparse(value) for call in calls for value in call.args}
    return (names | written | handed) & PAST_THE_DOOR


def test_all_that_is_printed_goes_through_the_door_that_cleans_it() -> None:
    found = {name: past for name, path in modules().items() if (past := printed_past_the_door(path))}

    assert not {name: past for name, past in found.items() if name not in PRINTERS}


WORDS = {"message", "hint"}
"""What a problem says to a person."""
OTHERS_WORDS = {"cli"}
"""Modules that look at click's own errors, which have words alone."""


def are_words(node: ast.AST) -> bool:
    """A problem's words, or those of nothing: `problem.message`, `(problem.hint or "")`, `str(problem)`."""
    if isinstance(node, ast.BoolOp):
        return any(map(are_words, node.values))
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) == "str" and any("problem" in ast.unparse(value) for value in node.args)
    return isinstance(node, ast.Attribute) and node.attr in WORDS


def read_back(path: Path) -> list[str]:
    """Where words are compared, searched, taken apart, or given to `re`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            looked_at = [] if ast.unparse(node.comparators[0]) == "None" else [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "format":
            of_re = ast.unparse(node.func.value) == "re" or node.func.attr in {"search", "match", "fullmatch"}
            looked_at = [node.func.value, *(node.args if of_re else ())]
        else:
            looked_at = [node.value] if isinstance(node, ast.Subscript) else []
        found += [ast.unparse(node) for part in looked_at if are_words(part)]
    return found


def test_nothing_reads_a_problems_words_back() -> None:
    found = {name: read for name, path in modules().items() if (read := read_back(path))}

    assert {name: read for name, read in found.items() if name not in {*OTHERS_WORDS, "errors"}} == {}
