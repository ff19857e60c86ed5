"""The memory that drawing takes, against a GPU's."""

from __future__ import annotations

import pytest

from sdxl_train_cli import gpu
from sdxl_train_cli.errors import VramError
from sdxl_train_cli.memory import cuda_context, drawing_need

CONTEXT = cuda_context.CudaContext(0.5, 0.6, 0.7, "test")


def test_half_precision_larger_pictures_and_a_network_each_count() -> None:
    half = drawing_need.of(1024 * 1024, 0, CONTEXT, half=True)

    assert 8 < half.low_gib < half.high_gib < 14
    assert drawing_need.of(1024 * 1024, 0, CONTEXT, half=False).low_gib > half.low_gib + 6
    assert drawing_need.of(512 * 512, 0, CONTEXT, half=True).low_gib < half.low_gib
    assert drawing_need.of(1024 * 1024, 1 << 30, CONTEXT, half=True).low_gib == pytest.approx(half.low_gib + 1)


def test_what_may_not_fit_is_said_and_what_cant_is_refused() -> None:
    need = drawing_need.DrawingNeed(9.0, 11.0)

    assert drawing_need.require(need, gpu.hypothetical(24, 0.5)).endswith("23.5 GB free")
    assert drawing_need.require(need, gpu.hypothetical(11, 0.5)).endswith("10.5 GB free: it may run out")
    with pytest.raises(VramError, match="drawing needs"):
        drawing_need.require(need, gpu.hypothetical(8, 0.5))
