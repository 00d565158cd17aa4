"""What every stage does when it is told to end, and the live curves."""

import errno
import io
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from diagxnet.console.progress import Progress
from diagxnet.training.loop import Epoch
from stages.live import live
from stages.running import run
from tests.conftest import ROOT

SLOW_STAGE = """
import time
from stages.running import run
def main():
    try:
        print("started", flush=True)
        time.sleep(60)
    finally:
        print("put in order", flush=True)
run("slow", main)
"""


HEAVY = {"timm", "torchvision", "torch._dynamo", "scipy.stats", "sklearn", "matplotlib"}
"""Packages of half a second to three seconds each."""

NO_BASE_MODEL = ("make_demo", "inventory", "pack", "prepare", "trained_on", "train_meta", "evaluate", "audit")


def test_stages_without_a_base_model_import_nothing_heavy_that_they_do_not_use():
    code = "\n".join(["import sys, diagxnet.images.pack", *(f"import stages.{name}" for name in NO_BASE_MODEL)])
    code += "\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 143, "slow: ended by SIGTERM; run the same command again to go on"),
        (signal.SIGINT, 130, "slow: interrupted; run the same command again to go on"),
    ],
)
def test_a_signal_ends_a_stage_in_order_and_in_one_line(tmp_path: Path, number, status, message):
    command = [sys.executable, "-c", SLOW_STAGE]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stage = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        # a shell that started the tests in the background has them, and so the stage, ignore Ctrl-C
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert stage.stdout.readline() == "started\n"
    stage.send_signal(number)
    output, error = stage.communicate(timeout=30)
    assert (stage.returncode, output, error.strip()) == (status, "put in order\n", message)
    assert not (tmp_path / "metrics").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_full_disk_or_one_of_smaller_files_ends_a_stage_in_one_line(tmp_path, monkeypatch, capsys, number):
    monkeypatch.chdir(tmp_path)

    def main() -> None:
        raise OSError(number, os.strerror(number), "models/vit")

    with pytest.raises(SystemExit) as ended:
        run("train_vit", main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        f"train_vit: models/vit: {os.strerror(number)} (mend that, then run the same command again to go on)\n"
    )
    assert not (tmp_path / "metrics").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("columns", "shown"), [(100, "images: 100%|"), (0, "images: 4/4 img in 0 s")])
def test_a_terminal_without_a_width_gets_lines_in_place_of_a_bar(monkeypatch, columns, shown):
    import fcntl
    import pty
    import struct
    import termios

    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(writer, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(4, "images") as progress:
            progress.update(4)
        terminal.flush()
        text = ""
        while shown not in text:  # a pseudo-terminal hands on in parts
            assert select.select([reader], [], [], 10)[0], text
            text += os.read(reader, 10_000).decode()
    os.close(reader)


def test_a_stream_that_only_looks_like_a_terminal_gets_lines(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    with Progress(4, "images") as progress:
        progress.update(4)
    assert stream.getvalue().startswith("images: 4/4 img in 0 s")


@pytest.mark.parametrize("monitor", [False, True])
def test_the_live_curves_hold_the_use_of_the_machine_where_asked(tmp_path: Path, monkeypatch, monitor):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("RANK", "0")
    record = {"epoch": 1, "train_loss": 0.5, "val_loss": 0.6, "val_auroc": None, "lr": 0.1}
    curves = tmp_path / "dvclive" / "vit" / "plots" / "metrics"

    def trained() -> Iterator[Epoch]:
        deadline = time.monotonic() + 60
        while monitor and not (curves / "system").exists() and time.monotonic() < deadline:
            time.sleep(0.05)  # a thread of DVCLive samples beside the training
        yield Epoch(record, 2.0)

    assert [epoch.seconds for epoch in live("vit", trained(), monitor=monitor)] == [2.0]
    assert (curves / "train_loss.tsv").exists()
    assert (curves / "system").exists() == monitor
