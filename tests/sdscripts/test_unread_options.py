"""Options that sd-scripts accepts and never acts on: each row is true of the parser and of the code, and is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import upstream_source

from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules, value_rules
from sdxl_train_cli.sdscripts import shipped, unread_options
from sdxl_train_cli.sdscripts.unread_options import UnreadOption

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import option_reads

SOURCE = upstream_source.find()
ROWS = [pytest.param(row, id=row.name) for row in unread_options.rows()]
RECIPES = {
    "sdxl_train.py": (Kind.DREAMBOOTH, "full"),
    "sdxl_train_network.py": (Kind.LORA, "dim32"),
    "sdxl_train_textual_inversion.py": (Kind.EMBEDDING, "word"),
}
READ_BY_PREFIX = "metadata_"
"""get_sai_model_spec goes through the names of all options that begin so."""


@pytest.mark.parametrize("row", ROWS)
def test_each_is_an_option_of_every_script_and_release_that_its_row_names(row: UnreadOption) -> None:
    for release in row.releases:
        for script in row.scripts:
            assert row.name in {option.name for option in shipped.table(release).scripts[script]}


@pytest.mark.parametrize("row", ROWS)
def test_setting_one_is_told_with_the_reason(row: UnreadOption) -> None:
    options = {option.name: option for option in shipped.table().scripts[row.scripts[0]]}
    value = True if options[row.name].type == "switch" else 2
    for script in row.scripts:
        recipe = presets.load(*RECIPES[script])
        changed = recipe.replaced({row.name: Setting(value=value)})
        told = [*rules.all_problems(changed, shipped.table()), *rules.warnings(changed)]

        assert [problem for problem in told if row.name in problem.options]
        assert row.name in value_rules.OWNED or row.why in {problem.message for problem in told}
        assert not list(rules.warnings(recipe))


def test_one_with_its_default_is_not_told() -> None:
    recipe = presets.load(Kind.LORA, "dim32").replaced({"fused_backward_pass": Setting(value=False)})

    assert not list(rules.warnings(recipe))


def test_reads_are_found_in_what_training_calls_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "util.py").write_text(
        "def add_arguments(parser):\n    parser.add_argument('--declared')\n"
        "def called(args):\n    return getattr(args, 'by_name'), args.deep\n"
        "def unused(args):\n    return args.never\n"
        "class Made:\n    kept: int = 0\n    def __init__(self, args):\n        self.x = args.built\n",
        encoding="utf-8",
    )
    (tmp_path / "sdxl_train.py").write_text(
        "from library import util\nfrom library.util import Made\n"
        "def train(args):\n    util.called(args)\n    Made(args)\n    other.declared\n    args.written = 1\n",
        encoding="utf-8",
    )

    found = option_reads.reads(tmp_path, "sdxl_train.py")

    assert {name: found[name] for name in ("deep", "by_name", "built", "kept")} == {
        "deep": {"called"},
        "by_name": {"called"},
        "built": {"__init__"},
        "kept": {"Made"},
    }
    assert not {"never", "declared", "written"} & found.keys()


@pytest.mark.upstream
@pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone")
@pytest.mark.parametrize("release", sorted(path.stem for path in shipped.RELEASES.glob("*.json")))
@pytest.mark.parametrize("script", sorted(RECIPES))
def test_the_code_reads_every_option_but_those_of_the_table(release: str, script: str, tmp_path: Path) -> None:
    checkout = unpacked(release, tmp_path)
    found = option_reads.reads(checkout, script)
    rows = {row.name: row for row in unread_options.rows() if release in row.releases and script in row.scripts}
    unread = {option.name for option in shipped.table(release).scripts[script] if not found.get(option.name)}

    assert {name for name in unread if not name.startswith(READ_BY_PREFIX)} <= rows.keys()
    for name, row in rows.items():
        assert found.get(name, set()) <= set(row.read_in), name


def unpacked(release: str, folder: Path) -> Path:
    """The Python files of a release; skips where the source has not got it."""
    commit = json.loads((shipped.RELEASES / f"{release}.json").read_text(encoding="utf-8"))["commit"]
    cloned = subprocess.run(
        ["git", "clone", "-q", "--no-checkout", str(SOURCE), str(folder / "clone")], check=False, capture_output=True
    )
    archive = ["git", "-C", str(folder / "clone"), "archive", "-o", str(folder / "all.tar"), commit, "--",
               "library", "networks", "train_network.py", "train_textual_inversion.py", *RECIPES]  # fmt: skip
    if cloned.returncode or subprocess.run(archive, check=False, capture_output=True).returncode:
        pytest.skip(f"this source has no {release}")
    subprocess.run(["tar", "-xf", str(folder / "all.tar"), "-C", str(folder)], check=True)
    return folder
