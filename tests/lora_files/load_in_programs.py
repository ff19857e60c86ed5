"""Load a network as sd-scripts does, and as diffusers with peft does; run by the training environment's Python.

python load_in_programs.py sdscripts BASE NETWORK     {"modules", "missing", "unexpected", "added": {module: norm}}
python load_in_programs.py diffusers NETWORK [FOLDER] the same; FOLDER holds peft, where it is not installed
python load_in_programs.py dense BASE TUNED           {"changed": norm, "tensors"}: of the U-Net's difference
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

INSIDE = Path(__file__).parents[2] / "sdxl_train_cli" / "inside"
sys.path[:0] = [str(INSIDE), str(Path.cwd())]


def by_sdscripts(base: str, network: str) -> dict[str, object]:
    import scaled

    scaled.scale()
    from library import sdxl_model_util
    from networks import lora
    from safetensors.torch import load_file

    loaded = sdxl_model_util.load_models_from_sdxl_checkpoint("sdxl_base_v1-0", base, "cpu")
    text_encoders, unet = [loaded[0], loaded[1]], loaded[3]
    made, weights = lora.create_network_from_weights(
        1.0, network, None, text_encoders, unet, weights_sd=load_file(network)
    )
    made.apply_to(text_encoders, unet)
    info = made.load_state_dict(weights, strict=False)
    added = {}
    for module in (*made.text_encoder_loras, *made.unet_loras):
        up, down = module.lora_up.weight.float(), module.lora_down.weight.float()
        product = up.flatten(1) @ down.flatten(1) * (module.alpha.float() / module.lora_dim)
        added[module.lora_name] = float(product.norm())
    return {
        "modules": len(added),
        "missing": len(info.missing_keys),
        "unexpected": len(info.unexpected_keys),
        "added": added,
    }


def by_diffusers(network: str, folder: str | None) -> dict[str, object]:
    if folder:
        sys.path.insert(0, folder)
    import scaled
    import torch
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    width = scaled.CHANNELS
    unet = UNet2DConditionModel(
        block_out_channels=(width, 2 * width, 4 * width), transformer_layers_per_block=[1, 2, 10],
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=2,
        attention_head_dim=(1, 2, 4), cross_attention_dim=scaled.U_NET["CONTEXT_DIM"], use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=scaled.U_NET["ADM_IN_CHANNELS"], norm_num_groups=32,
    )  # fmt: skip
    file = Path(network)  # without a network, diffusers wants the name beside the folder
    from_file = {"weight_name": file.name, "unet_config": unet.config}
    takes_metadata = "metadata" in inspect.signature(StableDiffusionXLPipeline.load_lora_into_unet).parameters
    if takes_metadata:
        from_file["return_lora_metadata"] = True
    state, alphas, *told = StableDiffusionXLPipeline.lora_state_dict(str(file.parent), **from_file)
    more = {"metadata": told[0]} if takes_metadata else {}
    count = len({key for key in state if key.endswith(("lora_A.weight", "lora.down.weight"))})
    StableDiffusionXLPipeline.load_lora_into_unet(state, network_alphas=alphas, unet=unet, **more)
    added = {}
    for name, module in unet.named_modules():
        if hasattr(module, "lora_A") and len(module.lora_A):
            (adapter,) = module.lora_A.keys()
            up, down = module.lora_B[adapter].weight.float(), module.lora_A[adapter].weight.float()
            with torch.no_grad():
                added[name] = float((up.flatten(1) @ down.flatten(1)).norm() * module.scaling[adapter])
    return {"modules": len(added), "missing": count - len(added), "unexpected": 0, "added": added}


def dense(base: str, tuned: str) -> dict[str, object]:
    from safetensors.torch import load_file

    one, other = load_file(base), load_file(tuned)
    squares = [
        float((other[name].float() - one[name].float()).pow(2).sum())
        for name in one
        if name.startswith("model.diffusion_model.")
    ]
    return {"changed": sum(squares) ** 0.5, "tensors": len(squares), "same_names": sorted(one) == sorted(other)}


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    found = {
        "sdscripts": lambda: by_sdscripts(*rest),
        "diffusers": lambda: by_diffusers(rest[0], rest[1] if len(rest) > 1 else None),
        "dense": lambda: dense(*rest),
    }[what]()
    print("\n" + json.dumps(found))
