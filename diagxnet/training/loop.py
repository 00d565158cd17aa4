"""The training loop of both base models and the meta-learner.

Exactness: an update minimises the sum of the loss over the known labels of an effective batch (all accumulation steps,
all processes) divided by their number, so that 2 x 8, 1 x 16 and two processes x 8 give equal gradients whatever the
masks, on a model without BatchNorm. BatchNorm normalises by the micro-batch, as it does in any accumulation.

Out of GPU memory, the micro-batch is halved and the window done again in twice the steps: the same effective batch.
"""

import contextlib
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.hierarchy import given_parent
from diagxnet.training.auroc import macro_auroc
from diagxnet.training.ema import MovingAverage, mean_state
from diagxnet.training.epoch_loss import EpochLoss
from diagxnet.training.logits import predict_logits
from diagxnet.training.paths import along_paths
from diagxnet.training.processes import from_first
from diagxnet.training.recipe import Recipe
from diagxnet.training.resume import ResumeState
from diagxnet.training.schedule import EarlyStopping, create_optimizer, create_scheduler, update
from diagxnet.training.sources import Source, read_ahead
from diagxnet.training.transfer import to_device
from diagxnet.training.windows import MicroBatch, draw_order

VAL_STEPS = 4
"""Steps of training whose images a GPU takes at once over val: without gradients it keeps no activations."""


@dataclass(frozen=True)
class Examples:
    """A split: where its inputs come from, and its labels, targets [examples, findings] float32, mask likewise bool.

    above: (child, parent) of the findings that are learned given another (see `data.hierarchy.pairs`).
    """

    source: Source
    targets: np.ndarray
    mask: np.ndarray
    above: Sequence[tuple[int, int]] = ()

    @cached_property
    def learned(self) -> np.ndarray:
        """[examples, findings] bool: what counts in a loss, of a child where its parent is positive."""
        return given_parent(self.targets, self.mask, self.above)

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Epoch:
    """What `fit` yields at each validation, which ends an epoch or a part of one: its record for the history, and its
    seconds, which are no part of any equal bytes. The record's `epoch` counts passes over train, in parts too."""

    record: dict[str, float | int | None]
    seconds: float


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
) -> Generator[Epoch, None, tuple[list[Epoch], dict[str, Any] | None]]:
    """Trains `model` in place and yields an Epoch for each (under `Schedule.val_every` several); afterwards `model`
    holds the weights of the best one, or the mean of the weights of the best ones where val scores that no worse.

    Returns all it yielded, and what is on record of that mean, None without `Schedule.average_best`: of which `epochs`
    it is, its `val_loss` and `val_auroc`, and whether it is `kept`.

    The best epoch is that of the lowest val loss, or of the highest macro AUROC on val (`Schedule.best`). A state found
    in `state` is taken up: its epochs are yielded again, then training goes on, to the same bytes as without the
    interruption. Raises InputError where the loss is not finite. `progress` counts training images. val_batch_size:
    examples of a forward pass over val; None: as many as in a step of training, on CUDA `VAL_STEPS` times as many.
    """
    training = _Training(model, train, val, recipe, accelerator, state, progress, val_batch_size)
    yield from training.take_up()
    while not training.is_over():
        started = time.monotonic()
        epoch, _ = training.place(len(training.epochs))
        training.enter(epoch)
        lr = training.lr()
        train_loss = training.learn(epoch)
        number = training.passes(len(training.epochs) + 1)
        val_loss, val_auroc = training.validate(number)
        training.judge(recipe.schedule.badness(val_loss, val_auroc))
        losses = {"epoch": number, "train_loss": train_loss, "val_loss": val_loss}
        training.epochs.append(Epoch(losses | {"val_auroc": val_auroc, "lr": lr}, time.monotonic() - started))
        training.save()
        progress.note(f"epoch {number}/{recipe.schedule.epochs}, train loss {train_loss:.4f}, val loss {val_loss:.4f}")
        yield training.epochs[-1]
    return training.epochs, training.finish()


class _Training:
    """What the steps of `fit` share: what was given, what follows from it, and how far training has come.

    model: what learns (compiled, distributed); plain: the same weights under their own names; average: theirs over the
    updates, or None; kept: whose weights val is scored with and are saved, `average`'s or `plain`. drawn: how often
    each example is drawn, [examples] or None. weights: of each finding's positives, [findings].
    """

    def __init__(
        self,
        model: nn.Module,
        train: Examples,
        val: Examples,
        recipe: Recipe,
        accelerator: Accelerator,
        state: ResumeState,
        progress: Progress,
        val_batch_size: int | None,
    ) -> None:
        self.train, self.val, self.recipe = train, val, recipe
        self.accelerator, self.state, self.progress = accelerator, state, progress
        self.device, self.processes = accelerator.device, accelerator.num_processes
        self.val_batch_size = val_batch_size
        batches = recipe.batches

        self.drawn = batches.weights(train.targets, train.learned)
        self.weights = recipe.objective.weights(train.targets, train.learned, self.drawn).to(self.device)
        self.micro = MicroBatch(batches.batch_size, batches.effective(self.processes))
        self.updates = len(self.micro.split(np.arange(len(train)), self.processes))  # of an epoch
        self.validations = recipe.schedule.validations(self.updates)  # likewise
        self.plain = model
        # before accelerate, whose precision holds on to the network it was given
        self.average = MovingAverage(model, recipe.ema, self.device) if recipe.ema is not None else None
        self.kept = model if self.average is None else self.average.model
        self.epochs: list[Epoch] = []
        self.stopped = False
        self._begin(probing=recipe.schedule.probe_epochs > 0)

    def _begin(self, probing: bool) -> None:
        """What learns, by a schedule of its own: the head in a linear probe, all without one or after it."""
        self.probing, schedule = probing, self.recipe.schedule
        if schedule.probe_epochs:
            self.plain.probe(probing)
        # torch's own choice is an operation each for every tensor on a CPU, and several for groups of them on CUDA
        fused = self.device.type in ("cpu", "cuda")
        self.optimizer = create_optimizer(self.recipe.optimization, self.plain, schedule.lr, fused=fused)
        self.scheduler = create_scheduler(schedule, self.optimizer, schedule.epochs_of(probing) * self.updates)
        # inside what distributes it, as torch says: "Where to apply torch.compile?", docs.pytorch.org
        self.model = self.accelerator.prepare(torch.compile(self.plain) if self.recipe.compile else self.plain)
        goes_on = probing and schedule.epochs_of(False) > 0  # a probe that others follow is not stopped early
        self.stopping = EarlyStopping(None if goes_on else schedule.patience, schedule.min_delta)

    def enter(self, epoch: int) -> None:
        """Ends the linear probe where `epoch` is past it: all learns from there on, as in a training of its own."""
        if self.probing and epoch > self.recipe.schedule.probe_epochs:
            del self.model
            self.accelerator.free_memory()  # DistributedDataParallel waits for what learned when it was made, no more
            self._begin(probing=False)

    def is_over(self) -> bool:
        return self.stopped or len(self.epochs) >= self.recipe.schedule.epochs * self.validations

    def place(self, validations: int) -> tuple[int, int]:
        """Where training is after so many validations: the epoch, from 1, and how many of its examples are taken."""
        epochs, parts = divmod(validations, self.validations)
        return epochs + 1, parts * (self.recipe.schedule.val_every or 0) * self.micro.effective

    def passes(self, validations: int) -> float:
        """The same as passes over the training examples: a whole number where an epoch ends."""
        epoch, taken = self.place(validations)
        return round(epoch - 1 + taken / len(self.train), 4) if taken else epoch - 1

    def lr(self) -> float:
        """The learning rate, the highest where parts of the network have rates of their own."""
        return max(group["lr"] for group in self.optimizer.param_groups)

    def take_up(self) -> list[Epoch]:
        """The epochs of an interrupted training, whose state this one then has; none where there is none."""
        saved = from_first(self.state.load, self.accelerator)
        if saved is None:
            return []
        self.epochs = [Epoch(record, seconds) for record, seconds in saved["epochs"]]
        passes = self.passes(len(self.epochs))
        where = "is finished" if saved["finished"] else f"goes on after epoch {passes}"
        self.progress.write(f"{where}, from the state in {self.state.folder}")
        self.progress.skip(round(passes * len(self.train)))
        if saved["finished"]:
            self.stopped = True
            return self.epochs
        self.enter(self.place(len(self.epochs) - 1)[0])
        self.plain.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scheduler.load_state_dict(saved["scheduler"])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.take_up(saved["average"])
        self.stopping.best, self.stopping.waited = saved["stopping"]
        self.stopped = saved["stopped"]
        return self.epochs

    def learn(self, epoch: int) -> float:
        """One pass over the training examples, or its part up to the next validation; the mean loss over their known
        labels."""
        (_, taken), (_, until) = (self.place(len(self.epochs) + ahead) for ahead in (0, 1))
        # Dropout follows from (seed, epoch, process, place) alone, so that no random state has to be saved.
        place = [taken] if taken else []
        seeds = np.random.SeedSequence([self.recipe.seed, epoch, self.accelerator.process_index, *place])
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        self.model.train()
        loss = EpochLoss(epoch, taken // self.micro.effective)
        order = draw_order(len(self.train), self.drawn, self.recipe.seed, epoch)
        left = order[taken : until or None]
        while len(left):
            windows = self.micro.split(left, self.processes)
            with contextlib.closing(self._read(windows, order[:1])) as read:
                for window in windows:
                    examples = np.concatenate(window)
                    known = max(int(self.train.learned[examples].sum()), 1)
                    window_loss = self._gradients(self._own(window), read, known, epoch)
                    if window_loss is None:
                        break
                    self._update()
                    loss.add(window_loss, known, self.lr(), examples)
                    left = left[len(examples) :]
                    self.progress.update(len(examples))
            if self.device.type == "cuda" and len(left):
                torch.cuda.empty_cache()
        return loss.mean(self.accelerator)

    def _own(self, window: list[np.ndarray]) -> list[np.ndarray]:
        """The micro-batches of a window that this process takes."""
        return window[self.accelerator.process_index :: self.processes]

    def _read(self, windows: list[list[np.ndarray]], stand_in: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
        """This process's micro-batches of all windows with their raw inputs; for an empty one `stand_in`, [1]."""
        own = (batch if len(batch) else stand_in for window in windows for batch in self._own(window))
        return read_ahead(self.train.source.read, own, self.recipe.num_workers)

    def _gradients(
        self, batches: list[np.ndarray], read: Iterator[tuple[np.ndarray, Tensor]], known: int, epoch: int
    ) -> Tensor | None:
        """Adds up the gradients of one window, whose micro-batches of this process are `batches`; its mean loss.

        known: known labels of the window on all processes. None where the memory did not suffice: the gradients are
        gone then, and the micro-batches smaller.
        """
        loss = torch.zeros((), device=self.device)
        try:
            for step, batch in enumerate(batches):
                last = step == len(batches) - 1
                with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                    loss += self._backward(*next(read), known, epoch, masked=not len(batch))
        except torch.OutOfMemoryError as error:
            self.micro.halve(error, self.processes)
            self.optimizer.zero_grad()
            return None
        return loss

    def _backward(self, examples: np.ndarray, raw: Tensor, known: int, epoch: int, masked: bool) -> Tensor:
        """Adds to the gradients those of a micro-batch; its part of the window's mean loss. masked: nothing counts."""
        inputs = self.train.source.finish(to_device(raw, self.device), examples, epoch)
        targets = to_device(self.train.targets[examples], self.device)
        mask = to_device(self.train.learned[examples] & (not masked), self.device)
        with self.accelerator.autocast():
            logits = self.model(inputs)
        part = self.recipe.objective.sum(logits, targets, mask, self.weights) / known
        # DistributedDataParallel averages gradients over processes; the factor makes their sum of it.
        scaled = part * self.processes
        # what Accelerator.backward does, without its search for an optional package in every step
        scaler = self.accelerator.scaler
        (scaled if scaler is None else scaler.scale(scaled)).backward()
        return part.detach()

    def _update(self) -> None:
        max_norm = self.recipe.optimization.max_grad_norm
        updated = update(self.optimizer, self.accelerator.scaler, max_norm)
        if self.average is not None and updated:
            self.average.update(self.plain)
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()

    def validate(self, epoch: float) -> tuple[float, float | None]:
        """The loss over val, of what is learned, and the macro AUROC of all of it; InputError where the loss is not
        finite."""
        if self.processes > 1:  # BatchNorm's moments are of a process's own batches: the first one's are saved
            for buffer in self.kept.buffers():
                torch.distributed.broadcast(buffer, 0)
        logits = predict_logits(
            self.kept,  # `model`, compiled, would compile anew for each batch size
            self.val.source,
            len(self.val),
            batch_size=val_batch_size(self.val_batch_size, self.micro.size, self.device),
            accelerator=self.accelerator,
            workers=self.recipe.num_workers,
        )
        loss = self.recipe.objective.mean(logits, self.val.targets, self.val.learned, self.weights.cpu())
        if not np.isfinite(loss):
            raise InputError(f"the val loss is {loss} after epoch {epoch} (lower lr, or set precision to fp32)")
        whole = along_paths(torch.from_numpy(logits), self.val.above).numpy()
        return loss, macro_auroc(whole, self.val.targets, self.val.mask)

    def judge(self, badness: float) -> None:
        """Tells the plateau schedule and early stopping of a validation."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(badness)
        self.stopped = self.stopping.stops(badness)

    def best(self) -> list[int]:
        """The validations, counted from 0, whose weights are kept: the best first, of equals the first."""
        badness = self.recipe.schedule.badness
        order = [badness(epoch.record["val_loss"], epoch.record["val_auroc"]) for epoch in self.epochs]
        return sorted(range(len(order)), key=order.__getitem__)[: self.recipe.schedule.average_best or 1]

    def save(self) -> None:
        """Writes the state, from which `take_up` goes on to the same bytes."""
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            now: dict[str, Any] = {
                "model": self.plain.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "scaler": scaler.state_dict() if scaler is not None else None,
                "average": self.average.state() if self.average is not None else None,
                "stopping": (self.stopping.best, self.stopping.waited),
                "stopped": self.stopped,
                "finished": False,
                "epochs": [(epoch.record, epoch.seconds) for epoch in self.epochs],
            }
            best, last = self.best(), len(self.epochs) - 1
            self.state.save(now, best, {last: self.kept.state_dict()} if last in best else {})
        self.accelerator.wait_for_everyone()

    def finish(self) -> dict[str, Any] | None:
        """The best weights into the model (see `fit`), and of the state what the others of its kind still need."""
        left = self.recipe.schedule.epochs - self.passes(len(self.epochs))
        self.progress.skip(round(left * len(self.train)))  # what early stopping saved
        record = self._average() if self.recipe.schedule.average_best else None
        if record is None or not record["kept"]:
            self.plain.load_state_dict(from_first(lambda: self.state.load_best(self.best()[0]), self.accelerator))
        if self.accelerator.is_main_process:
            self.state.finish()
        return record

    def _average(self) -> dict[str, Any]:
        """The mean of the best weights into the model; its record (see `fit`)."""
        best, badness = self.best(), self.recipe.schedule.badness
        mean = from_first(lambda: mean_state([self.state.load_best(each) for each in best]), self.accelerator)
        self.plain.load_state_dict(mean)
        self.kept = self.plain
        records = [self.epochs[validation].record for validation in best]
        epochs = [record["epoch"] for record in records]
        loss, auroc = self.validate(self.passes(len(self.epochs)))
        kept = badness(loss, auroc) <= badness(records[0]["val_loss"], records[0]["val_auroc"])
        return {"epochs": epochs, "val_loss": loss, "val_auroc": auroc, "kept": kept}


def val_batch_size(given: int | None, step: int, device: torch.device) -> int:
    """Examples of a forward pass over val: those given, or those of a step, on CUDA `VAL_STEPS` times as many."""
    return given or step * (VAL_STEPS if device.type == "cuda" else 1)
