"""What a GPU makes of a training: rates over the grid of what params.yaml may say, and a kill in the middle.

    python -m benchmarks.gpu rates  --folder F            # an hour or two on a CUDA GPU, most of it for torch.compile
    python -m benchmarks.gpu resume --folder F            # minutes

`rates`: for each network, image size, step, precision, eager and compiled: images per second of the training loop with
gathering and augmentation, of the same loop on a resident batch (pure), and the share of pure that the loop reaches; of
val, in the passes that the loop takes; of `stack_features`, in passes of 256; the most memory that was taken, and how
often it did not suffice, so that a step was halved. `resume`: a training that is killed after its first epoch and goes
on, beside an undisturbed one: whether their weights have equal bytes, and else by how much they differ.

The images are made up, on disk and mapped as packed ones are. Runs on a CPU, too, with smaller values: --models
resnet10t --sizes 32 --batches 4.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.data import AUGMENTATION
from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json
from diagxnet.features.views import Views
from diagxnet.preflight.rehearsal import Resident
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.loop import Epoch, Examples, fit, val_batch_size
from diagxnet.training.networks import BaseModel, create_base
from diagxnet.training.precision import computes_bf16, create_accelerator, describe
from diagxnet.training.recipe import Recipe, compose
from diagxnet.training.resume import ResumeState
from diagxnet.training.sources import Source

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_CUDA = DEVICE.type == "cuda"
IMAGES = 1024
"""Made up for each size; a training takes them several times."""

WARM_UP = 3
"""Updates before those that count."""

FEATURES_BATCH = 256
KILL_AFTER, EPOCHS = 1, 3


@dataclass(frozen=True)
class Case:
    """One place of the grid. size: pixels; batch: images a step, each of which is an update."""

    model: str
    size: int
    batch: int
    precision: str
    compiled: bool


class Marks(Progress):
    """Notes when each update was handed over, and waits for no device: the loop itself waits for the one before."""

    def __init__(self) -> None:
        super().__init__(0, "", shown=False)
        self.times: list[float] = []

    def update(self, items: int = 1) -> None:
        self.times.append(time.perf_counter())


def recipe(batch: int, compiled: bool, epochs: int = 1) -> Recipe:
    """The optimized recipe with pretrained rates, in steps of `batch`."""
    values = {"scheduler": "constant", "plateau_factor": 0.5, "plateau_patience": 2, "warmup": 0.1, "patience": None}
    values |= {"optimizer": "adamw", "weight_decay": 1e-4, "loss": "bce", "label_smoothing": 0.1, "min_delta": 0.001}
    values |= {"class_weights": "none", "max_class_weight": 10.0, "max_grad_norm": 1.0, "ema": 0.99, "seed": 0}
    return compose(epochs=epochs, lr=1e-4, batch_size=batch, accumulation_steps=1, compile=compiled, **values)


def network(model: str, size: int) -> BaseModel:
    torch.manual_seed(0)
    return create_base(model, findings=len(CHEXPERT), image_size=size)


def packed(folder: Path, size: int) -> np.ndarray:
    """Made-up images [IMAGES, size, size], mapped."""
    path = folder / f"images{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(0).integers(0, 256, (IMAGES, size, size), np.uint8))
    return np.load(path, mmap_mode="r")


def examples(source: Source, count: int) -> Examples:
    targets = (np.arange(count)[:, None] + np.arange(len(CHEXPERT))) % 2
    return Examples(source, targets.astype(np.float32), np.ones(targets.shape, bool))


def image_source(images: np.ndarray, count: int, augmentation: dict[str, float]) -> ImageSource:
    return ImageSource(images, np.resize(np.random.default_rng(1).permutation(len(images)), count), 0, augmentation)


def learned(case: Case, train: Source, val: Source, updates: int, folder: Path) -> tuple[float, BaseModel]:
    """Images per second of so many updates of the loop after those that warm up, and the network."""
    model, marks = network(case.model, case.size), Marks()
    count = case.batch * (WARM_UP + updates)
    accelerator, state = create_accelerator(case.precision), ResumeState(folder / "state", "benchmark")
    train, val = examples(train, count), examples(val, case.batch)
    list(
        fit(
            model,
            train,
            val,
            recipe(case.batch, case.compiled),
            accelerator=accelerator,
            state=state,
            progress=marks,
        )
    )
    state.remove()
    return (len(marks.times) - WARM_UP) * case.batch / (marks.times[-1] - marks.times[WARM_UP - 1]), model


def passed(case: Case, model: torch.nn.Module, images: np.ndarray, batch: int) -> float:
    """Images per second of forward passes over the images, the first of which warms up."""
    source, accelerator = image_source(images, len(images), {}), create_accelerator(case.precision)
    predict_logits(model, source, min(batch, len(images)), batch_size=batch, accelerator=accelerator)
    started = time.perf_counter()
    predict_logits(model, source, len(images), batch_size=batch, accelerator=accelerator)
    return len(images) / (time.perf_counter() - started)


def measure(case: Case, images: np.ndarray, updates: int, folder: Path) -> dict[str, object]:
    """A row of the table: the case, and its rates."""
    torch._dynamo.reset()
    count = case.batch * (WARM_UP + updates)
    if ON_CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        refused = torch.cuda.memory_stats().get("num_ooms", 0)
    val = image_source(images, case.batch, {})
    row: dict[str, object] = asdict(case)
    loop, model = learned(case, image_source(images, count, AUGMENTATION), val, updates, folder)
    if ON_CUDA:
        row["peak memory GiB"] = torch.cuda.max_memory_allocated() / 2**30
        row["out of memory"] = torch.cuda.memory_stats().get("num_ooms", 0) - refused
    row["val"] = passed(case, model, images, val_batch_size(None, case.batch, DEVICE))
    row["stack_features"] = passed(case, Views(model, 1), images, FEATURES_BATCH)
    del model
    resident = Resident(torch.rand(case.batch, 1, case.size, case.size, device=DEVICE))
    pure, _ = learned(case, resident, resident, updates, folder)
    row |= {"loop": loop, "pure": pure, "share of pure compute": loop / pure}
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def measure_rates(arguments: argparse.Namespace) -> list[dict]:
    """A row for each place of the grid; one that cannot be run says why."""
    grid = itertools.product(
        arguments.models, arguments.sizes, arguments.batches, arguments.precisions, arguments.compiled
    )
    rows = []
    for case in itertools.starmap(Case, grid):
        try:
            row = measure(case, packed(arguments.folder, case.size), arguments.updates, arguments.folder)
        except InputError as error:
            row = asdict(case) | {"refused": str(error)}
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


# A kill ---------------------------------------------------------------------------------------------------------------


def train(case: Case, folder: Path, work: Path) -> Iterator[Epoch]:
    """A training of EPOCHS epochs, whose weights are in `work` when it ends; it goes on from the state there."""
    images, model = packed(folder, case.size), network(case.model, case.size)
    count = min(IMAGES, 4 * case.batch)
    yield from fit(
        model,
        examples(image_source(images, count, AUGMENTATION), count),
        examples(image_source(images, case.batch, {}), case.batch),
        recipe(case.batch, case.compiled, EPOCHS),
        accelerator=create_accelerator(case.precision),
        state=ResumeState(work / "state", "benchmark"),
        progress=Progress(0, "", shown=False),
    )
    save_file(
        {name: each.cpu().contiguous() for name, each in model.state_dict().items()}, work / "weights.safetensors"
    )


def in_a_process(case: Case, folder: Path, work: Path, kill: bool) -> int:
    """Epochs that a process has trained or taken up when it ends, by itself or killed after KILL_AFTER of them."""
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu", "train", "--folder", str(folder), "--work", str(work)]
    command += ["--models", case.model, "--sizes", str(case.size), "--batches", str(case.batch)]
    command += ["--precisions", case.precision, "--compiled", *(["yes"] if case.compiled else ["no"])]
    epochs = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for line in process.stdout:
            epochs += line.startswith("epoch ")
            if kill and epochs == KILL_AFTER:
                process.kill()
                break
    if not kill and process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}")
    return epochs


def measure_resume(arguments: argparse.Namespace) -> list[dict]:
    """For each network whether a killed training ends in the bytes of an undisturbed one."""
    rows = []
    for model, precision in itertools.product(arguments.models, arguments.precisions):
        case = Case(model, arguments.sizes[0], arguments.batches[0], precision, arguments.compiled[0])
        work = arguments.folder / "resume" / model / precision
        ways = {"undisturbed": [False], "killed": [True, False], "again": [False]}
        epochs = {
            way: [in_a_process(case, arguments.folder, work / way, kill) for kill in kills]
            for way, kills in ways.items()
        }
        weights = {way: load_file(work / way / "weights.safetensors") for way in ways}
        row = asdict(case) | {"epochs": epochs}
        for way in ("killed", "again"):
            pairs = [(weights["undisturbed"][name], own) for name, own in weights[way].items()]
            row[f"{way}: equal bytes"] = all(torch.equal(*pair) for pair in pairs)
            row[f"{way}: largest difference"] = max(float((one - two).abs().max()) for one, two in pairs)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["rates", "resume", "train"], help="train: what resume starts")
    parser.add_argument("--folder", type=Path, required=True, help="scratch, and the figures")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="+", default=["densenet121", "vit_base_patch16_224"], help="timm's names")
    parser.add_argument("--sizes", nargs="+", type=int, default=[224, 320])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 32, 64, 128, 256])
    arithmetic = ["bf16", "fp16"] if ON_CUDA else ["bf16" if computes_bf16(DEVICE) else "fp32"]
    parser.add_argument("--precisions", nargs="+", choices=["fp32", "bf16", "fp16"], default=arithmetic)
    parser.add_argument("--compiled", nargs="+", choices=["no", "yes"], default=["no", "yes"])
    parser.add_argument("--updates", type=int, default=20, help="of a step each, that count")
    arguments = parser.parse_args()
    arguments.compiled = [each == "yes" for each in arguments.compiled]
    if arguments.part == "train":
        grid = (arguments.models, arguments.sizes, arguments.batches, arguments.precisions, arguments.compiled)
        for number, _ in enumerate(train(Case(*(own[0] for own in grid)), arguments.folder, arguments.work), 1):
            print(f"epoch {number}", flush=True)
        return
    print(f"on {describe(create_accelerator(arguments.precisions[0]))}, torch {torch.__version__}", flush=True)
    rows = {"rates": measure_rates, "resume": measure_resume}[arguments.part](arguments)
    write_json(arguments.folder / f"{arguments.part}.json", rows)


if __name__ == "__main__":
    main()
