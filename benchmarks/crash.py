"""Kills `dvc repro` in every stage, restarts it, and compares what it ends with: the same bytes as undisturbed?

    python -m benchmarks.crash --folder /somewhere --kills 60

Two copies of this repository run a small demo: one undisturbed, one that is killed so many times, equally often in each
stage: in turn SIGKILL to the whole process group (as a power cut would), SIGKILL to DVC alone (whose stage then goes on
without it) and SIGTERM to the group (as a scheduler would); and in turn at a random moment of the stage and as soon as
it is seen writing. DVC's run cache is emptied before each restart, so that nothing is taken from a run that ended well,
and a stage that ended before its kills were used up is taken off dvc.lock and loses its outputs, so that it runs again.
Where the stage that DVC left behind still holds the lock of its training, the restart must say so in one line; other
stages hold none, and DVC may fail to remove a folder that one is writing. That stage is then killed as well. Where a
kill cut off DVC's own lock file, which DVC then cannot read, it is removed. Then, in the copy that survived, what else
happens on shared machines:

- two `dvc repro` at once: the second must end in DVC's line about the lock, or do nothing, and change no byte;
- outputs that are read-only, as DVC leaves them when it links: they must be replaced, never written through;
- a disk that is full, as a limit on the size of files feigns it: the stage must fail, leave no part of a file under its
  name, and go on when there is room;
- files dated an hour ahead, as after a clock that jumped back: the run must notice a change of them.

`--undisturbed FOLDER` takes a finished run of the same params as reference instead of making one. The state of the
campaign is in FOLDER/crash.json after every kill. Linux and macOS.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import yaml

from benchmarks.data import copy_repository, dvc_environment, set_params
from diagxnet.data.files import read_json, write_json

SMALL = {
    "demo.images": 160,
    "demo.test_images": 60,
    "demo.size": 96,
    "densenet.epochs": 2,
    "vit.epochs": 1,
    "meta.epochs": 2,
    "evaluate.bootstrap": 100,
}
COMPARED = ("data/demo", "data/packed", "data/prepared", "data/stacked", "models", "plots")
METRICS = ("evaluation", "densenet", "vit", "meta")
"""summary.json holds seconds of training, which may differ."""

WAYS = ("SIGKILL to the group", "SIGKILL to DVC alone", "SIGTERM to the group")
MOMENTS = ("working", "writing")
IMPORT_SECONDS = 6.0
"""What a stage takes before its own clock, metrics/timing/STAGE.json, starts, about."""

BUSY = "another process is training this"
CUT_OFF = "Unable to read RWLock-file"
"""DVC writes that file in place: a kill in that moment leaves it empty (docs/reliability.md)."""


def start(clone: Path, folder: Path, log: Path, *arguments: str, largest: int | None = None) -> subprocess.Popen:
    """`dvc repro` in a process group of its own; largest: bytes that a file may have."""

    def limit() -> None:
        if largest is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *arguments],
            cwd=clone,
            env=dvc_environment(folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=limit,
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


def outputs(clone: Path) -> dict[str, list[Path]]:
    """By stage, in their order: its outputs, and where a training keeps its state. Without the stages of further
    members and of tables, which SMALL has none of."""
    stages = yaml.safe_load((clone / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    result = {}
    for name, stage in stages.items():
        if "foreach" in stage:
            continue
        entries = [*stage["outs"], *stage.get("metrics", [])]
        paths = [clone / (entry if isinstance(entry, str) else next(iter(entry))) for entry in entries]
        result[name] = [*paths, clone / ".resume" / name.removeprefix("train_")]
    return result


def traces(paths: list[Path]) -> set[tuple[str, int]]:
    """Names and times of modification of what is at `paths` or below, and of unfinished files beside."""
    found = set()
    for path in paths:
        beside = path.parent.glob(f".{path.name}.*.tmp") if path.parent.is_dir() else ()
        for each in (path, *beside, *(path.rglob("*") if path.is_dir() else ())):
            try:
                found.add((str(each), each.stat().st_mtime_ns))
            except OSError:
                continue
    return found


def said_since(log: Path, before: int) -> str:
    """What stands in `log` after its first `before` bytes."""
    return log.read_bytes()[before:].decode()


def running_stage(log: Path, before: int) -> str:
    lines = [line for line in said_since(log, before).splitlines() if line.startswith("Running stage")]
    return lines[-1].split("'")[1] if lines else ""


def wait_for(
    process: subprocess.Popen, stage: str, moment: str, seconds: float, paths: list[Path], log, before
) -> bool:
    """Until the moment to kill; False where the process ended before."""
    while process.poll() is None and running_stage(log, before) != stage:
        time.sleep(0.02)
    known, deadline = traces(paths), time.monotonic() + seconds
    while process.poll() is None:
        if moment == "writing" and traces(paths) - known:
            return True
        if (moment == "working" and time.monotonic() > deadline) or running_stage(log, before) != stage:
            return True
        time.sleep(0.005)
    return False


def kill(process: subprocess.Popen, way: str) -> None:
    if way == "SIGKILL to DVC alone":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGTERM if way.startswith("SIGTERM") else signal.SIGKILL)
    process.wait()
    if way.startswith("SIGTERM"):
        time.sleep(1)  # the stage puts its things in order


def forget(clone: Path, stage: str, paths: list[Path]) -> None:
    """Makes a stage that has ended run again; one that has not is left as its kill left it."""
    lock = clone / "dvc.lock"
    recorded = yaml.safe_load(lock.read_text(encoding="utf-8")) if lock.exists() else {"stages": {}}
    if recorded["stages"].pop(stage, None) is None:
        return
    lock.write_text(yaml.safe_dump(recorded, sort_keys=False), encoding="utf-8")
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class Campaign:
    """The killing of `dvc repro` in `clone`; what happened is in `result`, and in FOLDER/crash.json."""

    def __init__(self, clone: Path, folder: Path, seconds: dict[str, float], seed: int) -> None:
        self.clone, self.folder, self.seconds = clone, folder, seconds
        self.chance, self.log = random.Random(seed), folder / "killed.log"
        self.kills: list[dict[str, str]] = []
        self.stopped: Counter[str] = Counter()

    def run(self, kills: int) -> None:
        stages = outputs(self.clone)
        plan = [stage for stage in stages for _ in range(-(-kills // len(stages)))][:kills]
        for number, stage in enumerate(plan):
            way, moment = WAYS[number % len(WAYS)], MOMENTS[number // len(WAYS) % len(MOMENTS)]
            self.restart(stage, way, moment, stages[stage])
        self.restart("", "", "", [])

    def restart(self, stage: str, way: str, moment: str, paths: list[Path]) -> None:
        """One run, killed in `stage`, or to its end where that is empty."""
        while True:
            shutil.rmtree(self.clone / ".dvc" / "cache" / "runs", ignore_errors=True)
            if stage:
                forget(self.clone, stage, paths)
            before = self.log.stat().st_size if self.log.exists() else 0
            process = start(self.clone, self.folder, self.log)
            seconds = self.chance.uniform(0, self.seconds.get(stage, 1.0) + IMPORT_SECONDS)
            if stage and wait_for(process, stage, moment, seconds, paths, self.log, before):
                found = running_stage(self.log, before)
                kill(process, way)
                self.kills.append({"stage": found, "way": way, "moment": moment})
                print(f"kill {len(self.kills)}: {way} in {found}, {moment}", flush=True)
                write_json(self.folder / "crash.json", self.result())
                return
            if process.wait() == 0:
                return  # the stage ended before its moment came
            said = said_since(self.log, before)
            if CUT_OFF in said:
                (self.clone / ".dvc/tmp/rwlock").unlink()
                self.stopped["DVC's lock file was cut off: removed by hand"] += 1
                continue
            orphans = left_behind(self.clone)
            if not orphans:
                raise SystemExit(f"dvc repro failed after {len(self.kills)} kills, see {self.log}")
            what = "refused by its lock" if BUSY in said else "stopped by DVC"
            self.stopped[f"a stage goes on: {what}"] += 1
            for orphan in orphans:
                orphan.kill()
            psutil.wait_procs(orphans)

    def result(self) -> dict:
        return {
            "kills": len(self.kills),
            "by stage": Counter(kill["stage"] for kill in self.kills),
            "by way": Counter(kill["way"] for kill in self.kills),
            "by moment": Counter(kill["moment"] for kill in self.kills),
            "restarts refused": self.stopped,
        }


def two_at_once(clone: Path, folder: Path) -> str:
    """A changed param, and two runs of it started together."""
    set_params(clone / "params.yaml", {"meta.hidden_dim": 64})
    logs = [folder / f"at_once_{number}.log" for number in (1, 2)]
    runs = [start(clone, folder, log) for log in logs]
    codes = [run.wait() for run in runs]
    set_params(clone / "params.yaml", {"meta.hidden_dim": 256})
    if start(clone, folder, folder / "at_once.log").wait():
        raise SystemExit(f"dvc repro failed after two at once, see {folder}/at_once.log")
    texts = [log.read_text(encoding="utf-8") for log in logs]
    refused = sum("lock" in text.lower() and code != 0 for text, code in zip(texts, codes, strict=True))
    return f"exit statuses {codes}, {refused} refused by DVC's lock"


def read_only(clone: Path, folder: Path) -> str:
    files = [path for name in ("models", "plots", "metrics") for path in (clone / name).rglob("*") if path.is_file()]
    for file in files:
        file.chmod(0o444)
    code = start(clone, folder, folder / "read_only.log", "-f", "-s", "train_meta", "evaluate").wait()
    return f"{len(files)} files read-only, exit status {code}"


def disk_full(clone: Path, folder: Path) -> str:
    """Files of more than 1 MiB (DVC's own are smaller, the pack is larger) cannot be written for a while."""
    arguments, log, packed = ("-f", "-s", "pack"), folder / "full.log", clone / "data/packed/images.npy"
    whole = packed.stat().st_size
    code = start(clone, folder, log, *arguments, largest=1 << 20).wait()
    left = packed.stat().st_size if packed.exists() else 0
    said = [line for line in log.read_text(encoding="utf-8").splitlines() if "images.npy" in line]
    again = start(clone, folder, log, *arguments).wait()
    return f"exit status {code}, {left:,} of {whole:,} bytes of images.npy left, {said}; with room again {again}"


def dated_ahead(clone: Path, folder: Path) -> str:
    """An image from an hour ahead that changes, its size and date as before."""
    image = sorted((clone / "data/demo/train").rglob("*.jpg"))[0]
    content, later = image.read_bytes(), time.time_ns() + 3600 * 10**9
    inventory, found = clone / "data/inventory.json", []
    for last in (content[-3], content[-3] ^ 1, content[-3]):
        image.unlink()
        image.write_bytes(content[:-3] + bytes([last]) + content[-2:])
        os.utime(image, ns=(later, later))
        start(clone, folder, folder / "ahead.log", "-s", "inventory").wait()
        found.append(inventory.read_bytes())
    return (
        f"change {'seen' if found[0] != found[1] else 'not seen'}, {'as' if found[2] == found[0] else 'not as'} before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="scratch, about 1 GB")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--undisturbed", type=Path, help="a finished run of these params, to compare with")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    undisturbed = arguments.undisturbed
    if undisturbed is None:
        undisturbed = copy_repository(folder / "undisturbed")
        set_params(undisturbed / "params.yaml", SMALL)
        if start(undisturbed, folder, folder / "undisturbed.log").wait():
            raise SystemExit(f"dvc repro failed, see {folder}/undisturbed.log")
    seconds = {path.stem: read_json(path)["seconds"] for path in (undisturbed / "metrics/timing").glob("*.json")}
    clone = copy_repository(folder / "killed")
    set_params(clone / "params.yaml", SMALL)
    campaign = Campaign(clone, folder, seconds, arguments.seed)
    campaign.run(arguments.kills)
    expected, result = hashes(undisturbed), campaign.result()
    result["left of unfinished trainings"] = [path.name for path in (clone / ".resume").glob("*/*.pt*")]
    for name, fault in {"kills": None, "two at once": two_at_once, "read-only outputs": read_only,
                        "disk full": disk_full, "files dated ahead": dated_ahead}.items():  # fmt: skip
        happened = fault(clone, folder) if fault else f"{len(campaign.kills)}"
        found = hashes(clone)
        different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        result[f"after {name}"] = {"happened": happened, "files compared": len(expected), "different": different}
        write_json(folder / "crash.json", result)
    print(json.dumps(result, indent=2))
    sys.exit(any(after["different"] for name, after in result.items() if name.startswith("after ")))


if __name__ == "__main__":
    main()
