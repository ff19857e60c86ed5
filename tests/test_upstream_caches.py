"""The real sd-scripts trains on caches of another run and ends well; ours refuses them, and the hint helps."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from upstream_runs import RealRuns

from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.sdscripts import latent_caches
from sdxl_train_cli.sdscripts.checkpoint import read_header

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
ON_DISK: dict[str, Value | None] = {"cache_latents_to_disk": True, "enable_bucket": None}
LARGER: dict[str, Value | None] = {
    **ON_DISK, "resolution": "128,128", "min_bucket_reso": 64, "max_bucket_reso": 256
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("caches"))


@pytest.fixture
def pictures(real: RealRuns, tmp_path: Path) -> Path:
    return Path(shutil.copytree(real.material.pictures, tmp_path / "pictures"))


def shapes(pictures: Path, name: str = "latents") -> set[tuple[int, ...]]:
    """Shapes of the arrays of this name in all caches, whatever resolution stands in their keys."""
    read = [latent_caches.read(path).shapes.items() for path in pictures.glob("*_sdxl.npz")]
    return {shape for items in read for key, shape in items if re.fullmatch(rf"{name}(_\d+x\d+)?", key)}


def keeps_resolutions_apart(pictures: Path) -> bool:
    """Whether the keys name a resolution, as those of v0.11.1 do."""
    return all("latents" not in latent_caches.read(path).shapes for path in pictures.glob("*_sdxl.npz"))


def test_latents_of_64_pixels_are_not_trained_on_at_128(real: RealRuns, pictures: Path) -> None:
    model = real.material.model
    larger = real.prepare(real.choices("larger", model, pictures, LARGER))
    real.train(real.prepare(real.choices("smaller", model, pictures, ON_DISK)))
    assert shapes(pictures) == {(4, 8, 8)}

    bare = real.bare(larger)
    assert bare.returncode == 0, bare.stdout[-2000:]
    assert read_header(larger.run.result).shapes
    if keeps_resolutions_apart(pictures):  # then it made its own, and there is nothing to refuse
        assert shapes(pictures) == {(4, 8, 8), (4, 16, 16)}
        real.train(real.prepare(real.choices("again", model, pictures, LARGER)))
        return
    assert shapes(pictures) == {(4, 8, 8)}

    with pytest.raises(DatasetError, match="latents of 64x64 pixels, and this run needs 128x128") as caught:
        real.prepare(real.choices("again", model, pictures, LARGER))
    hint = shlex.split(str(caught.value.problems[0].hint))
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", *hint[1:], "--home", str(real.home)]
    assert subprocess.run(argv, check=False, cwd=real.folder).returncode == 0

    real.train(real.prepare(real.choices("again", model, pictures, LARGER)))
    assert shapes(pictures) == {(4, 16, 16)}


def test_a_mask_in_a_cache_is_not_trained_with_unasked(real: RealRuns, pictures: Path) -> None:
    """sd-scripts masks the loss wherever a cache holds a mask, though alpha_mask is off: another loss, and no word."""
    model, plain = real.material.model, Path(shutil.copytree(pictures, pictures.with_name("plain")))
    for picture in pictures.glob("*.png"):
        upstream_runs.make_half_transparent(picture)
    shutil.copytree(pictures, plain, dirs_exist_ok=True)
    unmasked = real.prepare(real.choices("unmasked", model, pictures, ON_DISK))
    real.train(real.prepare(real.choices("masked", model, pictures, {**ON_DISK, "alpha_mask": True})))
    assert shapes(pictures, "alpha_mask") == {(64, 64)}

    assert real.bare(unmasked).returncode == 0
    honest = real.train(real.prepare(real.choices("honest", model, plain, ON_DISK)))
    assert upstream_runs.logged_loss(unmasked) != pytest.approx(honest[0], rel=1e-3)

    with pytest.raises(DatasetError, match="hold masks, which sd-scripts would train with"):
        real.prepare(real.choices("refused", model, pictures, ON_DISK))
