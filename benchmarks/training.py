"""What the training engine gains over a plain PyTorch loop, and what it loses to the hardware.

    python -m benchmarks.training steps   --root data/demo --folder F     # rates, on the same rows, in one run
    python -m benchmarks.training options --root data/demo --folder F     # what each setting adds to a step
    python -m benchmarks.training whole   --root data/demo --folder F     # the pipeline against the scripts before

`steps`: images per second of DenseNet-121 and ViT-B/16 at 224 pixels for a plain loop (fp32, a Dataset that opens an
image at a time with PIL, torchvision transforms, default memory layout, a DataLoader with a worker a core), for our
engine, and for a step of our engine on a resident batch, without a data path; the share of the matrix peak of the same
precision, measured in between, that such a step reaches; on a GPU its peak memory too. `whole` times an epoch of each
part and multiplies by the guide's epochs (10, 10 and 20): the plain meta-learner runs both base models again in every
epoch, as the scripts before did. Test images are on neither side.

Runs on a CPU and on a CUDA GPU, without DVC. Each round times every way in turn; ratios are medians over rounds.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.data import AUGMENTATION, Items, pack_into
from benchmarks.data_steps import PREPARING
from diagxnet.console.cores import cores
from diagxnet.console.progress import Progress
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import write_json
from diagxnet.data.members import FIRST
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import Labels, read_labels, read_manifest
from diagxnet.features.stack import stack_features
from diagxnet.labels.prepare import prepare
from diagxnet.stacking.train import train_meta
from diagxnet.training.checkpoint import save_model
from diagxnet.training.image_source import ImageSource
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import BaseModel, base_config, create_base
from diagxnet.training.precision import create_accelerator
from diagxnet.training.recipe import compose
from diagxnet.training.resume import ResumeState
from diagxnet.training.windows import Batches

SIZE, BATCH, ACCUMULATED = 224, 16, 2
WINDOW = BATCH * ACCUMULATED
ARCHS = {"densenet": "densenet121", "vit": "vit_base_patch16_224"}
RECIPE = compose(
    epochs=1,
    lr=1e-4,
    batch_size=BATCH,
    scheduler="constant",
    plateau_factor=0.5,
    plateau_patience=2,
    warmup=0.1,
    patience=None,
    accumulation_steps=ACCUMULATED,
    optimizer="adamw",
    weight_decay=1e-4,
    loss="bce",
    label_smoothing=0.1,
    class_weights="none",
    max_class_weight=10.0,
    max_grad_norm=1.0,
    min_delta=0.001,
    seed=0,
)
GUIDE_EPOCHS = {"densenet": 10, "vit": 10, "meta": 20}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MATRIX_SIDE = 8192 if DEVICE.type == "cuda" else 4096
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Data:
    """The packed images of a data set, its splits, and the file of each packed row."""

    folder: Path
    images: np.ndarray
    files: list[str]

    def labels(self, split: str) -> Labels:
        return read_labels(self.folder / "prepared", split)


def prepare_data(root: Path, folder: Path, size: int = SIZE) -> tuple[Data, float]:
    """Inventory, pack and prepare of `root` into `folder`, and the seconds that they took."""
    started = time.perf_counter()
    packed = pack_into(root, folder, size)
    prepare(root, packed, folder / "prepared", **PREPARING)
    seconds = time.perf_counter() - started
    images = open_packed(packed)
    manifest = read_manifest(folder / "prepared")
    files = [""] * len(images)
    for row, path in zip(manifest["row"], manifest["path"], strict=True):
        files[row] = str(root / path)
    return Data(folder, images, files), seconds


def synchronise() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], object]) -> float:
    synchronise()
    started = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - started


# The plain loop -----------------------------------------------------------------------------------------------------


class Radiographs(Dataset):
    """An image at a time in RGB, with ImageNet's moments, and its labels."""

    def __init__(self, data: Data, labels: Labels, training: bool) -> None:
        import torchvision.transforms as transforms

        self.items = Items([data.files[row] for row in labels.rows], SIZE, "RGB")
        if not training:
            resize, crop, *_, to_tensor = self.items.transform.transforms
            self.items.transform = transforms.Compose([resize, crop, to_tensor])
        self.normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self.targets, self.mask = torch.from_numpy(labels.targets), torch.from_numpy(labels.mask)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        return self.normalise(self.items[index]), self.targets[index], self.mask[index]


def plain_loader(data: Data, labels: Labels, training: bool) -> DataLoader:
    return DataLoader(Radiographs(data, labels, training), BATCH, shuffle=training, num_workers=cores())


def plain_model(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(ARCHS[name], num_classes=len(CHEXPERT)).to(DEVICE)


def plain_epoch(model: nn.Module, loader: DataLoader) -> list[tuple[float, int]]:
    """An epoch of the guide's loop; the time after each update, and the images that it took."""
    optimizer = torch.optim.AdamW(model.parameters(), RECIPE.schedule.lr, weight_decay=RECIPE.optimization.weight_decay)
    model.train()
    ticks, taken = [], 0
    for step, (images, targets, mask) in enumerate(loader, start=1):
        loss = masked_bce(model(images.to(DEVICE)), targets.to(DEVICE), mask.to(DEVICE))
        (loss / ACCUMULATED).backward()
        taken += len(images)
        if step % ACCUMULATED == 0 or step == len(loader):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            synchronise()
            ticks.append((time.perf_counter(), taken))
            taken = 0
    return ticks


def masked_bce(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    smoothed = targets * (1 - RECIPE.objective.label_smoothing) + 0.5 * RECIPE.objective.label_smoothing
    return F.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")[mask].mean()


@torch.no_grad()
def plain_validation(models: list[nn.Module], loader: DataLoader) -> float:
    for model in models:
        model.eval()
    return sum(
        float(masked_bce(model(x.to(DEVICE)), y.to(DEVICE), m.to(DEVICE))) for x, y, m in loader for model in models
    )


def plain_meta_epoch(models: list[nn.Module], meta: nn.Module, stack: DataLoader, val: DataLoader) -> None:
    """The meta-learner's epoch of the scripts before: both base models over every image of stack, and of val."""
    optimizer = torch.optim.AdamW(meta.parameters(), RECIPE.schedule.lr)
    for loader, training in ((stack, True), (val, False)):
        for model in models:
            model.eval()
        for images, targets, mask in loader:
            images = images.to(DEVICE)
            with torch.no_grad():
                logits = torch.cat([model(images) for model in models], 1)
            with torch.set_grad_enabled(training):
                loss = masked_bce(meta(logits), targets.to(DEVICE), mask.to(DEVICE))
            if training:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
    synchronise()


# Ours ---------------------------------------------------------------------------------------------------------------


class Stopwatch(Progress):
    """Notes the time of each update instead of showing it."""

    def __init__(self) -> None:
        super().__init__(0, "", shown=False)
        self.ticks: list[tuple[float, int]] = []

    def update(self, items: int = 1) -> None:
        synchronise()
        self.ticks.append((time.perf_counter(), items))


def our_model(name: str) -> BaseModel:
    torch.manual_seed(0)
    return create_base(ARCHS[name], findings=len(CHEXPERT), image_size=SIZE)


def our_examples(data: Data, labels: Labels, augmentation: dict[str, float]) -> Examples:
    source = ImageSource(data.images, labels.rows, 0, augmentation)
    return Examples(source, labels.targets, labels.mask)


def our_epoch(
    model: BaseModel, train: Examples, val: Examples, precision: str, folder: Path
) -> list[tuple[float, int]]:
    """An epoch of the engine, with its validation and the state that it saves; the time after each update."""
    watch = Stopwatch()
    state = ResumeState(folder / "state", "benchmark")
    accelerator = create_accelerator(precision)
    for _ in fit(model, train, val, RECIPE, accelerator=accelerator, state=state, progress=watch):
        pass
    state.remove()
    return watch.ticks


def pure_step(model: BaseModel, precision: str, batch: int = BATCH) -> Callable[[], None]:
    """An update of the engine's arithmetic on a resident batch: nothing is read, augmented, checked or saved."""
    accelerator = create_accelerator(precision)
    optimizer = torch.optim.AdamW(model.parameters(), RECIPE.schedule.lr, weight_decay=RECIPE.optimization.weight_decay)
    model, optimizer = accelerator.prepare(model, optimizer)
    images = torch.rand(batch, 1, SIZE, SIZE, device=DEVICE)
    targets = torch.zeros(batch, len(CHEXPERT), device=DEVICE)
    mask, weights = torch.ones_like(targets, dtype=torch.bool), torch.ones(len(CHEXPERT), device=DEVICE)
    model.train()

    def step() -> None:
        for _ in range(ACCUMULATED):
            with accelerator.autocast():
                logits = model(images)
            entries = RECIPE.objective.sum(logits, targets, mask, weights)
            accelerator.backward(entries / mask.sum() / ACCUMULATED)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def rate(ticks: list[tuple[float, int]]) -> float:
    """Images per second after the first update, which warms up."""
    return sum(images for _, images in ticks[1:]) / (ticks[-1][0] - ticks[0][0])


def step_rate(step: Callable[[], None], updates: int, batch: int = BATCH) -> float:
    step()
    return updates * batch * ACCUMULATED / timed(lambda: [step() for _ in range(updates)])


def matrix_peak(precision: str) -> float:
    """TFLOP/s of a large matrix product."""
    left, right = (torch.rand(MATRIX_SIDE, MATRIX_SIDE, device=DEVICE).to(TYPES[precision]) for _ in range(2))
    repeats = 20 if DEVICE.type == "cuda" else 2
    left @ right
    return 2 * MATRIX_SIDE**3 * repeats / timed(lambda: [left @ right for _ in range(repeats)]) / 1e12


def step_flops(name: str) -> float:
    """Floating-point operations of forward and backward for one image (matrix products and convolutions)."""
    model, images = our_model(name).to(DEVICE), torch.rand(2, 1, SIZE, SIZE, device=DEVICE)
    counter = FlopCounterMode(display=False)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        model(images).sum().backward()
    return counter.get_total_flops() / len(images)


# The parts ----------------------------------------------------------------------------------------------------------


def first_rows(labels: Labels, images: int) -> Labels:
    return Labels(labels.rows[:images], labels.targets[:images], labels.mask[:images])


def measure_steps(data: Data, updates: int, rounds: int, precisions: list[str], names: list[str]) -> list[dict]:
    """Rates of each model, from `updates` updates after the first, in each of `rounds` turns."""
    wanted = WINDOW * (updates + 1)
    train = data.labels("train")
    repeated = np.resize(np.arange(len(train.rows)), wanted)  # a small data set comes several times
    train = Labels(train.rows[repeated], train.targets[repeated], train.mask[repeated])
    val = first_rows(data.labels("val"), BATCH)
    results = []
    for name in names:
        flops = step_flops(name)
        for precision in precisions:
            turns = [one_round(data, name, precision, train, val, updates) for _ in range(rounds)]
            middle = {key: median(turn[key] for turn in turns) for key in turns[0]}
            result = {"model": ARCHS[name], "precision": precision, "rounds": rounds, **middle}
            result["times the plain loop"] = median(turn["ours"] / turn["plain"] for turn in turns)
            result["share of pure compute"] = median(turn["ours"] / turn["pure"] for turn in turns)
            result["share of matrix peak"] = median(
                turn["pure"] * flops / 1e12 / turn["peak TFLOP/s"] for turn in turns
            )
            results.append(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}
            )
            print(json.dumps(results[-1]), flush=True)
    return results


def one_round(data: Data, name: str, precision: str, train: Labels, val: Labels, updates: int) -> dict[str, float]:
    turn = {"plain": rate(plain_epoch(plain_model(name), plain_loader(data, train, training=True)))}
    model = our_model(name)
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        examples = our_examples(data, train, AUGMENTATION), our_examples(data, val, {})
        turn["ours"] = rate(our_epoch(model, *examples, precision, Path(folder)))
    if DEVICE.type == "cuda":
        turn["peak memory GiB"] = torch.cuda.max_memory_allocated() / 2**30
    turn["pure"] = step_rate(pure_step(our_model(name), precision), updates)
    turn["peak TFLOP/s"] = matrix_peak(precision)
    return turn


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def unfused() -> Iterator[None]:
    """timm's attention from single matrix products instead of torch's fused kernel."""
    timm.layers.set_fused_attn(False)
    try:
        yield
    finally:
        timm.layers.set_fused_attn(True)


def measure_options(updates: int, rounds: int, precision: str, names: list[str]) -> list[dict]:
    """What each setting makes of the rate of a pure step: medians over rounds of the ratio to the default's."""
    results = []
    for name in names:
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "default": lambda name=name: option_rate(name, precision, updates),
            "fp32": lambda name=name: option_rate(name, "fp32", updates),
            "batch 8": lambda name=name: option_rate(name, precision, updates, batch=8),
            "batch 32": lambda name=name: option_rate(name, precision, updates, batch=32),
            "compile": lambda name=name: option_rate(name, precision, updates, compiled=True),
        }
        if name == "densenet":
            ways["default layout"] = lambda: option_rate("densenet", precision, updates, default_layout=True)
        else:
            ways["unfused attention"] = lambda: option_rate("vit", precision, updates, around=unfused)
        if DEVICE.type == "cpu":
            ways["one thread"] = lambda name=name: option_rate(name, precision, updates, around=lambda: threads(1))
        turns: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, measured in ways.items():
                turns[way].append(measured())
        for way, rates in turns.items():
            ratio = median(own / default for (own, _), (default, _) in zip(rates, turns["default"], strict=True))
            result = {"model": ARCHS[name], "setting": way, "images/s": round(median(own for own, _ in rates), 2)}
            result |= {"ratio": round(ratio, 3), "first update, s": round(median(first for _, first in rates), 1)}
            results.append(result)
            print(json.dumps(result), flush=True)
    return results


def option_rate(
    name: str,
    precision: str,
    updates: int,
    *,
    batch: int = BATCH,
    compiled: bool = False,
    default_layout: bool = False,
    around: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext,
) -> tuple[float, float]:
    """Images per second of a pure step under one setting, and the seconds of its first update."""
    with around():
        model = our_model(name)
        if default_layout:
            model = model.to(memory_format=torch.contiguous_format)
        if compiled:
            torch._dynamo.reset()
            model = torch.compile(model)
        step = pure_step(model, precision, batch)
        first = timed(step)
        return step_rate(step, max(1, updates * BATCH // batch), batch), first


def measure_whole(data: Data, preparing: float, precision: str) -> list[dict]:
    """Seconds of every part of both ways, an epoch each, and of the whole at the guide's epochs."""
    train, val, stack = (data.labels(split) for split in ("train", "val", "stack"))
    ours, plain = {"preparing": preparing}, {}
    models = []
    for name in ARCHS:
        model = plain_model(name)
        loaders = plain_loader(data, train, training=True), plain_loader(data, val, training=False)
        plain[name] = timed(lambda m=model, of=loaders: (plain_epoch(m, of[0]), plain_validation([m], of[1])))
        models.append(model)
        report_part("plain", name, plain[name])
        model = our_model(name)
        examples = our_examples(data, train, AUGMENTATION), our_examples(data, val, {})
        ours[name] = timed(lambda m=model, of=examples: our_epoch(m, *of, precision, data.folder))
        config = base_config(
            ARCHS[name],
            findings=CHEXPERT.names,
            image_size=SIZE,
            pretrained=False,
            dropout=0.0,
            patch_size=None,
            stem="patches",
            batch_norm=False,
        )
        save_model(data.folder / "models" / name, model.cpu(), config, {})
        report_part("ours", name, ours[name])
    meta = nn.Sequential(nn.Linear(2 * len(CHEXPERT), 256), nn.ReLU(), nn.Linear(256, len(CHEXPERT))).to(DEVICE)
    loaders = plain_loader(data, stack, training=True), plain_loader(data, val, training=False)
    plain["meta"] = timed(lambda: plain_meta_epoch(models, meta, *loaders))
    report_part("plain", "meta", plain["meta"])
    ours["features"] = timed(lambda: run_features(data, precision))
    report_part("ours", "features", ours["features"])
    ours["meta, all epochs"] = timed(lambda: run_meta(data))
    report_part("ours", "meta, all epochs", ours["meta, all epochs"])
    bases = {
        way: sum(GUIDE_EPOCHS[name] * cost[name] for name in ARCHS) for way, cost in (("ours", ours), ("plain", plain))
    }
    stacking = {"ours": ours["features"] + ours["meta, all epochs"], "plain": GUIDE_EPOCHS["meta"] * plain["meta"]}
    whole = {"ours": preparing + bases["ours"] + stacking["ours"], "plain": bases["plain"] + stacking["plain"]}
    result = {
        "seconds of an epoch": {"ours": ours, "plain": plain},
        "seconds of the whole": whole,
        "times faster, whole": whole["plain"] / whole["ours"],
        "times faster, base models": bases["plain"] / bases["ours"],
        "times faster, features and meta-learner": stacking["plain"] / stacking["ours"],
    }
    print(json.dumps(result), flush=True)
    return [result]


def report_part(way: str, part: str, seconds: float) -> None:
    print(f"{way}, {part}: {seconds:.1f} s", flush=True)


def run_features(data: Data, precision: str) -> None:
    folders = data.folder / "models", data.folder / "packed", data.folder / "prepared", data.folder / "stacked"
    stack_features(FIRST, *folders, precision=precision, batch_size=64, splits=("stack", "val"))


def run_meta(data: Data) -> None:
    schedule, batches = replace(RECIPE.schedule, epochs=GUIDE_EPOCHS["meta"]), Batches(BATCH)
    recipe = replace(RECIPE, schedule=schedule, batches=batches)
    folders = {key: data.folder / key for key in ("stacked", "prepared")}
    folders |= {"folder": data.folder / "models" / "meta", "resume": data.folder / "resume"}
    folders |= {"left_out": data.folder / "ensemble_val.npz"}
    options = {"hidden_dim": 256, "dropout": 0.2, "init": "average"}
    for _ in train_meta(recipe, arch="mlp", options=options, **folders):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["steps", "options", "whole"])
    parser.add_argument("--root", type=Path, required=True, help="a data set in CheXpert's layout")
    parser.add_argument("--folder", type=Path, required=True, help="scratch")
    parser.add_argument("--updates", type=int, default=2, help="of 32 images, in each round, after the first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(ARCHS), default=list(ARCHS))
    parser.add_argument("--precisions", nargs="+", choices=list(TYPES), default=["bf16"])
    arguments = parser.parse_args()
    print(
        f"{arguments.part} on {DEVICE.type}, {torch.get_num_threads()} threads, torch {torch.__version__}", flush=True
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder if arguments.folder.is_dir() else None) as fresh:
        data, preparing = prepare_data(arguments.root, Path(fresh))
        updates, rounds = arguments.updates, arguments.rounds
        parts = {
            "steps": lambda: measure_steps(data, updates, rounds, arguments.precisions, arguments.models),
            "options": lambda: measure_options(updates, rounds, arguments.precisions[0], arguments.models),
            "whole": lambda: measure_whole(data, preparing, arguments.precisions[0]),
        }
        result = parts[arguments.part]()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_json(arguments.folder / f"{arguments.part}.json", result)


if __name__ == "__main__":
    main()
