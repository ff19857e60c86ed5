"""Decoding in strips, and an fp8 U-Net that is drawn with as it is, in the real training environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
CODE = """
import json, runpy, sys
import torch
from diffusers import AutoencoderKL

sampled = runpy.run_path(sys.argv[1])
torch.manual_seed(0)
down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
vae = AutoencoderKL(block_out_channels=(32, 64, 128, 128), down_block_types=down, up_block_types=up,
                    layers_per_block=2, latent_channels=4, norm_num_groups=32)
for name, weight in vae.named_parameters():
    if "norm" in name:
        weight.data += 0.3 * torch.randn_like(weight)
kind = type(vae.decoder)
whole, strips = kind.forward, sampled["sparing"](kind.forward)
latents, apart = torch.randn(2, 4, 10, 13), {}
for pixels in (7, 500, 10**9):
    strips.__globals__["STRIP_PIXELS"] = pixels
    with torch.no_grad():
        kind.forward = whole
        expected = vae.decode(latents).sample
        kind.forward = strips
        apart[pixels] = float((vae.decode(latents).sample - expected).abs().max() / expected.abs().max())
kind.forward = whole

class Unet:
    dtype, moved = torch.float8_e4m3fn, []
    def to(self, dtype):
        self.moved.append(str(dtype))

class Pipeline:
    unet = Unet()
    fails = 0
    def draw(self):
        if self.fails and isinstance(self.unet, sampled["Narrow"]):
            raise RuntimeError("no kernel for float8")
        dtype = self.unet.dtype
        if dtype.itemsize == 1:
            dtype = torch.float16
            self.unet.to(dtype)
        return float(torch.rand(1)), str(dtype)

pipeline, drawn = Pipeline(), sampled["narrow"](Pipeline.draw)
answers = []
for fails in (0, 1):
    pipeline.fails = fails
    torch.manual_seed(3)
    answers.append([*drawn(pipeline), list(Unet.moved), type(pipeline.unet).__name__])
print(json.dumps({"apart": apart, "drawn": answers}))
"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], str]:
    file = tmp_path_factory.mktemp("exercise") / "exercise.py"
    file.write_text(CODE, encoding="utf-8")
    installed = environment.require(Home(upstream_source.home()))
    argv = [str(installed.python), str(file), str(environment.INSIDE / "sampled.py")]
    done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_picture_decoded_in_strips_is_that_decoded_at_once(answer: tuple[dict[str, object], str]) -> None:
    apart = answer[0]["apart"]
    assert isinstance(apart, dict)
    assert len(apart) == 3
    assert max(apart.values()) < 2e-5


def test_an_fp8_u_net_stays_narrow_and_is_widened_only_where_drawing_fails(
    answer: tuple[dict[str, object], str],
) -> None:
    found, told = answer
    narrow, widened = found["drawn"]  # type: ignore[misc]  two answers

    assert narrow[1:] == ["torch.float16", [], "Unet"]
    assert widened[1:] == ["torch.float16", ["torch.float16"], "Unet"]
    assert narrow[0] == widened[0], "the same random numbers"
    assert "the fp8 U-Net is widened to draw: no kernel for float8" in told


def test_usage_is_told_without_a_script(tmp_path: Path) -> None:
    installed = environment.require(Home(upstream_source.home()))
    argv = [str(installed.python), str(environment.INSIDE / "sampled.py")]
    done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", cwd=tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("usage: sampled.py SCRIPT [args...]\n")
