"""Training of the meta-learner on stacked logits (stacked generalisation, Wolpert 1992): core, network, factor."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from diagxnet.console.progress import Progress
from diagxnet.data.files import array_hash, write_arrays
from diagxnet.data.folds import read_draws
from diagxnet.data.prepared import Labels, read_findings, read_labels, read_manifest
from diagxnet.data.splits import LEARNED
from diagxnet.features.stacked import read_stacked, same_rows
from diagxnet.stacking.combination import combine
from diagxnet.stacking.learners import apply_meta, create_meta
from diagxnet.stacking.logistic import by_patient
from diagxnet.stacking.weights import Core, fit_core, hand_on
from diagxnet.training.announce import announce
from diagxnet.training.auroc import macro_auroc
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


@dataclass(frozen=True)
class Split:
    """logits: [images, members, findings] float32. labels: of the same images. patients: [images] names. lacking:
    [members, findings] bool, see `features.stacked`."""

    logits: np.ndarray
    labels: Labels
    patients: np.ndarray
    lacking: np.ndarray

    def examples(self) -> Examples:
        return Examples(ArraySource(torch.from_numpy(self.logits)), self.labels.targets, self.labels.mask)


def train_meta(
    recipe: Recipe,
    *,
    arch: str,
    options: dict[str, Any],
    seeds: int = 1,
    folds: int | None = None,
    views: int = 1,
    stacked: Path,
    prepared: Path,
    folder: Path,
    left_out: Path,
    resume: Path,
) -> Iterator[Epoch]:
    """Trains the meta-learner and writes `folder`; yields an Epoch for each of a network's, for `convex` a single one.

    Writes to the file `left_out` what the ensemble says of val's images where their patients are left out of weights
    and factor (not of the epoch that a network stops at): rows [images] int64, logits [images, findings] float32.

    Under `init: average` the core is fitted first (see `stacking.weights`); then a network learns on stack, on top of
    it, and stops on val; then val's patients choose the factor of its correction (see `stacking.factor`). Under
    `random` the network is all there is.

    folds: of crossfit; the stacked logits are then out of fold, of the images of train and stack, whose labels are
    learned from. None: holdout. seeds: so many networks are trained, one after the other, each from a seed of its own,
    and `folder` holds them as one model, the mean of their logits. The history is that of the first, with the best
    epoch and loss of each under `members`. views: of each image, whose mean the stacked logits are; kept in the config
    for who loads the ensemble. It is small: it computes in float32, on the CPU's one thread (more would wait for each
    other) or one GPU, without accumulation.
    """
    members, stack, val = read_splits(stacked, prepared, folds)
    findings = read_findings(prepared)
    config = {"arch": arch, "options": options, "models": list(members), "findings": list(findings.names)}
    config["views"] = views
    with one_thread(), locked(resume):
        core = None
        if options["init"] == "average":
            core = hand_on(fit_to([val] if folds else [stack, val]), val.lacking)
        if arch == "convex":
            networks, histories = yield from _no_network(config, core, stack, val, recipe)
        else:
            training = _Networks(config, core, stack, val, recipe, seeds, resume)
            networks, histories = yield from training.train()
        whole = networks[0] if len(networks) == 1 else MeanLogits(networks)
        combination = combine(whole, core, members, findings, val.logits, val.labels, val.patients, val.lacking)
        print("\n".join(f"train_meta: {line}" for line in combination.lines()), flush=True)
        config |= {"members": len(networks), "combination": combination.content()}
        write_arrays(left_out, rows=val.labels.rows, logits=combination.left_out.astype(np.float32))
        save_model(folder, whole, config, joint_history(histories))
        shutil.rmtree(resume, ignore_errors=True)


def read_splits(stacked: Path, prepared: Path, folds: int | None) -> tuple[tuple[str, ...], Split, Split]:
    """The members, and the splits stack and val; under crossfit of so many `folds`, stack is train and stack, centred
    (see `centre`)."""
    splits = {}
    patients = read_manifest(prepared).set_index("row")["patient"]
    for name, of in (("stack", LEARNED if folds else ("stack",)), ("val", ("val",))):
        found = read_stacked(stacked, name)
        labels = read_labels(prepared, *of)
        same_rows(found.rows, labels.rows, name)
        logits = found.logits
        if folds and name == "stack":
            logits = centre(logits, read_draws(prepared).folds(folds))
        splits[name] = Split(logits, labels, patients.loc[found.rows].to_numpy(object), found.lacking)
    return found.members, splits["stack"], splits["val"]


def centre(logits: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Out-of-fold `logits` [images, members, findings], with the mean of each fold's [images] brought to that of all.

    Each fold's model has an offset of its own for each finding. The mean of the folds' models, which is applied later,
    has one offset for all images; here it would count as knowledge that tells images of different folds apart.
    """
    centred = logits.astype(np.float64)
    for fold in np.unique(folds):
        centred[folds == fold] -= centred[folds == fold].mean(0)
    return (centred + logits.mean(0, dtype=np.float64)).astype(np.float32)


def fit_to(splits: list[Split]) -> Core:
    """The core of all rows of `splits`. Under crossfit that is val alone: its logits are means over the folds' models,
    as every later one is, and those of single models, out of fold, would ask for other weights."""
    labels = [split.labels for split in splits]
    targets, mask = (np.concatenate([getattr(own, key) for own in labels]) for key in ("targets", "mask"))
    rows = by_patient(targets, mask, np.concatenate([split.patients for split in splits]))
    return fit_core(np.concatenate([split.logits for split in splits]), rows)


def _no_network(config: dict[str, Any], core: Core, stack: Split, val: Split, recipe: Recipe) -> Iterator[Epoch]:
    """The core as a model, and its history: a single epoch, with the losses that a network's would have."""
    started = time.monotonic()
    model = _untrained(config)
    model.set_core(core.slopes, core.intercepts)
    weights = recipe.objective.weights(stack.labels.targets, stack.labels.mask, None)
    record: dict[str, float | int | None] = {"epoch": 1}
    for name, split in (("train", stack), ("val", val)):
        logits = apply_meta(model, torch.from_numpy(split.logits)).numpy()
        labels = split.labels.targets, split.labels.mask
        record[f"{name}_loss"] = recipe.objective.mean(logits, *labels, weights)
    epoch = Epoch(record | {"val_auroc": macro_auroc(logits, *labels), "lr": 0.0}, time.monotonic() - started)
    yield epoch
    return [model], [history([epoch], replace(recipe.schedule, epochs=1), len(stack.logits))]


@dataclass(frozen=True)
class _Networks:
    """The trainings of so many networks (`seeds`), on top of `core` where there is one."""

    config: dict[str, Any]
    core: Core | None
    stack: Split
    val: Split
    recipe: Recipe
    seeds: int
    resume: Path

    def train(self) -> Iterator[Epoch]:
        """Yields the epochs of all; returns the networks and their histories."""
        accelerator = create_accelerator("fp32")
        schedule, images = self.recipe.schedule, len(self.stack.logits)
        data = [array_hash(each.logits, each.labels.targets, each.labels.mask) for each in (self.stack, self.val)]
        data += [] if self.core is None else [array_hash(self.core.slopes, self.core.intercepts)]
        networks, histories = [], []
        with Progress(self.seeds * schedule.epochs * images, "train_meta", unit="row") as progress:
            for member in range(self.seeds):
                own = replace(self.recipe, seed=member_seed(self.recipe.seed, member))
                model = self._create(own.seed)
                if member == 0:
                    announce("train_meta", accelerator, own, self.config["arch"], model)
                mark = fingerprint(ROOMS, accelerator.device, recipe=own.identity(), model=self.config, data=data)
                epochs, _ = yield from fit(
                    model,
                    self.stack.examples(),
                    self.val.examples(),
                    recipe=own,
                    accelerator=accelerator,
                    state=ResumeState(self.resume / str(member + 1), mark),
                    progress=progress,
                    val_batch_size=VAL_BATCH_SIZE,
                )
                networks.append(model.cpu())
                histories.append(history(epochs, schedule, images))
        return networks, histories

    def _create(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = _untrained(self.config)
        if self.core is not None:
            model.set_core(self.core.slopes, self.core.intercepts)
        return model


def _untrained(config: dict[str, Any]) -> nn.Module:
    return create_meta(config["arch"], len(config["models"]), len(config["findings"]), **config["options"])


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread for torch, and as many as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
