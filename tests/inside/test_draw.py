"""inside/draw.py beside a drawing script that calls networks as sd-scripts' does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from sdxl_train_cli.environment.environment import INSIDE

# A network module and safetensors that note what is done to them, and a script that draws two lines as sdxl_gen_img.py.
MODULE = """
def note(*words):
    print(*words, flush=True)

class Network:
    def apply_to(self, text_encoders, unet):
        note("apply")
    def load_state_dict(self, weights, strict):
        note("load", weights["which"], strict)
    def to(self, *where):
        note("to", *where)
    def set_multiplier(self, strength):
        note("strength", strength)

def create_network_from_weights(multiplier, file, vae, encoders, unet, weights_sd=None, for_inference=False, **more):
    note("create", file, for_inference, more)
    return Network(), {"which": file}
"""
SAFETENSORS = """
def load_file(path):
    return {"other" if "odd" in path else "which": path}
"""
SCRIPT = """
import importlib, sys
names, weights = sys.argv[1].split(","), sys.argv[2]
networks = []
for name in names:
    module = importlib.import_module(name)
    network, found = module.create_network_from_weights(1.0, weights, None, [], None, for_inference=True)
    assert not network.is_mergeable()
    network.apply_to([], None)
    network.load_state_dict(found, False)
    network.to("half").to("cpu")
    networks.append(network)
for line in sys.argv[3:]:
    print("draw", line)
    for network, multiplier in zip(networks, map(float, line.split(","))):
        network.set_multiplier(multiplier)
"""


def drawn(folder: Path, files: list[str], *lines: str) -> subprocess.CompletedProcess[str]:
    (folder / "network_of_mine.py").write_text(MODULE, encoding="utf-8")
    (folder / "safetensors").mkdir()
    (folder / "safetensors" / "__init__.py").write_text("", encoding="utf-8")
    (folder / "safetensors" / "torch.py").write_text(SAFETENSORS, encoding="utf-8")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    plan = {"module": "network_of_mine", "arguments": {"factor": "8"}, "files": files, "scheduler": {}}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    argv = [sys.executable, str(INSIDE / "draw.py"), "plan.json", "script.py", "drawn_checkpoint,drawn_strength"]
    return subprocess.run(
        [*argv, "plan.json", *lines], check=False, capture_output=True, encoding="utf-8", cwd=folder, timeout=60
    )


def test_the_first_multiplier_chooses_the_file_and_the_second_its_strength(tmp_path: Path) -> None:
    done = drawn(tmp_path, ["first", "second"], "0,0.6", "1,0.6", "1,1.0", "0,0")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "create first True {'factor': '8'}", "apply", "load first False", "to half", "to cpu",
        "draw 0,0.6", "strength 0.6",
        "draw 1,0.6", "load second False", "strength 0.6",
        "draw 1,1.0", "strength 1.0",
        "draw 0,0", "load first False", "strength 0.0",
    ]  # fmt: skip


def test_a_file_with_other_tensors_is_refused_and_not_half_loaded(tmp_path: Path) -> None:
    done = drawn(tmp_path, ["first", "odd"], "1,1.0")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ValueError: odd has other tensors than first"


def test_it_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, str(INSIDE / "draw.py")], check=False, capture_output=True, encoding="utf-8", timeout=60
    )

    assert (done.returncode, done.stderr.startswith("usage: draw.py PLAN SCRIPT")) == (2, True)
