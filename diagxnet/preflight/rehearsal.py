"""Rehearsal of a training: a few steps of the real loop on made-up examples, to tell what the whole will take."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from diagxnet.console.progress import Progress
from diagxnet.training.image_source import ImageSource
from diagxnet.training.logits import predict_logits
from diagxnet.training.loop import Examples, fit
from diagxnet.training.networks import BaseModel
from diagxnet.training.precision import create_accelerator, describe
from diagxnet.training.recipe import Recipe
from diagxnet.training.resume import ResumeState
from diagxnet.training.sources import ArraySource, Source


@dataclass(frozen=True)
class Pace:
    """What one example costs a model on this machine, in seconds: to learn from, and to run forward alone.

    `device` says on what, as `describe` does; `parameters` counts the model's.
    """

    learning: float
    running: float
    device: str
    parameters: int


def rehearse_base(
    model: BaseModel, recipe: Recipe, *, image_size: int, augmentation: dict[str, float], precision: str, findings: int
) -> Pace:
    """The pace of a base model of so many `findings` at `image_size` pixels, augmentation included."""
    chance = np.random.default_rng(0)

    def source(examples: int) -> Source:
        images = chance.integers(0, 256, (examples, image_size, image_size), np.uint8)
        return ImageSource(images, np.arange(examples), recipe.seed, augmentation)

    return _rehearse(model, recipe, source, create_accelerator(precision), findings)


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
    batch = recipe.batches.batch_size
    splits = []
    for examples in (updates * recipe.batches.effective(accelerator.num_processes), batch):
        targets = (np.arange(examples)[:, None] + np.arange(findings)) % 2
        splits.append(Examples(source(examples), targets.astype(np.float32), np.ones(targets.shape, bool)))
    train, val = splits
    brief = replace(recipe, schedule=replace(recipe.schedule, epochs=2, patience=None, scheduler="constant"))
    with tempfile.TemporaryDirectory() as folder, Progress(0, "", shown=False) as progress:
        state = ResumeState(Path(folder) / "state", "rehearsal")
        epochs = list(fit(model, train, val, brief, accelerator=accelerator, state=state, progress=progress))
    started = time.monotonic()
    predict_logits(model, val.source, batch, batch_size=batch, accelerator=accelerator)
    running = (time.monotonic() - started) / batch
    learning = max(epochs[-1].seconds / len(train) - running * len(val) / len(train), running)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Pace(learning, running, describe(accelerator), parameters)
