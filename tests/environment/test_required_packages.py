"""What a recipe needs beside what sd-scripts installs."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from sdxl_train_cli.environment import required_packages
from sdxl_train_cli.environment.environment import Environment, EnvironmentLock, SetupRequest
from sdxl_train_cli.environment.toolchain import Extra, TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run.smoke import trainable


def recipe(option: str, value: Value) -> Recipe:
    return presets.load(Kind.LORA, "dim32", [Override(option, value, "--set")])


@pytest.mark.parametrize(
    ("option", "value", "needed"),
    [
        ("xformers", True, (Extra.XFORMERS,)),
        ("diffusers_xformers", True, (Extra.XFORMERS,)),
        ("xformers", False, ()),
        ("network_module", "lycoris.kohya", (Extra.LYCORIS,)),
        ("network_module", "networks.loha", ()),
        ("optimizer_type", "DAdaptAdam", (Extra.DADAPTATION,)),
        ("optimizer_type", "dadaptation.DAdaptAdan", (Extra.DADAPTATION,)),
        ("optimizer_type", "Prodigy", ()),
        ("log_with", "wandb", (Extra.WANDB,)),
        ("log_with", "all", (Extra.WANDB,)),
        ("log_with", "tensorboard", ()),
    ],
)
def test_a_recipe_needs_what_it_imports(option: str, value: Value, needed: tuple[Extra, ...]) -> None:
    assert required_packages.extras(recipe(option, value)) == needed


@pytest.mark.parametrize(
    ("option", "value", "module"),
    [
        ("optimizer_type", "AdamW", "torch.optim"),
        ("optimizer_type", "RAdam", "torch.optim"),
        ("optimizer_type", "Adafactor", "transformers.optimization"),
        ("optimizer_type", "AdamW8bit", "bitsandbytes.optim"),
        ("optimizer_type", "PagedAdamW32bit", "bitsandbytes.optim"),
        ("optimizer_type", "Lion8bit", "bitsandbytes.optim"),
        ("optimizer_type", "Lion", "lion_pytorch"),
        ("optimizer_type", "Prodigy", "prodigyopt"),
        ("optimizer_type", "AdamWScheduleFree", "schedulefree"),
        ("optimizer_type", "pytorch_optimizer.CAME", "pytorch_optimizer"),
        ("optimizer_type", "torch.optim.RAdam", "torch.optim"),
        ("lr_scheduler_type", "CosineAnnealingLR", None),
        ("lr_scheduler_type", "my.schedules.Wave", "my.schedules"),
        ("deepspeed", True, "deepspeed"),
        ("network_module", "networks.oft", "networks.oft"),
    ],
)
def test_modules_are_named_by_the_option_that_asks_for_them(option: str, value: Value, module: str | None) -> None:
    asked = {name for name, by in required_packages.required_modules(recipe(option, value)).items() if by == option}

    assert asked == ({module} if module else set())


# --- whether they are there


@pytest.fixture
def real(tmp_path: Path) -> Environment:
    """An environment that is none of a stand-in, with nothing in it yet."""
    lock = EnvironmentLock(
        request=SetupRequest(extras=(Extra.XFORMERS,)),
        ref="v0.10.1",
        commit="0" * 40,
        toolchain="sd-scripts v0.10",
        torch_build=TorchBuild.CPU,
        python="3.11.9",
        packages={},
        created=dt.datetime.now(dt.timezone.utc),
    )
    return Environment(folder=tmp_path, lock=lock)


def add_scripts(environment: Environment) -> None:
    """The scripts that train each kind."""
    environment.checkout.mkdir(parents=True, exist_ok=True)
    for kind in Kind:
        (environment.checkout / kind.script).touch()


def test_a_missing_extra_is_refused_with_the_command_that_keeps_the_others(real: Environment) -> None:
    with pytest.raises(SetupError) as raised:
        required_packages.require_extras(real, [Extra.LYCORIS], "run")

    assert str(raised.value) == "LyCORIS is not installed, and this run needs it"
    assert raised.value.problems[0].hint == "run `sdxl-train setup --extra lycoris --extra xformers`"


def test_without_xformers_there_is_another_attention(real: Environment) -> None:
    with pytest.raises(SetupError) as raised:
        required_packages.require_extras(real, [Extra.XFORMERS], "run")

    assert [way.flags for way in raised.value.problems[0].ways] == ["--set xformers=null --set sdpa=true"]
    assert str(raised.value.problems[0].hint).endswith("--extra xformers`")


@pytest.mark.parametrize("place", ["lib/python3.11/site-packages", "Lib/site-packages"])
def test_an_extra_that_is_there_counts_however_it_came(real: Environment, place: str) -> None:
    (real.folder / "venv" / place / "lycoris").mkdir(parents=True)
    add_scripts(real)

    required_packages.require_extras(real, [Extra.LYCORIS], "run")
    assert trainable(real) == (list(Kind), [])


def test_a_module_is_looked_for_where_sd_scripts_would_find_it(real: Environment) -> None:
    (real.checkout / "networks").mkdir(parents=True)
    (real.checkout / "networks" / "lora.py").touch()
    packages = real.folder / "venv" / "lib" / "python3.11" / "site-packages"
    (packages / "prodigyopt").mkdir(parents=True)
    (packages / "typing_extensions.py").touch()

    assert all(map(real.has_module, ("networks.lora", "prodigyopt", "prodigyopt.prodigy", "typing_extensions")))
    assert not any(map(real.has_module, ("networks.lorra", "lora", "came")))
    required_packages.require(real, recipe("optimizer_type", "Prodigy"))


def test_all_that_is_not_there_is_told_with_what_to_do(real: Environment) -> None:
    (real.checkout / "networks").mkdir(parents=True)
    (real.checkout / "networks" / "lora.py").touch()

    asked = {"xformers": True, "network_module": "networks.lorra", "optimizer_type": "came.CAME.CAME"}
    overrides = [Override(option, value, "--set") for option, value in asked.items()]
    with pytest.raises(SetupError) as raised:
        required_packages.require(real, presets.load(Kind.LORA, "dim32", overrides))

    extra, own, other = raised.value.problems
    assert extra.message == "xformers is not installed, and this run needs it"
    assert own.message == "sd-scripts has no module networks.lorra, which network_module asks for"
    assert own.hint == "did you mean networks.lora?"
    assert other.message == "sd-scripts has no module came.CAME, which optimizer_type asks for"
    assert [way.flags for way in other.ways] == ["--set optimizer_type=AdamW8bit"]
    assert str(other.hint).startswith("or uv pip install -p ")
    assert str(other.hint).endswith(" came")


@pytest.mark.parametrize(
    ("option", "value", "missing"),
    [
        ("optimizer_type", "Muon", "torch.optim 2.6.0 has no Muon, which optimizer_type asks for"),
        ("optimizer_type", "torch.optim.Muon", "torch.optim 2.6.0 has no Muon, which optimizer_type asks for"),
        ("optimizer_type", "fork.parts.Fast", "fork.parts has no Fast, which optimizer_type asks for"),
        ("optimizer_type", "single.Slow", "single has no Slow, which optimizer_type asks for"),
        ("lr_scheduler_type", "Wave", "torch.optim.lr_scheduler 2.6.0 has no Wave, which lr_scheduler_type asks for"),
        ("optimizer_type", "NAdam", None),
        ("optimizer_type", "fork.Fast", None),
        ("optimizer_type", "single.Quick", None),
        ("optimizer_type", "compiled.Anything", None),
        ("lr_scheduler_type", "StepLR", None),
    ],
)
def test_a_class_that_its_module_does_not_name_is_refused(
    real: Environment, option: str, value: str, missing: str | None
) -> None:
    packages = real.folder / "venv" / "lib" / "python3.11" / "site-packages"
    for path, text in (
        ("torch/optim/__init__.py", "from torch.optim.nadam import NAdam"),
        ("torch/optim/lr_scheduler.py", "class StepLR: ..."),
        ("torch/nn.py", "class Muon: ..."),
        ("fork/parts/__init__.py", ""),
        ("fork/fast.py", "class Fast: ..."),
        ("single.py", "class Quick: ..."),
        ("compiled/core.so", ""),
    ):
        (packages / path).parent.mkdir(parents=True, exist_ok=True)
        (packages / path).write_text(text, encoding="utf-8")
    (real.checkout / "networks").mkdir(parents=True)
    (real.checkout / "networks" / "lora.py").write_text("def create_network(): ...", encoding="utf-8")
    (packages / "bitsandbytes" / "optim").mkdir(parents=True)
    installed = real.model_copy(update={"lock": real.lock.model_copy(update={"packages": {"torch": "2.6.0"}})})
    asked = recipe(option, value)

    if missing is None:
        required_packages.require(installed, asked)
        return
    with pytest.raises(SetupError) as raised:
        required_packages.require(installed, asked)
    (problem,) = raised.value.problems
    assert problem.message == missing
    assert [way.settings[0].partition("=")[0] for way in problem.ways] == [option]


def test_without_lycoris_and_modules_of_its_own_two_kinds_cannot_be_trained(real: Environment) -> None:
    add_scripts(real)

    assert real.networks == frozenset()
    assert trainable(real) == ([Kind.LORA, Kind.LOCON, Kind.DREAMBOOTH, Kind.EMBEDDING], [Kind.LOHA, Kind.LOKR])


def test_a_kind_whose_script_this_sd_scripts_lacks_cannot_be_trained(real: Environment) -> None:
    add_scripts(real)
    (real.checkout / Kind.EMBEDDING.script).unlink()

    assert Kind.EMBEDDING not in trainable(real)[0]


def test_modules_of_its_own_make_lycoris_needless(real: Environment) -> None:
    (real.checkout / "networks").mkdir(parents=True)
    (real.checkout / "networks" / "lokr.py").touch()

    assert real.networks == frozenset({"networks.lokr"})
    assert trainable(real)[1] == [Kind.LOHA]


def test_another_optimizer_gets_a_rate_of_its_own(real: Environment) -> None:
    """The rate 1 is for optimizers that find their own."""
    overrides = [Override("optimizer_type", "nowhere.Finder", "--set"), Override("learning_rate", 1.0, "--set")]
    with pytest.raises(SetupError) as raised:
        required_packages.require(real, presets.load(Kind.LORA, "dim32", overrides))

    ways = [way.flags for problem in raised.value.problems for way in problem.ways]
    assert "--set optimizer_type=AdamW8bit --set learning_rate=1e-4" in ways
