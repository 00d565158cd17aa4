"""The training loop of both base models and the meta-learner.

Exactness: an update minimises the sum of the loss over the known labels of an effective batch (all accumulation steps,
all processes) divided by their number, so that 2 x 8, 1 x 16 and two processes x 8 give equal gradients whatever the
masks, on a model without BatchNorm. BatchNorm normalises by the micro-batch, as it does in any accumulation.

Out of GPU memory, the micro-batch is halved and the window done again in twice the steps: the same effective batch.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.training.logits import predict_logits
from diagxnet.training.loss import LOSSES, balanced_weights, loss_sum
from diagxnet.training.resume import ResumeState
from diagxnet.training.schedule import EarlyStopping, create_optimizer, create_scheduler
from diagxnet.training.sources import Source, read_ahead


@dataclass(frozen=True)
class Examples:
    """A split: where its inputs come from, and its labels, targets [examples, findings] float32, mask likewise bool."""

    source: Source
    targets: np.ndarray
    mask: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one training; the comments of params.yaml say what each is, and its unit."""

    epochs: int
    lr: float
    batch_size: int
    scheduler: str
    plateau_factor: float
    plateau_patience: int
    warmup: float
    patience: int | None
    accumulation_steps: int
    optimizer: str
    weight_decay: float
    loss: str
    label_smoothing: float
    class_weights: str
    max_class_weight: float
    max_grad_norm: float | None
    min_delta: float
    num_workers: int
    seed: int
    sampling: str = "uniform"
    sampling_factor: float = 1.0
    compile: bool = False


@dataclass(frozen=True)
class Epoch:
    """What `fit` yields: the epoch's record for the history, and its seconds, which are no part of any equal bytes."""

    record: dict[str, float | int | None]
    seconds: float


@dataclass
class MicroBatch:
    """How many examples a process takes in one step; `effective` of all steps and processes make an update."""

    size: int
    effective: int

    def halve(self, error: torch.OutOfMemoryError, processes: int) -> None:
        """Half the size, and a line that says so; InputError where one image is too much, or processes are several."""
        advice = "lower train.batch_size and raise train.accumulation_steps, or choose a smaller model or image_size"
        if self.size == 1:
            raise InputError(f"out of memory with one image a step ({advice})") from error
        if processes > 1:  # the others wait for this one's gradients: there is no going back for all of them
            raise InputError(f"out of memory with {self.size} images a step on each process ({advice})") from error
        self.size = -(-self.size // 2)
        print(
            f"out of memory: goes on with {self.size} images a step, effective batch {self.effective} as before "
            "(BatchNorm and dropout draw otherwise now: the bytes may differ from those of a larger memory)",
            file=sys.stderr,
        )


def split_windows(order: np.ndarray, micro_batch: int, effective: int, processes: int) -> list[list[np.ndarray]]:
    """The effective batches of an epoch, each as its micro-batches: [windows][step * processes + process].

    A full window holds `effective` examples; the last holds what is left, spread evenly over as few steps of at most
    `micro_batch` examples as it needs. A process may get an empty micro-batch of it. One example that would be left
    alone joins the window before: BatchNorm has no variance of one.
    """
    starts = list(range(0, len(order), effective))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    windows = []
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        needed = -(-(end - start) // (micro_batch * processes))
        windows.append(np.array_split(order[start:end], needed * processes))
    return windows


def sampling_weights(targets: np.ndarray, mask: np.ndarray, factor: float) -> np.ndarray:
    """How many times as often each example is drawn under `train.sampling: balanced`, from 1 to `factor`; [examples].

    An example is worth its rarest positive finding, and a finding the square root of how many times rarer it is than
    the most frequent one, `factor` at most (square-root sampling, Mahajan et al. 2018, arXiv:1805.00932).
    """
    positive = mask & (targets > 0.5)
    counts = positive.sum(0)
    worth = np.sqrt(counts.max() / np.maximum(counts, 1))
    return np.where(positive, np.clip(worth, 1.0, factor), 1.0).max(axis=1)


def draw_order(examples: int, weights: np.ndarray | None, seed: int, epoch: int) -> np.ndarray:
    """The examples of an epoch in the order in which they are taken, from (seed, epoch); as many as there are.

    Without weights each comes once. With weights [examples] each comes within one of its share of the draws
    (systematic sampling), which keeps the length of an epoch, and so every schedule, as it is.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(examples)
    if weights is None:
        return order
    edges = np.cumsum(weights[order])
    points = (np.arange(examples) + generator.random()) * (edges[-1] / examples)
    drawn = order[np.minimum(np.searchsorted(edges, points, side="right"), examples - 1)]
    return generator.permutation(drawn)


def macro_auroc(logits: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean AUROC over the findings with both classes among the known labels; None where there is none.

    By ranks (Hanley and McNeil, Radiology 1982): scikit-learn's value in a fifth of its time, each epoch.
    """
    scores = []
    for finding in range(targets.shape[1]):
        known = mask[:, finding]
        truth = targets[known, finding] > 0.5
        if truth.any() and not truth.all():
            positives, negatives = int(truth.sum()), int((~truth).sum())
            ranks = rankdata(logits[known, finding])
            scores.append((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(scores)) if scores else None


def fit(
    model: nn.Module,
    train: Examples,
    val: Examples,
    recipe: Recipe,
    *,
    accelerator: Accelerator,
    state: ResumeState,
    progress: Progress,
    val_batch_size: int | None = None,
) -> Iterator[Epoch]:
    """Trains `model` in place and yields an Epoch for each; afterwards `model` holds the weights of the best one.

    The best epoch is that of the lowest val loss. A state found in `state` is taken up: its epochs are yielded again,
    then training goes on, to the same bytes as without the interruption. Raises InputError where the loss is not
    finite. `progress` counts training images. val_batch_size: examples of a forward pass over val; None: as many as in
    a step of training.
    """
    device = accelerator.device
    drawn = None
    if recipe.sampling == "balanced":
        drawn = sampling_weights(train.targets, train.mask, recipe.sampling_factor)
    weights = torch.ones(train.targets.shape[1])
    if recipe.class_weights == "balanced":
        weights = torch.from_numpy(balanced_weights(train.targets, train.mask, recipe.max_class_weight, drawn))
    weights = weights.to(device)

    processes = accelerator.num_processes
    micro = MicroBatch(recipe.batch_size, recipe.batch_size * recipe.accumulation_steps * processes)
    windows = len(split_windows(np.arange(len(train)), micro.size, micro.effective, processes))
    # torch's own choice is slow on a CPU: an operation each for every tensor
    fused = device.type == "cpu"
    optimizer = create_optimizer(recipe.optimizer, model, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
    scheduler = create_scheduler(
        recipe.scheduler,
        optimizer,
        updates=recipe.epochs * windows,
        lr=recipe.lr,
        warmup=recipe.warmup,
        factor=recipe.plateau_factor,
        patience=recipe.plateau_patience,
    )
    plain = model
    model = accelerator.prepare(torch.compile(model) if recipe.compile else model)
    stopping = EarlyStopping(recipe.patience, recipe.min_delta)
    epochs: list[Epoch] = []
    best_loss, stopped = float("inf"), False

    saved = state.load()
    if saved is not None:
        epochs = [Epoch(record, seconds) for record, seconds in saved["epochs"]]
        stopped = saved["finished"]
        where = "is finished" if stopped else f"goes on after epoch {len(epochs)}"
        progress.write(f"{where}, from the state in {state.folder}")
        progress.skip(len(epochs) * len(train))
        yield from epochs
    if saved is not None and not stopped:
        plain.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        scheduler.load_state_dict(saved["scheduler"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(saved["scaler"])
        stopping.best, stopping.waited = saved["stopping"]
        best_loss, stopped = saved["best_loss"], saved["stopped"]

    while len(epochs) < recipe.epochs and not stopped:
        number = len(epochs) + 1
        started = time.monotonic()
        lr = optimizer.param_groups[0]["lr"]
        train_loss = _train_epoch(
            model,
            train,
            recipe,
            draw_order(len(train), drawn, recipe.seed, number),
            micro,
            number,
            optimizer,
            scheduler,
            weights,
            accelerator=accelerator,
            progress=progress,
        )
        logits = predict_logits(
            # compiled, it would compile anew for each batch size; under DDP BatchNorm is that of the first process
            plain if processes == 1 else model,
            val.source,
            len(val),
            batch_size=val_batch_size or micro.size,
            accelerator=accelerator,
            workers=recipe.num_workers,
        )
        val_loss = _mean_loss(logits, val, recipe, weights.cpu())
        if not np.isfinite(val_loss):
            raise InputError(f"the val loss is {val_loss} after epoch {number} (lower lr, or set precision to fp32)")
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(val_loss)
        is_best = val_loss < best_loss
        best_loss = min(best_loss, val_loss)
        stopped = stopping.stops(val_loss)
        record = {
            "epoch": number,
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_auroc": macro_auroc(logits, val.targets, val.mask),
            "lr": lr,
        }
        epochs.append(Epoch(record, time.monotonic() - started))
        if accelerator.is_main_process:
            now: dict[str, Any] = {
                "model": plain.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "scaler": accelerator.scaler.state_dict() if accelerator.scaler is not None else None,
                "stopping": (stopping.best, stopping.waited),
                "best_loss": best_loss,
                "stopped": stopped,
                "finished": False,
                "epochs": [(epoch.record, epoch.seconds) for epoch in epochs],
            }
            state.save(now, best=plain.state_dict() if is_best else None)
        accelerator.wait_for_everyone()
        progress.note(f"epoch {number}/{recipe.epochs}, train loss {train_loss:.4f}, val loss {val_loss:.4f}")
        yield epochs[-1]

    progress.skip((recipe.epochs - len(epochs)) * len(train))  # what early stopping saved
    plain.load_state_dict(state.load_best())
    if accelerator.is_main_process:
        state.finish()


def _train_epoch(
    model: nn.Module,
    train: Examples,
    recipe: Recipe,
    order: np.ndarray,
    micro: MicroBatch,
    number: int,
    optimizer: torch.optim.Optimizer,
    scheduler: Any,
    weights: Tensor,
    *,
    accelerator: Accelerator,
    progress: Progress,
) -> float:
    """One pass over the examples of `order`, [examples]; the mean loss over their known labels."""
    device, processes = accelerator.device, accelerator.num_processes
    # Dropout follows from (seed, epoch, process) alone, so that no random state has to be saved.
    torch.manual_seed(
        int(np.random.SeedSequence([recipe.seed, number, accelerator.process_index]).generate_state(1)[0])
    )
    model.train()
    parameters = list(model.parameters())
    total, known_total = 0.0, 0
    pending: tuple | None = None
    position, left = 0, order
    while len(left):
        windows = split_windows(left, micro.size, micro.effective, processes)
        own = [batch for window in windows for batch in window[accelerator.process_index :: processes]]
        read = read_ahead(train.source.read, (batch if len(batch) else order[:1] for batch in own), recipe.num_workers)
        with contextlib.closing(read):
            for window in windows:
                examples = np.concatenate(window)
                known = max(int(train.mask[examples].sum()), 1)
                try:
                    window_loss = _backward(
                        model,
                        train,
                        window[accelerator.process_index :: processes],
                        read,
                        known,
                        recipe,
                        number,
                        weights,
                        accelerator=accelerator,
                    )
                except torch.OutOfMemoryError as error:
                    micro.halve(error, processes)
                    optimizer.zero_grad()
                    break
                update(optimizer, parameters, accelerator.scaler, recipe.max_grad_norm)
                if not isinstance(scheduler, ReduceLROnPlateau):
                    scheduler.step()
                if pending is not None:  # checked one update late, so that a GPU never waits for the check
                    total += _finite(*pending)
                position += 1
                pending = (window_loss, known, number, position, optimizer.param_groups[0]["lr"], examples)
                known_total += known
                left = left[len(examples) :]
                progress.update(len(examples))
        if device.type == "cuda" and len(left):
            torch.cuda.empty_cache()
    total += _finite(*pending)
    if processes > 1:
        total = float(accelerator.reduce(torch.tensor(total, device=device), reduction="sum"))
    return total / known_total


def _backward(
    model: nn.Module,
    train: Examples,
    batches: list[np.ndarray],
    read: Iterator[tuple[np.ndarray, Tensor]],
    known: int,
    recipe: Recipe,
    number: int,
    weights: Tensor,
    *,
    accelerator: Accelerator,
) -> Tensor:
    """Adds up the gradients of one window, whose micro-batches of this process are `batches`; its mean loss, detached.

    known: known labels of the window on all processes. An empty batch comes with one example, masked.
    """
    device, processes = accelerator.device, accelerator.num_processes
    window_loss = torch.zeros((), device=device)
    for step, batch in enumerate(batches):
        taken, raw = next(read)
        inputs = train.source.finish(raw.to(device, non_blocking=True), taken, number)
        targets = torch.from_numpy(train.targets[taken]).to(device)
        mask = torch.from_numpy(train.mask[taken] & (len(batch) > 0)).to(device)
        last = step == len(batches) - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            with accelerator.autocast():
                logits = model(inputs)
            # DistributedDataParallel averages gradients over processes; the factor makes their sum of it.
            entries = loss_sum(LOSSES[recipe.loss], logits, targets, mask, weights, recipe.label_smoothing)
            part = entries / known
            scaled = part * processes
            # what Accelerator.backward does, without its search for an optional package in every step
            (scaled if accelerator.scaler is None else accelerator.scaler.scale(scaled)).backward()
        window_loss += part.detach()
    return window_loss


def update(
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    scaler: torch.amp.GradScaler | None,
    max_norm: float | None,
) -> None:
    """One update from the gradients of `parameters`, clipped to the L2 norm `max_norm`, which are gone afterwards.

    Under fp16 `scaler` takes its factor out of them first, and leaves out an update whose gradients overflowed. This is
    what accelerate's optimizer does, without its search for optional packages, a tenth of a meta-learner's step.
    """
    if scaler is not None:
        scaler.unscale_(optimizer)
    if max_norm is not None:
        nn.utils.clip_grad_norm_(parameters, max_norm)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()


def _finite(loss: Tensor, known: int, number: int, position: int, lr: float, examples: np.ndarray) -> float:
    """The sum of a window's loss over its known labels; InputError where it is not finite."""
    value = float(loss)
    if not np.isfinite(value):
        raise InputError(
            f"the loss is {value} in epoch {number}, update {position}, at learning rate {lr:g}, on the examples "
            f"{sorted(examples.tolist())} of the split (lower lr, set train.max_grad_norm to 1.0, or precision to fp32)"
        )
    return value * known


def _mean_loss(logits: np.ndarray, split: Examples, recipe: Recipe, weights: Tensor) -> float:
    """The loss of training, over the known labels of a whole split, in float64."""
    entries = loss_sum(
        LOSSES[recipe.loss],
        torch.from_numpy(logits).double(),
        torch.from_numpy(split.targets).double(),
        torch.from_numpy(split.mask),
        weights.double(),
        recipe.label_smoothing,
    )
    return float(entries) / max(int(split.mask.sum()), 1)
