"""The same last words mean different things at different places: frames and other lines decide between causes."""

from __future__ import annotations

import pytest
from failure_logs import START, raised

from sdxl_train_cli.failures import diagnosis

PACKAGES = "/venv/lib/python3.11/site-packages"


def at(code: str, path: str = "/sd-scripts/library/inner.py", function: str = "inner") -> str:
    """A frame with this line of code."""
    return f'  File "{path}", line 7, in {function}\n    {code}\n'


TRAIN_UTIL = "/sd-scripts/library/train_util.py"
OPTIMIZER = at("optimizer = optimizer_class(params, lr=lr, **optimizer_kwargs)", TRAIN_UTIL, "get_optimizer")
SCHEDULE = at("return lr_scheduler_class(optimizer, **kwargs)", TRAIN_UTIL, "get_scheduler_fix")
STEP = at("optimizer.step()", "/sd-scripts/train_network.py", "train")
STATE = at("states = load(file)", f"{PACKAGES}/accelerate/accelerator.py", "load_state")
UNET = at("noise_pred = unet(noisy, timesteps, text, vector)", "/sd-scripts/sdxl_train_network.py", "call_unet")
LITERAL = at("value = ast.literal_eval(value)", TRAIN_UTIL, "get_optimizer") + '  File "<unknown>", line 1\n'
CONFIG = at("config_dict = toml.load(f)", TRAIN_UTIL, "read_config_from_file")
ACCELERATE = at("yaml.safe_load(f)", f"{PACKAGES}/accelerate/commands/config/config_args.py", "from_yaml_file")
WANDB = at("raise error", f"{PACKAGES}/wandb/sdk/wandb_init.py", "init")
RESUMED = "INFO     resume training from local state: /out/cat-state            train_util.py:4400\n"
NO_RANDOM = "All optimizer states loaded successfully\nCould not load random states\n"


@pytest.mark.parametrize(
    ("before", "frames", "error", "name"),
    [
        # formerly "the base model is not SDXL"
        ("", "", "AssertionError: key _orig_mod.time_embed.0.weight not found in conversion map", "compiled-names"),
        ("", "", "AssertionError: key input_blocks.0 not found in conversion map", "not-sdxl"),
        # formerly "a part of the model was left on the processor"
        (RESUMED, STEP, "RuntimeError: Expected all tensors to be on the same device", "optimizer-state-devices"),
        ("", STEP, "RuntimeError: Expected all tensors to be on the same device", "optimizer-devices"),
        ("", UNET, "RuntimeError: Expected all tensors to be on the same device", "two-devices"),
        (RESUMED, UNET, "RuntimeError: Expected all tensors to be on the same device", "two-devices"),
        # formerly an optimizer that could not be created, or bitsandbytes
        ("", OPTIMIZER, "TypeError: '>' not supported between instances of 'tuple' and 'int'", "argument-commas"),
        ("", OPTIMIZER, "TypeError: '<=' not supported between instances of 'float' and 'tuple'", "argument-commas"),
        ("", OPTIMIZER, "TypeError: must be real number, not tuple", "argument-commas"),
        ("", OPTIMIZER, "TypeError: '>' not supported between instances of 'str' and 'int'", "option-type"),
        # formerly "for an unknown reason"
        (NO_RANDOM, STATE, "KeyError: 'step'", "state-randomless"),
        (NO_RANDOM, "", "KeyError: 'step'", "state-randomless-alone"),
        (NO_RANDOM, at("lr_scheduler.step()"), "KeyError: 'step'", "adafactor-unstepped"),
        # formerly "a state that was cut off while it was written"
        ("", STATE, "_pickle.UnpicklingError: Weights only load failed. This file can", "state-refused"),
        ("", STATE, "_pickle.UnpicklingError: pickle data was truncated", "state-broken"),
        ("", "", "_pickle.UnpicklingError: Weights only load failed. This file can", "pickle-refused"),
        # formerly "a file of an installed package is broken"
        ("", LITERAL, "SyntaxError: '(' was never closed", "literal-cut"),
        ("", LITERAL, "SyntaxError: invalid syntax", "literal-cut"),
        ("", at("import library.x"), "SyntaxError: invalid syntax", "broken-package"),
        # formerly "a caption, prompt or config file"
        ("", CONFIG, "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xb8 in position 1036", "config-not-utf8"),
        ("", CONFIG, "UnicodeDecodeError: 'gbk' codec can't decode byte 0xb8 in position 1036", "config-not-utf8"),
        ("", at("print('画像')"), "UnicodeEncodeError: 'charmap' codec can't encode characters", "console-code-page"),
        ("", at("f.write(text)"), "UnicodeEncodeError: 'charmap' codec can't encode characters", "code-page"),
        # formerly "this GPU has no bf16" and "torch sees no GPU"
        (
            "",
            "",
            "NotImplementedError: \"_amp_foreach_non_finite_cuda\" not implemented for 'BFloat16'",
            "bf16-scaled",
        ),
        ("", "", "RuntimeError: \"LayerNormKernelImpl\" not implemented for 'Half'", "no-gpu"),
        # formerly "packages do not match each other"
        (
            "",
            SCHEDULE,
            "TypeError: CosineAnnealingLR.__init__() got an unexpected keyword argument 'x'",
            "schedule-arguments",
        ),
        (
            "",
            at("network = network_module.create_network("),
            "TypeError: LoConModule.__init__() got an unexpected keyword argument 'x'",
            "network-keyword",
        ),
        (
            "",
            OPTIMIZER,
            "TypeError: Adafactor.__init__() got an unexpected keyword argument 'betas'",
            "optimizer-arguments",
        ),
        # formerly "caches beside the pictures have a different resolution"
        (
            "",
            "",
            "RuntimeError: stack expects each tensor to be equal size, but got [3, 512, 512] at entry 0",
            "pictures-unequal",
        ),
        (
            "",
            "",
            "RuntimeError: stack expects each tensor to be equal size, but got [77, 2048] at entry 0",
            "caption-caches-unequal",
        ),
        (
            "",
            "",
            "RuntimeError: stack expects each tensor to be equal size, but got [4, 128, 128] at entry 0",
            "cache-other-size",
        ),
        # formerly "pictures have a size that SDXL can't halve often enough"
        (
            "",
            "",
            "RuntimeError: Sizes of tensors must match except in dimension 2. Expected size 77 but got size 231",
            "caption-caches-unequal",
        ),
        # formerly "an inpainting model, or not SDXL"
        (
            "",
            "",
            "RuntimeError: Given groups=1, expected input[1, 4, 8, 8] to have 3 channels, but got 4 channels instead",
            "alpha-channel",
        ),
        (
            "",
            "",
            "RuntimeError: Given groups=1, expected input[1, 16, 8, 8] to have 4 channels, but got 16 channels instead",
            "other-latents",
        ),
        # formerly the base model or VAE that could not be downloaded
        (
            "",
            at("api.create_repo(repo_id=repo_id)"),
            "huggingface_hub.errors.HfHubHTTPError: 403 Client Error: Forbidden",
            "upload-failed",
        ),
        (
            "",
            WANDB,
            "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.wandb.ai')",
            "wandb-offline",
        ),
        # formerly "a folder's name does not begin with its number of repeats"
        (
            "",
            at("args.resolution = tuple([int(r) for r in args.resolution.split(',')])"),
            "ValueError: invalid literal for int() with base 10: '1024x1024'",
            "resolution-text",
        ),
        # formerly "the processes of a multi-GPU training can't find each other"
        ("", "", "OSError: [Errno 98] Address already in use", "port-taken"),
        ("", "", "RuntimeError: Address already in use", "several-gpus"),
        # formerly "a file or folder does not exist"
        ("", "", "OSError: libcudnn.so.9: cannot open shared object file: No such file or directory", "library-unfit"),
        # formerly "torch.compile needs triton or a compiler"
        ("", "", "torch._dynamo.exc.InternalTorchDynamoError: odd", "compile-failed"),
        # formerly "accelerate's own config file", whatever file it was
        ("", ACCELERATE, "yaml.scanner.ScannerError: mapping values are not allowed here", "accelerate-yaml"),
        ("", at("yaml.safe_load(f)"), "yaml.scanner.ScannerError: mapping values are not allowed here", None),
        # formerly no pictures, because a folder is named so
        (
            "",
            '  File "/my dataset/x.py", line 3, in y\n    return 1 / zero\n',
            "ZeroDivisionError: division by zero",
            None,
        ),
    ],
)
def test_the_place_decides_what_an_errors_words_mean(before: str, frames: str, error: str, name: str | None) -> None:
    log = (before + raised(frames + error)).splitlines()

    found = diagnosis.explain(log)

    assert (None if found is None else found.name) == name


@pytest.mark.parametrize("folder", ["/data/lycoris/", "D:\\PIL\\ImageTools\\", "/w/repeats/resume/toml/wandb/"])
@pytest.mark.parametrize("error", ["KeyError: 'odd'", "IndexError: list index out of range", "EOFError"])
def test_a_persons_own_folders_are_no_frames_of_packages(folder: str, error: str) -> None:
    frames = f'  File "{folder}train_network.py", line 7, in train\n    x = y[key]\n'

    assert diagnosis.explain(raised(frames + error).splitlines()) is None


def test_a_package_is_known_wherever_its_environment_stands() -> None:
    for path in ("/v/lib/python3.11/site-packages/", "D:\\my venv\\Lib\\site-packages\\", "/usr/lib/dist-packages/"):
        frames = f'  File "{path}lycoris/kohya/x.py", line 7, in train\n'
        found = diagnosis.explain(raised(frames + "KeyError: 'odd'").splitlines())

        assert found is not None
        assert found.name == "in-lycoris"


def test_a_paste_in_one_line_with_pointers_is_parsed() -> None:
    line = (
        'Traceback (most recent call last): File "/x/a.py", line 4, in load pipe = P.from_pretrained( ^^^^^^^ '
        "TypeError: CLIPTextModel.__init__() got an unexpected keyword argument 'offload_state_dict'"
    )
    found = diagnosis.explain([START.strip(), line])

    assert found is not None
    assert found.name == "keyword-unfit"


def test_lines_that_another_program_has_stamped_are_parsed() -> None:
    log = raised(
        "  File \"/sd-scripts/library/train_util.py\", line 7, in load\n    import_module('x')\nKeyError: 'odd'"
    )
    stamped = [f"[2024-09-20 07:07:13] [INFO] {line.strip()}" for line in log.splitlines()]

    assert diagnosis.last_error(stamped) == "KeyError: 'odd'"
