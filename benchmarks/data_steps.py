"""The steps that `benchmarks.data` measures, one a process: `python -m benchmarks.data_steps STEP FOLDER SIZE`.

Each imports what it needs by itself, as the stages do: `pack` starts processes that import this module again. The last
line that a step prints is its result as JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

from diagxnet.data.chexpert import CHEXPERT

PREPARING = {
    "views": "frontal",
    "uncertain": dict.fromkeys(CHEXPERT.keys, "lsr_ones"),
    "blank": "negative",
    "split_seed": 1,
    "max_patients": None,
    "shares": {"val": 0.2, "stack": 0.2, "test": 0.2},
}
BARE_SECONDS = 20


def cpu_seconds() -> float:
    """CPU time of this process and of those that it started and that ended."""
    return sum(os.times()[:4])


def step_inventory(folder: Path, size: int) -> dict:
    from diagxnet.reading.inventory import take_inventory, write_inventory

    write_inventory(folder / "inventory.json", take_inventory(folder / "tree", cache=folder / "cache"))
    return {}


def step_pack(folder: Path, size: int) -> dict:
    from diagxnet.images.pack import pack

    before = cpu_seconds()
    stats = pack(
        folder / "tree",
        folder / "inventory.json",
        folder / "packed",
        size=size,
        bad_images="stop",
        work=folder / "work",
    )
    return stats | {"cpu_us": 1e6 * (cpu_seconds() - before) / stats["images"]}


def step_prepare(folder: Path, size: int) -> dict:
    from diagxnet.labels.prepare import prepare

    prepare(folder / "tree", folder / "packed", folder / "prepared", **PREPARING)
    return {}


def step_bare(folder: Path, size: int) -> dict:
    """Decodes the same files in a loop for up to 20 seconds: one core, nothing written, nothing else."""
    from diagxnet.data.files import read_json
    from diagxnet.images.decode import decode

    root = str(folder / "tree")
    files = [os.path.join(root, path) for path in read_json(folder / "inventory.json")["images"]]
    done, started, cpu = 0, time.perf_counter(), time.process_time()
    for file in files:
        decode(file, size, root)
        done += 1
        if time.process_time() - cpu > BARE_SECONDS:
            break
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"images_per_second": done / seconds, "cpu_us": 1e6 * cpu / done}


STEPS = {"inventory": step_inventory, "pack": step_pack, "prepare": step_prepare, "bare": step_bare}


if __name__ == "__main__":
    name, folder, size = sys.argv[1:]
    print(json.dumps(STEPS[name](Path(folder), int(size))))
