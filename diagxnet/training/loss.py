"""Losses over known labels: a masked entry adds nothing, to the sum or to the count."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Takes logits, targets and class weights; returns the loss of each entry [images, findings]."""


def bce(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy; the term of the positives is multiplied by its finding's weight."""
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")


def focal(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Focal loss with alpha 0.25 and gamma 2 (Lin et al., "Focal Loss for Dense Object Detection",
    ICCV 2017, eq. 5)."""
    from torchvision.ops import sigmoid_focal_loss  # seconds to import, as timm below, for this loss alone

    entries = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2.0, reduction="none")
    return entries * (1 + (weights - 1) * targets)


def asymmetric(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Asymmetric loss with gamma- 4, gamma+ 1 and margin 0.05 (Ridnik et al., ICCV 2021, eq. 7)."""
    from timm.loss import AsymmetricLossMultiLabel

    return AsymmetricLossMultiLabel(reduction="none", pos_weight=weights)(logits, targets)


LOSSES: dict[str, Loss] = {"bce": bce, "focal": focal, "asymmetric": asymmetric}


def smooth(targets: Tensor, label_smoothing: float) -> Tensor:
    """`target * (1 - a) + 0.5 * a`: 0.95 and 0.05 at a = 0.1 (Szegedy et al., CVPR 2016, section 7, two classes)."""
    return targets * (1 - label_smoothing) + 0.5 * label_smoothing


@dataclass(frozen=True)
class Objective:
    """What training minimises; the comments of params.yaml say what each value is, and its unit."""

    loss: str
    label_smoothing: float
    class_weights: str
    max_class_weight: float

    def weights(self, targets: np.ndarray, mask: np.ndarray, drawn: np.ndarray | None) -> Tensor:
        """The weight of each finding's positives, [findings] float32 (see `balanced_weights`); 1 without balance."""
        if self.class_weights == "balanced":
            return torch.from_numpy(balanced_weights(targets, mask, self.max_class_weight, drawn))
        return torch.ones(targets.shape[1])

    def sum(self, logits: Tensor, targets: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        """The loss summed over the known entries; divide by their number, over the whole effective batch, for the mean.

        logits, targets: [images, findings] float; mask: [images, findings] bool; weights: [findings] float.
        """
        entries = LOSSES[self.loss](logits, smooth(targets, self.label_smoothing), weights)
        return torch.where(mask, entries, 0).sum()

    def mean(self, logits: np.ndarray, targets: np.ndarray, mask: np.ndarray, weights: Tensor) -> float:
        """The loss over the known labels of a whole split, in float64; 0 where none is known."""
        known = torch.from_numpy(mask)
        entries = torch.from_numpy(logits).double(), torch.from_numpy(targets).double()
        return float(self.sum(*entries, known, weights.double())) / max(int(mask.sum()), 1)


def balanced_weights(
    targets: np.ndarray, mask: np.ndarray, bound: float, drawn: np.ndarray | None = None
) -> np.ndarray:
    """Negatives / positives among the known labels of each finding, within 1 / `bound` and `bound`; [findings] float32.

    drawn: how often each example is drawn, [examples]; None: all alike. A finding with one class only has no balance to
    restore: its weight is 1.
    """
    each = np.ones(len(targets)) if drawn is None else drawn
    positives = each @ np.where(mask, targets, 0).astype(np.float64)
    negatives = each @ mask.astype(np.float64) - positives
    both = (positives > 0) & (negatives > 0)
    weights = np.divide(negatives, positives, out=np.ones_like(positives), where=both)
    return np.clip(weights, 1 / bound, bound).astype(np.float32)
