"""Rehearsal of a training: a few steps of the real loop on made-up examples, to tell what the whole will take."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from diagxnet.console.progress import Progress
from diagxnet.data.packed import open_packed
from diagxnet.training.batches import gather
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import BaseModel
from diagxnet.training.precision import create_accelerator, describe
from diagxnet.training.recipe import Recipe
from diagxnet.training.resume import ResumeState
from diagxnet.training.sources import ArraySource, Source
from diagxnet.training.transfer import to_device

CPU_STEP = 16
"""Images of a step on a CPU at most, whose pace larger ones hardly change while they take gigabytes."""

CUDA_UPDATES = 4
"""As many updates as elsewhere: one of a GPU is over in milliseconds."""

PATH_IMAGES = 64
"""Images that are gathered and augmented at once, to time that."""


@dataclass(frozen=True)
class Pace:
    """What one example costs a model on this machine, in seconds: to learn from, and to run forward alone.

    `device` says on what, as `describe` does; `parameters` counts the model's. path: to gather and augment an example,
    alone; pure: to learn from one that is there; 0 where that is not known. kind: of device, as torch calls it. memory:
    the most that was taken of a CUDA device's, as a share; above 1 where it did not suffice, None elsewhere.
    """

    learning: float
    running: float
    device: str
    parameters: int
    path: float = 0.0
    pure: float = 0.0
    kind: str = "cpu"
    memory: float | None = None


def rehearse_base(
    model: BaseModel, recipe: Recipe, *, image_size: int, augmentation: dict[str, float], precision: str, findings: int
) -> Pace:
    """The pace of a base model of so many `findings` at `image_size` pixels, augmentation included."""
    chance = np.random.default_rng(0)

    def source(examples: int) -> Source:
        images = chance.integers(0, 256, (examples, image_size, image_size), np.uint8)
        return ImageSource(images, np.arange(examples), recipe.seed, augmentation)

    accelerator = create_accelerator(precision)
    recipe = _brief(recipe, accelerator)
    pace = _rehearse(model, recipe, source, accelerator, findings)
    path = _path(source(PATH_IMAGES), accelerator)
    if pace.kind == "cuda":  # which learns from one batch while the CPU gathers the next

        def resident(examples: int) -> Source:
            return Resident(torch.rand(recipe.batches.batch_size, 1, image_size, image_size, device="cuda"))

        pure = _rehearse(model, recipe, resident, accelerator, findings).learning
    else:
        pure = max(pace.learning - path, 0.0)
    return replace(pace, path=path, pure=pure)


@dataclass(frozen=True)
class Resident:
    """The same model inputs for all examples, [step, 1, side, side] on the device: nothing is gathered or augmented."""

    inputs: Tensor

    def read(self, examples: np.ndarray) -> Tensor:
        return torch.empty(0)

    def finish(self, raw: Tensor, examples: np.ndarray, epoch: int | None) -> Tensor:
        return self.inputs[: len(examples)]


def _path(source: Source, accelerator: Accelerator) -> float:
    """Seconds in which an example is gathered, brought to the device and augmented; the first batch warms up."""
    rows = np.arange(PATH_IMAGES)
    for epoch in (1, 2):
        started = time.perf_counter()
        inputs = source.finish(to_device(source.read(rows), accelerator.device), rows, epoch)
        inputs[-1, 0, 0, 0].item()  # a GPU is done when it answers
    return (time.perf_counter() - started) / PATH_IMAGES


def _brief(recipe: Recipe, accelerator: Accelerator) -> Recipe:
    """`recipe` with steps and updates that a CPU does in seconds, without gigabytes, at the pace of larger ones."""
    if accelerator.device.type != "cpu":
        return recipe
    size, steps = min(recipe.batches.batch_size, CPU_STEP), min(recipe.batches.accumulation_steps, 2)
    return replace(recipe, batches=replace(recipe.batches, batch_size=size, accumulation_steps=steps))


def rows_a_second(images: Path, most: int = 256) -> float | None:
    """At which rate up to `most` rows of the packed file `images` come in random order; None where there is no file."""
    if not images.exists():
        return None
    packed = open_packed(images.parent)
    rows = np.random.default_rng(time.time_ns()).integers(0, len(packed), min(most, len(packed)))
    started = time.perf_counter()
    gather(packed, rows)
    return len(rows) / (time.perf_counter() - started)


def rehearse_meta(model: nn.Module, recipe: Recipe, *, models: int, findings: int) -> Pace:
    """The pace of a meta-learner on the logits of so many base `models` and `findings`."""

    def source(examples: int) -> Source:
        return ArraySource(torch.zeros(examples, models, findings))

    return _rehearse(model, recipe, source, create_accelerator("fp32"), findings, updates=64)


def _rehearse(
    model: nn.Module,
    recipe: Recipe,
    source: Callable[[int], Source],
    accelerator: Accelerator,
    findings: int,
    updates: int = 1,
) -> Pace:
    """Two epochs of so many `updates`; the first warms up, the second counts."""
    batch, device = recipe.batches.batch_size, accelerator.device
    updates *= CUDA_UPDATES if device.type == "cuda" else 1
    memory = _Memory(device)
    splits = []
    for examples in (updates * recipe.batches.effective(accelerator.num_processes), batch):
        targets = (np.arange(examples)[:, None] + np.arange(findings)) % 2
        splits.append(Examples(source(examples), targets.astype(np.float32), np.ones(targets.shape, bool)))
    train, val = splits
    probing = 2 if recipe.schedule.epochs_of(False) == 0 else 0  # all of a training, or none of it
    schedule = replace(
        recipe.schedule, epochs=2, probe_epochs=probing, patience=None, scheduler="constant", val_every=None
    )
    brief = replace(recipe, schedule=schedule)
    with tempfile.TemporaryDirectory() as folder, Progress(0, "", shown=False) as progress:
        state = ResumeState(Path(folder) / "state", "rehearsal")
        epochs = list(fit(model, train, val, brief, accelerator=accelerator, state=state, progress=progress))
    started = time.monotonic()
    predict_logits(model, val.source, batch, batch_size=batch, accelerator=accelerator)
    running = (time.monotonic() - started) / batch
    learning = max(epochs[-1].seconds / len(train) - running * len(val) / len(train), running)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Pace(learning, running, describe(accelerator), parameters, kind=device.type, memory=memory.share())


class _Memory:
    """What is taken of the memory of `device` from here on; nothing is known of one that is no CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.refused = torch.cuda.memory_stats(device)["num_ooms"]

    def share(self) -> float | None:
        """The most that was taken; twice as much for each time that it did not suffice and a step was halved."""
        if self.device.type != "cuda":
            return None
        taken = torch.cuda.max_memory_allocated(self.device)
        halved = torch.cuda.memory_stats(self.device)["num_ooms"] - self.refused
        return taken / torch.cuda.get_device_properties(self.device).total_memory * 2**halved
