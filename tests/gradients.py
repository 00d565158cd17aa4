"""The gradients of a first update of `fit`, on a small ViT in float64 with unequal masks; and of a network with
BatchNorm, what an epoch ends with. Runs in several processes.

torchrun --standalone --nproc_per_node 2 -m tests.gradients FOLDER BATCH_SIZE STEPS COUNT...
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch

from diagxnet.console.progress import Progress
from diagxnet.training.loop import Epoch, Examples, fit
from diagxnet.training.networks import create_base
from diagxnet.training.precision import create_accelerator
from diagxnet.training.recipe import Recipe, compose
from diagxnet.training.resume import ResumeState
from diagxnet.training.sources import ArraySource

VALUES = {
    "epochs": 3,
    "lr": 0.05,
    "batch_size": 4,
    "scheduler": "plateau",
    "plateau_factor": 0.5,
    "plateau_patience": 1,
    "warmup": 0.1,
    "patience": None,
    "accumulation_steps": 2,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "loss": "bce",
    "label_smoothing": 0.1,
    "class_weights": "none",
    "max_class_weight": 10.0,
    "max_grad_norm": None,
    "min_delta": 0.001,
    "num_workers": 0,
    "seed": 3,
}


def recipe(**changes: object) -> Recipe:
    """A short training, with other values by their names in params.yaml."""
    return compose(**(VALUES | changes))


EPOCH = 21
"""Examples of `an_epoch`."""


class Taken(Exception):  # noqa: N818 - the way out of fit, no error
    """The first update was reached."""


def small_vit() -> torch.nn.Module:
    torch.manual_seed(2)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, in_chans=1, num_classes=3, depth=2, embed_dim=24, num_heads=2
    )
    return network.double()


def unequal_examples(count: int, size: int = 16) -> Examples:
    """Examples whose micro-batches know few labels or many, so that a mean of means would be another number."""
    rng = np.random.default_rng(5)
    mask = rng.random((count, 3)) < np.linspace(0.1, 1, count)[:, None]
    targets = rng.integers(0, 2, (count, 3)).astype(np.float64)
    return Examples(ArraySource(torch.from_numpy(rng.normal(size=(count, 1, size, size)))), targets, mask)


def first_gradients(folder: Path, batch_size: int, steps: int, count: int, **changes: object) -> dict[str, np.ndarray]:
    """The gradients that the optimizer is given in its first update, by parameter name."""
    model, train, taken = small_vit(), unequal_examples(count), {}

    class Stopping(torch.optim.AdamW):
        def step(self, closure=None):
            taken.update({name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()})
            raise Taken

    original, torch.optim.AdamW.step = torch.optim.AdamW.step, Stopping.step
    exact = recipe(batch_size=batch_size, accumulation_steps=steps, **changes)
    accelerator = create_accelerator("fp32")
    try:
        with Progress(1, "gradients", shown=False) as progress:
            list(
                fit(
                    model,
                    train,
                    train,
                    exact,
                    accelerator=accelerator,
                    state=ResumeState(folder / "state", "mark"),
                    progress=progress,
                )
            )
    except Taken:
        pass
    finally:
        torch.optim.AdamW.step = original
    return taken


def begin(
    folder: Path, epochs: int, ema: float | None, val_every: int | None = None
) -> tuple[torch.nn.Module, Iterator[Epoch]]:
    """A network with BatchNorm, and its training, whose state is in `folder`."""
    torch.manual_seed(4)
    layers = torch.nn.Flatten(), torch.nn.Linear(256, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)
    model, examples = torch.nn.Sequential(*layers).double(), unequal_examples(EPOCH)
    training = fit(
        model,
        examples,
        examples,
        recipe(epochs=epochs, ema=ema, val_every=val_every),
        accelerator=create_accelerator("fp32"),
        state=ResumeState(folder, "mark"),
        progress=Progress(1, "epoch", shown=False),
    )
    return model, training


def an_epoch(folder: Path, ema: float | None) -> tuple[torch.nn.Module, float]:
    """The network after an epoch, and the val loss on record."""
    model, training = begin(folder / str(ema), 1, ema)
    (epoch,) = training
    return model, epoch.record["val_loss"]


def interrupted(folder: Path) -> tuple[dict, dict, list, list]:
    """Weights and records of two epochs of two updates without an interruption, and with one after each of the first
    three updates."""
    model, training = begin(folder / "whole", 2, 0.9, val_every=1)
    whole = [epoch.record for epoch in training]
    for last in (1, 2, 3):
        _, training = begin(folder / "parts", 2, 0.9, val_every=1)
        for _ in range(last):
            next(training)
        training.close()
    again, training = begin(folder / "parts", 2, 0.9, val_every=1)
    records = [epoch.record for epoch in training]
    return model.state_dict(), again.state_dict(), whole, records


def probed(folder: Path) -> dict:
    """Weights of a base model after a linear probe and an epoch of all of it."""
    torch.manual_seed(4)
    model, examples = create_base("test_resnet", findings=3, image_size=32), unequal_examples(EPOCH, 32)
    training = fit(
        model,
        examples,
        examples,
        recipe(epochs=3, probe_epochs=2, ema=None, lr=1e-3, best="loss", min_delta=0.0),
        accelerator=create_accelerator("fp32"),
        state=ResumeState(folder / "probed", "mark"),
        progress=Progress(1, "epoch", shown=False),
    )
    states = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for _ in training]
    return {"probe": states[1], "after": states[2]}


def val_loss(model: torch.nn.Module) -> float:
    """The loss of the network that `an_epoch` gives, computed anew."""
    examples = unequal_examples(EPOCH)
    with torch.inference_mode():
        logits = model.eval()(examples.source.features).float().numpy()
    return recipe().objective.mean(logits, examples.targets, examples.mask, torch.ones(3))


if __name__ == "__main__":
    folder, batch_size, steps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for count in map(int, sys.argv[4:]):
        gradients = first_gradients(folder, batch_size, steps, count)
        if torch.distributed.get_rank() == 0:
            np.savez(folder / f"{count}.npz", processes=torch.distributed.get_world_size(), **gradients)
    rank = torch.distributed.get_rank()
    own = folder / f"disk{rank}"  # no process sees the states of the other
    for ema in (None, 0.9):
        ended = an_epoch(own, ema)
        if rank == 0:
            torch.save(ended, folder / f"{ema}.pt")
    torch.save(interrupted(own), folder / f"interrupted{rank}.pt")
    torch.save(probed(own), folder / f"probed{rank}.pt")
