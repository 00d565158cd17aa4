"""Training of the meta-learner on stacked logits (stacked generalisation, Wolpert 1992)."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from diagxnet.data.prepared import read_labels
from diagxnet.data.stacked import BASE_MODELS, read_stacked, same_rows
from diagxnet.files import content_hash
from diagxnet.findings import FINDINGS
from diagxnet.models.checkpoint import save_model
from diagxnet.models.meta import create_meta
from diagxnet.progress import Progress
from diagxnet.training.announce import announce
from diagxnet.training.history import history
from diagxnet.training.loop import Epoch, Examples, Recipe, fit
from diagxnet.training.precision import create_accelerator
from diagxnet.training.resume import ResumeState, fingerprint, locked
from diagxnet.training.sources import ArraySource


def train_meta(
    recipe: Recipe,
    *,
    arch: str,
    options: dict[str, Any],
    stacked: Path,
    prepared: Path,
    folder: Path,
    resume: Path,
) -> Iterator[Epoch]:
    """Trains the meta-learner on the stack split, stops on val, and writes `folder`; yields an Epoch for each.

    It is small: it computes in float32, on the CPU's or GPU's one process, without accumulation.
    """
    accelerator = create_accelerator("fp32")
    splits = {}
    for name, split in (("train", "stack"), ("val", "val")):
        rows, logits = read_stacked(stacked, split)
        labels = read_labels(prepared, split)
        same_rows(rows, labels.rows, split)
        splits[name] = Examples(ArraySource(torch.from_numpy(logits)), labels.targets, labels.mask)
    torch.manual_seed(recipe.seed)
    model = create_meta(arch, **options)
    config = {"arch": arch, "options": options, "models": list(BASE_MODELS), "findings": list(FINDINGS)}
    files = [stacked / f"logits_{split}.npz" for split in ("stack", "val")]
    files += [prepared / f"labels_{split}.npz" for split in ("stack", "val")]
    mark = fingerprint(recipe=asdict(recipe), model=config, data=[content_hash(file) for file in files])
    state = ResumeState(resume, mark)
    announce("train_meta", accelerator, recipe, arch, model)
    epochs = []
    with locked(resume), Progress(recipe.epochs * len(splits["train"]), "train_meta", unit="row") as progress:
        for epoch in fit(model, **splits, recipe=recipe, accelerator=accelerator, state=state, progress=progress):
            epochs.append(epoch)
            yield epoch
        save_model(folder, model, config, history(epochs, recipe.epochs, len(splits["train"])))
        state.remove()
