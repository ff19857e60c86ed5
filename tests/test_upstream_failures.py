"""What the real sd-scripts would fail on is refused before a start; started all the same, its log is explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.failures import diagnosis, log
from sdxl_train_cli.failures.diagnosis import Ending
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Value

SOURCE = upstream_source.find()
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"),
]


@dataclass(frozen=True)
class World:
    """The real environment and a trained smoke."""

    folder: Path
    argv: list[str]
    """The smoke's command line: 4 steps of a LoRA of dim 32."""

    def main(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "sdxl_train_cli.cli", *map(str, arguments)]
        variables = {**os.environ, "SDXL_TRAIN_HOME": str(upstream_source.home()),
                     "SDXL_TRAIN_CONFIG": str(self.folder / "config")}  # fmt: skip
        return subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", cwd=self.folder, env=variables)

    def ask(self, settings: Mapping[str, Value]) -> subprocess.CompletedProcess[str]:
        """Ask the CLI for a run with these settings."""
        material = self.folder / "smoke" / "material"
        typed = [word for name, value in settings.items() for word in ("--set", f"{name}={str(value).strip()}")]
        return self.main(
            "lora", "--dry-run", "--no-vram-check", "--model", material / "model.safetensors",
            "--data", material / "pictures", "--resolution", 64, *typed,
        )  # fmt: skip

    def train(self, settings: Mapping[str, Value]) -> tuple[int, list[str]]:
        """Start sd-scripts with them, whatever the CLI thinks: the exit code and the log."""
        installed = environment.require(Home(upstream_source.home()))
        options = installed.options().of(Kind.LORA)
        changes = {**settings, "output_dir": str(self.folder / "out"), "logging_dir": str(self.folder / "logs")}
        done = subprocess.run(
            changed(self.argv, changes, {name: option.flag for name, option in options.items()}),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=installed.checkout,
            env={**environment.training_variables(), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        return done.returncode, log.decode(done.stdout)

    def filled(self, settings: Mapping[str, Value]) -> dict[str, Value]:
        """The settings with the world's files in them."""
        run = self.folder / "smoke" / "smoke-lora"
        files = {"LORA": run / "smoke-lora.safetensors", "STATE": run / "smoke-lora-state", "NOPE": run / "nope"}
        return {name: str(files[str(value)]) if value in files else value for name, value in settings.items()}


def changed(argv: Sequence[str], values: Mapping[str, Value], flags: Mapping[str, str]) -> list[str]:
    """The command line with these options in place of what it says of them."""
    behind = [Path(word).name for word in argv].index("sdxl_train_network.py") + 1
    kept, is_kept = list(argv[:behind]), True
    for word in argv[behind:]:
        if word.startswith("--"):
            is_kept = word.partition("=")[0] not in {flags[name] for name in values}
        kept += [word] if is_kept else []
    for name, value in values.items():
        words = value if isinstance(value, tuple) else [] if isinstance(value, bool) else [value]
        kept += [] if value is False else [flags[name], *map(str, words)]
    return kept


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Train the smoke."""
    folder = tmp_path_factory.mktemp("failures")
    before = World(folder, [])
    smoked = before.main("smoke", "--keep", "--output", folder / "smoke")
    assert smoked.returncode == 0, smoked.stderr
    record = json.loads((folder / "smoke" / "smoke-lora" / "run.json").read_text(encoding="utf-8"))
    return World(folder, record["argv"])


def test_what_is_right_is_let_through_and_its_log_is_one_of_a_finished_run(world: World) -> None:
    prodigy: dict[str, Value] = {"optimizer_type": "Prodigy", "optimizer_args": "d_coef=2", "learning_rate": 1}
    settings = world.filled({"network_weights": "LORA", **prodigy})
    asked = world.ask(settings)
    code, lines = world.train({**settings, "max_train_steps": 1})

    assert asked.returncode == 0, asked.stderr
    assert code == 0, "\n".join(lines)
    assert diagnosis.examine(lines).ending is Ending.FINISHED


CASES: list[tuple[dict[str, Value], int, str, str]] = [
    # settings, exit code of ours, a part of its words, the signature of the real log
    ({"optimizer_type": "Foo"}, 3, "no such optimizer_type", "unknown-optimizer"),
    ({"optimizer_type": "AdamW", "optimizer_args": "d_coef=2"}, 3, "no argument 'd_coef'", "optimizer-arguments"),
    ({"network_module": "networks.nope"}, 5, "no module networks.nope", "unknown-network"),
    ({"network_weights": "LORA", "network_dim": 8}, 4, "has dim 32", "other-network"),
    ({"shuffle_caption": True}, 3, "captions are encoded once", "moving-captions"),
    ({"optimizer_type": "DAdaptAdam", "learning_rate": 1}, 5, "--extra dadaptation", "no-optimizer"),
    ({"optimizer_type": "AdamW", "optimizer_args": "weight_decay"}, 3, "takes key=value", "literal"),
    ({"lr_scheduler": "cosin"}, 3, "no such lr_scheduler", "unknown-schedule"),
    ({"network_args": "conv_dim"}, 3, "takes key=value", "network-arguments"),
    ({"resume": "STATE", "max_train_steps": 4}, 4, "has made 4 steps", "steps-behind"),
    ({"network_train_unet_only": False}, 3, "outputs are cached", "network-text-cached"),
    ({"fp8_base": True, "mixed_precision": "no"}, 3, "fp8 base needs", "fp8-precision"),
    ({"xformers": True, "sdpa": False}, 5, "--extra xformers", "no-xformers"),
    ({"log_with": "wandb"}, 5, "--extra wandb", "no-logger"),
    ({"deepspeed": True}, 5, "no module deepspeed", "no-deepspeed"),
    ({"network_dim": 0}, 3, "at least 1", "nothing-to-train"),
    ({"network_alpha": "x"}, 3, "takes a number", "option-value"),
    ({"network_args": "conv_dim=abc"}, 3, "whole number above 0", "network-arguments"),
    ({"network_weights": "NOPE"}, 4, "no weights at", "no-file"),
    ({"base_weights": "NOPE"}, 4, "no weights at", "no-file"),
    ({"resume": "NOPE"}, 4, "no complete state", "no-state"),
    ({"resume": "STATE", "network_dim": 8, "max_train_steps": 40}, 4, "has dim 32", "state-unfit"),
    ({"full_bf16": True, "mixed_precision": "fp16"}, 3, "needs mixed_precision bf16", "full-precision"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "code", "words", "signature"),
    [pytest.param(*case, id="+".join(case[0]) + f"-{case[3]}") for case in CASES],
)
def test_what_would_fail_is_refused_first(
    world: World, settings: Mapping[str, Value], code: int, words: str, signature: str
) -> None:
    filled = world.filled(settings)
    asked = world.ask(filled)
    failed, lines = world.train(filled)
    found = diagnosis.explain(lines)

    assert asked.returncode == code, asked.stderr
    assert words in asked.stderr
    assert failed != 0
    assert found is not None, "\n".join(lines[-30:])
    assert found.name == signature
