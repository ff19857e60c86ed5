"""Arguments for LyCORIS that can't be meant are told, and all that can be are let pass."""

from __future__ import annotations

import pytest

from sdxl_train_cli.sdscripts import network_arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"algo": "LoKr", "factor": "-1", "conv_dim": "0", "full_matrix": "true"},
        {"algo": "loha", "conv_dim": "8", "conv_alpha": "0", "rank_dropout": "0.1", "use_cp": "no"},
        {"algo": "dylora", "block_size": "4", "preset": "attn-mlp"},
        {"algo": "boft", "constraint": "1e-3", "rescaled": "True", "preset": "C:\\Users\\me\\mine.toml"},
    ],
)
def test_what_lycoris_can_do_is_let_pass(arguments: dict[str, str]) -> None:
    assert list(network_arguments.complaints(arguments, 16)) == []


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "algo": "nope",
        "conv_dim": "x",
        "factor": "0",
        "use_scalar": "?",
        "dropout": "7",
        "loraplus_lr_ratio": "a",
    }

    assert len(list(network_arguments.complaints(wrong, 16))) == len(wrong)
