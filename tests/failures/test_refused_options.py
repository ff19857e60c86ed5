"""What sd-scripts' argparse refuses is told part by part: why it is refused, and what to type instead."""

from __future__ import annotations

import pytest

from sdxl_train_cli.failures import diagnosis, refused_options
from sdxl_train_cli.sdscripts import script_options

LORA = "sdxl_train_network.py"
WHOLE = "sdxl_train.py"


def refused(words: str, script: str = LORA, command: list[str] | None = None) -> refused_options.Explanation:
    """What is said of a log that refuses these words."""
    lines = [f"usage: {script} [-h] [--v2]", f"{script}: error: unrecognized arguments: {words}"]
    if command is not None:
        argv = ["/venv/bin/python", script, *command]
        lines.append(f"subprocess.CalledProcessError: Command '{argv}' returned non-zero exit status 2.")
    found = diagnosis.explain(lines)
    assert found is not None
    assert found.name == "refused-options"
    return refused_options.Explanation(found.cause, found.remedy)


@pytest.mark.parametrize(
    ("words", "command", "cause", "remedy"),
    [
        (
            r"UI\models\base.safetensors",
            [r"--pretrained_model_name_or_path=D:\Comfy", r"UI\models\base.safetensors", "--network_dim=32"],
            "'UI\\models\\base.safetensors' is the rest of the value of --pretrained_model_name_or_path",
            r'type "--pretrained_model_name_or_path=D:\Comfy UI\models\base.safetensors"',
        ),
        (
            "cats/img",
            ["--train_data_dir", "/home/me/my", "cats/img", "--seed=1"],
            "'cats/img' is the rest of the value of --train_data_dir",
            'type --train_data_dir "/home/me/my cats/img"',
        ),
        (
            "cat by me",
            ["--training_comment=a", "cat", "by", "me"],
            "'cat by me' is the rest of the value of --training_comment",
            'type "--training_comment=a cat by me"',
        ),
        (
            "1024",
            ["--resolution=1024,", "1024"],
            "the rest of the value of --resolution",
            "type --resolution=1024,1024",
        ),
        ("768", None, "'768' is the rest of a value with a blank", "numbers have no blank between them: 768,768"),
        ("aniston aniston", None, "'aniston aniston' is the rest of a value", "put the whole value into quotes"),
    ],
)
def test_a_value_with_a_blank_is_told_with_the_option_it_belongs_to(
    words: str, command: list[str] | None, cause: str, remedy: str
) -> None:
    told = refused(words, command=command)

    assert cause in told.cause
    assert remedy in told.remedy


@pytest.mark.parametrize("words", ["\\", "^", "`", "", "\\ "])
def test_a_continuation_of_another_shell_is_told_with_all_three(words: str) -> None:
    told = refused(words)

    assert told.cause.startswith("the line-continuation character")
    assert "\\ in bash, ^ in cmd and .bat files, ` in PowerShell" in told.remedy


@pytest.mark.parametrize(
    ("words", "cause", "remedy"),
    [
        ("\u2013network_dim=32", "begins with a long dash", "type --network_dim=32"),
        ("\u2014network_dim=32", "begins with a long dash", "type --network_dim=32"),
        ("\u2014\u2014cache_latents", "begins with a long dash", "type --cache_latents"),
        ("\u2013-sdpa", "begins with a long dash", "type --sdpa"),
        ("\u201cmy cat\u201d", "has curled quotes", "type the quotes anew"),
        ("--output_name=\u201ccat\u201d", "has curled quotes", "type the quotes anew"),
        ("\u2018cat\u2019", "has curled quotes", "type the quotes anew"),
        ("--network_dim\u00a032", "has a blank that is none to a shell", "type the blanks"),
        ("--seed\u300042", "has a blank that is none to a shell", "type the blanks"),
        ("--sdpa\u200b", "has a blank that is none to a shell", "type the blanks"),
    ],
)
def test_signs_of_text_programs_are_told(words: str, cause: str, remedy: str) -> None:
    told = refused(words)

    assert cause in told.cause
    assert remedy in told.remedy


@pytest.mark.parametrize(
    ("words", "script", "cause", "remedy"),
    [
        ("--train_text_encoder", LORA, "is an option of sdxl_train.py", "`sdxl-train dreambooth`"),
        ("--block_lr=1e-4,1e-5", LORA, "is an option of sdxl_train.py, not", "`sdxl-train dreambooth`"),
        ("--network_dim=32 --network_alpha=16", WHOLE, "are options of sdxl_train_network.py", "`sdxl-train lora`"),
        (
            "--cache_text_encoder_outputs",
            "train_network.py",
            "is an option of sdxl_train_network.py",
            "`sdxl-train lora`",
        ),
        ("--stop_text_encoder_training=0", WHOLE, "is an option of train_db.py, not of sdxl_train.py", "leave it out"),
        ("--t5xxl=/m/t5.safetensors", LORA, "flux_train.py", "leave it out"),
        ("--num_cpu_threads_per_process=2", LORA, "of accelerate launch, not of", "before the script's name"),
        ("--gpu_ids=0", LORA, "of accelerate launch, not of", "before the script's name"),
        ("--dynamo_mode=default", LORA, "of accelerate launch, not of", "before the script's name"),
    ],
)
def test_an_option_of_another_script_is_told_with_that_script(words: str, script: str, cause: str, remedy: str) -> None:
    told = refused(words, script)

    assert cause in told.cause
    assert remedy in told.remedy


@pytest.mark.parametrize("flag", ["--skip_image_resolution=64", "--train_inpainting"])
def test_an_option_of_one_release_is_told_with_that_release(flag: str) -> None:
    told = refused(flag)

    assert "is an option of sd-scripts v0.11.1, not of the one that ran" in told.cause
    assert "`sdxl-train setup --ref v0.11.1 --recreate`" in told.remedy


@pytest.mark.parametrize("flag", ["--loss_type=l2", "--skip_until_initial_step", "--fp8_base_unet"])
def test_an_option_that_both_releases_have_is_refused_by_an_older_one(flag: str) -> None:
    told = refused(flag)

    assert "since v0.10.1 or earlier: the sd-scripts that ran is older, or a fork" in told.cause
    assert "or update" in told.remedy


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--lora_network_weights=x.safetensors", "network_weights"),
        ("--lerning_rate=1e-4", "learning_rate"),
        ("--network-dim=32", "network_dim"),
        ("--max_train_epoch=10 --foo_bar_baz=1", "max_train_epochs"),
        ("-network_dimm 32", "network_dim"),
        ("--cach_latents", "cache_latents"),
    ],
)
def test_a_misspelled_option_is_told_with_the_nearest(words: str, meant: str) -> None:
    told = refused(words)

    assert f"{LORA} has no option" in told.cause
    assert f"did you mean {meant}?" in told.remedy


@pytest.mark.parametrize("flag", ["--wubba_lubba=1", "--xyzzy", "--qqq_zzz"])
def test_an_option_of_no_script_is_told_as_a_forks(flag: str) -> None:
    assert "no script of sd-scripts v0.10.1 or v0.11.1 has the option" in refused(flag).cause


@pytest.mark.parametrize(
    ("words", "cause", "remedy"),
    [
        ("weight_decay=0.04", "outside of --optimizer_args", "--optimizer_args weight_decay=0.04"),
        (
            "relative_step=False warmup_init=False",
            "outside of --optimizer_args",
            "--optimizer_args relative_step=False",
        ),
        ("d_coef=2", "outside of --optimizer_args", "--optimizer_args d_coef=2"),
        ("conv_alpha=4", "outside of --network_args", "--network_args conv_alpha=4"),
        ("algo=lokr", "outside of --network_args", "--network_args algo=lokr"),
        ("dora_wd=True", "outside of --network_args", "--network_args dora_wd=True"),
        ("network_dim=32", "lacks its two hyphens", "type --network_dim=32"),
        ("learning_rate=1e-4", "lacks its two hyphens", "type --learning_rate=1e-4"),
        ("seed=7", "lacks its two hyphens", "type --seed=7"),
    ],
)
def test_a_key_with_a_value_is_told_with_where_it_belongs(words: str, cause: str, remedy: str) -> None:
    told = refused(words)

    assert cause in told.cause
    assert remedy in told.remedy


@pytest.mark.parametrize(
    ("words", "command", "switch"),
    [
        ("true", None, "a switch"),
        ("False", ["--cache_latents", "False"], "'--cache_latents'"),
        ("True True", ["--sdpa", "True", "--bucket_no_upscale", "True"], "'--sdpa'"),
    ],
)
def test_a_switch_takes_no_value(words: str, command: list[str] | None, switch: str) -> None:
    assert f"behind {switch}, which takes no value" in refused(words, command=command).cause


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("the white queen --save_model_as=safetensors --network_dim=128", None),
        ('queen --network_dim=32 --seed=1"', ["--reg_data_dir=the", 'queen --network_dim=32 --seed=1"']),
        ("cat --sdpa --seed=3 --xformers", None),
    ],
)
def test_options_within_the_quotes_of_a_value_are_told_as_such(words: str, command: list[str] | None) -> None:
    told = refused(words, command=command)

    assert "within the quotes of another value" in told.cause
    assert "check the quotes" in told.remedy


def test_several_kinds_in_one_line_are_told_each() -> None:
    told = refused("\\ --train_text_encoder --lerning_rate=1 weight_decay=1 --t5xxl x", command=None)

    assert len(told.cause.split("; ")) == len(told.remedy.splitlines()) == 5
    assert "'--t5xxl' is an option of" in told.cause


@pytest.mark.parametrize(
    "words", ["--xyzzy 5", "--learning_rate_te1 1e-6", "--skip_image_resolution 64", "--loss_typ l2"]
)
def test_the_value_of_a_refused_option_is_refused_with_it(words: str) -> None:
    assert "rest of a value" not in refused(words).cause


@pytest.mark.parametrize("letters", [100_000])
def test_a_long_line_of_junk_takes_no_time(letters: int) -> None:
    assert "is the rest of a value with a blank" in refused("x " * letters).cause


def test_many_options_are_counted_and_not_all_named() -> None:
    words = " ".join(f"--network_{name}=1" for name in ("dim", "alpha", "args", "module", "weights", "dropout"))

    assert "and 2 more" in refused(words, WHOLE).cause


@pytest.mark.parametrize(
    ("short", "longs", "cause", "remedy"),
    [
        (
            "--fp8",
            "--fp8_base, --fp8_base_unet",
            "'--fp8' is no option but the beginning",
            "--fp8_base or --fp8_base_unet",
        ),
        (
            "--sample_every=5",
            "--sample_every_n_steps, --sample_every_n_epochs",
            "'--sample_every' is no",
            "--sample_every_n_steps or",
        ),
        ("--clip", "--clip_skip, --clip_l", "'--clip' is no option", "--clip_skip or --clip_l"),
        ("--mode=x", "--model_a, --model_b", "'--mode' is no option", "--model_a or --model_b"),
    ],
)
def test_a_beginning_of_several_options_is_told_with_them(short: str, longs: str, cause: str, remedy: str) -> None:
    found = diagnosis.explain([f"{LORA}: error: ambiguous option: {short} could match {longs}"])

    assert found is not None
    assert cause in found.cause
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"{LORA}: error: argument --cache_latents: ignored explicit argument 'true'", "switch-value"),
        (f"{LORA}: error: argument --output_name: expected one argument", "no-value"),
        (f"{LORA}: error: argument --network_dim: invalid int value: '='", "option-value"),
        (
            "accelerate <command> [<args>] launch: error: the following arguments are required: training_script, x",
            "no-script",
        ),
    ],
)
def test_other_complaints_of_argparse_keep_their_own_words(line: str, name: str) -> None:
    found = diagnosis.explain([line])

    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("words", ["x" * 5000, "--" + "y" * 5000, "\u202e--evil", "a " * 2000])
def test_hostile_words_are_told_and_cut(words: str) -> None:
    assert 0 < len(refused(words).cause) < 500


def test_a_command_line_that_is_no_list_is_not_read() -> None:
    lines = [
        f"{LORA}: error: unrecognized arguments: 768",
        "subprocess.CalledProcessError: Command '[__import__(\"os\").abort()]' returned non-zero exit status 2.",
    ]

    told = refused_options.explain(lines)

    assert told is not None
    assert told.cause == "'768' is the rest of a value with a blank in it"


def test_both_releases_of_which_options_are_known_have_both_sdxl_scripts() -> None:
    assert script_options.releases() == ("v0.10.1", "v0.11.1")
    for script in (LORA, WHOLE):
        assert "--learning_rate" in script_options.flags(script)
    assert script_options.releases_with("--skip_image_resolution", LORA) == ("v0.11.1",)


@pytest.mark.parametrize("path", ["/content/LoRA/config/config_file.toml", r"D:\img\10_cat", "./cfg.toml", "~/x"])
def test_a_whole_path_is_told_as_parted_from_its_option(path: str) -> None:
    found = refused(path)

    assert f"'{path}' stands alone" in found.cause
    assert "without a blank at the =" in found.remedy
