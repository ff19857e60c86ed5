"""The end of a run says what the file is good for."""

from __future__ import annotations

from pathlib import Path

from conftest import write_safetensors

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import next_steps


def test_a_network_goes_to_the_loras_with_its_trigger_and_its_checkpoints_are_counted(tmp_path: Path) -> None:
    for name in ("cat.safetensors", "cat-step00000005.safetensors"):
        write_safetensors(tmp_path / name)

    assert next_steps.lines(Kind.LOKR, "ohwx cat", tmp_path / "cat.safetensors") == [
        "use it: put it into ComfyUI's models/loras or Forge's models/Lora; prompt with 'ohwx cat'; strength 0.7 to 1",
        f"next: 1 earlier checkpoint: sdxl-train best {tmp_path}; sdxl-train runs report {tmp_path}",
    ]


def test_a_checkpoint_has_no_strength(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "big.safetensors")

    used, then = next_steps.lines(Kind.DREAMBOOTH, None, tmp_path / "big.safetensors")

    assert used == "use it: put it into ComfyUI's models/checkpoints or Forge's models/Stable-diffusion"
    assert then == f"next: sdxl-train runs report {tmp_path}"
