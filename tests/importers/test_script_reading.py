# ruff: noqa: E501, ISC004, Q003 - scripts and settings stand as people write them
"""Launch scripts of sh, cmd, PowerShell and Python: variables of any depth, conditions, lists, files that they write."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from foreign_files import entry, of_text, options, require_sound

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers.foreign_settings import KeyFate

NETWORK = "--network_module=networks.lora"
SCRIPTS: Mapping[str, tuple[str, dict[str, object]]] = {
    "sh with defaults of variables": (
        'DIM="${DIM:-16}"\nALPHA=${ALPHA:-$DIM}\nLR=${LR:-1e-4}\n'
        f"python sdxl_train_network.py {NETWORK} --network_dim=$DIM --network_alpha=\"${{ALPHA}}\" --learning_rate $LR",
        {"network_dim": 16, "network_alpha": 16, "learning_rate": 1e-4},
    ),
    "sh with a list that is built under conditions": (
        f'CACHE=1\nTE="0"\nARGS=({NETWORK} --network_dim=8\n  --learning_rate=1e-4  # the usual\n)\n'
        'if [[ "${CACHE}" == "1" ]]; then\n  ARGS+=(--cache_latents)\nfi\n'
        'if [ "$TE" != 1 ]; then ARGS+=(--network_train_unet_only); else ARGS+=(--text_encoder_lr=1e-5); fi\n'
        'accelerate launch sdxl_train_network.py "${ARGS[@]}" --seed=7',
        {"network_dim": 8, "cache_latents": True, "network_train_unet_only": True, "seed": 7},
    ),
    "sh with options in one text": (
        f'extArgs=""\nclip=2\nif [[ $clip ]]; then extArgs="$extArgs --gradient_checkpointing"; fi\n'
        f'extArgs="$extArgs --min_snr_gamma 5"\nscript="sdxl_train_network"\n'
        f'python -m accelerate.commands.launch "./sd-scripts/$script.py" {NETWORK} --network_dim=8 --learning_rate=1e-4 $extArgs',
        {"gradient_checkpointing": True, "min_snr_gamma": 5, "network_dim": 8},
    ),
    "sh that sums": (
        f"DIM=32\nALPHA=$((DIM / 2))\nSTEPS=$(( 10 * 100 ))\nexport LR=1e-4 SEED=3\n"
        f"SEED=4 python sdxl_train_network.py {NETWORK} --network_dim $DIM --network_alpha $ALPHA --max_train_steps=$STEPS"
        " --learning_rate=$LR --seed=$SEED",
        {"network_dim": 32, "network_alpha": 16, "max_train_steps": 1000, "seed": 4},
    ),
    "sh with a command in a variable": (
        f'CMD="accelerate launch sdxl_train_network.py {NETWORK} --network_dim=8 --learning_rate=1e-4"\n'
        'if [ -n "$RESUME" ]; then\n  CMD="$CMD --resume=$RESUME"\nfi\necho "running: $CMD"\neval "$CMD"',
        {"network_dim": 8, "learning_rate": 1e-4},
    ),
    "sh that checks for the trainer first": (
        'if [[ ! -f "./sdxl_train_network.py" ]]; then\n  echo "ERROR: sdxl_train_network.py --missing"\n  exit 1\nfi\n'
        f"accelerate launch ./sdxl_train_network.py {NETWORK} --network_dim=8 --learning_rate=1e-4",
        {"network_dim": 8, "learning_rate": 1e-4},
    ),
    "sh with comments between options": (
        f"accelerate launch sdxl_train_network.py \\\n  {NETWORK} \\\n  # the size\n  --network_dim=8 \\\n  \\\n  --learning_rate=1e-4",
        {"network_dim": 8, "learning_rate": 1e-4},
    ),
    "sh that writes its settings": (
        'OUT="run_$(date +%s)"\ncat > "$OUT/config.toml" <<EOF\nnetwork_module = "networks.lora"\nnetwork_dim = ${DIM:-24}\n'
        "learning_rate = ${LR:-1e-4}\nseed = $SEED\n[extra]\nsdpa = true\nEOF\n"
        'accelerate launch sdxl_train_network.py --config_file="$OUT/config.toml" --max_train_steps=500',
        {"network_dim": 24, "learning_rate": 1e-4, "max_train_steps": 500, "sdpa": True},
    ),
    "cmd with levels, quotes and sums": (
        '@echo off\nsetlocal EnableDelayedExpansion\nset BASE=32\nset "DIM=%BASE%"\nset /a ALPHA=DIM/2\nset LR="1e-4"\n'
        "set ULR=%lr%\nrem sdxl_train_network.py --network_dim 1\n"
        f"accelerate launch sdxl_train_network.py ^\n  {NETWORK} --network_dim=%DIM% --network_alpha=!ALPHA! ^\n"
        "  --learning_rate=%ULR%",
        {"network_dim": 32, "network_alpha": 16, "learning_rate": 1e-4},
    ),
    "cmd with options in one variable": (
        f'@echo off\nset ARGS={NETWORK} --network_dim=8\nset ARGS=%ARGS% --learning_rate=1e-4\nset TE=0\n'
        'if "%TE%"=="1" (\n  set ARGS=%ARGS% --text_encoder_lr=1e-5\n) else (\n  set ARGS=%ARGS% --network_train_unet_only\n)\n'
        'set MODEL=%~dp0models\\\nif not exist "%MODEL%" echo sdxl_train_network.py needs a model\n'
        "python sdxl_train_network.py %ARGS% --output_dir=%MODEL%",
        {"network_dim": 8, "learning_rate": 1e-4, "network_train_unet_only": True},
    ),
    "PowerShell with typed variables and switches": (
        'param(\n  [int]$Dim = 16,\n  [string]$Model = (Join-Path $PSScriptRoot "base.safetensors")\n)\n$alpha = $dim / 2\n'
        '$lr = "1e-4" # low\n$cache = $true\n$unet_only = 0\n$ext = [System.Collections.ArrayList]::new()\n'
        "if ($cache) {\n  [void]$ext.Add(\"--cache_latents\")\n}\nif ($unet_only -eq 1) { $ext += \"--network_train_unet_only\" }\n"
        '[void]$ext.Add("--network_alpha=$alpha")\n'
        f"accelerate launch sdxl_train_network.py `\n  {NETWORK} --network_dim=$($dim) --learning_rate=${{lr}} `\n"
        "  --pretrained_model_name_or_path=$Model $ext",
        {"network_dim": 16, "network_alpha": 8, "learning_rate": 1e-4, "cache_latents": True},
    ),
    "PowerShell with a list that is splatted": (
        "$dim = 8\n$params = @(\n  \"--network_module=networks.lora\",\n  \"--network_dim=$dim\"\n  '--learning_rate', '1e-4'\n)\n"
        'try {\n  & "$venv\\accelerate.exe" launch sdxl_train_network.py @params --seed=7 2>&1 | Tee-Object log.txt\n} finally { }',
        {"network_dim": 8, "learning_rate": 1e-4, "seed": 7},
    ),
    "PowerShell with a table of options": (
        "$p = @{\n  network_module = 'networks.lora'\n  network_dim = 8; learning_rate = 1e-4\n  sdpa = $true\n  xformers = $false\n}\n"
        '$list = @()\nforeach ($k in $p.Keys) {\n  $list += "--$k=$($p[$k])"\n}\npython sdxl_train_network.py $list',
        {"network_dim": 8, "learning_rate": 1e-4, "sdpa": True},
    ),
    "Python with a list of words": (
        'import os, subprocess\nDIM = int(os.environ.get("DIM", "16"))\ndef train(name, steps=500):\n  cmd = [\n'
        '    "accelerate", "launch", "sd-scripts/sdxl_train_network.py", "--network_module", "networks.lora",\n'
        '    "--network_dim", str(DIM), f"--network_alpha={DIM // 2}", "--learning_rate", "1e-4", "--output_name", name,\n'
        '    f"--max_train_steps={steps}",\n  ]\n  if DIM > 8:\n    cmd.append("--cache_latents")\n  subprocess.run(cmd)\n',
        {"network_dim": 16, "network_alpha": 8, "learning_rate": 1e-4, "max_train_steps": 500, "cache_latents": True},
    ),
    "Python with a table that becomes TOML": (
        'import toml\nbatch = 2\nconfig = {\n  "model": {"v2": False},\n  "network": {"network_module": "networks.lora",\n'
        '    "network_dim": 8, "network_args": None},\n  "training": {"learning_rate": 1e-4, "train_batch_size": batch}}\n'
        'toml.dump(config, open("c.toml", "w"))\nos.system("accelerate launch sdxl_train_network.py")\n',
        {"network_dim": 8, "learning_rate": 1e-4, "train_batch_size": 2},
    ),
    "a cell of Colab": (
        'network_dim = 16 #@param {type:"number"}\nalpha = network_dim // 2\nlearning_rate = "1e-4" #@param {type:"string"}\n'
        f"%cd /content/sd-scripts\n!accelerate launch sdxl_train_network.py {NETWORK} \\\n  --network_dim={{network_dim}} \\\n"
        "  --network_alpha=$alpha --learning_rate={learning_rate}\n",
        {"network_dim": 16, "network_alpha": 8, "learning_rate": 1e-4},
    ),
    "a notebook": (
        json.dumps({"nbformat": 4, "metadata": {}, "cells": [
            {"cell_type": "markdown", "source": ["# sdxl_train_network.py --network_dim 1"]},
            {"cell_type": "code", "source": ["rate = 1e-4\n", "flags = '--sdpa --cache_latents'\n"]},
            {"cell_type": "code", "source": [f"!python sdxl_train_network.py {NETWORK} --network_dim 8 --learning_rate={{rate}} {{flags}}"]},
        ]}),
        {"network_dim": 8, "learning_rate": 1e-4, "sdpa": True, "cache_latents": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_followed_to_its_call_of_the_trainer(name: str) -> None:
    text, wanted = SCRIPTS[name]

    found = of_text(text)

    given = options(found)
    assert {option: given.get(option) for option in wanted} == wanted
    require_sound(found)


@pytest.mark.parametrize(
    ("text", "key", "note"),
    [
        ("A=1\nsource env.sh\npython sdxl_train_network.py \\\n  --network_dim=8 \\\n  --seed=$SEED", "--seed", "line 5:"),
        ("set A=1\npython sdxl_train_network.py ^\n --network_dim=8 ^\n --seed=%SEED%", "--seed", "line 4:"),
        ("$a = 1\npython sdxl_train_network.py `\n --network_dim=8 --seed=$seed", "--seed", "line 3:"),
        ('N=$(ls | wc -l)\nif [ "$N" -eq 0 ]; then\n  S=1\nelse\n  S=2\nfi\npython sdxl_train_network.py --network_dim=8 --seed=$S',
         "--seed", "line 3 sets it under a condition"),
    ],
)  # fmt: skip
def test_what_stays_unknown_is_told_with_its_line(text: str, key: str, note: str) -> None:
    found = of_text(text)

    assert entry(found, key).what is KeyFate.UNKNOWN
    assert entry(found, key).note.startswith(note)
    assert options(found)["network_dim"] == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('Traceback (most recent call last):\n  File "/x/sdxl_train_network.py", line 185, in <module>', "is a log"),
        ("cp sdxl_train_network.py /tmp\necho sdxl_train_network.py --network_dim 8", "no call of it"),
        ("python sdxl_train_network.py", "no setting that a preset could hold"),
        ("python sdxl_train_network.py --output_dir=x --train_data_dir=$D", "no setting that a preset could hold"),
        (f"A{'B' * 9000}=1\npython sdxl_train_network.py --seed={'$X' * 40000}", "longer than any system"),
    ],
)
def test_a_script_without_settings_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        of_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "A=$B\nB=$A\nA=$B$A\npython sdxl_train_network.py --network_dim=8 --seed=$A",
        "\n".join(f"A{n}=$A{n + 1}$A{n + 1}" for n in range(60))
        + "\nA60=xy\npython sdxl_train_network.py --network_dim=8 --seed=$A0",
        "\n".join(f"A{n}=$A{n - 1}$A{n - 1}" for n in range(1, 60))
        + "\npython sdxl_train_network.py --network_dim=8 --seed=$A59",
        "if [ 1 ]; then\n" * 3000 + "python sdxl_train_network.py --network_dim=8",
        "x = " + "[" * 3000 + "]" * 3000 + "\n!python sdxl_train_network.py --network_dim=8",
        "$(" * 3000 + "$0\npython sdxl_train_network.py --network_dim=8",
        "import os\nx = " + "+".join(["'a'"] * 4000) + "\n!python sdxl_train_network.py --network_dim=8",
    ],
)
def test_a_script_that_turns_in_circles_or_grows_comes_to_an_end(text: str) -> None:
    found = of_text(text)

    assert options(found)["network_dim"] == 8
