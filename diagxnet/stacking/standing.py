"""Where the ensemble stands beside its parts on val, by figures that no patient of val had a hand in."""

from dataclasses import dataclass

import numpy as np

from diagxnet.training.auroc import ranks


@dataclass(frozen=True)
class Difference:
    """Macro AUROC of the ensemble minus that of `other`, with its standard error over patients."""

    other: str
    auroc: float
    error: float

    def is_behind(self) -> bool:
        return self.auroc < -self.error


def stand(
    ensemble: np.ndarray,
    logits: np.ndarray,
    members: tuple[str, ...],
    targets: np.ndarray,
    mask: np.ndarray,
    patients: np.ndarray,
    lacking: np.ndarray | None = None,
) -> list[Difference]:
    """The ensemble beside the member of the highest macro AUROC, and beside the plain average.

    ensemble: [images, findings] logits from fits that left out the image's patient. logits: [images, members,
    findings]. targets, mask: [images, findings]. patients: [images] names. lacking: [members, findings] bool: a member
    that says nothing of some finding is not compared. Empty where no finding has both classes.
    """
    codes = np.unique(patients.astype(str), return_inverse=True)[1]
    own = _macro(ensemble, targets, mask, codes)
    if own is None:
        return []
    whole = [place for place in range(len(members)) if lacking is None or not lacking[place].any()]
    each = {members[place]: _macro(logits[:, place], targets, mask, codes) for place in whole}
    best = max(each, key=lambda name: each[name][0])
    others = {best: each[best], "average": _macro(logits.mean(1), targets, mask, codes)}
    return [
        Difference(name, own[0] - auroc, float(np.sqrt(((own[1] - parts) ** 2).sum())))
        for name, (auroc, parts) in others.items()
    ]


def _macro(
    logits: np.ndarray, targets: np.ndarray, mask: np.ndarray, patients: np.ndarray
) -> tuple[float, np.ndarray] | None:
    """Macro AUROC, and what each patient moves it by [patients] (DeLong 1988; by cluster, Obuchowski 1997)."""
    aurocs, moved = [], np.zeros(patients.max() + 1)
    for finding in range(logits.shape[1]):
        known = mask[:, finding]
        truth = targets[known, finding] > 0.5
        if truth.any() and not truth.all():
            auroc, parts = _auroc(logits[known, finding], truth)
            aurocs.append(auroc)
            moved += np.bincount(patients[known], parts, minlength=len(moved))
    return (float(np.mean(aurocs)), moved / len(aurocs)) if aurocs else None


def _auroc(scores: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """AUROC, and each image's part in its error [images]."""
    others_below = ranks(scores)
    for own in (truth, ~truth):
        others_below[own] -= ranks(scores[own])
    positives, negatives = int(truth.sum()), int((~truth).sum())
    auroc = float(others_below[truth].sum() / (positives * negatives))
    won = np.where(truth, others_below / negatives, 1 - others_below / positives)
    return auroc, (won - auroc) / np.where(truth, positives, negatives)
