"""Packed radiographs as what the training loop reads (see `training.sources`)."""

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from diagxnet.training.augment import augment, to_float
from diagxnet.training.batches import gather


@dataclass(frozen=True)
class ImageSource:
    """Packed radiographs: uint8 [images, side, side] and the rows of it that the split's examples are."""

    images: np.ndarray
    rows: np.ndarray
    seed: int = 0
    augmentation: dict[str, float] = field(default_factory=dict)

    def read(self, examples: np.ndarray) -> Tensor:
        return gather(self.images, self.rows[examples])

    def finish(self, raw: Tensor, examples: np.ndarray, epoch: int | None) -> Tensor:
        if epoch is None or not self.augmentation:
            return to_float(raw)
        return augment(raw, self.rows[examples], seed=self.seed, epoch=epoch, **self.augmentation)
