"""Which examples an epoch takes, in which order, and how they are cut into updates and steps."""

import sys
from dataclasses import dataclass

import numpy as np
import torch

from diagxnet.console.errors import InputError


@dataclass(frozen=True)
class Batches:
    """How training takes its examples; the comments of params.yaml say what each value is, and its unit."""

    batch_size: int
    accumulation_steps: int = 1
    sampling: str = "uniform"
    sampling_factor: float = 1.0

    def effective(self, processes: int) -> int:
        """Examples of an update: of all steps and processes."""
        return self.batch_size * self.accumulation_steps * processes

    def weights(self, targets: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
        """How often each example is drawn, [examples] (see `sampling_weights`); None: all alike."""
        return sampling_weights(targets, mask, self.sampling_factor) if self.sampling == "balanced" else None


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

    def split(self, order: np.ndarray, processes: int) -> list[list[np.ndarray]]:
        """The effective batches of `order` (see `split_windows`)."""
        return split_windows(order, self.size, self.effective, processes)


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
