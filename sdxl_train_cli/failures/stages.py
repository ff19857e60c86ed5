"""Failures whose words are not known but whose place is: the step of the training at which an error was raised."""

from __future__ import annotations

from sdxl_train_cli.failures.signature import Failure, Rank, Signature

_UNKNOWN = ", for a reason that is not known here"


def _stage(name: str, kind: Failure, within: str, cause: str, remedy: str, source: str) -> Signature:  # noqa: PLR0913, PLR0917 - one row of the table
    return Signature(
        name, kind, r"^(?!KeyboardInterrupt)\w", cause + _UNKNOWN, remedy, source, Rank.STAGE, within=within
    )


STAGES = (
    _stage("in-lycoris", Failure.PACKAGES, r"lycoris[\\/]+\w+",
           "LyCORIS failed: it does not fit this sd-scripts, or its network_args",
           "`sdxl-train setup --extra lycoris --recreate`, or --set network_module=networks.lora", "lycoris-lora"),
    _stage("in-bitsandbytes", Failure.PACKAGES, r"import bitsandbytes|packages[\\/]+bitsandbytes[\\/]",
           "bitsandbytes failed", "--set optimizer_type=Adafactor, or update the NVIDIA driver", "bitsandbytes"),
    _stage("in-xformers", Failure.PACKAGES, r"packages[\\/]+xformers[\\/]|import xformers|_memory_efficient_attention_xf",
           "xformers failed", "--set xformers=false --set sdpa=true", "xformers"),
    _stage("in-compile", Failure.PACKAGES, r"torch[\\/]+_(?:dynamo|inductor)[\\/]", "torch.compile failed",
           "--set torch_compile=false", "torch"),
    _stage("in-logs", Failure.SYSTEM, r"init_trackers", "the log for TensorBoard or wandb could not be begun",
           "--set log_with=null, and --output in a folder that can be written", "accelerate"),
    _stage("in-samples", Failure.SETTINGS, r"sample_images", "drawing the samples failed",
           "--set sample_every_n_steps=null --set sample_every_n_epochs=null --set sample_at_first=false",
           "library/train_util.py: sample_images"),
    _stage("in-resume", Failure.RESUME, r"resume_from_local_or_hf|load_state\b", "the state could not be resumed",
           "resume with the settings and versions of the run that saved it, or start anew", "accelerate"),
    _stage("in-saving", Failure.SYSTEM, r"save_weights|save_stable_diffusion_checkpoint|\bsave_file\b|save_state\b",
           "saving failed", "see that the disk has room and no program holds the file; or choose another --output",
           "networks/lora.py, library/sdxl_model_util.py"),
    _stage("in-config", Failure.SETTINGS, r"toml[\\/]+decoder|toml\.load|load_user_config|read_config_from_file",
           "a config file could not be read", "use --set for options and --data for pictures: sdxl-train writes the rest",
           "library/train_util.py, library/config_util.py"),
    _stage("in-optimizer", Failure.SETTINGS, r"get_optimizer\(|in get_optimizer", "the optimizer could not be made",
           "--set optimizer_type=AdamW8bit --set optimizer_args=null", "library/train_util.py: get_optimizer"),
    _stage("in-optimizer-step", Failure.SETTINGS, r"optimizer\.step\(|in optimizer_step", "the optimizer failed at its step",
           "--set optimizer_type=AdamW8bit --set optimizer_args=null", "train_network.py"),
    _stage("in-schedule", Failure.SETTINGS, r"get_scheduler", "the schedule could not be made",
           "--set lr_scheduler=cosine --set lr_scheduler_args=null", "library/train_util.py: get_scheduler_fix"),
    _stage("in-network-weights", Failure.MODEL, r"load_weig\w*|network_weights", "the network to go on from could not be loaded",
           "--set network_weights=FILE with a LoRA of SDXL, of the same kind", "networks/lora.py: load_weights"),
    _stage("in-vae", Failure.MODEL, r"in load_vae|load_vae\(", "the VAE could not be loaded",
           "give --vae an SDXL VAE as .safetensors, or leave it away", "library/model_util.py: load_vae"),
    _stage("in-model", Failure.MODEL, r"load_target_model|load_models_from_", "the base model could not be loaded",
           "give --model an SDXL checkpoint as .safetensors", "library/sdxl_train_util.py"),
    _stage("in-tokenizer", Failure.HUB, r"load_tokenizer|CLIPTokenizer", "a tokenizer could not be loaded",
           "connect once, or set HF_ENDPOINT to a mirror", "library/train_util.py"),
    _stage("in-network", Failure.SETTINGS, r"create_network", "the network could not be made",
           "--set network_args=null", "train_network.py"),
    _stage("in-captions", Failure.DATA, r"read_caption|load_dreambooth_dir", "pictures or captions could not be read",
           "save captions as UTF-8, and look at the folder that --data names", "library/train_util.py"),
    _stage("in-pictures", Failure.DATA, r"load_image|cache_latents|cache_batch_latents|get_image_size|trim_and_resize",
           "a picture could not be read or encoded", "take the last one named in the log out, or save it anew; and"
           " delete .npz files beside the pictures", "library/train_util.py"),
    _stage("in-gui", Failure.SETTINGS, r"gradio[\\/]", "the GUI failed before it started the trainer",
           "choose model, pictures and output folder in it; `sdxl-train presets import` takes its settings", "bmaltais/kohya_ss"),
    _stage("in-import", Failure.PACKAGES, r"^\s*(?:from [\w.]+ import\b|import \w)|<frozen importlib",
           "a package could not be imported", "`sdxl-train setup --recreate` installs what belongs together", "Python's imports"),
)  # fmt: skip
"""A general place behind the special ones that it holds."""
