"""What the data layer costs at CheXpert's scale, and what it gains over a data set that decodes image by image.

    python -m benchmarks.data --folder /somewhere/large            # everything, about an hour on two cores
    python -m benchmarks.data --folder F --only scale --images 1000 10000

Parts: `scale` makes a tree of tiny images in CheXpert's layout and measures `inventory`, `pack` and `prepare` on its
first N rows, each step in a process of its own; `decode` compares the decoding processes with a bare loop on one core
over the same files, for full-size and small originals; `batches` compares gathering and augmenting with a Dataset that
opens an image at a time with PIL and torchvision; `repro` times `dvc repro` where nothing changed, in a copy of this
repository whose data.root is the whole tree; `rules` prepares `--root` under each label rule, and counts what it makes.

Wall-clock rates hold on an idle machine only. Beside each comparison stands the same one in CPU time (microseconds of
all processes and threads for an image), which other programs hardly disturb.
"""

import argparse
import contextlib
import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.data_steps import PREPARING, cpu_seconds
from diagxnet.console.cores import cores
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import read_labels
from diagxnet.images.pack import pack
from diagxnet.images.work import release
from diagxnet.labels.prepare import audit_table, prepare
from diagxnet.labels.rules import RULES
from diagxnet.reading.inventory import take_inventory, write_inventory

ROOT = Path(__file__).resolve().parents[1]
CHEXPERT_ROWS, CHEXPERT_PATIENTS, VALID_ROWS = 223_414, 64_540, 234
SEVENTH = 7  # about every seventh image of CheXpert is lateral
RELEASE = "CheXpert-v1.0"
HEADER = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT.names]
AUGMENTATION = {"rotation": 7.0, "translation": 0.05, "scale": 0.05, "flip": 0.0, "contrast": 0.1}
BATCH = 16


def paths(rows: int) -> Iterator[tuple[str, str]]:
    """Path and view of the first `rows` images of train.csv, with CheXpert's numbers of images to a patient."""
    previous, study = 0, 0
    for row in range(rows):
        patient = row * CHEXPERT_PATIENTS // CHEXPERT_ROWS + 1
        lateral = row % SEVENTH == SEVENTH - 1 and patient == previous
        study = study if lateral else study + 1 if patient == previous else 1
        view, name = ("Lateral", "view2_lateral") if lateral else ("Frontal", "view1_frontal")
        yield f"train/patient{patient:05d}/study{study}/{name}.jpg", view
        previous = patient


def valid_paths() -> Iterator[tuple[str, str]]:
    for row in range(VALID_ROWS):
        yield f"valid/patient{CHEXPERT_PATIENTS + 1 + row:05d}/study1/view1_frontal.jpg", "Frontal"


def jpegs(width: int, height: int, count: int) -> list[bytes]:
    """Drawn JPEG files with a radiograph's mix of smooth shapes and grain, and so of about its size in bytes; each of
    another film, as `prepare` splits by film."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(40, 216, (9, 8), dtype=np.uint8)).resize((width, height))
        grain = random.normal(0, 4, (height, width))
        grey = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(grey).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def make_tree(root: Path, rows: int, files: list[bytes]) -> None:
    """Writes the images that are not there yet, then the tables of `rows` rows."""
    for number, (path, _) in enumerate([*paths(rows), *valid_paths()]):
        image = root / path
        if not image.exists():
            image.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(files[number % len(files)])
    write_tables(root, rows)


def write_tables(root: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    for name, table in (("train", paths(rows)), ("valid", valid_paths())):
        with (root / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEADER)
            for path, view in table:
                labels = random.choice(["1.0", "0.0", "-1.0", ""], p=[0.15, 0.1, 0.05, 0.7], size=len(CHEXPERT))
                writer.writerow([f"{RELEASE}/{path}", "Female", "60", view, "AP" if view == "Frontal" else "", *labels])


def pack_into(root: Path, folder: Path, size: int) -> Path:
    """Takes the inventory of `root` and packs its images into `folder`; returns the folder of the packed images."""
    folder.mkdir(parents=True, exist_ok=True)
    inventory = folder / "inventory.json"
    write_inventory(inventory, take_inventory(root, cache=folder / "cache"))
    pack(root, inventory, folder / "packed", size=size, bad_images="stop", work=folder / "work")
    return folder / "packed"


def measure(name: str, folder: Path, size: int) -> dict:
    """Runs a step in a process of its own: its seconds (imports included), and peak memory with its own processes."""
    command = [sys.executable, "-m", "benchmarks.data_steps", name, str(folder), str(size)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        looked = time.perf_counter()
        peak = max(peak, memory(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):  # looking takes 2% of a core at the most
            process.wait(max(0.05, 50 * (time.perf_counter() - looked)))
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"{name} failed")
    returned = json.loads(process.stdout.read().splitlines()[-1])
    return {"seconds": round(seconds, 2), "peak_memory_mib": round(peak / 2**20), **returned}


def memory(pid: int) -> int:
    """Resident bytes of a process and those below it."""
    total = 0
    try:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            total += each.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def scale(folder: Path, numbers: list[int], size: int) -> list[dict]:
    """Cost of each step for each number of rows, over one tree of tiny images."""
    make_tree(folder / "tree", max(numbers), jpegs(72, 80, max(numbers) + VALID_ROWS))
    time.sleep(3)  # hashes of files younger than two seconds are not kept
    results = []
    for rows in numbers:
        write_tables(folder / "tree", rows)
        for stale in ("cache", "packed", "prepared", "work"):
            shutil.rmtree(folder / stale, ignore_errors=True)
        result = {"images": rows + VALID_ROWS}
        result["inventory, first"] = measure("inventory", folder, size)
        result["inventory, no change"] = measure("inventory", folder, size)
        result["pack"] = measure("pack", folder, size)
        result["prepare"] = measure("prepare", folder, size)
        result["bare loop"] = measure("bare", folder, size)
        results.append(result)
        print(json.dumps(result), flush=True)
    return results


def plot_scale(results: list[dict], path: Path) -> None:
    """Microseconds per image and peak memory of each step against the number of images."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "diagxnet"
    from matplotlib import pyplot

    figure, (cost, peak) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    images = [result["images"] for result in results]
    for name in ("inventory, first", "inventory, no change", "pack", "prepare"):
        cost.plot(images, [1e6 * r[name]["seconds"] / r["images"] for r in results], marker="o", label=name)
        peak.plot(images, [r[name]["peak_memory_mib"] for r in results], marker="o", label=name)
    cost.set(xscale="log", yscale="log", xlabel="images", ylabel="microseconds per image")
    peak.set(xscale="log", xlabel="images", ylabel="peak memory (MiB)", ylim=(0, None))
    cost.legend()
    figure.savefig(path, metadata={"Date": None})


def decoding(folder: Path, size: int) -> list[dict]:
    """Decode rate of `pack` against the bare loop: full-size originals, and those of CheXpert-small.

    "ceiling": bare loops on all cores at once against one alone, by core: what the machine's shared memory, caches and
    clock leave to any program.
    """
    results = []
    for name, width, height, rows in (("2320 x 2828", 2320, 2828, 3000), ("320 x 390", 320, 390, 40_000)):
        here = folder / f"decode-{width}"
        make_tree(here / "tree", rows, jpegs(width, height, 16))
        measure("inventory", here, size)
        rounds = []
        for _ in range(3):
            shutil.rmtree(here / "packed", ignore_errors=True)
            release(here / "work")
            packed, bare = measure("pack", here, size), measure("bare", here, size)
            with ThreadPoolExecutor(cores()) as together:
                every = list(together.map(measure, ["bare"] * cores(), [here] * cores(), [size] * cores()))
            ceiling = sum(each["images_per_second"] for each in every) / bare["images_per_second"] / cores()
            wall = packed["images_per_second"] / bare["images_per_second"] / cores()
            rounds.append((wall, bare["cpu_us"] / packed["cpu_us"], ceiling, packed, bare))
        median = sorted(rounds, key=lambda each: each[0])[len(rounds) // 2]
        wall, cpu, ceiling, packed, bare = median
        result = {"originals": name, "per core, wall": round(wall, 3), "per core, cpu": round(cpu, 3)}
        result["ceiling"] = round(ceiling, 3)
        for way, stats in (("pack", packed), ("bare loop", bare)):
            result |= {way: round(stats["images_per_second"], 1), f"{way}, cpu us": round(stats["cpu_us"])}
        results.append(result)
        print(json.dumps(result), flush=True)
        shutil.rmtree(here)
    return results


def batch_rates(folder: Path) -> list[dict]:
    """Images per second of both ways to read training batches, at 64 and 224 pixels: the best of seven turns each."""
    import torch

    from diagxnet.training.augment import augment
    from diagxnet.training.batches import gather

    here = folder / "batches"
    make_tree(here / "tree", 2000, jpegs(320, 390, 2000 + VALID_ROWS))
    measure("inventory", here, 64)
    files = [str(here / "tree" / path) for path, _ in paths(2000)]
    results = []
    for size in (64, 224):
        shutil.rmtree(here / "packed", ignore_errors=True)
        release(here / "work")
        measure("pack", here, size)
        images = open_packed(here / "packed")
        order = np.random.default_rng(0).permutation(2000)

        def gathered(rows: np.ndarray, images: np.ndarray = images) -> torch.Tensor:
            return gather(images, rows)

        def augmented(rows: np.ndarray, images: np.ndarray = images) -> torch.Tensor:
            return augment(gather(images, rows), rows, seed=1, epoch=0, **AUGMENTATION)

        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "gather": lambda order=order, read=gathered: rate(read, order),
            "gather and augment": lambda order=order, read=augmented: rate(read, order),
            "gather and augment, one thread": lambda order=order, read=augmented: one_thread(read, order),
            "per item, grey": lambda size=size: per_item_rate(files, size, "L"),
            "per item, RGB": lambda size=size: per_item_rate(files, size, "RGB"),
        }
        turns: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(7):
            for name, way in ways.items():
                turns[name].append(way())
        result: dict[str, float] = {"size": size}
        for name, each in turns.items():
            result[name] = round(max(rates for rates, _ in each))
            result[f"{name}, cpu us"] = round(min(cpu for _, cpu in each), 1)
        results.append(result)
        print(json.dumps(result), flush=True)
    shutil.rmtree(here)
    return results


def rate(read: Callable[[np.ndarray], object], order: np.ndarray, seconds: float = 1.0) -> tuple[float, float]:
    """Images per second of `read` over batches of 16 rows, and CPU microseconds for an image."""
    parts = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
    done, started, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        read(parts[done % len(parts)])
        done += 1
    images = done * BATCH
    return images / (time.perf_counter() - started), 1e6 * (time.process_time() - cpu) / images


def one_thread(read: Callable[[np.ndarray], object], order: np.ndarray) -> tuple[float, float]:
    """`rate` with one torch thread: threads that wait for each other burn CPU time on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rate(read, order)
    finally:
        torch.set_num_threads(threads)


class Items:
    """The usual data set: an image at a time, opened with PIL, changed by torchvision transforms."""

    def __init__(self, files: list[str], size: int, mode: str) -> None:
        import torchvision.transforms as transforms

        self.files, self.mode = files, mode
        shift, zoom = AUGMENTATION["translation"], AUGMENTATION["scale"]
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(size * 256 / 224)),
                transforms.CenterCrop(size),
                transforms.RandomAffine(AUGMENTATION["rotation"], (shift, shift), (1 - zoom, 1 + zoom)),
                transforms.ColorJitter(contrast=AUGMENTATION["contrast"]),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        with Image.open(self.files[index]) as image:
            return self.transform(image.convert(self.mode))


def per_item_rate(files: list[str], size: int, mode: str) -> tuple[float, float]:
    """The same of a DataLoader with two workers; the rate leaves out their start, the CPU time includes it."""
    import torch

    cpu = cpu_seconds()
    loader = torch.utils.data.DataLoader(Items(files, size, mode), BATCH, shuffle=True, num_workers=2)
    batches = iter(loader)
    for _ in range(4):  # the workers start, and fill the queue of two batches each
        next(batches)
    done, started = 0, time.perf_counter()
    for batch in batches:
        done += len(batch)
    seconds = time.perf_counter() - started
    del batches  # ends the workers, whose CPU time counts from then on
    return done / seconds, 1e6 * (cpu_seconds() - cpu) / len(files)


def repro(folder: Path) -> dict:
    """Seconds of `dvc repro` with nothing changed, and of a plain stat of the same files, over the whole tree."""
    make_tree(folder / "tree", CHEXPERT_ROWS, jpegs(72, 80, CHEXPERT_ROWS + VALID_ROWS))
    clone = copy_repository(folder / "clone")
    settings = {
        "demo.images": 160,
        "demo.test_images": 60,
        "data.root": folder / "tree",
        "data.max_patients": 80,
        "densenet.epochs": 1,
        "vit.epochs": 1,
        "meta.epochs": 1,
        "evaluate.bootstrap": 100,
    }
    set_params(clone / "params.yaml", settings)
    result = {"first": dvc_repro(clone, folder), "no change": [dvc_repro(clone, folder) for _ in range(3)]}
    started = time.perf_counter()
    for path, _ in paths(CHEXPERT_ROWS):
        os.stat(f"{folder}/tree/{path}")
    result["stat alone"] = round(time.perf_counter() - started, 2)
    print(json.dumps(result), flush=True)
    return result


def copy_repository(clone: Path) -> Path:
    """A git repository of its own with this one's files as they are now, without results."""
    shutil.rmtree(clone, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    name = ["-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost"]
    for command in (["init", "-q"], ["add", "-A"], [*name, "commit", "-q", "-m", "start"]):  # DVCLive wants a commit
        subprocess.run(["git", *command], cwd=clone, check=True)
    return clone


def set_params(path: Path, settings: dict[str, object]) -> None:
    lines, section = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(\w+):", line):
            section = match[1]
        match = re.match(r"  (\w+):", line)
        if match and f"{section}.{match[1]}" in settings:
            line = f"  {match[1]}: {settings[f'{section}.{match[1]}']}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def dvc_environment(folder: Path) -> dict[str, str]:
    """This process's environment, with this Python for the stages and the cache of hashes in `folder`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DIAGXNET_CACHE": str(folder / "cache"), "DVC_NO_ANALYTICS": "1"}


def dvc_repro(clone: Path, folder: Path) -> float:
    """Seconds of one `dvc repro` in `clone`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=clone, env=dvc_environment(folder), check=True)
    return round(time.perf_counter() - started, 2)


def label_rules(root: Path, folder: Path) -> list[dict]:
    """For each rule and finding of `root`: how many labels of train are known, and the sum of their targets."""
    here = folder / "rules"
    packed = pack_into(root, here, 64)
    results = []
    for blank, rule in itertools.product(("negative", "ignore"), RULES):
        options = PREPARING | {"blank": blank, "uncertain": dict.fromkeys(CHEXPERT.keys, rule)}
        summary = prepare(root, packed, here / "prepared", **options)
        if not results:
            print(audit_table(summary, CHEXPERT))
        train = read_labels(here / "prepared", "train")
        known, positive = train.mask.sum(0).tolist(), np.where(train.mask, train.targets, 0).sum(0).round(1).tolist()
        result = {"blank": blank, "uncertain": rule, "known": int(train.mask.sum())}
        result |= dict(zip(CHEXPERT.keys, zip(known, positive, strict=True), strict=True))
        results.append(result)
        print(json.dumps(result), flush=True)
    shutil.rmtree(here)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="scratch; needs about 10 GB and a million inodes")
    parser.add_argument("--only", choices=["scale", "decode", "batches", "repro", "rules"])
    parser.add_argument(
        "--root", type=Path, default=ROOT / "data/demo", help="of rules: a data set in CheXpert's layout"
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000, 50_000, CHEXPERT_ROWS])
    parser.add_argument("--size", type=int, default=64, help="side in pixels of packed images in scale")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    parts = {
        "scale": lambda: scale(folder, sorted(arguments.images), arguments.size),
        "decode": lambda: decoding(folder, 224),
        "batches": lambda: batch_rates(folder),
        "repro": lambda: repro(folder),
        "rules": lambda: label_rules(arguments.root.resolve(), folder),
    }
    for name in [arguments.only] if arguments.only else list(parts):
        print(f"{name}, load {psutil.getloadavg()[0]:.1f} on {cores()} cores", flush=True)
        result = parts[name]()
        write_json(folder / f"{name}.json", result)
        if name == "scale":
            plot_scale(result, folder / "scale.svg")


if __name__ == "__main__":
    main()
