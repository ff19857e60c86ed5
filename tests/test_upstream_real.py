"""The real sd-scripts and LyCORIS: setup, every preset against the real parser, all smokes, a stop in the middle."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import upstream_source

from sdxl_train_cli import gpu
from sdxl_train_cli.environment import environment, upstream
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.importers import option_translation
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.sdscripts import checkpoint, optimizer, shipped
from sdxl_train_cli.sdscripts.options import OptionTable

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import ship_options

SOURCE = upstream_source.find()
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"),
]
PRESETS = [(kind, name) for kind in Kind for name in presets.names(kind)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in."""
    return tmp_path_factory.mktemp("real мир [1]")


@pytest.fixture(scope="module")
def smoked(place: Path) -> Path:
    """The output of one smoke of all kinds, its material kept."""
    result = sdxl_train(place, "smoke", "--kind", "all", "--keep", "--output", str(place / "smoke"))
    assert result.returncode == 0, result.stderr
    assert "LoRA: 722 U-Net modules" in result.stderr
    assert "LoCon: 788 U-Net modules" in result.stderr
    kinds = [Path(line).stem for line in result.stdout.splitlines()]
    assert "LoHa: 722 U-Net modules" in result.stderr
    assert "LoKr: 722 U-Net modules" in result.stderr
    assert "embedding: 8 vectors" in result.stderr
    assert kinds == ["smoke-lora", "smoke-locon", "smoke-loha", "smoke-lokr", "smoke-dreambooth", "smoke-embedding"]
    return place / "smoke"


def variables(folder: Path) -> dict[str, str]:
    return {**os.environ, "SDXL_TRAIN_HOME": str(upstream_source.home()), "SDXL_TRAIN_CONFIG": str(folder / "config")}


def sdxl_train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", *arguments]
    return subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", cwd=folder, env=variables(folder))


def real_run(smoked: Path, *arguments: str) -> list[str]:
    """The arguments of a run on the smoke's model and pictures."""
    material = smoked / "material"
    return ["--model", str(material / "model.safetensors"), "--data", str(material / "pictures"),
            "--output", str(smoked.parent / "runs"), "--no-vram-check", *arguments]  # fmt: skip


def test_a_second_setup_has_nothing_to_do(place: Path) -> None:
    environments = upstream_source.home() / "environments"
    before = sorted(environments.iterdir())
    result = sdxl_train(place, "setup", "--json", "--source", str(SOURCE))
    assert result.returncode == 0
    lock = json.loads(result.stdout)
    assert len(lock["commit"]) == 40
    assert lock["packages"]["lycoris-lora"] == "3.2.0.post2"
    assert "installing" not in result.stderr
    assert sorted(environments.iterdir()) == before


@pytest.mark.parametrize("shipped_file", sorted(shipped.RELEASES.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_table_is_what_that_release_says(tmp_path: Path, shipped_file: Path) -> None:
    commit = json.loads(shipped_file.read_text(encoding="utf-8"))["commit"]
    try:
        checkout = upstream.create(tmp_path / "sd-scripts", str(SOURCE), commit)
    except SetupError as error:
        pytest.skip(f"this source has no {shipped_file.stem}: {error}")
    python = environment.require(Home(upstream_source.home())).python
    optimizers = [f"{name}={path}" for name, path in optimizer.ASKED.items()]
    argv = [str(python), str(environment.INSIDE / "flags.py"), *optimizers]
    ran = subprocess.run(argv, check=True, capture_output=True, encoding="utf-8", cwd=checkout.folder)
    asked = OptionTable.model_validate_json(ran.stdout)

    assert ship_options.text(asked, commit) == shipped_file.read_text(encoding="utf-8")
    assert "lr" not in str(asked.optimizers["prodigy"])


def test_what_measures_cudas_context_trains_a_layer_and_waits_to_be_let_go() -> None:
    """On the processor, which has no context: nothing is reserved there, and no GPU is found."""
    installed = environment.require(Home(upstream_source.home()))
    argv = [str(installed.python), str(environment.INSIDE / "probe_context.py")]
    with subprocess.Popen([*argv, "--hold", "cpu"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == "0\n"
        assert held.poll() is None, "it waits"
        held.communicate()
    assert held.returncode == 0
    if not gpu.devices():
        assert environment.run_script(installed, "probe_context.py") == {"contexts_gib": {}}


def test_all_kinds_train_and_their_files_are_examined(smoked: Path) -> None:
    record = json.loads((smoked / "smoke-lora" / "run.json").read_text(encoding="utf-8"))
    assert record["preset"] == "dim32-gc"
    assert json.loads((smoked / "smoke-lora" / "outcome.json").read_text(encoding="utf-8"))["outcome"] == "done"


@pytest.mark.slow
@pytest.mark.skipif(bool(gpu.devices()), reason="measures the GPU instead, which needs a full-size model")
def test_fit_takes_real_steps_and_without_a_gpu_says_what_it_measures(place: Path) -> None:
    result = sdxl_train(place, "fit", "--max-batch", "1", "--json")
    assert result.returncode == 0, result.stderr
    facts = json.loads(result.stdout)
    assert {(one["gradient_checkpointing"], one["fast"]) for one in facts["tried"]} == {
        (True, False), (False, True), (True, True)
    }  # fmt: skip
    for one in facts["tried"]:
        assert one["fits"]
        assert one["resident_gib"] > 1
        assert one["pictures_per_second"] > 0
    assert "not GPU memory" in facts["measures"]


@pytest.mark.parametrize("kind", ["lora", "locon"])
def test_a_trained_network_imports_to_the_preset_that_made_it(smoked: Path, kind: str) -> None:
    run = smoked / f"smoke-{kind}"
    imported = sdxl_train(
        smoked.parent, "presets", "import", "--report", "json", str(run / f"smoke-{kind}.safetensors")
    )
    assert imported.returncode == 0, imported.stderr
    (report,) = json.loads(imported.stdout)
    assert not [key for key in report["keys"] if key["what"] == "not understood"]
    assert (report["kind"], report["extends"]) == (kind, run_choices.DEFAULT_PRESETS[Kind(kind)])

    made_by = {
        name: setting["value"]
        for name, setting in json.loads((run / "run.json").read_text("utf-8"))["settings"].items()
    }
    shown = sdxl_train(smoked.parent, "presets", "show", "--json", report["preset"])
    found = {name: setting["value"] for name, setting in json.loads(shown.stdout)["settings"].items()}
    recorded = {key["option"] for key in report["keys"] if key["option"]} | report["options"].keys()
    assert len(recorded) > 40
    for option in recorded:
        one, other = (
            tuple(value) if isinstance(value := given.get(option), list) else value for given in (found, made_by)
        )
        assert option_translation.means_same(one, other) or (
            option_translation.is_off(option, one) and option_translation.is_off(option, other)
        ), option


@pytest.fixture(scope="module")
def dry_runs(smoked: Path) -> dict[str, list[str]]:
    """The command line of every preset, by KIND-NAME."""
    found = {}
    for kind, name in PRESETS:
        word = ["--trigger", "mychar"] if kind is Kind.EMBEDDING else []
        result = sdxl_train(smoked.parent, kind.value, "--preset", name, "--dry-run", *word, *real_run(smoked))
        assert result.returncode == 0, result.stderr
        found[f"{kind.value}-{name}"] = shlex.split(result.stdout)
    return found


@pytest.fixture(scope="module")
def verdicts(dry_runs: dict[str, list[str]]) -> dict[str, str]:
    """What sd-scripts' own parsers say of each command line: `ok`, or the exit code; importing them takes seconds."""
    python = next(iter(dry_runs.values()))[0]
    parsed = subprocess.run(
        [python, "-c", PARSE], check=True, input=json.dumps(dry_runs), capture_output=True, encoding="utf-8"
    )
    verdicts: dict[str, str] = json.loads(parsed.stdout)
    return verdicts


PARSE = """
import contextlib, importlib, json, os, sys
given, verdicts = json.load(sys.stdin), {}
with contextlib.redirect_stdout(sys.stderr):
    for name, words in given.items():
        index = next(index for index, word in enumerate(words) if os.path.basename(word).startswith("sdxl_train"))
        os.chdir(os.path.dirname(words[index]))
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(os.path.basename(words[index]).removesuffix(".py"))
        try:
            module.setup_parser().parse_args(words[index + 1:])
            verdicts[name] = "ok"
        except SystemExit as stop:
            verdicts[name] = str(stop.code)
print(json.dumps(verdicts))
"""


@pytest.mark.parametrize("preset", [f"{kind.value}-{name}" for kind, name in PRESETS])
def test_every_flag_of_a_preset_is_known_to_the_real_parser(verdicts: dict[str, str], preset: str) -> None:
    assert verdicts[preset] == "ok"


def test_the_real_parser_refuses_what_it_does_not_know(dry_runs: dict[str, list[str]]) -> None:
    python, *rest = dry_runs["lora-dim32-gc"]
    given = json.dumps({"wrong": [python, *rest, "--no_such_option"]})
    parsed = subprocess.run([python, "-c", PARSE], check=True, input=given, capture_output=True, encoding="utf-8")
    assert json.loads(parsed.stdout) == {"wrong": "2"}


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_the_network_that_the_release_has_stands_in_the_files_metadata(smoked: Path, kind: str) -> None:
    """Releases since v0.10.3 have LoHa and LoKr of their own, which train attention and MLPs; others take LyCORIS."""
    header = checkpoint.read_header(smoked / f"smoke-{kind}" / f"smoke-{kind}.safetensors")

    is_native = (environment.require(Home(upstream_source.home())).checkout / "networks" / f"{kind}.py").is_file()
    assert header.metadata["ss_network_module"] == (f"networks.{kind}" if is_native else "lycoris.kohya")
    arguments = json.loads(header.metadata.get("ss_network_args", "{}"))
    chosen = (arguments.get("algo"), arguments.get("preset"))
    assert chosen == ((None, None) if is_native else (kind, "attn-mlp"))


LYCORIS = [
    "algo=lora", "algo=loha conv_dim=4 use_cp=True", "algo=lokr factor=4 decompose_both=False disable_conv_cp=True",
    "algo=lokr factor=-1 full_matrix=1", "algo=loha dora_wd=True wd_on_output=0", "algo=glora", "algo=diag-oft",
    "algo=dylora block_size=2", "algo=loha train_norm=no",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("arguments", LYCORIS)
def test_lycoris_builds_what_the_arguments_say(smoked: Path, arguments: str) -> None:
    """Whatever else, no switch that is off may be on in what was built."""
    kind = next(kind for kind in ("loha", "lokr", "locon") if f"algo={kind}" in arguments or kind == "locon")
    shown = sdxl_train(
        smoked.parent, kind, "--dry-run", *real_run(smoked), "--set", "network_module=lycoris.kohya",
        "--set", "network_dim=8", "--set", f"network_args={arguments}",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    words = shlex.split(shown.stdout)
    at = words.index("--network_args") + 1
    given = list(itertools.takewhile(lambda word: not word.startswith("--"), words[at:]))
    built = json.loads(
        subprocess.run([words[0], "-c", BUILD, *given], check=True, capture_output=True, encoding="utf-8").stdout
    )

    assert built["tucker"] == ("use_cp=True" in arguments)
    assert built["decomposed_small"] is False
    assert built["dora"] == ("dora_wd=True" in arguments)
    assert built["norms"] is False


# One block of SDXL's own layers is enough for LyCORIS to decide how it builds.
BUILD = """
import contextlib, json, sys
import torch
with contextlib.redirect_stdout(sys.stderr):
    import lycoris.kohya
    class Transformer2DModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.to_q, self.norm = torch.nn.Linear(640, 640), torch.nn.LayerNorm(640)
    class ResnetBlock2D(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(320, 320, 3)
    unet = torch.nn.Sequential(Transformer2DModel(), ResnetBlock2D())
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    network = lycoris.kohya.create_network(1.0, 8, 1.0, None, [], unet, **given)
    names = {name.rsplit(".", 1)[-1] for layer in network.unet_loras for name in layer.state_dict()}
print(json.dumps({"tucker": any("_t1" in name or "_t2" in name or "mid" in name for name in names),
    "decomposed_small": "lokr_w1_a" in names, "dora": "dora_scale" in names, "norms": "w_norm" in names}))
"""


def with_tokenizers(smoked: Path) -> None:
    """Put the smoke's tokenizers where a real run's would be, so that nothing asks the hub."""
    home = upstream_source.home() / "tokenizers"
    if not home.exists():
        (smoked / "material" / "tokenizers").rename(home)
        (smoked / "material" / "tokenizers").symlink_to(home, target_is_directory=True)


def started(smoked: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command of ours that trains the scaled-down model on the processor."""
    shim = Path(presets.__file__).parents[1] / "inside" / "scaled.py"
    return subprocess.Popen(
        [sys.executable, "-c", START, str(shim), *arguments],
        cwd=smoked.parent,
        env=variables(smoked.parent),
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def interrupted(smoked: Path, step: int, *arguments: str) -> tuple[str, list[int]]:
    """Start it and press Ctrl-C once a step is told: what it said from then on, and the processes that it had."""
    with started(smoked, *arguments) as cli:
        assert cli.stderr is not None
        for line in cli.stderr:
            if line.startswith(f"step {step} "):
                break
        trainers = [child.pid for child in psutil.Process(cli.pid).children(recursive=True)]
        cli.send_signal(signal.SIGINT)
        told = cli.stderr.read()
        assert cli.wait(120) == 130, told
    return told, trainers


only_posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@only_posix
def test_ctrl_c_stops_the_real_trainer_and_leaves_no_process(smoked: Path) -> None:
    with_tokenizers(smoked)
    told, trainers = interrupted(smoked, 1, "lora", *real_run(smoked, "--resolution", "64", "--steps", "500"))
    assert "stopped at step" in told
    assert trainers
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) for pid in trainers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in trainers)


@only_posix
@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_is_stopped_and_resumed_twice_ends_as_if_it_had_not_been(smoked: Path, parts: int) -> None:
    """Stopped at 5 and at 9 of 12 steps; the state at 6 lies at the end of an epoch, where sd-scripts loses count.

    With two parts to a step an epoch has three steps, and sd-scripts would skip the wrong number of batches.
    """
    with_tokenizers(smoked)
    name = f"resumed-{parts}"
    options = ["--resolution", "64", "--steps", "12", "--name", name, "--set", "save_every_n_steps=3",
               "--set", f"gradient_accumulation_steps={parts}"]  # fmt: skip
    run = smoked.parent / "runs" / name

    told, _ = interrupted(smoked, 5, "lora", *real_run(smoked, *options))
    assert f"sdxl-train runs resume {shlex.quote(str(run))}" in told
    told, _ = interrupted(smoked, 7, "runs", "resume", str(run), "--no-vram-check")
    assert "step 4 of 12" in told or "stopped at step" in told
    ended = sdxl_train(smoked.parent, "runs", "resume", str(run), "--no-vram-check")

    assert ended.returncode == 0, ended.stderr
    assert "resuming from step 6" in ended.stderr
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [metric["step"] for metric in metrics] == list(range(1, 13))
    assert all(metric["loss"] is not None and metric["rates"] for metric in metrics)
    # A cosine falls all the way: a schedule that began anew would rise.
    rates = [metric["rates"]["unet"] for metric in metrics]
    assert rates[1:] == sorted(rates[1:], reverse=True)
    steps = sorted(path.stem for path in run.glob("*-step*.safetensors"))
    assert steps == [f"{name}-step{step:08}" for step in (3, 6, 9, 12)]
    metadata = checkpoint.read_header(run / f"{name}.safetensors").metadata
    assert (metadata["ss_steps"], metadata["ss_max_train_steps"]) == ("12", "12")
    assert metadata["ss_epoch"] == str(2 * parts)


DREAMBOOTH = {
    "preset": [],
    "fused": ["--set", "fused_backward_pass=true", "--set", "cache_text_encoder_outputs=false"],
    "parts": ["--set", "gradient_accumulation_steps=2", "--set", "train_text_encoder=true",
              "--set", "cache_text_encoder_outputs=false", "--set", "cache_latents=false"],
}  # fmt: skip


@only_posix
@pytest.mark.slow
@pytest.mark.parametrize("case", DREAMBOOTH)
def test_a_dreambooth_run_that_is_stopped_twice_gives_the_weights_of_one_that_is_not(smoked: Path, case: str) -> None:
    """Stopped at 5 and at 9 of 14 steps, in the middle of epochs of six or three steps: the same to the last bit."""
    with_tokenizers(smoked)
    runs, name = smoked.parent / "runs", f"dreambooth-{case}"
    options = ["--resolution", "64", "--steps", "14", "--set", "save_every_n_steps=4", "--set", "lr_scheduler=cosine",
               "--set", "lr_warmup_steps=0", "--set", "learning_rate=1e-3", *DREAMBOOTH[case]]  # fmt: skip
    with started(smoked, "dreambooth", *real_run(smoked, *options, "--name", f"{name}-whole")) as cli:
        assert cli.stderr is not None
        told = cli.stderr.read()
    assert cli.returncode == 0, told

    interrupted(smoked, 4, "dreambooth", *real_run(smoked, *options, "--name", name))
    told, _ = interrupted(smoked, 8, "runs", "resume", str(runs / name), "--no-vram-check")
    assert f"sdxl-train runs resume {shlex.quote(str(runs / name))}" in told
    ended = sdxl_train(smoked.parent, "runs", "resume", str(runs / name), "--no-vram-check")

    assert ended.returncode == 0, ended.stderr
    record = json.loads((runs / name / "run.json").read_text(encoding="utf-8"))
    assert [attempt["from_step"] for attempt in record["attempts"]] == [4, 8]
    rows = {run: steps_of(runs / run) for run in (name, f"{name}-whole")}
    assert [row["step"] for row in rows[name]] == list(range(1, 15))
    for what in ("step", "loss", "rates"):
        assert [row[what] for row in rows[name]] == [row[what] for row in rows[f"{name}-whole"]], what
    assert tensors(runs / name / f"{name}.safetensors") == tensors(runs / f"{name}-whole" / f"{name}-whole.safetensors")
    assert [path.name for path in runs.glob(f"{name}/*-state")] == [f"{name}-state"]


def steps_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def tensors(path: Path) -> bytes:
    """All weights of a file, without the header and its dates."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_the_full_trainer_of_this_release_can_count_on() -> None:
    installed = environment.require(Home(upstream_source.home()))

    assert environment.run_script(installed, "counted.py", "--check") == {"resumable": True, "reason": None}


@only_posix
def test_a_rate_that_blows_the_weights_up_ends_the_run_with_its_cause(smoked: Path) -> None:
    with_tokenizers(smoked)
    options = ["--resolution", "64", "--steps", "40", "--name", "blown"]
    options += ["--set", "optimizer_type=SGD", "--set", "learning_rate=1e12"]  # others are refused at such a rate

    with started(smoked, "lora", *real_run(smoked, *options)) as cli:
        assert cli.stderr is not None
        told = cli.stderr.read()

    lines = (smoked.parent / "runs" / "blown" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    odd = [metric["step"] for metric in map(json.loads, lines) if isinstance(metric["loss"], str)]
    assert cli.returncode == 7, told
    assert odd
    assert len(lines) <= odd[0] + 5
    assert f"the loss is not a number since step {odd[0]}" in told
    assert "first try a lower learning rate" in told


CONFIG = """
[general]
keep_tokens = 1
[[datasets]]
batch_size = 1
resolution = 64
[[datasets.subsets]]
num_repeats = 2
"""


def named(folder: Path, form: str) -> Path:
    """The folder's pictures with captions, in one of the forms that are taken in place of a plain folder."""
    names = sorted(picture.name for picture in folder.glob("*.png"))
    if form == "imagefolder":
        rows = "".join(f"{name},a cat\n" for name in names)
        (folder / "metadata.csv").write_text(f"file_name,text\n{rows}", encoding="utf-8")
        return folder
    if form == "config of folders":
        for name in names:
            (folder / name).with_suffix(".txt").write_text("a cat", encoding="utf-8")
        (folder / "all.toml").write_text(f"{CONFIG}image_dir = '.'\n", encoding="utf-8")
        return folder / "all.toml"
    entries = {name: {"caption": "a cat", "tags": "small"} for name in names}
    (folder / "meta.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "all.toml").write_text(f"{CONFIG}metadata_file = 'meta.json'\n", encoding="utf-8")
    return folder / ("all.toml" if form == "config of metadata" else "meta.json")


@only_posix
@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "kind", "repeats"),
    [("metadata", "lora", 1), ("imagefolder", "lora", 1), ("config of metadata", "lora", 2),
     ("config of folders", "lora", 2), ("metadata", "dreambooth", 1)],
)  # fmt: skip
def test_pictures_that_a_file_names_train_like_a_folders(smoked: Path, form: str, kind: str, repeats: int) -> None:
    with_tokenizers(smoked)
    folder = smoked.parent / f"{form} {kind} кошки"
    folder.mkdir()
    for number, picture in enumerate(sorted((smoked / "material" / "pictures").rglob("*.png"))[:3]):
        shutil.copy(picture, folder / f"{number}.png")
    name = f"{form}-{kind}".replace(" ", "-")

    with started(smoked, kind, *real_run(smoked, "--data", str(named(folder, form)), "--resolution", "64",
                                         "--steps", "2", "--name", name)) as cli:  # fmt: skip
        assert cli.stderr is not None
        told = cli.stderr.read()

    assert cli.returncode == 0, told
    result = checkpoint.read_header(smoked.parent / "runs" / name / f"{name}.safetensors")
    assert result.shapes
    if kind == "lora":
        assert result.metadata["ss_num_train_images"] == str(3 * repeats)
        assert result.metadata["ss_steps"] == "2"


# The command line has no flag for the shim: this starts the same command with it.
START = """
import dataclasses, pathlib, sys
from sdxl_train_cli import cli
from sdxl_train_cli.run import run_choices
shim = pathlib.Path(sys.argv.pop(1))
real = run_choices.choose
run_choices.choose = lambda *given, **named: dataclasses.replace(real(*given, **named), shim=shim, on_processor=True)
cli.main()
"""


@pytest.mark.slow
def test_a_fast_run_learns_what_the_plain_one_learns_and_can_be_resumed(smoked: Path) -> None:
    with_tokenizers(smoked)
    length = ["--resolution", "64", "--steps", "8", "--set", "save_every_n_steps=4", "--set", "mixed_precision=no"]
    runs = smoked.parent / "runs"
    for name, way in (("plain", []), ("fast", ["--fast"])):
        with started(smoked, "lora", *real_run(smoked, *length, "--name", name, *way)) as cli:
            assert cli.stderr is not None
            assert cli.stderr.read()
        assert cli.returncode == 0
    losses = {
        name: [json.loads(line)["loss"] for line in (runs / name / "metrics.jsonl").read_text("utf-8").splitlines()]
        for name in ("plain", "fast")
    }
    assert losses["fast"] == pytest.approx(losses["plain"], rel=1e-4)
    plain, fast = (checkpoint.read_header(runs / name / f"{name}.safetensors") for name in ("plain", "fast"))
    assert fast.shapes == plain.shapes

    longer = sdxl_train(smoked.parent, "runs", "resume", str(runs / "fast"), "--no-vram-check", "--steps", "10")
    assert longer.returncode == 0, longer.stderr
    assert "fast: without graphs: no GPU" in (runs / "fast" / "train.log").read_text("utf-8")


RECORDED = {
    "lora": ["--network_module", "networks.lora", "--network_dim", "8", "--network_alpha", "3"],
    "locon": ["--network_module", "networks.lora", "--network_dim", "8", "--network_alpha", "3",
              "--network_args", "conv_dim=4", "conv_alpha=3", "--gradient_checkpointing"],
    "lokr": ["--network_module", "lycoris.kohya", "--network_dim", "10000", "--network_alpha", "1",
             "--network_args", "algo=lokr", "factor=8"],
    "parts": ["--network_module", "networks.lora", "--network_dim", "8", "--network_alpha", "4",
              "--gradient_accumulation_steps", "2"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("network", RECORDED)
def test_recorded_steps_learn_what_the_plain_ones_learn(smoked: Path, tmp_path: Path, network: str) -> None:
    """Several shapes of batch; a processor runs again what a GPU would replay (recorded_on_processor.py)."""
    installed = environment.require(Home(upstream_source.home()))
    material = smoked / "material"
    subset = {"image_dir": str(material / "pictures"), "num_repeats": 3}
    dataset = {"resolution": [64, 64], "batch_size": 1, "enable_bucket": True, "min_bucket_reso": 64,
               "max_bucket_reso": 128, "subsets": [subset]}  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps({"datasets": [dataset]}), encoding="utf-8")
    inside, found = environment.INSIDE, {}
    recorded = str(Path(__file__).with_name("recorded_on_processor.py"))
    for way, before in (("plain", []), ("fast", [recorded, "default"])):
        argv = [
            str(installed.python), str(inside / "observed.py"), str(tmp_path / f"{way}.json"), *before,
            str(inside / "scaled.py"), str(installed.checkout / "sdxl_train_network.py"),
            "--pretrained_model_name_or_path", str(material / "model.safetensors"),
            "--tokenizer_cache_dir", str(material / "tokenizers"), "--dataset_config", str(tmp_path / "dataset.json"),
            "--output_dir", str(tmp_path), "--output_name", way, "--save_model_as", "safetensors", "--cache_latents",
            "--cache_text_encoder_outputs", "--network_train_unet_only", "--no_half_vae", "--sdpa", "--seed", "42",
            "--max_train_steps", "8", "--learning_rate", "1e-3", "--max_data_loader_n_workers", "0",
            "--min_snr_gamma", "5", *RECORDED[network],
        ]  # fmt: skip
        cpu = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run(argv, check=False, capture_output=True, cwd=installed.checkout, env=cpu, encoding="utf-8")
        assert done.returncode == 0, done.stderr[-2000:]
        found[way] = json.loads((tmp_path / f"{way}.json").read_text("utf-8"))["losses"]
    assert "fast: recorded 1 x 64x64" in done.stderr
    assert found["fast"] == pytest.approx(found["plain"], rel=1e-4)
    plain, fast = (checkpoint.read_header(tmp_path / f"{way}.safetensors").shapes for way in ("plain", "fast"))
    assert fast == plain
