"""Training of the meta-learner on stacked logits (stacked generalisation, Wolpert 1992)."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diagxnet.console.progress import Progress
from diagxnet.data.files import content_hash
from diagxnet.data.findings import FINDINGS
from diagxnet.data.prepared import read_labels
from diagxnet.data.splits import LEARNED
from diagxnet.features.stacked import read_stacked, same_rows
from diagxnet.stacking.learners import create_meta
from diagxnet.training.announce import announce
from diagxnet.training.checkpoint import save_model
from diagxnet.training.history import history, joint_history
from diagxnet.training.loop import Epoch, Examples, fit
from diagxnet.training.mean import MeanLogits
from diagxnet.training.precision import create_accelerator
from diagxnet.training.recipe import Recipe, member_seed
from diagxnet.training.resume import ResumeState, fingerprint, locked
from diagxnet.training.sources import ArraySource

ROOMS = ("data", "features", "stacking", "training")
"""What shapes a meta-learner's weights."""

VAL_BATCH_SIZE = 4096
"""Rows of a forward pass over val: a few logits each, so that starting an operation costs more than doing it."""


def train_meta(
    recipe: Recipe,
    *,
    arch: str,
    options: dict[str, Any],
    seeds: int = 1,
    crossfit: bool = False,
    stacked: Path,
    prepared: Path,
    folder: Path,
    resume: Path,
) -> Iterator[Epoch]:
    """Trains the meta-learner on the stack split, stops on val, and writes `folder`; yields an Epoch for each.

    crossfit: the stacked logits are out of fold, of the images of train and stack, whose labels are learned from.
    seeds: so many are trained, one after the other, each from a seed of its own, and `folder` holds them as one model,
    the mean of their logits. The history is that of the first, with the best epoch and loss of each under `members`.
    It is small: it computes in float32, on the CPU's one thread (more would wait for each other) or one GPU, without
    accumulation.
    """
    accelerator = create_accelerator("fp32")
    labelled = LEARNED if crossfit else ("stack",)
    splits = {}
    for name, split, of in (("train", "stack", labelled), ("val", "val", ("val",))):
        found = read_stacked(stacked, split)
        labels = read_labels(prepared, *of)
        same_rows(found.rows, labels.rows, split)
        splits[name] = Examples(ArraySource(torch.from_numpy(found.logits)), labels.targets, labels.mask)
    config = {"arch": arch, "options": options, "models": list(found.members), "findings": list(FINDINGS)}
    files = [stacked / f"logits_{split}.npz" for split in ("stack", "val")]
    files += [prepared / f"labels_{split}.npz" for split in (*labelled, "val")]
    data = [content_hash(file) for file in files]
    members, histories = [], []
    images = len(splits["train"])
    with (
        one_thread(),
        locked(resume),
        Progress(seeds * recipe.schedule.epochs * images, "train_meta", unit="row") as progress,
    ):
        for member in range(seeds):
            own = replace(recipe, seed=member_seed(recipe.seed, member))
            torch.manual_seed(own.seed)
            model = create_meta(arch, len(found.members), **options)
            if member == 0:
                announce("train_meta", accelerator, recipe, arch, model)
            mark = fingerprint(ROOMS, accelerator.device, recipe=own.identity(), model=config, data=data)
            state = ResumeState(resume / str(member + 1), mark)
            epochs = []
            for epoch in fit(
                model,
                **splits,
                recipe=own,
                accelerator=accelerator,
                state=state,
                progress=progress,
                val_batch_size=VAL_BATCH_SIZE,
            ):
                epochs.append(epoch)
                yield epoch
            members.append(model.cpu())
            histories.append(history(epochs, recipe.schedule.epochs, images))
        whole = members[0] if seeds == 1 else MeanLogits(members)
        save_model(folder, whole, config | {"members": seeds}, joint_history(histories))
        shutil.rmtree(resume, ignore_errors=True)


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for torch, and as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
