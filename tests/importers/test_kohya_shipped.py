"""Every SDXL preset that kohya_ss ships: imported, checked, and compared with what the GUI's own code would launch.

SDXL_TRAIN_KOHYA_GUI names a git directory of bmaltais/kohya_ss; nothing of it is kept here.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Cli, write_pictures
from foreign_files import differing, of_text, recipe_of
from foreign_files import options as options_of

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.importers import (
    command_line,
    exporting,
    format_detection,
    option_translation,
    preset_building,
    values,
)
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import options, shipped

OPTIONS = shipped.table()
SOURCE = os.environ.get("SDXL_TRAIN_KOHYA_GUI", "")
pytestmark = pytest.mark.skipif(not SOURCE, reason="set SDXL_TRAIN_KOHYA_GUI to a git directory of bmaltais/kohya_ss")

ONLY_FULL = {option.name for option in OPTIONS.of(Kind.DREAMBOOTH).values() if option.type == "switch"}
PICTURES, REPEATS = 4, 10
OUR_CHOICE = {
    # Options of the GUI's launch that an imported preset has otherwise, and why.
    "caption_extension": "captions are found beside the pictures",
    "clip_skip": "does nothing in SDXL training",
    "dataset_repeats": "the pictures' own",
    "dim_from_weights": "goes with a file on its author's machine",
    "dynamo_backend": "has no effect without torch_compile",
    "epoch": "no option of sd-scripts",
    "in_json": "the pictures' own",
    "log_with": "wandb is not installed",
    "logging_dir": "its author's machine",
    "max_train_epochs": "compared as the number of steps",
    "max_train_steps": "compared as the number of steps",
    "network_weights": "a file on its author's machine",
    "noise_offset_type": "no option of sd-scripts",
    "output_dir": "its author's machine",
    "output_name": "each run has its own",
    "pretrained_model_name_or_path": "given with --model",
    "sample_sampler": "goes with sample_prompts",
    "train_data_dir": "given with --data",
    "train_inpainting": "no option of sd-scripts v0.10.1",
    "vae": "given with --vae",
    "wandb_run_name": "goes with wandb",
}
LYCORIS_DEFAULTS = {"preset": "full", "factor": "-1"}


@dataclass(frozen=True)
class Preset:
    """A preset of the GUI, and what the GUI makes of it."""

    path: Path
    tab: str
    toml: Mapping[str, object]
    argv: tuple[str, ...]

    @property
    def launched(self) -> dict[str, Value]:
        """The options of the GUI's run: those of its command line go before those of its file."""
        given = {option: values.convert(raw, option) for option, raw in self.toml.items()}
        behind = self.argv[self.argv.index("--config_file") + 2 :]
        given |= {str(entry.option): entry.value for entry in command_line.flags(behind)}
        # A box that is off holds 0 here, as the stubs have no False.
        switches = {option.name for option in OPTIONS.of(Kind.LORA).values() if option.type == "switch"} | ONLY_FULL
        return {option: value for option, value in given.items()
                if value is not None and not (value == 0 and option in switches)}  # fmt: skip


@pytest.fixture(scope="session")
def gui(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GUI's files."""
    folder = tmp_path_factory.mktemp("kohya")
    archive = folder / "tree.zip"
    subprocess.run(["git", "-C", SOURCE, "archive", "-o", archive, "HEAD", "kohya_gui", "presets"], check=True)
    shutil.unpack_archive(archive, folder)
    return folder


@pytest.fixture(scope="session")
def shipped(gui: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Preset]:
    """Every preset for SDXL, launched by the GUI's own code on four pictures, ten times each."""
    pictures = tmp_path_factory.mktemp("pictures")
    for folder in (pictures, pictures / f"{REPEATS}_cat"):
        folder.mkdir(exist_ok=True)
        for number in range(PICTURES):
            (folder / f"{number}.png").touch()
    found = []
    for tab in ("lora", "finetune", "dreambooth"):
        paths = [path for path in sorted((gui / "presets" / tab).glob("*.json")) if is_sdxl(path)]
        found += [Preset(path, tab, answer["toml"], tuple(answer["argv"]))
                  for path, answer in zip(paths, launch(gui, tab, paths, pictures), strict=True)]  # fmt: skip
    return found


def is_sdxl(path: Path) -> bool:
    form = json.loads(path.read_text(encoding="utf-8"))
    return bool(form.get("sdxl") or form.get("sdxl_checkbox"))


def launch(gui: Path, tab: str, paths: list[Path], pictures: Path) -> list[dict[str, list[str]]]:
    if not paths:
        return []
    places = {"train_data_dir": str(pictures), "image_folder": str(pictures), "train_dir": "",
              "generate_caption_database": False, "generate_image_buckets": False}  # fmt: skip
    forms = [{**json.loads(path.read_text(encoding="utf-8")), **places} for path in paths]
    script = Path(__file__).with_name("kohya_launch.py")
    done = subprocess.run(
        [sys.executable, script, gui, tab], input=json.dumps(forms), capture_output=True, encoding="utf-8", check=True,
        cwd=gui,  # it leaves a setup.log where it is started
    )  # fmt: skip
    answer: list[dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return answer


def meaning(recipe_options: Mapping[str, Value], kind: Kind) -> dict[str, object]:
    """Options in a form in which two runs that do the same are equal."""
    found = {option: value for option, value in recipe_options.items() if not option_translation.is_off(option, value)}
    if found.pop("xformers", None):
        found["sdpa"] = True  # another kernel for the same attention
    rate = found.get("learning_rate")
    for part in ("unet_lr", "text_encoder_lr"):
        rates = found.get(part)
        each = set(rates) if isinstance(rates, tuple) else {rates}
        if len(each) == 1 and option_translation.means_same(each.pop(), rate):
            del found[part]
        elif isinstance(rates, tuple):
            found[part] = tuple(dict.fromkeys(rates))
    if found.get("network_train_unet_only"):
        found.pop("text_encoder_lr", None)
    if kind is Kind.DREAMBOOTH and not found.get("train_text_encoder"):
        found = {option: value for option, value in found.items() if not option.startswith("learning_rate_te")}
    if not found.get("multires_noise_iterations"):
        found.pop("multires_noise_discount", None)
    if "network_args" in found:
        found["network_args"] = network_arguments(found["network_args"])
    found["bucket_reso_steps"] = max(32, int(str(found.get("bucket_reso_steps", 64))))
    return {option: option_translation._plain(value) if option != "network_args" else value  # noqa: SLF001 - one way to compare
            for option, value in found.items() if option not in OUR_CHOICE}  # fmt: skip


def network_arguments(value: Value) -> tuple[str, ...]:
    """Those that say something, by their present names; `0` is what the stub of a box that is off holds."""
    pairs = dict(str(part).partition("=")[::2] for part in (value if isinstance(value, tuple) else (value,)))
    if "use_cp" in pairs:
        pairs["use_tucker"] = pairs.pop("use_cp")
    said = {name: text for name, text in pairs.items() if text not in {"False", "0", "0.0"}}
    return tuple(sorted(f"{name}={text}" for name, text in said.items() if LYCORIS_DEFAULTS.get(name) != text))


def test_all_twenty_one_of_them_are_there(shipped: list[Preset]) -> None:
    assert [sum(preset.tab == tab for preset in shipped) for tab in ("lora", "finetune", "dreambooth")] == [19, 2, 0]


def test_each_means_what_the_gui_would_have_launched_option_by_option(shipped: list[Preset]) -> None:
    for preset in shipped:
        imported = preset_building.build(
            format_detection.read(preset.path, preset.path.name), OPTIONS, preset.path.name
        )
        recipe = rules.require(recipe_of(imported), OPTIONS)
        ours = {option: setting.value for option, setting in recipe.settings.items()}

        assert meaning(ours, imported.kind) == meaning(preset.launched, imported.kind), preset.path.name
        assert list(options.problems(recipe, OPTIONS)) == []


def test_each_runs_as_long_as_in_the_gui(shipped: list[Preset]) -> None:
    for preset in shipped:
        imported = preset_building.build(
            format_detection.read(preset.path, preset.path.name), OPTIONS, preset.path.name
        )
        recipe = recipe_of(imported)
        epochs, steps = recipe.number("max_train_epochs"), recipe.number("max_train_steps")
        theirs = preset.launched
        if theirs.get("max_train_epochs"):
            assert (epochs, steps) == (theirs["max_train_epochs"], None), preset.path.name
        elif epochs is not None:
            batch = (recipe.number("train_batch_size") or 1) * (recipe.number("gradient_accumulation_steps") or 1)
            assert -(-PICTURES * REPEATS * epochs // batch) == theirs["max_train_steps"], preset.path.name
        else:
            assert steps == theirs["max_train_steps"], preset.path.name


def test_edg_keeps_its_zero(shipped: list[Preset]) -> None:
    edg = next(preset for preset in shipped if preset.path.stem == "SDXL - edgLoRAXL")

    imported = preset_building.build(format_detection.read(edg.path, edg.path.name), OPTIONS, edg.path.name)

    assert imported.changes["max_grad_norm"] == 0
    assert edg.launched["max_grad_norm"] == 0


def test_each_goes_to_every_program_and_comes_back(shipped: list[Preset]) -> None:
    for preset in shipped:
        first = preset_building.build(format_detection.read(preset.path, preset.path.name), OPTIONS, preset.path.name)
        recipe = rules.require(recipe_of(first), OPTIONS)
        form = exporting.kohya_gui(recipe)
        assert form.lost == ()
        for text in (
            untrusted_files.json_text(form.fields),
            exporting.toml(recipe),
            shlex.join(exporting.command(recipe)),
        ):
            again = of_text(text)
            assert again.kind is first.kind
            assert differing(options_of(first), options_of(again)) == {}, preset.path.name


def test_every_key_is_reported_and_no_place_of_its_author_gets_in(shipped: list[Preset], tmp_path: Path) -> None:
    from sdxl_train_cli.importers import preset_text  # noqa: PLC0415

    for preset in shipped:
        form = json.loads(preset.path.read_text(encoding="utf-8"))
        imported = preset_building.build(
            format_detection.read(preset.path, preset.path.name), OPTIONS, preset.path.name
        )
        text = preset_text.render(imported, preset.path.name)

        told = {entry.key for entry in imported.entries}
        silent = form.keys() - told
        assert silent <= {"additional_parameters"}, preset.path.name
        assert not silent or any(key.startswith("additional_parameters ") for key in told), preset.path.name
        assert "/kohya_ss/" not in text
        assert "D:" not in text
    assert tmp_path.is_dir()


def test_each_is_imported_checked_and_dry_run_by_the_real_commands(
    shipped: list[Preset], cli: Cli, model: Path, tmp_path: Path
) -> None:
    pictures = write_pictures(tmp_path / "pictures", size=(1024, 1024))  # some presets enlarge none
    imported = cli("presets", "import", "--report", "none", *(preset.path for preset in shipped))
    assert imported.code == 0, imported.stderr
    written = imported.stdout.splitlines()
    assert len(written) == 21

    checked = cli("presets", "check", *written)
    assert checked.code == 0, checked.stderr
    for path in written:
        kind = Path(path).parent.name
        result = cli(kind, "--preset", path, "--dry-run", "--model", model, "--data", pictures, "--no-vram-check")
        assert result.code == 0, result.stderr
        assert "sdxl_train" in " ".join(shlex.split(result.stdout))
