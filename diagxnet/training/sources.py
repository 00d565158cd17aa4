"""What the training loop reads: rows in, a batch of model inputs on the device out."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

Given = TypeVar("Given")
Made = TypeVar("Made")


class Source(Protocol):
    """Inputs of the examples 0 to n - 1 of a split."""

    def read(self, examples: np.ndarray) -> Tensor:
        """The raw inputs of `examples` [batch] on the CPU; may run in a thread."""

    def finish(self, raw: Tensor, examples: np.ndarray, epoch: int | None) -> Tensor:
        """Model inputs from `raw` on its device; `epoch` None means evaluation, without augmentation."""


@dataclass(frozen=True)
class ArraySource:
    """Features that fit into memory: float32 [examples, ...]."""

    features: Tensor

    def read(self, examples: np.ndarray) -> Tensor:
        return self.features[torch.from_numpy(examples)]

    def finish(self, raw: Tensor, examples: np.ndarray, epoch: int | None) -> Tensor:
        return raw


def read_ahead(read: Callable[[Given], Made], items: Iterable[Given], workers: int) -> Iterator[tuple[Given, Made]]:
    """Each item with `read(item)`, in order; with `workers` threads that many items are read ahead."""
    if workers == 0:
        for item in items:
            yield item, read(item)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()
