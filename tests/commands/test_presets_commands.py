"""`sdxl-train presets` and `sdxl-train init` as real commands, where nothing is set up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import Cli, variables

from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project
from sdxl_train_cli.recipes.presets import list_presets
from sdxl_train_cli.sdscripts import shipped

SHIPPED = list_presets()
KINDS = {*(kind.value for kind in Kind), "any"}


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """`sdxl-train` with an empty home and an empty config folder."""
    return Cli(tmp_path, variables(tmp_path))


def user_preset(folder: Path, name: str, text: str) -> Path:
    path = folder / "config" / "presets" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows_of(text: str) -> list[str]:
    """The lines of presets, without headings."""
    return [line for line in text.splitlines() if line.split(" ", 1)[0] in KINDS]


# --- list


def test_the_list_has_one_line_for_each_preset_and_its_vram(bare: Cli) -> None:
    result = bare("presets", "list")

    assert result.code == 0
    heading, *lines = result.stdout.splitlines()
    rows = rows_of(result.stdout)
    assert heading.split() == ["kind", "preset", "needs", "GB", "what", "it", "is", "for"]
    assert len(rows) == len(SHIPPED)
    gc = next(row for row in rows if row.split()[1] == "dim32-gc")
    assert gc.split()[:3] == ["lora", "dim32-gc", "7.6"]
    assert gc.endswith("LoRA dim 32, gradient checkpointing (the default)"), "and no other figure"
    assert "was measured or is estimated" in result.stderr
    assert len({row.index(row.split()[1]) for row in rows}) == 1, "columns stand below each other"
    assert [line for line in lines if line.endswith("(the default)")] == [row for row in rows if "(the def" in row]
    assert sum(row.endswith("(the default)") for row in rows) == len(Kind), "one for each kind"


def test_the_list_is_grouped_by_what_presets_are_for_and_ends_with_the_persons_own(bare: Cli, tmp_path: Path) -> None:
    user_preset(tmp_path, "lora/mine.yaml", "extends: anime\ndescription: Mine\n")

    blocks = bare("presets", "list").stdout.split("\n\n")[1:]

    headings = [block.splitlines()[0] for block in blocks]
    names = {block.splitlines()[0]: [row.split()[1] for row in rows_of(block)] for block in blocks}
    assert headings == [
        "For anime bases, captions of tags", "For photos and art, captions in sentences",
        "Other ways to learn, for any subject", "For any subject, by size and GPU memory", "Your own",
    ]  # fmt: skip
    assert names["For anime bases, captions of tags"] == ["anime", "anime-vpred", "anime-style"]
    assert names["Your own"] == ["mine"]
    assert "anime" not in names["For any subject, by size and GPU memory"]


def test_the_list_says_what_fits_into_a_gpu(bare: Cli) -> None:
    result = bare("presets", "list", "--gpu-memory", "8", "--kind", "lora")
    fits = {row.split()[1]: row.split()[3] for row in rows_of(result.stdout)}
    told = json.loads(bare("presets", "list", "--gpu-memory", "8", "--kind", "lora", "--json").stdout)

    assert (fits["dim32-fp8-gc"], fits["dim128"]) == ("yes", "no")
    assert fits == {each["name"]: each["fits"] for each in told}
    assert "free on a GPU of 8 GB" in result.stderr


def test_the_list_as_json_is_for_programs(bare: Cli, tmp_path: Path) -> None:
    user_preset(tmp_path, "locon/моё.yaml", "extends: dim64-conv32\ndescription: Моё\nnetwork_dim: 48\n")
    user_preset(tmp_path, "any.yaml", "seed: 1\n")
    user_preset(tmp_path, "lora/broken.yaml", "seed: [\n")

    presets = {preset["name"]: preset for preset in json.loads(bare("presets", "list", "--json").stdout)}

    assert len(presets) == len(SHIPPED) + 3
    assert 0 < presets["full"]["low_gib"] < presets["full"]["high_gib"] < 38.5
    assert presets["моё"]["kind"] == "locon"
    assert presets["any"]["high_gib"] is None
    assert presets["any"]["kind"] is None
    assert (presets["any"]["group"], presets["any"]["default"], presets["any"]["fits"]) == ("Your own", False, None)
    assert (presets["gc"]["default"], presets["full"]["default"]) == (True, False)
    assert presets["broken"]["description"].startswith("broken: ")
    assert all(Path(preset["path"]).is_file() for preset in presets.values())


def test_the_list_can_be_of_one_kind(bare: Cli) -> None:
    rows = rows_of(bare("presets", "list", "--kind", "dreambooth").stdout)

    assert [row.split()[:2] for row in rows] == [["dreambooth", "full"], ["dreambooth", "gc"]]


def test_there_is_no_other_kind(bare: Cli) -> None:
    result = bare("presets", "list", "--kind", "LoRA")

    assert result.code == 2
    assert result.stderr == "error: no kind 'LoRA'\nhint:  one of: lora, locon, loha, lokr, dreambooth, embedding\n"


# --- show


def test_a_preset_is_shown_whole_with_the_origin_of_each_value(bare: Cli) -> None:
    result = bare("presets", "show", "dim32-gc")

    rows = {name: words for name, *words in map(str.split, result.stdout.splitlines())}
    assert rows["gradient_checkpointing"] == ["true", "dim32-gc.yaml:4"]
    assert rows["learning_rate"][0] == "0.0001"
    assert rows["network_dim"][0] == "32"
    assert result.stderr.startswith("dim32-gc (LoRA): ")


def test_a_preset_is_shown_as_json(bare: Cli) -> None:
    recipe = json.loads(bare("presets", "show", "gc", "--json").stdout)

    assert (recipe["kind"], recipe["name"]) == ("dreambooth", "gc")
    assert recipe["settings"]["gradient_checkpointing"] == {"value": True, "origin": "gc.yaml:4"}


def test_a_file_is_shown_by_its_path(bare: Cli, tmp_path: Path) -> None:
    path = tmp_path / "my [preset].yaml"
    path.write_text("extends: dim64-conv32-gc\nseed: 7\n", encoding="utf-8")

    result = bare("presets", "show", path.name)

    assert result.code == 0
    assert "my [preset].yaml:2" in result.stdout
    assert "(LoCon)" in result.stderr


def test_a_preset_that_does_not_exist_names_the_closest(bare: Cli) -> None:
    result = bare("presets", "show", "dim64")

    assert (result.code, result.stdout) == (3, "")
    assert result.stderr.startswith("error: no LoRA preset named 'dim64'\nhint:  try one of: ")


# --- check


def test_every_problem_of_every_file_is_told_with_its_line(bare: Cli, tmp_path: Path) -> None:
    first = user_preset(tmp_path, "lora/a.yaml", "extends: dim32-gc\nnetwork_dim: 0\nmax_grad_norm: -1\n")
    second = user_preset(tmp_path, "lora/b.yaml", "seed: 1\nseed: 2\n")
    third = user_preset(tmp_path, "some.yaml", "seed: 1\n")

    result = bare("presets", "check", first, second, third, tmp_path / "absent.yaml")

    assert (result.code, result.stdout) == (3, "")
    errors = sorted(line.removeprefix("error: ") for line in result.stderr.splitlines() if line.startswith("error: "))
    absent = errors.pop(0)
    assert errors[0].startswith(f"{first}:2: network_dim ")
    assert errors[1].startswith(f"{first}:3: max_grad_norm ")
    assert errors[2].startswith(f"{second}:2: 'seed' is set a second time")
    assert errors[3].startswith(f"{third}: does not say what it trains")
    assert absent.startswith(f"{tmp_path / 'absent.yaml'}: cannot be read")
    assert len(errors) == 4


def test_a_sound_file_passes_before_setup_by_the_pinned_releases_options(bare: Cli, tmp_path: Path) -> None:
    path = user_preset(tmp_path, "lora/a.yaml", "extends: dim32-gc\nseed: 7\n")

    result = bare("presets", "check", path)

    assert (result.code, result.stdout) == (0, "")
    assert result.stderr.endswith(f"checked against the options of sd-scripts {shipped.PINNED_RELEASE}\n")


def test_names_and_types_are_checked_before_setup_and_after_it(bare: Cli, cli: Cli, tmp_path: Path) -> None:
    path = user_preset(tmp_path, "lora/a.yaml", "extends: dim32-gc\nnetwork_dims: 8\nseed: soon\n")

    for run, release in ((bare, f" in {shipped.PINNED_RELEASE}"), (cli, "")):
        result = run("presets", "check", path)

        assert result.code == 3
        assert f"error: {path}:2: sdxl_train_network.py has no option 'network_dims'{release}\n" in result.stderr
        assert f"error: {path}:3: seed: takes a whole number, not 'soon'" in result.stderr


# --- init


def test_init_writes_a_file_that_says_what_was_asked(bare: Cli, tmp_path: Path) -> None:
    result = bare("init", "--kind", "locon", "--data", "мои [фото]: 1", "--trigger", "yes", "--name", "010")

    assert (result.code, result.path) == (0, tmp_path / PROJECT_FILE)
    written = project.load(tmp_path)
    assert (written.kind, written.preset) == (Kind.LOCON, "dim64-conv32-gc")
    assert (written.data, written.trigger, written.name) == ("мои [фото]: 1", "yes", "010")


def test_init_overwrites_nothing(bare: Cli, tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_text("kind: lora\n", encoding="utf-8")

    result = bare("init")

    assert (result.code, result.stdout) == (2, "")
    assert "already exists" in result.stderr
    assert (tmp_path / PROJECT_FILE).read_text(encoding="utf-8") == "kind: lora\n"


def test_init_knows_three_kinds(bare: Cli, tmp_path: Path) -> None:
    assert bare("init", "--kind", "lycoris").code == 2
    assert not (tmp_path / PROJECT_FILE).exists()


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="their file names are letters")
def test_init_takes_a_name_that_is_no_text(bare: Cli, tmp_path: Path) -> None:
    result = bare("init", "--data", b"caf\xe9".decode("utf-8", "surrogateescape"))

    assert "Traceback" not in result.stderr
    assert result.code in {0, 2, 3}
    assert result.code == 0 or not (tmp_path / PROJECT_FILE).exists()


@pytest.mark.parametrize(
    "words", ["show mine.yaml", "show mine.yaml --json", "diff mine.yaml dim32", "export mine.yaml --to toml",
              "export mine.yaml --to command", "check mine.yaml"],
)  # fmt: skip
@pytest.mark.parametrize("is_set_up", [True, False])
def test_a_key_in_a_preset_is_not_shown_and_not_passed_on(cli: Cli, fresh: Cli, words: str, *, is_set_up: bool) -> None:
    """Once, a preset that was exported for others held the wandb key."""
    preset = "extends: dim32-gc\nhuggingface_token: SECRET-2\nwandb_api_key: SECRET-1\n"
    (cli.folder / "mine.yaml").write_text(preset, encoding="utf-8")

    result = (cli if is_set_up else fresh)("presets", *words.split())

    assert "SECRET" not in result.stdout + result.stderr
    assert "wandb_api_key" in result.stdout + result.stderr
    assert result.code == (0 if words.startswith(("show", "diff")) else 3)


def test_a_preset_is_warned_of_as_a_start_would_warn_and_passes(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "lora" / "odd.yaml"
    path.parent.mkdir()
    path.write_text("extends: dim32-gc\ndescription: odd\nclip_skip: 2\n", encoding="utf-8")

    result = cli("presets", "check", path)

    assert result.code == 0
    told = "clip_skip does nothing in SDXL training\nhint:  write `clip_skip: null`"
    assert f"warning: {path}:3: {told}" in result.stderr
    assert "no problem found" in result.stderr


def test_the_lines_that_a_check_offers_mend_the_file_when_they_are_written_into_it(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "lora" / "odd.yaml"
    path.parent.mkdir()
    lines = ["extends: dim32-gc", "optimizer_type: Prodigy", "learning_rate: 1.0e-4"]
    path.write_text("\n".join(lines), encoding="utf-8")
    warned = cli("presets", "check", path)

    (hint,) = [line for line in warned.stderr.splitlines() if line.startswith("hint:  write ")]
    assert "--set" not in warned.stderr
    offered = hint.removeprefix("hint:  write ").split(", or ")[0].strip("`").split("` and `")
    path.write_text("\n".join([*lines[:2], *offered]), encoding="utf-8")

    assert "warning" not in cli("presets", "check", path).stderr
