"""Kills `dvc repro` at random moments, restarts it, and compares what it ends with: the same bytes as undisturbed?

    python -m benchmarks.crash --folder /somewhere --kills 10

Two copies of this repository run the demo: one undisturbed, one that is killed (SIGKILL) so many times, in turn the
whole process group (as a power cut or a scheduler would) and DVC alone (whose stage then goes on without it). DVC's run
cache is emptied before each restart, so that nothing is taken from a run that ended well. Where the stage that DVC left
behind still holds the lock of its training, the restart must say so in one line; that stage is then killed as well.
While it runs, the files of unfinished trainings are counted. About fifteen minutes on two cores; Linux and macOS.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.data import copy_repository, dvc_environment
from diagxnet.files import write_json

COMPARED = ("data/packed", "data/prepared", "data/stacked", "models", "plots")
METRICS = ("evaluation", "densenet", "vit", "meta")
"""summary.json holds seconds of training, which may differ."""

SHORTEST, LONGEST = 4.0, 60.0
"""Seconds after which a run is killed; a stage needs some to start, and an epoch of the demo takes under ten."""

BUSY = "another process is training this"


def start(clone: Path, folder: Path, log: Path) -> subprocess.Popen:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=clone,
            env=dvc_environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def hashes(clone: Path) -> dict[str, str]:
    """Of every file that stages wrote and that must be equal."""
    files = [path for name in COMPARED for path in sorted((clone / name).rglob("*")) if path.is_file()]
    files += [clone / "metrics" / f"{name}.json" for name in METRICS]
    return {path.relative_to(clone).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def left_behind(clone: Path) -> list[psutil.Process]:
    """Stages of `clone` that run without DVC."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(clone) and "stages." in " ".join(process.info["cmdline"] or []):
            found.append(process)
    return found


def states(clone: Path) -> dict[str, int]:
    """Bytes of the files of unfinished trainings."""
    found = {}
    for path in (clone / ".resume").glob("*/*.pt*"):
        try:
            found[path.relative_to(clone).as_posix()] = path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def kill(process: subprocess.Popen, alone: bool) -> None:
    if alone:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_killed(clone: Path, folder: Path, kills: int, chance: random.Random) -> dict:
    """Runs to the end through so many kills; what happened on the way."""
    log, done, busy, most = folder / "killed.log", [], 0, {}
    while True:
        shutil.rmtree(clone / ".dvc" / "cache" / "runs", ignore_errors=True)
        before = log.stat().st_size if log.exists() else 0
        process = start(clone, folder, log)
        deadline = time.monotonic() + chance.uniform(SHORTEST, LONGEST) if len(done) < kills else float("inf")
        while process.poll() is None and time.monotonic() < deadline:
            found = states(clone)
            most = max(most, found, key=lambda each: sum(each.values()))
            time.sleep(0.2)
        if process.poll() is None:
            stage = running_stage(log, before)
            kill(process, alone=len(done) % 2 == 1)
            done.append(f"{'DVC alone' if len(done) % 2 else 'whole group'} in {stage}")
            print(f"kill {len(done)}: {done[-1]}", flush=True)
        elif process.returncode == 0:
            break
        elif BUSY in log.read_bytes()[before:].decode():
            busy += 1
            print("the stage that DVC left behind still runs: refused, as it should be; killed now", flush=True)
            orphans = left_behind(clone)
            for orphan in orphans:
                orphan.kill()
            psutil.wait_procs(orphans)
        else:
            raise SystemExit(f"dvc repro failed after {len(done)} kills, see {log}")
    return {"kills": done, "refused while a stage went on": busy, "largest states": most, "left": states(clone)}


def running_stage(log: Path, before: int) -> str:
    lines = [line for line in log.read_bytes()[before:].decode().splitlines() if line.startswith("Running stage")]
    return lines[-1].split("'")[1] if lines else "no stage yet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="scratch, about 2 GB")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    undisturbed, killed = (copy_repository(folder / name) for name in ("undisturbed", "killed"))
    started = time.monotonic()
    if start(undisturbed, folder, folder / "undisturbed.log").wait():
        raise SystemExit(f"dvc repro failed, see {folder}/undisturbed.log")
    seconds = [time.monotonic() - started]
    started = time.monotonic()
    result = run_killed(killed, folder, arguments.kills, random.Random(arguments.seed))
    seconds.append(time.monotonic() - started)
    expected, found = hashes(undisturbed), hashes(killed)
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    result |= {"files compared": len(expected), "different": different, "seconds": [round(each) for each in seconds]}
    print(json.dumps(result, indent=2))
    write_json(folder / "crash.json", result)
    sys.exit(bool(different or result["left"]))


if __name__ == "__main__":
    main()
