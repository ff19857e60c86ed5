"""A run's folder from a stranger runs nothing of his: not its command line, not its scripts, not its pickles."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import random
import shlex
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli
from torch_files import TORCH_FILES

from sdxl_train_cli import process
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import untrusted_run
from sdxl_train_cli.sdscripts import pickles

only_posix = pytest.mark.skipif(process.WINDOWS, reason="makes links and pipes")
HARMLESS = [
    b"ctorch._utils\n_rebuild_tensor_v2\n.", b"ctorch\nFloatStorage\n.", b"ctorch\nByteStorage\n.",
    b"ctorch\nbfloat16\n.", b"ctorch\nfloat8_e4m3fn\n.", b"ccollections\nOrderedDict\n.",
    b"cnumpy.core.multiarray\n_reconstruct\n.", b"cnumpy._core.multiarray\n_reconstruct\n.", b"cnumpy\nndarray\n.",
    b"cnumpy\ndtype\n.", b"c_codecs\nencode\n.", b"ctorch.nn.parameter\nParameter\n.",
]  # fmt: skip
HARMFUL = [
    (b"cos\nsystem\n.", "os.system"),
    (b"cposix\nsystem\n.", "posix.system"),
    (b"c__builtin__\neval\n.", "__builtin__.eval"),
    (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
    (b"ctorch.hub\nload\n.", "torch.hub.load"),
    (b"ctorch\nload\n.", "torch.load"),
    (b"cnumpy.testing._private.utils\nrunstring\n.", "numpy.testing._private.utils.runstring"),
    (b"(S'id'\nios\nsystem\n.", "os.system"),
    (b"ccollections\nOrderedDict\n.cos\nsystem\n.", "os.system"),
    (pickle.dumps(os.system, protocol=4), "code whose name is put together"),
]


def archive(**parts: bytes) -> bytes:
    """A file as torch saves it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, part in parts.items():
            file.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), part)
    return content.getvalue()


def code_of(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return pickles.foreign_code(path)


@pytest.mark.parametrize("content", HARMLESS)
def test_what_a_trainer_writes_is_harmless(tmp_path: Path, content: bytes) -> None:
    assert code_of(tmp_path / "a.bin", content) is None
    assert code_of(tmp_path / "a.bin", archive(optimizer__data_pkl=content, optimizer__data__0=b"\0" * 64)) is None


@pytest.mark.parametrize(("content", "told"), HARMFUL)
def test_what_would_run_as_code_is_found_without_loading_it(tmp_path: Path, content: bytes, told: str) -> None:
    assert code_of(tmp_path / "a.bin", content) == told
    assert code_of(tmp_path / "a.bin", archive(optimizer__data_pkl=content)) == told
    assert code_of(tmp_path / "a.bin", archive(a__data_pkl=b".", hidden__other_pkl=content)) == told


@pytest.mark.parametrize("name", TORCH_FILES)
def test_what_torch_itself_wrote_is_harmless(tmp_path: Path, name: str) -> None:
    assert code_of(tmp_path / "a.bin", TORCH_FILES[name]) is None


UNFOLLOWED = "something that can't be traced"
RUN = b"0cos\nsystem\n(X\4\0\0\0truetR."
"""What goes on from a value and calls the system."""


@pytest.mark.parametrize(
    "content",
    [b"stand-in", b"\x80", b"\xff" * 99, b"N.N.N.N", b"\x80\2I0x10\n" + RUN, "S'é'\n".encode() + RUN, b"I1_0\n" + RUN],
)
def test_what_cant_be_followed_is_not_taken_for_harmless(tmp_path: Path, content: bytes) -> None:
    """Once, it counted as harmless; the unpickler takes numbers and texts that Python's own disassembler refuses."""
    assert code_of(tmp_path / "a.bin", content) in {UNFOLLOWED, "os.system"}
    assert code_of(tmp_path / "a.bin", archive(a__data_pkl=content)) in {UNFOLLOWED, "os.system"}


@pytest.mark.parametrize("name", ["weights, old", "optimizer, old"])
def test_of_a_file_of_old_torch_each_of_five_pickles_is_followed(tmp_path: Path, name: str) -> None:
    whole = TORCH_FILES[name]
    ends = []
    file = io.BytesIO(whole)
    for _ in range(5):
        list(pickletools.genops(file))
        ends.append(file.tell())

    for start in (0, *ends[:4]):
        assert code_of(tmp_path / "a.bin", whole[:start] + b"cos\nsystem\n." + whole[start:]) == "os.system"
        assert code_of(tmp_path / "a.bin", whole[:start] + b"?" + whole[start:]) == UNFOLLOWED
    assert code_of(tmp_path / "a.bin", whole[: ends[4]] + b"cos\nsystem\n.") is None  # tensors


def test_what_torch_reads_as_an_archive_of_2016_is_not_taken_for_pickles(tmp_path: Path) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        part = tarfile.TarInfo("N.N.N.N.N.")  # the file begins with five harmless pickles
        part.size = 4
        file.addfile(part, io.BytesIO(RUN[:4]))

    assert code_of(tmp_path / "a.bin", content.getvalue()) == UNFOLLOWED


def moved(content: bytes, by: int) -> bytes:
    """An archive whose end tells another place of the list of parts."""
    place = int.from_bytes(content[-6:-2], "little")
    return content[:-6] + (place + by).to_bytes(4, "little") + content[-2:]


def test_an_archive_that_readers_may_read_otherwise_is_told(tmp_path: Path) -> None:
    whole = archive(a__data_pkl=b"N.", a__data__0=b"\0" * 64)
    recorded = TORCH_FILES["weights"]
    told = int.from_bytes(recorded[-50:-42], "little") - 1
    for content in (
        b"PK\3\4 cut off",
        whole[:-1],
        b"PK\3\4" + whole,
        moved(whole, -1),
        moved(whole, 1),
        whole[:-2] + b"\4\0more",
        whole.replace(b"a/data.pkl", b"a\0data.pkl"),
        recorded[:-50] + told.to_bytes(8, "little") + recorded[-42:],
    ):
        assert code_of(tmp_path / "a.bin", content) == UNFOLLOWED
    with zipfile.ZipFile(tmp_path / "b.bin", "w") as file:
        file.writestr("a/data.pkl", b".")
        file.writestr("a/DATA.pkl", b"cos\nsystem\n.")
    assert pickles.foreign_code(tmp_path / "b.bin") == "two parts of one name"
    assert code_of(tmp_path / "c.bin", archive(a__constants_pkl=b".")) == "a program (a/constants.pkl)"
    assert code_of(tmp_path / "c.bin", archive(**{"a__data.PKL": b"cos\nsystem\n."})) == "os.system"


def test_a_packed_part_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.bin", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"N" * 99 + b".")

    assert pickles.foreign_code(tmp_path / "a.bin") == "a packed part (a/data.pkl)"


def test_no_damage_to_a_file_ends_the_look_with_an_error(tmp_path: Path) -> None:
    chance = random.Random(5)  # noqa: S311
    for whole in TORCH_FILES.values():
        for _ in range(150):
            content = bytearray(whole)
            for _ in range(chance.choice((1, 3, 20))):
                content[chance.randrange(len(content))] = chance.randrange(256)
            code_of(tmp_path / "a.bin", bytes(content))


def test_of_a_recorded_script_only_the_name_counts(tmp_path: Path) -> None:
    (tmp_path / "scaled.py").write_text("raise SystemExit('theirs')", encoding="utf-8")

    assert untrusted_run.own_script(tmp_path / "scaled.py") == INSIDE / "scaled.py"
    assert untrusted_run.own_script(None) is None
    for name in ("evil.py", "probe.py", "scaled.py/x", "..", "", "scaled.pyc"):
        with pytest.raises(UsageError, match="sdxl-train has no such script"):
            untrusted_run.own_script(tmp_path / name / "evil.py" if name in {"..", ""} else tmp_path / name)


@pytest.fixture
def run(cli: Cli, tmp_path: Path, model: Path, pictures: Path) -> Path:
    """A run that was cut off at its fifth step of six, with a state of the fourth."""
    line = ["--model", model, "--data", pictures, "--no-vram-check", "--name", "cat", "--steps", "6"]
    assert cli("lora", *line, "--set", "save_every_n_steps=2", STANDIN_FAIL="crash@5").code == 7
    return tmp_path / "output" / "cat"


def change(run: Path, alter: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    alter(record)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")


@only_posix
def test_no_command_line_of_a_record_is_started(cli: Cli, tmp_path: Path, run: Path, installed: Environment) -> None:
    """Once, `runs resume` started what stood in the record's argv, and `runs rerun` the script that it named."""
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/owned\n", encoding="utf-8")
    evil.chmod(0o755)

    def alter(record: dict) -> None:  # type: ignore[type-arg]
        record["argv"] = [str(evil), "-m", str(evil), str(evil), "sdxl_train_network.py", "--output_config"]
        record["attempts"] = [{"argv": record["argv"], "from_step": 1}]

    change(run, alter)
    line = shlex.split(cli("runs", "resume", "cat", "--no-vram-check", "--dry-run").stdout)
    done = cli("runs", "resume", "cat", "--no-vram-check")

    assert line[0] == str(installed.python)
    assert str(installed.checkout / "sdxl_train_network.py") in line
    assert not [word for word in line if "evil" in word or word == "--output_config"]
    assert done.code == 0, done.stderr
    assert not (tmp_path / "owned").exists()


def test_a_script_that_a_record_names_is_not_run(cli: Cli, tmp_path: Path, run: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')", encoding="utf-8")
    change(run, lambda record: record["inputs"].update(shim=str(tmp_path / "evil.py")))

    for command in ("rerun", "resume"):
        told = cli("runs", command, "cat")
        assert told.code == 2
        assert "evil.py as a launch script, and sdxl-train has no such script" in told.stderr
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("network_module", "os"), ("optimizer_type", "os.system"), ("lr_scheduler_type", "subprocess.run"),
     ("network_module", "../evil"), ("console_log_file", "/home/me/.bashrc"), ("config_file", "/x.toml"),
     ("output_dir", "/home/me"), ("no_such_option", "1")],
)  # fmt: skip
def test_an_option_of_a_record_that_runs_or_writes_elsewhere_is_refused(
    cli: Cli, run: Path, option: str, value: str
) -> None:
    def alter(record: dict) -> None:  # type: ignore[type-arg]
        record["settings"].pop("lr_warmup_steps", None)  # a schedule of its own goes without
        record["settings"][option] = {"value": value, "origin": "x"}

    change(run, alter)

    for command in ("rerun", "resume"):
        told = cli("runs", command, "cat", *(("--no-vram-check",) if command == "resume" else ()))
        assert told.code in {3, 5}, told.stderr
        assert option in told.stderr
        assert "Traceback" not in told.stderr


@pytest.mark.parametrize("part", ["optimizer.bin", "scheduler.bin", "random_states_0.pkl", "custom.pkl"])
def test_a_state_that_holds_code_is_not_loaded_unless_a_person_says_so(cli: Cli, run: Path, part: str) -> None:
    (run / "cat-step00000004-state" / part).write_bytes(archive(a__data_pkl=b"cos\nsystem\n."))

    told = cli("runs", "resume", "cat", "--no-vram-check")
    forced = cli("runs", "resume", "cat", "--no-vram-check", "--force")

    assert told.code == 4
    assert f"{part} calls os.system when it is loaded" in told.stderr
    assert f"runs resume {run} --force" in told.stderr
    assert forced.code == 0, forced.stderr


def test_weights_that_a_record_names_and_that_hold_code_are_not_loaded(cli: Cli, run: Path, tmp_path: Path) -> None:
    (tmp_path / "base.ckpt").write_bytes(archive(a__data_pkl=b"cos\nsystem\n."))
    change(run, lambda record: record["inputs"].update(model=str(tmp_path / "base.ckpt")))

    for command in ("rerun", "resume"):
        told = cli("runs", command, "cat")
        assert told.code == 4
        assert "base.ckpt calls os.system when it is loaded" in told.stderr


@pytest.mark.parametrize("name", ["w.dat", "w.SafeTensors", "w.pt", "w"])
@pytest.mark.parametrize("option", ["network_weights", "base_weights"])
def test_all_weights_that_torch_would_load_are_looked_at(
    cli: Cli, run: Path, tmp_path: Path, name: str, option: str
) -> None:
    """Once, what was looked at went by the suffix in any letters; sd-scripts goes by `.safetensors` alone."""
    (tmp_path / name).write_bytes(b"cos\nsystem\n.")

    def alter(record: dict) -> None:  # type: ignore[type-arg]
        value = str(tmp_path / name)
        record["settings"][option] = {"value": [value] if option == "base_weights" else value, "origin": "x"}

    change(run, alter)

    told = cli("runs", "rerun", "cat")
    assert told.code == 4
    assert f"{name} calls os.system when it is loaded" in told.stderr


@pytest.mark.parametrize("what", ["model", "vae"])
@pytest.mark.parametrize("place", ["unet/diffusion_pytorch_model.bin", "diffusion_pytorch_model.bin"])
def test_a_diffusers_folder_that_a_record_names_is_entered(
    cli: Cli, run: Path, tmp_path: Path, what: str, place: str
) -> None:
    file = tmp_path / "diffusers" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(archive(a__data_pkl=b"cos\nsystem\n."))
    change(run, lambda record: record["inputs"].update({what: str(tmp_path / "diffusers")}))

    for command in ("rerun", "resume"):
        told = cli("runs", command, "cat")
        assert told.code == 4
        assert f"{file} calls os.system when it is loaded" in told.stderr


@pytest.mark.parametrize("is_on_hub", [False, True])
def test_a_run_made_again_takes_up_no_state_that_the_record_names(
    cli: Cli, run: Path, tmp_path: Path, is_on_hub: bool
) -> None:
    """A stranger's state runs code when it is loaded, and one on the hub can't be looked at before."""

    def alter(record: dict) -> None:  # type: ignore[type-arg]
        value = "stranger/repo/state:main:model" if is_on_hub else str(tmp_path / "their-state")
        record["settings"]["resume"] = {"value": value, "origin": "x"}
        record["settings"]["initial_step"] = {"value": 3, "origin": "x"}
        if is_on_hub:
            record["settings"]["resume_from_huggingface"] = {"value": True, "origin": "x"}

    change(run, alter)

    told = cli("runs", "rerun", "cat", "--dry-run")
    assert told.code == 0, told.stderr
    assert "--resume" not in told.stdout
    assert "--initial_step" not in told.stdout
    assert "the run started from a state, but the new one starts at step 0 without it: " in told.stderr
    resumed = cli("runs", "resume", "cat", "--no-vram-check", "--dry-run")
    assert resumed.code == 0, resumed.stderr
    assert "--resume_from_huggingface" not in resumed.stdout
    assert "stranger" not in resumed.stdout


def test_what_a_record_has_fetched_from_the_hub_or_sent_there_is_told_before_the_start(cli: Cli, run: Path) -> None:
    def alter(record: dict) -> None:  # type: ignore[type-arg]
        record["inputs"].update(model="stranger/model", vae="stranger/vae")
        record["settings"]["huggingface_repo_id"] = {"value": "stranger/loot", "origin": "x"}

    change(run, alter)

    told = cli("runs", "rerun", "cat", "--dry-run", "--prediction", "epsilon")
    assert told.code == 0, told.stderr
    for words in (
        "the record names a model on the hub, which is fetched and loaded: stranger/model",
        "the record names a VAE on the hub, which is fetched and loaded: stranger/vae",
        "the record sends the results to the hub, to huggingface_repo_id: stranger/loot",
    ):
        assert words in told.stderr


@only_posix
@pytest.mark.parametrize("name", ["train.log", "metrics.jsonl", "outcome.json", "dataset.json"])
def test_a_link_in_a_runs_folder_has_nothing_written_elsewhere(cli: Cli, run: Path, tmp_path: Path, name: str) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes((run / name).read_bytes())
    before = mine.read_bytes()
    (run / name).unlink()
    (run / name).symlink_to(mine)

    told = cli("runs", "resume", "cat", "--no-vram-check")

    assert told.code == 7
    assert f"{name} is not a plain file" in told.stderr
    assert mine.read_bytes() == before


@only_posix
def test_a_record_with_a_name_that_leads_elsewhere_is_broken(cli: Cli, run: Path, tmp_path: Path) -> None:
    change(run, lambda record: record.update(name="../../cat"))

    for command in (("resume",), ("rerun",), ("report", "--to", tmp_path), ("rm", "--yes")):
        told = cli("runs", command[0], "cat", *command[1:])
        assert told.code == 2
        assert "run.json: name: " in told.stderr
