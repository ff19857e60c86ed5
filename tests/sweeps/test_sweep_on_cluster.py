"""Sweeps that are handed to a cluster. Slurm's commands are scripts that print what it would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm_commands
from conftest import Result, own_home, write_pictures

from sdxl_train_cli import process
from sdxl_train_cli.cluster import batch, overview
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.task_folder import TaskEnd
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.sweeps import axes, shared_caches
from sdxl_train_cli.sweeps.axes import Axis, Range
from sdxl_train_cli.sweeps.store import Sweeps

GRID = ["--set", "learning_rate=5e-5,1e-4", "--set", "network_dim=4,8"]
Run = Callable[..., Result]
pytestmark = pytest.mark.skipif(process.WINDOWS, reason="Slurm's commands are shell scripts")


@pytest.fixture
def own(tmp_path: Path, home: Path) -> Path:
    """A home of the test's own, with the stand-in installed."""
    return own_home(tmp_path / "home", home)


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make a command of Slurm that runs this shell code."""
    write = slurm_commands.on_path(tmp_path, monkeypatch)
    write("sacct", "exit 1")
    write("scontrol", "exit 1")
    write("sbatch", "echo 12")
    return write


@pytest.fixture
def run(main: Run, own: Path, monkeypatch: pytest.MonkeyPatch, say: Callable[[str, str], None]) -> Run:
    """`sdxl-train` in this process, on a cluster whose nodes have a GPU of 24 GB."""
    say("squeue", "true")
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(own))
    monkeypatch.setenv("SDXL_TRAIN_CONFIG", str(own.parent / "config"))
    file = Path(main("cluster", "init", "--home", own, "--no-check").stdout.strip())
    file.write_text(f'{file.read_text(encoding="utf-8")}gpu_memory: "24"\n', encoding="utf-8")
    return main


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    return ["lora", "--model", str(model), "--data", str(pictures), "--name", "cat", "--steps", "8", "--on", "slurm"]


def tokens(own: Path) -> list[str]:
    return [point.token for point in Sweeps(own / "sweeps").require("cat").points]


def points(run: Run) -> list[tuple[str, str | None, str | None]]:
    """State, what it waits for, and cause of each."""
    shown = json.loads(run("sweep", "show", "cat", "--json").stdout)
    return [(point["state"], point["waits_for"], point["cause"]) for point in shown["points"]]


def test_all_points_are_one_array_and_are_found_again_by_token(
    run: Run, own: Path, line: list[str], say: Callable[[str, str], None]
) -> None:
    made = run("sweep", *line, *GRID, "--at-once", 2)

    assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
    assert "each run makes its own: on a cluster none waits for another" in made.stderr
    assert "queue start" not in made.stderr
    assert Queue(own / "queue").jobs() == []
    (array,) = batch.all_in(own / "cluster")
    assert "#SBATCH --array=0-3%2" in array.script.read_text(encoding="utf-8")
    assert [task.token for task in array.tasks()] == tokens(own)
    inputs = [json.loads(task.kept.record)["inputs"] for task in array.tasks()]
    assert all(one.get("check_vram", True) for one in inputs)  # the node checks again, against its own GPU

    array.task(0).note_end(TaskEnd(JobState.DONE, 0))
    array.task(1).note_end(TaskEnd(JobState.FAILED, 7, "no pictures"))
    say("squeue", "echo '12_2|RUNNING|None|n7'; echo '12_3|PENDING|Priority|'")
    assert points(run) == [
        ("done", None, None), ("failed", None, "no pictures"), ("running", None, None), ("pending", "Priority", None),
    ]  # fmt: skip
    told = run("sweep", "show", "cat").stdout
    assert ("running on n7" in told, "pending (Priority)" in told) == (True, True)
    listed = json.loads(run("sweep", "list", "--json").stdout)
    assert listed[0]["states"] == {"done": 1, "failed": 1, "running": 1, "pending": 1}
    assert run("sweep", "rm", "cat").code == 2

    say("scancel", f'echo "$@" > {own}/cancelled')
    stopped = run("sweep", "stop", "cat", "--json")
    assert json.loads(stopped.stdout) == {
        "sweep": "cat",
        "removed": [],
        "stopping": [],
        "cancelled": ["12_2", "12_3"],
    }
    assert (own / "cancelled").read_text(encoding="utf-8") == "12\n"
    assert "cancelled 1 that waited and 1 that ran" in stopped.stderr
    assert "sdxl-train cluster retry 12" in stopped.stderr
    say("squeue", "true")
    assert run("sweep", "rm", "cat").code == 0
    assert len(overview.views(own / "cluster")) == 4


def test_where_slurm_refuses_nothing_is_left(
    run: Run, own: Path, line: list[str], say: Callable[[str, str], None]
) -> None:
    say("sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1")

    refused = run("sweep", *line, *GRID)

    assert (refused.code, "invalid partition" in refused.stderr) == (2, True), refused.stderr
    assert (Sweeps(own / "sweeps").all(), list((own / "cluster").iterdir())) == ([], [])


def test_a_stop_says_that_slurm_does_not_answer(run: Run, line: list[str], say: Callable[[str, str], None]) -> None:
    assert run("sweep", *line, *GRID).code == 0
    say("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")

    assert {state for state, _, _ in points(run)} == {"unknown"}
    assert run("sweep", "stop", "cat").code == 2


def test_a_dry_run_shows_the_script_and_submits_nothing(run: Run, own: Path, line: list[str]) -> None:
    shown = run("sweep", *line, *GRID, "--dry-run", "--gpus", 2, "--nodes", 2)

    assert shown.code == 0, shown.stderr
    options = [text.removeprefix("#SBATCH ") for text in shown.stdout.splitlines() if text.startswith("#SBATCH")]
    assert {"--array=0-3", "--gres=gpu:2", "--nodes=2"} <= set(options)
    assert (Sweeps(own / "sweeps").all(), (own / "cluster").exists()) == ([], False)


@pytest.mark.parametrize(
    "case",
    [
        (["sweep", "--search", "4", "--validate", "--at-once", "4"], "--at-once 3, or --random 4 in place of --search"),
        (["sweep", "--search", "3"], "add --validate"),
        (["sweep", "--gpu", "0"], "leave out --gpu"),
        (["sweep", "--gpu", "0,1"], "give --gpus 2 in its place"),
        (["sweep", "--set", "cache_latents_to_disk=true"], "--set cache_latents_to_disk=null, or --at-once 1"),
        (["queue", "add"], "sdxl-train lora --on slurm"),
        (["queue", "add", "--nodes", "2"], "sdxl-train lora --on slurm --nodes 2"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_with_what_can(
    run: Run, own: Path, line: list[str], case: tuple[list[str], str]
) -> None:
    (group, *more), hint = case
    words = more if group == "queue" else [*more, *GRID]
    start = [group, words.pop(0)] if group == "queue" else [group]

    refused = run(*start, *line, *words)

    assert (refused.code, hint in refused.stderr) == (2, True), refused.stderr
    assert (Sweeps(own / "sweeps").all(), Queue(own / "queue").jobs(), (own / "cluster").exists()) == ([], [], False)


@pytest.mark.parametrize(
    "more",
    [
        ["--random", "4"],
        ["--search", "4", "--validate", "--at-once", "3"],
        ["--set", "cache_latents_to_disk=null"],
        ["--set", "cache_latents_to_disk=true", "--at-once", "1"],
        ["--gpus", "2"],
    ],
)
def test_what_the_refusals_offer_works(run: Run, line: list[str], more: list[str]) -> None:
    done = run("sweep", *line, *GRID, *more, "--dry-run")

    assert (done.code, "#SBATCH --array=0-3" in done.stdout) == (0, True), done.stderr


def test_every_point_has_to_fit_into_a_nodes_gpu(run: Run, own: Path, line: list[str]) -> None:
    file = own.parent / "config" / "cluster.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace('"24"', '"4"'), encoding="utf-8")

    refused = run("sweep", *line, *GRID)

    assert refused.code == 6, refused.stderr
    assert (Sweeps(own / "sweeps").all(), (own / "cluster").exists()) == ([], False)


def test_a_limit_at_once_is_for_a_cluster(run: Run, line: list[str]) -> None:
    here = run("sweep", *line[:-2], *GRID, "--at-once", 2)

    assert (here.code, "--on slurm --at-once 2" in here.stderr) == (2, True), here.stderr
    assert run("sweep", *line, *GRID, "--at-once", 2, "--dry-run").code == 0


def test_several_gpus_that_nobody_knows_are_left_to_the_node(run: Run, own: Path, line: list[str]) -> None:
    file = own.parent / "config" / "cluster.yaml"
    file.write_text(f'home: "{own}"\n', encoding="utf-8")

    shown = run(*line, "--gpus", 2, "--dry-run")

    assert (shown.code, "#SBATCH --gres=gpu:2" in shown.stdout) == (0, True), shown.stderr
    assert "checked on the node alone" in shown.stderr


def recipe(**settings: object) -> Recipe:
    kept = {name: Setting(value=value, origin=Origin("preset")) for name, value in settings.items()}
    return Recipe(kind=Kind.LORA, name="x", description="", settings=kept)


def test_caches_on_disk_become_caches_in_ram_where_runs_begin_together() -> None:
    on_disk = recipe(cache_latents=True, cache_latents_to_disk=True)

    apart = shared_caches.keep_apart(on_disk, (), ())

    assert [(one.option, one.value) for one in apart.overrides] == [
        ("cache_latents_to_disk", None), ("cache_latents", True),
    ]  # fmt: skip
    assert not apart.are_shared
    assert shared_caches.keep_apart(recipe(cache_latents=True), (), ()).overrides == ()
    typed = [Override("cache_latents_to_disk", True, Origin("--set"))]
    with pytest.raises(UsageError, match="would write the same files"):
        shared_caches.keep_apart(on_disk, (), typed)


def test_a_submission_that_was_cut_off_keeps_its_sweeps_name(run: Run, own: Path, line: list[str]) -> None:
    assert run("sweep", *line, *GRID).code == 0
    sweeps = Sweeps(own / "sweeps")
    sweeps.change("cat", lambda one: one.model_copy(update={"is_queued": False}))

    assert run("sweep", *line, *GRID).stdout == "cat-2\n"
    assert tokens(own) == [task.token for task in min(batch.all_in(own / "cluster"), key=_age).tasks()]


def _age(one: Batch) -> float:
    return one.script.stat().st_mtime_ns


SEARCH = ["--validate", "--set", "learning_rate=1e-5..1e-3", "--search", 6]


@pytest.fixture
def searched(line: list[str], tmp_path: Path) -> list[object]:
    return [*line, "--data", write_pictures(tmp_path / "many", 16), "--steps", 4, *SEARCH]


def test_a_search_is_one_array_whose_elements_choose_as_they_start(
    run: Run, own: Path, searched: list[object], say: Callable[[str, str], None]
) -> None:
    made = run("sweep", *searched, "--no-vram-check")

    assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
    assert "6 runs, 24 steps in all" in made.stderr
    assert "3 at a time; each later point follows from those that have ended by then" in made.stderr
    (array,) = batch.all_in(own / "cluster")
    assert "#SBATCH --array=0-5%3" in array.script.read_text(encoding="utf-8")
    assert [task.token for task in array.tasks()] == tokens(own)
    say("squeue", "echo '12_0|RUNNING|None|n7'; for n in 1 2 3 4 5; do echo \"12_$n|PENDING|JobArrayTaskLimit|\"; done")
    listed = json.loads(run("sweep", "list", "--json").stdout)
    assert (listed[0]["count"], listed[0]["states"]) == (6, {"running": 1, "pending": 5})

    for element in (0, 4):
        done = run("cluster", "run", array.folder, element)
        assert done.code == 0, done.stderr
        assert run("cluster", "run", array.folder, element).code == 0  # started again, it keeps its point

    shown = json.loads(run("sweep", "show", "cat", "--json").stdout)
    first, *_, late, last = shown["points"]
    (drawn,) = axes.at_random([Axis("learning_rate", range=Range(1e-5, 1e-3, is_whole=False))], 1)
    assert (first["settings"], first["state"], first["name"]) == (drawn, "done", f"cat-lr{drawn['learning_rate']}")
    assert (late["state"], Path(late["run"]).name) == ("done", f"cat-lr{late['settings']['learning_rate']}")
    assert (last["name"], last["settings"], last["waits_for"]) == ("cat-6", {}, "JobArrayTaskLimit")
    table = run("sweep", "show", "cat", "--to", own / "page.html")
    assert "pending (JobArrayTaskLimit)" in table.stdout
    assert "4 points of 6 still to come" in table.stderr
    assert (own / "page.html").stat().st_size > 10_000
    assert "cat-6" in run("cluster", "list").stdout

    say("scancel", "true")
    assert "cancelled 4 that waited and 0 that ran" in run("sweep", "stop", "cat").stderr
    say("squeue", "true")
    assert run("cluster", "retry", "12_5").stdout == "12\n"
    assert run("cluster", "run", array.folder, 5).code == 0  # a stop is no end of the search: it was let go on
    assert run("sweep", "rm", "cat").code == 0


def test_a_search_above_what_an_array_may_have_is_told_and_split(
    run: Run, own: Path, searched: list[object], say: Callable[[str, str], None]
) -> None:
    say("scontrol", "echo 'MaxArraySize            = 4'")

    shown = run("sweep", *searched, "--dry-run", "--json")
    assert [text.count("#!/bin/bash") for text in json.loads(shown.stdout)["scripts"]] == [1, 1]
    made = run("sweep", *searched)

    assert made.code == 0, made.stderr
    assert "2 arrays, as Slurm limits their length here; each starts when the one before has ended" in made.stderr
    arrays = batch.all_in(own / "cluster")
    assert [task.token for one in arrays for task in one.tasks()] == tokens(own)
    assert [task.search for one in arrays for task in one.tasks()] == ["cat"] * 6


def test_a_search_whose_sweep_was_forgotten_trains_no_other_point(run: Run, own: Path, searched: list[object]) -> None:
    assert run("sweep", *searched).code == 0
    Sweeps(own / "sweeps").remove("cat")
    (array,) = batch.all_in(own / "cluster")

    done = run("cluster", "run", array.folder, 0)

    assert (done.code, "no sweep 'cat'" in done.stderr) == (2, True), done.stderr
    assert array.task(0).end == TaskEnd(JobState.FAILED, 2, "no sweep 'cat'")
    assert array.task(0).run is None
