"""The batch scripts in launch/, on one machine that plays scheduler and two nodes with a disk of their own each."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_pipeline import SMALL, _dvc, _md5, clone, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("setsid") or not shutil.which("pkill"), reason="needs procps and util-linux"),
]
VALUES = SMALL | {"densenet.epochs": 8, "launch": "sh launch/slurm-tasks.sh"}
SCONTROL = """#!/bin/sh
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$ASKED"; fi
"""
SRUN = """#!/usr/bin/env python3
import os, subprocess, sys, time
command = sys.argv[1:]
assert command.pop(0) == "--kill-on-bad-exit=1"
tasks = []
for task, folder in enumerate((".", os.environ["SECOND"])):
    variables = os.environ | {"SLURM_PROCID": str(task), "SLURM_LOCALID": "0"}
    tasks.append(subprocess.Popen(command, cwd=folder, env=variables))
while None in (ended := [task.poll() for task in tasks]):
    if any(ended):
        [task.kill() for task in tasks]
    time.sleep(0.1)
sys.exit(next((status for status in ended if status), 0) & 255)
"""
STATE = ".resume/densenet/last.pt"
MODEL = "models/densenet/model.safetensors"


class Job:
    """The batch job of `folder`, whose second node has the copy `second` of it."""

    def __init__(self, folder: Path, tools: Path) -> None:
        self.folder, self.second = folder, folder.with_name(f"{folder.name}-second")
        self.asked = folder.with_name(f"{folder.name}-asked")
        shutil.copytree(folder, self.second, symlinks=True)
        variables = {"SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}
        variables |= {"ACCELERATE_USE_CPU": "true", "SECOND": str(self.second), "ASKED": str(self.asked)}
        self.environment = environment(folder) | variables
        self.environment["PATH"] = f"{tools}{os.pathsep}{self.environment['PATH']}"

    def start(self) -> subprocess.Popen:
        command = ["sh", "launch/slurm.sh", "train_densenet"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True, **pipes)

    def end(self) -> str:
        """Runs the job to its end; what it printed."""
        job = self.start()
        printed, _ = job.communicate(timeout=400)
        assert job.returncode == 0, printed[-3000:]
        return printed

    def until_an_epoch_is_saved(self) -> None:
        wait_for(lambda: (self.folder / STATE).exists())


def wait_for(there: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def working_in(folder: Path) -> list[int]:
    """The training processes whose working folder is `folder`."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            training = b"stages.train_densenet" in (place / "cmdline").read_bytes()
            if training and (place / "cwd").resolve() == folder:
                found.append(int(place.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone(tmp_path_factory.mktemp("slurm") / "prepared", VALUES)
    _dvc(folder, "repro", "prepare")
    return folder


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tools: Path) -> str:
    """The hash of the model that two nodes train without an interruption."""
    folder = prepared.with_name("undisturbed")
    shutil.copytree(prepared, folder, symlinks=True)
    Job(folder, tools).end()
    return _md5(folder / MODEL)


def test_a_job_at_the_end_of_its_time_is_put_back_into_the_queue_and_goes_on_to_equal_bytes(
    prepared: Path, tools: Path, undisturbed: str
) -> None:
    folder = prepared.with_name("requeued")
    shutil.copytree(prepared, folder, symlinks=True)
    job = Job(folder, tools)
    running = job.start()
    job.until_an_epoch_is_saved()
    running.send_signal(signal.SIGTERM)  # as --signal=B:TERM@120: to the batch script alone
    printed, _ = running.communicate(timeout=100)
    assert running.returncode == 143, printed[-3000:]
    assert job.asked.read_text(encoding="utf-8").split() == ["requeue", "7"]
    assert not working_in(folder)
    assert not (folder / MODEL).exists()
    assert "goes on after epoch" in job.end()
    assert _md5(folder / MODEL) == undisturbed
    assert not list((job.second / ".resume").rglob("*.pt"))


@pytest.mark.long
@pytest.mark.parametrize("nodes", ["second", "both"])
def test_nodes_that_are_killed_leave_a_job_that_goes_on_to_equal_bytes(
    prepared: Path, tools: Path, undisturbed: str, nodes: str
) -> None:
    folder = prepared.with_name(f"killed-{nodes}")
    shutil.copytree(prepared, folder, symlinks=True)
    job = Job(folder, tools)
    running = job.start()
    job.until_an_epoch_is_saved()
    for place in (job.second, folder)[: 1 if nodes == "second" else 2]:
        for process in working_in(place):
            os.kill(process, signal.SIGKILL)
    printed, _ = running.communicate(timeout=300)
    assert running.returncode not in (0, 143), printed[-3000:]
    assert not job.asked.exists()
    assert "goes on after epoch" in job.end()
    assert _md5(folder / MODEL) == undisturbed
