"""A log is told as what it was: a run that was resumed, stopped, cut off, or that ended well, and how far it came."""

from __future__ import annotations

import pytest
from failure_logs import EXIT_1, LOGS, START, TRACE

from sdxl_train_cli.failures import diagnosis, run_story
from sdxl_train_cli.failures.diagnosis import Ending

BAR = "steps:  24%|##4       | 96/400 [01:36<05:04,  1.00s/it, avr_loss=0.1]"
DONE = "steps: 100%|##########| 400/400 [06:40<00:00,  1.00s/it, avr_loss={loss}]\n"
STOP = "    loss.backward()\nKeyboardInterrupt\n"
LAUNCHER_STOP = """\
Traceback (most recent call last):
  File "/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
  File "/usr/lib/python3.11/subprocess.py", line 1264, in wait
    return self._wait(timeout=timeout)
KeyboardInterrupt
"""
RESUMED = """\
INFO     resume training from local state: /out/cat-000010-state            train_util.py:4777
INFO     load train state from /out/cat-000010-state/train_state.json: {'current_epoch': 10, 'current_step': 80}
"""


@pytest.mark.parametrize(
    "end",
    [
        TRACE + STOP,
        TRACE + STOP + LAUNCHER_STOP,
        TRACE + STOP + TRACE + "RuntimeError: DataLoader worker (pid(s) 4743, 4744) exited unexpectedly\n" + EXIT_1,
        TRACE + STOP + TRACE + "BrokenPipeError: [Errno 32] Broken pipe\n",
        TRACE + STOP + TRACE + "ConnectionResetError: [WinError 10054] closed by the remote host\n",
        TRACE + STOP + TRACE + "EOFError: Ran out of input\n",
        "forrtl: error (200): program aborting due to control-C event\nImage              PC                Routine\n",
        "^C\n",
        EXIT_1.replace("returned non-zero exit status 1.", "died with <Signals.SIGTERM: 15>."),
        EXIT_1.replace("returned non-zero exit status 1.", "died with <Signals.SIGINT: 2>."),
        EXIT_1.replace("returned non-zero exit status 1.", "returned non-zero exit status 3221225786."),
        EXIT_1.replace("returned non-zero exit status 1.", "returned non-zero exit status 130."),
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 7 got signal: 2\n",
        "W1127 torch/distributed/elastic/multiprocessing/api.py:897] Sending process 9 closing signal SIGINT\n",
        "12:00:00-123456 INFO     The running process has been terminated.\n",
        "Terminate batch job (Y/N)? y\n",
        TRACE + "RuntimeError: DataLoader worker (pid 77) is killed by signal: Interrupt.\n",
    ],
)
def test_a_run_that_was_stopped_is_told_as_stopped_with_its_step(end: str) -> None:
    found = diagnosis.examine(f"{START}{BAR}\n{end}".splitlines())

    assert found.ending is Ending.STOPPED
    assert (found.story.step, found.story.steps) == (96, 400)


@pytest.mark.parametrize("name", ["gpu-memory", "picture-broken", "nan-latents"])
def test_a_failure_before_the_stop_stays_the_failure_of_its_run_only(name: str) -> None:
    earlier = LOGS[name] + "prepare tokenizer\nprepare accelerator\n"

    assert diagnosis.examine((earlier + START + BAR + "\n" + TRACE + STOP).splitlines()).ending is Ending.STOPPED


@pytest.mark.parametrize(
    ("log", "step", "steps"),
    [
        (f"{START}{BAR}\n", 96, 400),
        (f"{BAR}\r{BAR.replace('96/400', '97/400')}", 97, 400),
        (BAR, 96, 400),
        (BAR[:-20], 96, 400),
        (START, 0, 400),
        ("  total optimization steps / 学習ステップ数: 1600\n", None, 1600),
        ("caching latents...\n 34%|###4      | 34/100 [00:10<00:20,  3.00it/s]\n", None, None),
        (LOGS["no-xformers"] + "prepare tokenizer\n" + START + BAR + "\n", 96, 400),
    ],
)
def test_a_log_without_an_end_is_told_with_its_step(log: str, step: int | None, steps: int | None) -> None:
    found = diagnosis.examine(log.splitlines())

    assert found.ending is Ending.OPEN
    assert (found.story.step, found.story.steps) == (step, steps)


@pytest.mark.parametrize("end", ["", TRACE + STOP, DONE.format(loss=0.1) + "model saved.\n", LOGS["gpu-memory"]])
def test_a_run_that_was_resumed_is_told_as_such_however_it_ended(end: str) -> None:
    story = diagnosis.examine((RESUMED + START + end).splitlines()).story

    assert (story.state, story.resumed_at) == ("/out/cat-000010-state", 80)


def test_a_run_after_a_resumed_one_was_not_resumed() -> None:
    log = RESUMED + START + DONE.format(loss=0.1) + "model saved.\n" + START + BAR

    assert diagnosis.examine(log.splitlines()).story.state is None


@pytest.mark.parametrize(
    ("losses", "zero"),
    [
        (["0", "0", "0"], True),
        (["0.0", "0", "0.0", "0"], True),
        (["0", "0", "0.1"], False),
        (["0.1", "0.2", "0.1"], False),
        (["0"], False),
        ([], False),
        (["nan", "nan", "nan"], False),
    ],
)
def test_a_loss_of_zero_at_every_step_is_seen(losses: list[str], *, zero: bool) -> None:
    bars = "".join(BAR.replace("avr_loss=0.1", f"avr_loss={loss}") + "\n" for loss in losses)

    assert run_story.read((START + bars).splitlines()).all_losses_zero is zero


def test_a_run_of_no_steps_is_seen() -> None:
    bar = "  total optimization steps / 学習ステップ数: 0\nsteps: 0it [00:00, ?it/s]\n"
    found = diagnosis.examine(f"running training / 学習開始\n{bar}model saved.\n".splitlines())

    assert found.diagnosis is not None
    assert (found.diagnosis.name, found.story.steps) == ("no-steps", 0)


def test_the_last_run_alone_counts_where_a_log_holds_several() -> None:
    first, second = LOGS["gpu-memory"], LOGS["picture-broken"]

    found = diagnosis.explain((first + "Loading settings from x.toml...\n" + second).splitlines())

    assert found is not None
    assert found.name == "picture-broken"


@pytest.mark.parametrize("end", ["Terminated\n", "./go.sh: line 7:  4711 Terminated  python x.py\n", f"{BAR}^C\n"])
def test_a_shells_word_for_a_signal_stops_a_run(end: str) -> None:
    found = diagnosis.examine((START + BAR + "\n" + end).splitlines())

    assert (found.ending, found.story.step) == (Ending.STOPPED, 96)


@pytest.mark.parametrize(
    "end",
    [
        "building U-Net\n^C",
        "U-Net: <All keys matched successfully>\n^C",
        "Loading pipeline components...:  43%|####3     | 3/7 [00:01<00:02,  1.71it/s]^C",
    ],
)
def test_a_stop_that_nobody_typed_while_the_model_loads_is_told_as_memory(end: str) -> None:
    found = diagnosis.explain(["loading model for process 0/1", *end.splitlines()])

    assert found is not None
    assert (found.name, "memory ran out" in found.cause) == ("stopped-while-loading", True)
