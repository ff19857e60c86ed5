"""For judge_best.py, by the training environment's Python: what the trainer does not measure.

    python truth_of_best.py --prepare MODEL PICTURES START             MODEL with a VAE whose latents say something
    python truth_of_best.py --measure BASE PICTURES TOKENIZERS FILE LORA...   losses of each LoRA on each picture

Run in the sd-scripts checkout. A VAE of random weights gives latents that are small and nearly all noise: `--prepare`
scales its last layer, so that they are as large as a real one's and don't vary from one look to the next.
`--measure` writes {file name: [a loss for each picture]}: what is trained for (squared error of the predicted noise,
weighted by min_snr_gamma), over timesteps from 60 to 910 and noise of its own, the same for every LoRA. The trainer has
no part in it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path.cwd()), str(Path(__file__).resolve().parents[1] / "sdxl_train_cli" / "inside")]

import numpy as np  # noqa: E402 - of the checkout's Python, whose modules stand first
import scaled  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

scaled.scale()
FACTOR = 0.13025
QUANT, BIAS = "first_stage_model.quant_conv.weight", "first_stage_model.quant_conv.bias"
TIMESTEPS = tuple(range(60, 1000, 170))
SEED = 77
GAMMA = 5.0
"""The presets' min_snr_gamma: the truth is what is trained for, on other pictures."""
TRAINED = 1000
VARIANCE = -20.0
TOKENS = 225
"""The presets' max_token_length: with another, the U-Net is told something that it was not trained with."""


def main(argv: list[str]) -> int:
    """Do what is asked."""
    torch.set_num_threads(1)
    if argv[0] == "--prepare":
        prepare(*map(Path, argv[1:4]))
    else:
        measure(Path(argv[1]), Path(argv[2]), argv[3], Path(argv[4]), [Path(each) for each in argv[5:]])
    return 0


def loaded(model: Path) -> Any:  # noqa: ANN401 - upstream's
    """Both text encoders, VAE and U-Net."""
    models = scaled.module("library.sdxl_model_util")
    parts = models.load_models_from_sdxl_checkpoint("sdxl_base_v1-0", str(model), "cpu")[:4]
    return [part.float().eval().requires_grad_(False) for part in parts]


def pixels(folder: Path) -> torch.Tensor:
    """The pictures, from -1 to 1."""
    rows = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    return torch.tensor(np.stack(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1


def prepare(model: Path, pictures: Path, start: Path) -> None:
    """Scale the latents to a deviation of one, and leave nothing to chance in them."""
    found = load_file(model)
    with torch.no_grad():
        means = loaded(model)[2].encode(pixels(pictures)[:128]).latent_dist.mean
    middle, spread = means.mean((0, 2, 3)), means.std((0, 2, 3))
    weight, bias = found[QUANT].float(), found[BIAS].float()
    gain = 1 / (FACTOR * spread)
    weight[:4] *= gain[:, None, None, None]
    bias[:4] = (bias[:4] - middle) * gain
    weight[4:], bias[4:] = 0, VARIANCE
    save_file({**found, QUANT: weight, BIAS: bias}, start, {"format": "pt"})


def measure(base: Path, pictures: Path, tokenizers: str, target: Path, loras: list[Path]) -> None:
    """The losses of each LoRA."""
    first, second, vae, unet = loaded(base)
    with torch.no_grad():
        latents = vae.encode(pixels(pictures)).latent_dist.mean * FACTOR
        text, vector = conditions(pictures, tokenizers, (first, second), latents.shape[0])
    module, found, network = scaled.module("networks.lora"), {}, None
    for path in loras:
        if network is None:  # all are of one training, and have the same shapes
            network, _ = module.create_network_from_weights(1.0, str(path), vae, [first, second], unet)
            network.apply_to([first, second], unet, apply_text_encoder=False, apply_unet=True)
        network.load_state_dict(load_file(path), strict=False)
        found[path.name] = losses(unet, latents, text, vector)
        print(path.name, sum(found[path.name]) / len(latents), file=sys.stderr, flush=True)
    target.write_text(json.dumps(found), encoding="utf-8")


def conditions(pictures: Path, tokenizers: str, encoders: Any, count: int) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
    """What the U-Net is told of each picture, as sd-scripts does it."""
    strategies = scaled.module("library.strategy_sdxl")
    sizes = scaled.module("library.sdxl_train_util")
    tokenize = strategies.SdxlTokenizeStrategy(TOKENS, tokenizers)
    encode = strategies.SdxlTextEncodingStrategy()
    captions = [path.with_suffix(".txt").read_text(encoding="utf-8").strip() for path in sorted(pictures.glob("*.png"))]
    one, two, pooled = encode.encode_tokens(tokenize, list(encoders), tokenize.tokenize(captions))
    side, none = torch.full((count, 2), 64), torch.zeros(count, 2, dtype=torch.long)
    return torch.cat([one, two], 2), torch.cat([pooled, sizes.get_size_embeddings(side, none, side, "cpu")], 1)


def losses(unet: Any, latents: torch.Tensor, text: torch.Tensor, vector: torch.Tensor) -> list[float]:  # noqa: ANN401
    """The mean over timesteps, of each picture."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, TRAINED, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0).float()
    generator = torch.Generator().manual_seed(SEED)
    total = torch.zeros(latents.shape[0])
    for timestep in TIMESTEPS:
        noise = torch.randn(latents.shape, generator=generator)
        noisy = kept[timestep].sqrt() * latents + (1 - kept[timestep]).sqrt() * noise
        with torch.no_grad():
            predicted = unet(noisy, torch.full((latents.shape[0],), timestep), text, vector)
        ratio = float(kept[timestep] / (1 - kept[timestep]))
        total += (predicted - noise).pow(2).mean((1, 2, 3)) * min(ratio, GAMMA) / ratio
    return (total / len(TIMESTEPS)).tolist()


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
