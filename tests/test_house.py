"""The house as it is built: two floors that never import each other, layers, and one door for each outside library."""

from __future__ import annotations

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sdxl_train_cli

PACKAGE = Path(sdxl_train_cli.__file__).parent
INSIDE = PACKAGE / "inside"
OURS = sdxl_train_cli.__name__

LAYERS = (
    ("words", """
        errors spelling visible recipe layout files redact signals gpu
        keeping.record
        watching.scalars watching.metrics watching.guards watching.progress
        failures
    """),
    ("knowledge", """
        options project choice command checkpoint named_files webpage dataset recipes rulebook exchange
        installation.toolchain
        memory.network_size memory.optimizer_state memory.activations memory.demand memory.terms
        memory.memory_settings memory.vram memory.savings memory.planning memory.stepdown memory.remedies
        watching.samples
        keeping.storage keeping.states keeping.history keeping.supervisor keeping.results keeping.curves
        keeping.comparison keeping.page keeping.report keeping.removal keeping.pickles
    """),
    ("world", """
        process family installation watching.telemetry memory.measurements memory.shared_measurements
    """),
    ("run", """
        keeping.runs watching.supervision watching.training preparation smoke memory.trial memory.fitting
        watching.attempts dataset.tagging keeping.repetition keeping.resuming keeping.foreign
        keeping.tensorboard
    """),
    ("people", "printing fault console live commands cli __main__"),
)  # fmt: skip
"""From the ground up: a module imports its own layer and those below it. A package is named for all of its modules
that are not named themselves."""
ALONE = ("guard", "__init__")
"""Run by path, and the version."""

DOORS = {
    "rich": {"console", "live"},
    "yaml": {"recipes.yaml_file"},
    "git": {"installation.upstream"},
    "subprocess": {"process", "guard", "spelling"},
    "psutil": {"process", "family", "watching.telemetry", "keeping.supervisor"},
    "pynvml": {"gpu"},
    "PIL": {
        "dataset.folders",
        "dataset.picture",
        "dataset.repair",
        "dataset.room",
        "watching.samples",
        "webpage.thumbnails",
    },
    "uv": {"installation.installer"},
    "urllib": {"installation.network"},
    "filelock": {"installation.building", "dataset.fixing"},
    "charset_normalizer": {"dataset.caption_text"},
    "pathvalidate": {"dataset.safe_names"},
    "platformdirs": {"layout"},
    "pydantic": {
        "recipe",
        "options",
        "installation.environment",
        "keeping.record",
        "keeping.history",
        "memory.memory_settings",
        "memory.measurements",
        "memory.shared_measurements",
    },
    "dhash": {"dataset.picture"},
    "instant_clip_tokenizer": {"dataset.tokens"},
    "ftfy": {"dataset.tokens"},
    "typer": {"cli", "commands"},
    "tomli": {"exchange"},
    "tomli_w": {"exchange"},
}
TRAINING_SIDE = {"torch", "torchvision", "accelerate", "bitsandbytes", "transformers", "diffusers", "safetensors"}


def modules() -> dict[str, Path]:
    """Our side, by dotted name."""
    files = (path for path in PACKAGE.rglob("*.py") if INSIDE not in path.parents)
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in files}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it: `pathlib`, `sdxl_train_cli.errors`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(path: Path) -> set[str]:
    """The modules of ours that a file imports, by the names that `modules` gives them."""
    names = {name.removeprefix(f"{OURS}.") for name in imports(path) if name.startswith(f"{OURS}.")}
    known = modules()
    return {name if name in known else name.rpartition(".")[0] or "__init__" for name in names}


def outside(path: Path) -> set[str]:
    """The libraries that a file imports, Python's own included."""
    return {name.partition(".")[0] for name in imports(path)} - {OURS, "__future__"}


def layer(name: str) -> int:
    for listed in (name, name.partition(".")[0]):
        found = [number for number, (_, names) in enumerate(LAYERS) if listed in names.split()]
        if found:
            return found[0]
    pytest.fail(f"{name} has no layer yet: say in LAYERS where it belongs")


NAMES = sorted(name for name in modules() if name not in ALONE and not name.endswith("__init__"))


@pytest.mark.parametrize("name", NAMES)
def test_a_module_imports_only_its_own_layer_and_those_below(name: str) -> None:
    above = {other for other in own_imports(modules()[name]) if other not in ALONE and layer(other) > layer(name)}

    assert not above


def test_no_module_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({name: own_imports(path) for name, path in modules().items()}).prepare()


def test_only_commands_and_the_app_import_commands() -> None:
    users = {name for name, path in modules().items() if any(one.startswith("commands") for one in own_imports(path))}

    assert {name.partition(".")[0] for name in users} <= {"cli", "commands"}


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


PRINTERS = {"printing", "console", "__main__", "guard"}
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
