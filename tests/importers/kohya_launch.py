"""Run by path, in a process of its own: lets the kohya_ss GUI's own code say what it would launch for filled-in forms.

The window library and all else that is not Python's own is played by stubs; nothing is shown and nothing started.
Takes the folder with kohya_gui, the tab's module, and forms as JSON on stdin; prints the options of each as JSON.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import inspect
import json
import logging
import sys
import types
from unittest.mock import MagicMock

FORM = {
    # What the form's fields hold before a preset is loaded, where that is neither 0 nor empty. Fields that are younger
    # than the presets, and would change their length or rates (max_train_steps 1600, learning_rate_te1 and te2), are
    # left empty: their authors' forms did not have them.
    "LoRA_type": "Standard", "LyCORIS_preset": "full", "bucket_no_upscale": True, "bucket_reso_steps": 64,
    "cache_latents": True, "caption_extension": ".txt", "clip_skip": 1, "conv_alpha": 1, "conv_dim": 1,
    "dynamo_backend": "no", "dynamo_mode": "default", "enable_bucket": True, "epoch": 1, "factor": -1,
    "gradient_accumulation_steps": 1, "huber_c": 0.1, "huber_scale": 1.0, "huber_schedule": "snr",
    "learning_rate": 0.0001, "loss_type": "l2", "lr_scheduler_num_cycles": 1, "lr_scheduler_power": 1.0,
    "max_bucket_reso": 2048, "max_grad_norm": 1.0, "max_timestep": 1000, "max_token_length": 75, "max_train_steps": 0,
    "min_bucket_reso": 256, "mixed_precision": "fp16", "multires_noise_discount": 0.3, "network_alpha": 1,
    "network_dim": 8, "noise_offset_type": "Original", "num_cpu_threads_per_process": 2, "num_machines": 1,
    "num_processes": 1, "optimizer": "AdamW8bit", "output_name": "last", "prior_loss_weight": 1.0,
    "sample_sampler": "euler_a", "save_every_n_epochs": 1, "save_model_as": "safetensors", "save_precision": "fp16",
    "text_encoder_lr": 0.0001, "train_batch_size": 1, "train_on_input": True, "unet_lr": 0.0001, "unit": 1,
    "dataset_repeats": 1, "xformers": "xformers",
}  # fmt: skip
TEXTS = """output_dir logging_dir reg_data_dir train_data_dir resume vae network_weights dataset_config
    log_tracker_config log_tracker_name log_with sample_prompts wandb_run_name wandb_api_key gpu_ids
    extra_accelerate_launch_args additional_parameters lr_scheduler_type lr_scheduler_args optimizer_args
    training_comment block_lr down_lr_weight mid_lr_weight up_lr_weight block_lr_zero_threshold block_dims block_alphas
    conv_block_dims conv_block_alphas huggingface_repo_id huggingface_token huggingface_repo_type
    huggingface_repo_visibility huggingface_path_in_repo metadata_author metadata_description metadata_license
    metadata_tags metadata_title pretrained_model_name_or_path train_dir image_folder learning_rate_te1
    learning_rate_te2"""


class Stub(types.ModuleType):
    """A library that is not there: whatever is asked of it does nothing."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> MagicMock:
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock(name=name)


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stub where nothing else is found."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec:
        del path, target
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Stub:
        return Stub(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def main() -> None:
    folder, tab = sys.argv[1:]
    sys.path.insert(0, folder)
    sys.meta_path.append(Stubs())
    logging.disable()
    common = importlib.import_module("kohya_gui.common_gui")
    gui = importlib.import_module(f"kohya_gui.{tab}_gui")
    launched = [launch(gui, common, form) for form in json.load(sys.stdin)]
    print(json.dumps(launched))  # noqa: T201 - its answer


def launch(gui: types.ModuleType, common: types.ModuleType, form: dict[str, object]) -> dict[str, object]:
    """The TOML that the GUI would write, and the command that it would start."""
    seen: dict[str, object] = {}
    names = inspect.signature(gui.train_model).parameters
    empty = (
        dict.fromkeys(names, 0)
        | {name: "" for name in names if name in TEXTS.split()}
        | {"headless": True, "print_only": False}
    )
    filled = {**empty, **{name: value for name, value in FORM.items() if name in names}}
    given = {name: value for name, value in common.update_my_data(dict(form)).items() if name in names}

    def write(path: object, options: dict[str, object], headless: object = None) -> bool:
        del path, headless
        seen["toml"] = options
        return True

    gui.write_toml_config = write
    gui.executor = MagicMock()
    gui.executor.is_running.return_value = False
    gui.executor.execute_command = lambda run_cmd, **_: seen.update(argv=list(run_cmd))
    for name in ("validate_args_setting", "validate_file_path", "validate_folder_path", "validate_model_path",
                 "validate_toml_file", "require_writable_directory", "verify_image_folder_pattern"):  # fmt: skip
        setattr(gui, name, lambda *_, **__: True)
    gui.check_if_model_exist = lambda *_, **__: False
    gui.join_config_path = lambda *_, **__: "config.toml"
    gui.create_prompt_file = lambda *_: ""
    gui.get_executable_path = lambda *_: "accelerate"
    gui.try_save_training_config = lambda *_, **__: True
    gui.setup_environment = dict
    gui.train_model(
        **{**filled, **given, **{name: form[name] for name in ("train_data_dir", "image_folder") if name in names}}
    )
    return seen


main()
