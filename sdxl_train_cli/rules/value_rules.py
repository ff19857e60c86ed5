"""Rules for single options: those that sdxl-train sets itself, ranges of numbers, and formats of texts and lists."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.sdscripts import key_values, lycoris, network_arguments
from sdxl_train_cli.sdscripts.rates import BLOCK_WEIGHTS

_DATA = "name the folder of pictures with --data"
_RUN_FOLDER = "each run has its own folder"
OWNED: Mapping[str, str] = {
    "pretrained_model_name_or_path": "name the base model with --model",
    "vae": "name the VAE with --vae",
    "output_dir": "name the folder with --output",
    "output_name": "name the result with --name",
    "train_data_dir": _DATA,
    "in_json": _DATA,
    "dataset_config": _DATA,
    "dataset_class": _DATA,
    "dataset_repeats": "repeats are set with --data",
    "reg_data_dir": "name the folder of regularization pictures with --reg",
    "conditioning_data_dir": "a mask is the picture's own alpha channel: alpha_mask",
    "caption_extention": "the name is caption_extension",
    "logging_dir": _RUN_FOLDER,
    "tokenizer_cache_dir": "setup keeps the tokenizers",
    "config_file": "write the options into a preset",
    "output_config": "sd-scripts would write the options and train nothing; see --dry-run",
    "console_log_file": _RUN_FOLDER,
    "console_log_simple": "sdxl-train reads sd-scripts' log, so its format must not change",
    "console_log_level": "sdxl-train reads sd-scripts' log, so its format must not change",
    "debug_dataset": "sd-scripts would show the pictures and train nothing",
    "v2": "SDXL is not Stable Diffusion 2",
    "wandb_api_key": "a secret does not belong on a command line: set the environment variable WANDB_API_KEY",
    "huggingface_token": "a secret does not belong on a command line: set the environment variable HF_TOKEN",
}
"""Options that no recipe may set, and what to do instead."""

_INFINITY = ("inf", "infinity")
_Range = tuple[float, float | None]
_FROM_ZERO: _Range = (0, None)
_FROM_ONE: _Range = (1, None)
_SHARE: _Range = (0, 1)
_LARGEST_SIDE = 65_536
_SIDE: _Range = (1, _LARGEST_SIDE)
"""Range for sides of a picture or bucket: sd-scripts enumerates all buckets up to the limit."""
_MOST_BITS = 63
"""Limit for integers. A longer one is no option of a run, and would overflow a float."""
RANGES: Mapping[str, _Range] = {
    **dict.fromkeys(
        (
            "network_dim",
            "num_vectors_per_token",
            "train_batch_size",
            "max_train_steps",
            "max_train_epochs",
            "gradient_accumulation_steps",
            "vae_batch_size",
            "save_every_n_steps",
            "save_every_n_epochs",
            "save_n_epoch_ratio",
            "save_last_n_steps",
            "save_last_n_epochs",  # 0 would delete each checkpoint as it is saved
            "save_last_n_steps_state",
            "save_last_n_epochs_state",
            "sample_every_n_steps",
            "sample_every_n_epochs",
            "validate_every_n_steps",
            "validate_every_n_epochs",
            "max_validation_steps",
            "lr_scheduler_num_cycles",
            "fused_optimizer_groups",
            "initial_epoch",
        ),
        _FROM_ONE,
    ),
    **dict.fromkeys(("bucket_reso_steps", "min_bucket_reso", "max_bucket_reso"), _SIDE),
    **dict.fromkeys(
        (
            "network_alpha",
            "learning_rate",
            "unet_lr",
            "text_encoder_lr",
            "learning_rate_te1",
            "learning_rate_te2",
            "max_grad_norm",
            "min_snr_gamma",
            "max_data_loader_n_workers",
            "keep_tokens",
            "token_warmup_min",
            "token_warmup_step",
            "caption_dropout_every_n_epochs",
            "multires_noise_iterations",
            "ip_noise_gamma",
            "v_pred_like_loss",
            "prior_loss_weight",
            "scale_weight_norms",
            "huber_c",
            "initial_step",
        ),
        _FROM_ZERO,
    ),
    **dict.fromkeys(
        (
            "network_dropout",
            "caption_dropout_rate",
            "caption_tag_dropout_rate",
            "validation_split",
            "multires_noise_discount",
            "lr_scheduler_min_lr_ratio",
        ),
        _SHARE,
    ),
    "seed": (0, 2**32 - 1),  # numpy's limit
    "min_timestep": (0, 1000),
    "max_timestep": (0, 1000),
}

_BLOCKS = 23  # SDXL's U-Net: 1 + 9 + 3 + 9 + 1

_LR_CURVES = frozenset({"cosine", "sine", "linear", "reverse_linear", "zeros"})
_POSITIONAL = frozenset(
    {"multiplier", "network_dim", "network_alpha", "vae", "text_encoder", "unet", "neuron_dropout", "kwargs"}
)
_NETWORK_WHOLE = frozenset({"conv_dim"})
_NETWORK_NUMBERS = frozenset({"conv_alpha", "rank_dropout", "module_dropout", "block_lr_zero_threshold", "dropout"})
_NETWORK_BLOCKS = frozenset({"block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"})
_LORAPLUS = frozenset({"loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio"})
NETWORK_ARGUMENTS = frozenset({*_NETWORK_WHOLE, *_NETWORK_NUMBERS, *_NETWORK_BLOCKS, *_LORAPLUS, *BLOCK_WEIGHTS})
"""Arguments that networks.lora reads from network_args. It silently ignores all others."""
_KNOWN_ARGUMENTS: Mapping[str, frozenset[str]] = {
    "networks.lora": NETWORK_ARGUMENTS,
    lycoris.MODULE: lycoris.ARGUMENTS,
    **dict.fromkeys(lycoris.NATIVE, lycoris.NATIVE_ARGUMENTS),
}


def problems(recipe: Recipe, unsound: Collection[str] = ()) -> Iterator[Problem]:
    """Yield a problem for each option with an invalid value, except for `unsound` ones."""
    for option, setting in recipe.settings.items():
        if option in OWNED:
            if setting.value is not False:  # a switch that is off has no effect
                yield recipe.problem_of_setting(option, f"{option} is set by sdxl-train itself", OWNED[option])
        elif option not in unsound:
            for message in _complaints(option, setting.value, recipe):
                told = recipe.problem_of_setting(option, f"{option} {message}")
                yield replace(told, ways=_spelled(option, setting.value))


def warnings(recipe: Recipe) -> Iterator[Problem]:
    """Yield a warning for each key in network_args that the network module would ignore."""
    module = str(recipe.get("network_module"))
    known = _KNOWN_ARGUMENTS.get(module)
    if not recipe.kind.is_network or known is None:
        return
    arguments = recipe.arguments("network_args")
    for key in sorted(arguments.keys() - known):
        hint = formatting.suggestion(key, sorted(known), 1)
        if hint is None and module == "networks.lora" and key in lycoris.ARGUMENTS:
            wanted = formatting.shell_word(f"network_args=algo=lora {key}={arguments[key]}")
            hint = f"LyCORIS knows it: --set network_module={lycoris.MODULE} --set {wanted}"
        yield recipe.problem("network_args", f"network_args: {module} knows no '{key}'", hint)


def _spelled(option: str, value: Value) -> tuple[WayOut, ...]:
    """The same list with each value as Python spells it; empty where all are, or where that can't be told."""
    if option not in key_values.LITERALS or any(part.count("=") != 1 for part in _parts(value)):
        return ()
    pairs = [part.partition("=")[::2] for part in _parts(value)]
    spelled = " ".join(f"{key}={text if _is_literal(text) else _literal(text)}" for key, text in pairs)
    return (WayOut((f"{option}={spelled}",)),) if spelled != " ".join(_parts(value)) else ()


def _literal(text: str) -> str:
    sign, name = ("-" if text.startswith("-") else ""), text.lstrip("+-").lower()
    return f"{sign}1e999" if name in _INFINITY else repr(text)


def _complaints(option: str, value: Value, recipe: Recipe) -> Iterator[str]:
    if any(isinstance(each, int) and each.bit_length() > _MOST_BITS for each in _each(value)):
        yield "is a number of more than 18 digits"
    elif option in RANGES:
        yield from _out_of_range(value, RANGES[option])
    elif option == "network_args":
        module = str(recipe.get("network_module"))
        yield from _network_arguments(value, module)
        if module == lycoris.MODULE or module in lycoris.NATIVE:
            yield from network_arguments.complaints(recipe.arguments("network_args"), recipe.number("network_dim"))
    elif option in _FORMS:
        yield from _FORMS[option](value)


def _each(value: Value) -> tuple[bool | float | str, ...]:
    return value if isinstance(value, tuple) else (value,)


def _out_of_range(value: Value, allowed: _Range) -> Iterator[str]:
    low, high = allowed
    for number in _each(value):
        if isinstance(number, bool | str) or (low <= number and (high is None or number <= high)):
            continue
        bounds = f"at least {low:g}" if high is None else f"between {low:g} and {high:.10g}"
        yield f"has to be {bounds}, not {number}"


def _resolution(value: Value) -> Iterator[str]:
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    sides = str(value).split(",")
    if len(sides) not in {1, 2} or not all(map(_is_size, sides)) or max(map(float, sides)) > _LARGEST_SIDE:
        yield f"must be one size or WIDTH,HEIGHT, such as 1024,1024, not '{str(value)[:40]}'"


def _numbers(value: Value, count: int) -> Iterator[str]:
    parts = [str(part) for part in value] if isinstance(value, tuple) else str(value).split(",")
    if len(parts) != count or not all(map(_is_number, parts)):
        yield f"takes {count} comma-separated numbers, but has {len(parts)}"


def _face_crop(value: Value) -> Iterator[str]:
    parts = [str(part) for part in value] if isinstance(value, tuple) else str(value).split(",")
    numbers = [float(part) for part in parts if _is_number(part)]
    if len(parts) != 2 or len(numbers) != 2 or numbers[0] > numbers[1]:  # noqa: PLR2004 - a pair
        yield f"must be two numbers, the smaller first, such as 2.0,4.0, not '{value}'"


def _warmup(value: Value) -> Iterator[str]:
    text = str(value)
    share = text.removesuffix("%")
    number = float(share) if _is_number(share) else -1
    is_whole = not text.endswith("%") and text.lstrip("+").isdecimal()
    if number < 0 or (number >= 1 and not (is_whole or text.endswith("%"))):
        yield f"must be a number of steps, or a share below 1 such as 0.05, not '{value}'"


def _prompts_file(value: Value) -> Iterator[str]:
    if not str(value).endswith((".txt", ".toml", ".json")):
        yield f"must be a file that ends in .txt, .toml or .json, not '{value}'"


def _token_length(value: Value) -> Iterator[str]:
    if value not in {150, 225}:
        yield f"must be 150 or 225 (75 if not set), not {value}"


def _literals(value: Value) -> Iterator[str]:
    yield from _pairs(value)
    for part in _parts(value):
        key, equals, text = part.partition("=")
        if not equals:
            continue
        if "=" in text:
            yield f"has '{part}', with more than one ="
        elif not _is_literal(text):
            is_infinity = text.lstrip("+-").lower() in _INFINITY
            remedy = "infinity is 1e999" if is_infinity else f"text needs quotes, as in {key}='text'"
            yield f"has '{part}', whose value is not valid Python: {remedy}"


def _network_arguments(value: Value, module: str) -> Iterator[str]:
    yield from _pairs(value)
    for part in _parts(value):
        key, equals, text = part.partition("=")
        if key in _POSITIONAL:
            yield f"has '{key}', which is a separate option"
        elif equals and module == "networks.lora":
            yield from _native_argument(key, text)


def _native_argument(key: str, text: str) -> Iterator[str]:
    if key in _NETWORK_WHOLE and not _is_size(text):
        yield f"has '{key}={text}', which has to be a whole number above 0"
    elif key in _NETWORK_NUMBERS | _LORAPLUS and not _is_number(text):
        yield f"has '{key}={text}', which has to be a number"
    elif key in _NETWORK_BLOCKS:
        for message in _numbers(text, _BLOCKS):
            yield f"has {key}, which {message}"
        if key.endswith("dims") and not all(dim.strip().isdecimal() for dim in text.split(",")):
            yield f"has {key}, which takes whole numbers"
    elif key in BLOCK_WEIGHTS and text.partition("+")[0] not in _LR_CURVES:
        for message in _numbers(text, BLOCK_WEIGHTS[key]):
            yield f"has {key}, which {message}"


def _pairs(value: Value) -> Iterator[str]:
    """Report parts that are not `key=value`, and repeated keys."""
    seen: set[str] = set()
    for part in _parts(value):
        key, equals, _ = part.partition("=")
        if not equals or not key:
            yield f"takes key=value, not '{part}'"
        elif key in seen:
            yield f"has '{key}' more than once"
        seen.add(key)


def _parts(value: Value) -> list[str]:
    return [str(part) for part in value] if isinstance(value, tuple) else str(value).split()


def _is_size(text: str) -> bool:
    return text.strip().isdecimal() and float(text) > 0


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


_FORMS: Mapping[str, Callable[[Value], Iterator[str]]] = {
    "resolution": _resolution,
    "skip_image_resolution": _resolution,
    "block_lr": lambda value: _numbers(value, _BLOCKS),
    "face_crop_aug_range": _face_crop,
    "lr_warmup_steps": _warmup,
    "lr_decay_steps": _warmup,
    "sample_prompts": _prompts_file,
    "max_token_length": _token_length,
    "optimizer_args": _literals,
    "lr_scheduler_args": _literals,
}
