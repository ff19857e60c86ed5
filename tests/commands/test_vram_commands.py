"""`vram` and `plan`, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result, write_pictures
from measured_runs import CARD, record

from sdxl_train_cli import gpu
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements

SIZES = (6, 8, 10, 12, 16, 24, 48, 80)


def test_the_table_has_25_measured_cells_and_55_with_a_range(cli: Cli) -> None:
    rows = json.loads(cli("vram", "--json").stdout)
    cells = [cell for row in rows for cell in row["cells"].values()]

    assert len(rows) == 16
    assert sum(cell["source"] == "measured" for cell in cells) == 25
    assert all(cell["low_gib"] < cell["high_gib"] for cell in cells if cell["source"] == "estimated")
    assert rows[4]["cells"]["1"] == {"source": "measured", "gib": 9.4}


def test_the_table_comes_as_csv_too(cli: Cli) -> None:
    lines = list(csv.DictReader(io.StringIO(cli("vram", "--csv").stdout)))

    assert len(lines) == 80
    assert {line["source"] for line in lines} == {"measured", "estimated"}


def test_what_is_too_large_for_the_card_is_marked(cli: Cli) -> None:
    shown = cli("vram", "--gpu-memory", "12")
    row = next(line for line in shown.stdout.splitlines() if line.startswith("LoRA 32, gc"))

    assert "(13.1)" in row
    assert " 9.4 " in row
    assert "in parentheses: more than the 11.5 GB free on a GPU of 12 GB" in shown.stderr


def test_nothing_is_marked_where_all_of_it_fits_or_no_card_is_known(cli: Cli) -> None:
    large, none = cli("vram", "--gpu-memory", "256"), cli("vram")

    assert "(" not in large.stdout
    assert "everything fits into the 255.5 GB" in large.stderr
    assert "(" not in none.stdout
    assert "GB free on" not in none.stderr


def test_a_plan_tells_what_has_to_be_installed_first(
    main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "LyCORIS is not installed, and this plan's LoHa or LoKr needs it"
    assert told not in main("plan", "--gpu-memory", "8").stderr

    monkeypatch.setattr(Environment, "has", lambda _self, _extra: False)
    monkeypatch.setattr(Environment, "networks", frozenset())
    planned, network = main("plan", "--gpu-memory", "8"), main("plan", "--gpu-memory", "8", "--kind", "lora")

    assert told in planned.stderr
    assert "sdxl-train setup --extra lycoris" in planned.stderr
    assert "not installed" not in network.stderr


@pytest.mark.parametrize("size", SIZES)
def test_every_planned_command_passes_a_dry_run_on_that_card(
    main: Callable[..., Result], size: int, pictures: Path, model: Path
) -> None:
    planned = json.loads(main("plan", "--gpu-memory", str(size), "--data", str(pictures), "--json").stdout)

    assert planned
    for offer in planned:
        words = shlex.split(offer["command"])
        assert words[0] == "sdxl-train"
        result = main(*words[1:], "--model", str(model), "--dry-run", "--gpu-memory", str(size))
        assert result.code == 0, (offer["command"], result.stderr)


def test_where_a_kind_does_not_fit_one_that_does_is_named(cli: Cli) -> None:
    """`plan --kind dreambooth --gpu-memory 8` said that the smallest runs need 5 GB, which no Dreambooth does."""
    large, none = (
        cli("plan", "--kind", "dreambooth", "--gpu-memory", "8"),
        cli("plan", "--kind", "lora", "--gpu-memory", "3"),
    )

    assert (large.code, none.code) == (6, 6)
    assert "no Dreambooth fits into 7.5 GB" in large.stderr
    assert "a LoRA does: --kind lora" in large.stderr
    assert "no LoRA fits into 2.5 GB" in none.stderr
    assert "the smallest runs need about 5 GB" in none.stderr


def test_the_help_of_dreambooth_names_the_cards_that_it_fits(cli: Cli, pictures: Path, model: Path) -> None:
    def code(card: int, *words: str) -> int:
        line = ("dreambooth", "--data", str(pictures), "--model", str(model), "--dry-run", "--gpu-memory", str(card))
        return cli(*line, *words).code

    told = " ".join(cli("dreambooth", "--help").stdout.split())

    assert "24 GB of VRAM and up" in told
    assert "With 24 GB the preset gc fits if little else is on the card" in told
    assert "24 GB of VRAM and up." in cli("--help").stdout
    assert (code(24), code(22), code(22, "--set", "fused_backward_pass=true")) == (0, 6, 0)


def test_a_larger_card_is_offered_at_least_as_large_batches(cli: Cli) -> None:
    def largest(size: int) -> int:
        offers = json.loads(cli("plan", "--kind", "lora", "--gpu-memory", str(size), "--json").stdout)
        return max(offer["batch_size"] for offer in offers)

    assert [largest(size) for size in SIZES] == sorted(largest(size) for size in SIZES)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plan", "--gpu-memory", "-3"), 2),
        (("plan", "--gpu-memory", "nan"), 2),
        (("plan", "--gpu-memory", "0"), 2),
        (("plan", "--gpu-memory", "8", "--kind", "dylora"), 2),
        (("plan", "--gpu-memory", "8", "--resolution", "0"), 2),
        (("plan", "--gpu-memory", "3"), 6),
        (("plan",), 6),
        (("vram", "--gpu-memory", "0.1"), 2),
    ],
)
def test_what_makes_no_sense_is_one_line(cli: Cli, words: tuple[str, ...], code: int) -> None:
    result = cli(*words)

    assert result.code == code
    assert "Traceback" not in result.stderr


def test_a_real_run_is_not_started_on_an_imagined_gpu(cli: Cli, pictures: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "never"
    result = cli("lora", "--data", str(pictures), "--model", str(model), "--gpu-memory", "24", "--output", str(output))

    assert result.code == 2
    assert "--dry-run" in result.stderr
    assert not output.exists()


def test_of_several_gpus_the_freest_is_named_and_its_headroom_is_measured(main: Callable[..., Result]) -> None:
    fake = (Gpu(0, "card 0", 24.0, 3.0, (8, 6), ""), Gpu(1, "card 1", 12.0, 11.0, (8, 6), ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "devices", lambda: fake)
        shown = main("vram", "--headroom", "2")
        planned = main("plan", "--kind", "lora")

    assert "of 2 GPUs, this is for the one with the most free memory: 1, card 1" in shown.stderr
    assert "--headroom is not needed: card 1 has 11.0 GB free" in shown.stderr
    assert "in parentheses: more than the 11.0 GB free on card 1" in shown.stderr
    assert "11.0 GB free on card 1" in planned.stderr


def test_an_imagined_gpu_has_the_headroom_that_is_said(cli: Cli) -> None:
    assert "10.0 GB free on a GPU of 12 GB" in cli("vram", "--gpu-memory", "12", "--headroom", "2").stderr
    assert "11.5 GB free on" in cli("vram", "--gpu-memory", "12").stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("vram", "--gpu-memory", "-8"), "takes a size in GB, not '-8'"),
        (("vram", "--gpu-memory", "inf"), "takes a size in GB, not 'inf'"),
        (("vram", "--gpu-memory", "8192"), "no GPU of 8192 GB"),
        (("plan", "--gpu-memory", "nan"), "takes a size in GB, not 'nan'"),
        (("plan", "--gpu-memory", "8", "--headroom", "9"), "nothing left"),
        (("plan", "--gpu-memory", "8", "--headroom", "-1"), "--headroom"),
        (("plan", "--gpu-memory", "8", "--headroom", "nan"), "--headroom"),
        (("lora", "--data", ".", "--dry-run", "--batch-size", "0"), "--batch-size"),
        (("vram", "--merge", "nowhere.csv"), "nowhere.csv can't be read"),
        (("vram", "--export", "/dev/null/where.csv"), "/dev/null/where.csv can't be written"),
    ],
)
def test_a_size_that_can_not_be_is_told(cli: Cli, words: tuple[str, ...], told: str) -> None:
    result = cli(*words)

    assert result.code == 2, result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_a_batch_of_0_and_an_unknown_optimizer_are_told_by_the_dry_run(cli: Cli, pictures: Path, model: Path) -> None:
    line = ["lora", "--data", str(pictures), "--model", str(model), "--dry-run", "--gpu-memory", "24"]

    zero = cli(*line, "--set", "train_batch_size=0")
    unknown = cli(*line, "--set", "optimizer_type=Nope")
    theirs = cli(*line, "--set", "optimizer_type=some.package.Optimizer")

    assert (zero.code, unknown.code, theirs.code) == (3, 3, 0)
    assert "train_batch_size" in zero.stderr
    assert "no such optimizer_type" in unknown.stderr


@pytest.fixture
def own(tmp_path: Path, cli: Cli) -> Home:
    """A home with two records, the one of a batch that was never full."""
    place = Home(tmp_path / "mine")
    measurements.add(place, record(), record(batch_size=4, together=3, peak_gib=8.9))
    cli.environ["SDXL_TRAIN_HOME"] = str(place.path)
    return place


def test_own_measurements_stand_beside_what_the_estimate_says_of_them(cli: Cli, own: Home) -> None:
    shown = cli("vram", "--mine")
    mine = json.loads(cli("vram", "--mine", "--json").stdout)["mine"]
    lines = shown.stdout.splitlines()

    assert own.measurements.is_file()
    assert shown.code == 0, shown.stderr
    assert lines[0].startswith("settings")
    first, second = (line for line in lines if line.startswith("LoRA 32, gc, adamw8bit"))
    assert first.split("  ")[-1].strip() == "2026-11-20"
    assert " 7.30 " in first
    assert " 3 of 4 " in second
    assert mine[0]["low_gib"] < mine[0]["peak_gib"] < mine[0]["high_gib"]
    assert mine[0]["error_percent"] == pytest.approx(100 * (7.25 / 7.3 - 1), abs=4)


@pytest.fixture
def here(main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    """`sdxl-train` where the card is and runs of batch 1 and 2 were measured, the larger far below its estimate."""
    free = Gpu(0, CARD.name, 12.0, 9.0, (8, 9), "550.54.14")
    monkeypatch.setattr(gpu, "devices", lambda: (free,))
    measurements.add(
        Home(tmp_path / "mine"),
        *(record(batch_size=size, together=size, width=1024, height=1024, peak_gib=gib)
          for size, gib in ((1, 7.3), (2, 7.9), (4, 8.8))),
    )  # fmt: skip
    return main


def test_a_plan_goes_by_the_runs_that_were_measured_here(here: Callable[..., Result], tmp_path: Path) -> None:
    asked = ("plan", "--kind", "lora", "--home", tmp_path / "mine")
    offers = {offer["preset"]: offer for offer in json.loads(here(*asked, "--json").stdout)}
    told = here(*asked).stderr

    assert offers["dim32-gc"]["batch_size"] == 4
    assert offers["dim32-gc"]["need"] == {
        "source": "measured", "gib": 8.8, "by": "measured on this machine on 2026-11-20 with sd-scripts v0.10.1",
    }  # fmt: skip
    elsewhere = {offer["need"]["by"] for name, offer in offers.items() if name != "dim32-gc"}
    assert not any("this machine" in source for source in elsewhere)
    assert any("H100" in source for source in elsewhere), "measured on another card, with this one's context"
    assert "8.8 GB (measured on this machine on 2026-11-20" in told


def test_a_plan_takes_the_fastest_of_what_was_measured_here(here: Callable[..., Result], tmp_path: Path) -> None:
    slow = {"batch_size": 4, "together": 4, "peak_gib": 8.8, "seconds_per_step": 9.0}
    fast = {"batch_size": 2, "together": 2, "peak_gib": 8.0, "seconds_per_step": 0.5, "fast": True}
    measurements.add(Home(tmp_path / "mine"), *(record(width=1024, height=1024, **one) for one in (slow, fast)))
    asked = ("plan", "--kind", "lora", "--home", tmp_path / "mine")

    offers = {offer["preset"]: offer for offer in json.loads(here(*asked, "--json").stdout)}

    assert offers["dim32-gc"]["command"] == "sdxl-train lora --preset dim32-gc --batch-size 2 --fast"
    assert offers["dim32-gc"]["pictures_per_second"] == 4.0
    assert "trained 4.00 pictures a second on this GPU" in here(*asked).stderr


def test_a_plan_for_pictures_goes_by_runs_with_pictures_as_large(here: Callable[..., Result], tmp_path: Path) -> None:
    asked = ("plan", "--kind", "lora", "--home", tmp_path / "mine", "--data")
    few, gone = write_pictures(tmp_path / "few", 1), tmp_path / "gone"
    batches = {offer["preset"]: offer["batch_size"] for offer in json.loads(here(*asked, few, "--json").stdout)}

    assert batches["dim32-gc"] == 1  # a batch of one picture is all that there is: no record speaks of more
    assert "planned without checking the pictures" in here(*asked, gone).stderr


def test_a_plan_for_another_card_goes_by_no_run_of_this_one(here: Callable[..., Result], tmp_path: Path) -> None:
    planned = json.loads(
        here("plan", "--gpu-memory", "10", "--kind", "lora", "--home", tmp_path / "mine", "--json").stdout
    )

    assert not any("this machine" in offer["need"]["by"] for offer in planned)


def test_without_a_record_the_way_to_one_is_told(cli: Cli) -> None:
    shown = cli("vram", "--mine")

    assert shown.code == 0
    assert "`sdxl-train fit` measures right away" in shown.stderr
    assert json.loads(cli("vram", "--mine", "--json").stdout)["mine"] == []


def test_records_go_from_one_machine_to_another_and_back_without_growing(cli: Cli, own: Home, tmp_path: Path) -> None:
    exported = cli("vram", "--export", "runs.csv")
    printed = cli("vram", "--export", "-")
    there = ["--home", str(tmp_path / "theirs")]
    first, second = cli("vram", "--merge", "runs.csv", *there), cli("vram", "--merge", "runs.csv", *there)
    back = cli("vram", "--merge", "runs.csv")
    shown = cli("vram", "--mine", *there)

    assert exported.path == Path("runs.csv")
    assert printed.stdout == (tmp_path / "runs.csv").read_text(encoding="utf-8")
    assert "2 measured runs added" in first.stderr
    assert "0 measured runs added" in second.stderr
    assert "0 measured runs added" in back.stderr
    assert shown.stdout.count("2026-11-20, elsewhere") == 2
    assert "0 measured runs written" in cli("vram", "--export", "again.csv", *there).stderr
    assert len(measurements.load(own)[0]) == 2


def test_a_csv_with_a_wrong_row_is_not_taken_at_all(cli: Cli, own: Home, tmp_path: Path) -> None:
    cli("vram", "--export", "runs.csv")
    text = (tmp_path / "runs.csv").read_text(encoding="utf-8")
    (tmp_path / "runs.csv").write_text(text.replace("8.9", "890"), encoding="utf-8")

    result = cli("vram", "--merge", "runs.csv", "--home", str(tmp_path / "theirs"))

    assert result.code == 2
    assert "runs.csv:3: " in result.stderr
    assert "a peak of 890 GB on a GPU of 12" in result.stderr
    assert not (tmp_path / "theirs" / "measurements.jsonl").exists()
    assert own.path.is_dir()


def test_a_plan_warns_of_its_presets_as_a_start_would(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "config" / "presets" / "lora" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("extends: dim32-gc\ndescription: mine\nnetwork_dim: 96\nclip_skip: 2\n", encoding="utf-8")

    told = cli("plan", "--gpu-memory", "24", "--kind", "lora")
    listed = json.loads(cli("plan", "--gpu-memory", "24", "--kind", "lora", "--json").stdout)

    assert "clip_skip does nothing in SDXL training" in told.stderr
    (mine,) = [offer for offer in listed if offer["preset"] == "mine"]
    assert [text.rpartition(": ")[2] for text in mine["warnings"]] == ["clip_skip does nothing in SDXL training"]


def test_a_plan_offers_no_preset_that_breaks_a_rule(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "config" / "presets" / "lora" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("extends: dim32-gc\ndescription: mine\nshuffle_caption: true\n", encoding="utf-8")

    assert "mine" not in cli("plan", "--gpu-memory", "24", "--kind", "lora").stdout
