"""Whatever values stand in other programs' files: a preset that is sound, or a refusal in words.

SDXL_TRAIN_EXAMPLES is how many files of each kind are tried; the usual number is small.
"""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress

import pytest
import tomli_w
from foreign_files import TABLE, of_text, require_sound
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import kohya_fields, onetrainer, onetrainer_network
from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import options

trying = settings(max_examples=int(os.environ.get("SDXL_TRAIN_EXAMPLES", "60")))

ODD = ["", "0", "-1", "1e-4", "1e999", "nan", "inf", "--seed=1", "--resume", "a\nb", "C:\\x", "/home/x/y", "True", "no",
       "1,2", "1024x768", "a=b c=d", "$(id)", "`id`", "LORA", "ADAMW", "\u202e", "9" * 400, "sdxl", "None"]  # fmt: skip
TEXTS = st.sampled_from(ODD) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PLAIN = st.booleans() | st.integers(-(2**62), 2**62) | st.floats() | TEXTS
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)

OPTIONS = sorted({*TABLE.of(Kind.LORA), *TABLE.of(Kind.DREAMBOOTH)})

FORM_KEYS = sorted(
    {*kohya_fields.FIELDS, *kohya_fields.NO_OPTION, *kohya_fields.NETWORK_KEYS, "epoch", "additional_parameters",
     "lr_warmup", "lr_warmup_steps", "unet_lr", "text_encoder_lr", "xformers", "train_data_dir"}
)  # fmt: skip
ONETRAINER_KEYS = sorted(
    {*onetrainer._DEFAULTS, *onetrainer._NUMBERS, *onetrainer._SWITCHES, *onetrainer._CHOICES,  # noqa: SLF001 - its keys
     *onetrainer._STAYS, *onetrainer._SPECIAL, *onetrainer_network.KEYS}  # noqa: SLF001 - its keys
)  # fmt: skip
PART_KEYS = ["train", "learning_rate", "weight_dtype", "dropout_probability", "gradient_checkpointing", "include"]
OPTIMIZER_KEYS = ["optimizer", "beta1", "beta2", "eps", "weight_decay", "d_coef", "relative_step", "decouple"]
SECTIONS = ["general_args", "network_args", "optimizer_args", "saving_args", "bucket_args", "noise_args", "sample_args",
            "logging_args", "extra_args", "train_mode", "x"]  # fmt: skip
DERRIAN_KEYS = [*OPTIONS, "sdxl", "v2", "network_args", "optimizer_args", "lr_scheduler_args", "warmup_ratio", "fa",
                "batch_size", "train_mode", "algo", "unit", "easy_name"]  # fmt: skip


def try_text(text: str) -> None:
    with suppress(RecipeError):
        require_sound(of_text(text))


def some(keys: list[str], values: st.SearchStrategy[object], most: int = 12) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(st.sampled_from(keys), values, max_size=most)


@trying
@given(fields=some(FORM_KEYS, NESTED | st.none()), box=st.sampled_from(["sdxl", "sdxl_checkbox"]))
def test_in_a_form_of_the_kohya_gui(fields: dict[str, object], box: str) -> None:
    try_text(json.dumps({"LoRA_type": "Standard", **fields, box: True}))


@trying
@given(
    fields=some(ONETRAINER_KEYS, NESTED | st.none()),
    parts=st.dictionaries(
        st.sampled_from(["unet", "text_encoder", "text_encoder_2", "vae"]), some(PART_KEYS, NESTED | st.none())
    ),
    optimizer=st.none() | some(OPTIMIZER_KEYS, NESTED | st.none()),
    method=st.sampled_from(["LORA", "FINE_TUNE"]),
)
def test_in_a_json_of_onetrainer(
    fields: dict[str, object], parts: dict[str, object], optimizer: dict[str, object] | None, method: str
) -> None:
    given_optimizer = {} if optimizer is None else {"optimizer": optimizer}
    always = {"model_type": "STABLE_DIFFUSION_XL_10_BASE", "training_method": method}
    try_text(json.dumps({**fields, **parts, **given_optimizer, **always}))


@trying
@given(
    sections=st.dictionaries(
        st.sampled_from(SECTIONS), some(["args", "dataset_args"], some(DERRIAN_KEYS, NESTED)) | NESTED, max_size=6
    ),
    subsets=st.lists(some(["image_dir", "num_repeats", "keep_tokens", *OPTIONS], NESTED) | NESTED, max_size=3),
)
def test_in_a_toml_of_lora_easy_training_scripts(sections: dict[str, object], subsets: list[object]) -> None:
    general = sections.get("general_args")
    inner = general.get("args") if isinstance(general, dict) else None
    arguments = {**(inner if isinstance(inner, dict) else {}), "sdxl": True}
    try_text(tomli_w.dumps({**sections, "general_args": {"args": arguments}, "subsets": subsets}))


@trying
@given(found=some(OPTIONS, NESTED), section=st.booleans())
def test_in_a_toml_of_sd_scripts(found: dict[str, object], section: bool) -> None:
    try_text(tomli_w.dumps({"network_dim": 8, **({"part": found} if section else found)}))


@trying
@given(
    given_flags=st.lists(
        st.tuples(st.sampled_from([*OPTIONS, "seed=1", "", "x y"]), st.lists(PLAIN, max_size=3), st.booleans()),
        max_size=8,
    ),
    script=st.sampled_from(["sdxl_train.py", "sdxl_train_network.py"]),
)
def test_in_a_command_line(given_flags: list[tuple[str, list[object], bool]], script: str) -> None:
    words = [script]
    for name, values, is_glued in given_flags:
        texts = [str(value) for value in values]
        words += [f"--{name}={' '.join(texts)}"] if is_glued else [f"--{name}", *texts]
    try_text("accelerate launch " + shlex.join(words))


def test_thousands_of_unknown_options_are_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged anew after each that was left out, 3,000 of them took 47 seconds."""
    judged, problems = list[str](), options.problems
    monkeypatch.setattr(
        options, "problems", lambda recipe, table: judged.append(recipe.name) or problems(recipe, table)
    )
    keys = "\n".join(f"k{number} = {number}" for number in range(2000))
    found = of_text(f'[train_mode]\ntrain_mode = "lora"\n[general_args.args]\nsdxl = true\n{keys}\n')

    assert len([entry for entry in found.entries if entry.what is KeyFate.UNKNOWN]) == 2000
    assert 0 < len(judged) < 10
