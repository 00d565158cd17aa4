"""AUROC over known labels, fast enough for each epoch."""

import numpy as np


def macro_auroc(logits: np.ndarray, targets: np.ndarray, mask: np.ndarray) -> float | None:
    """Mean AUROC over the findings with both classes among the known labels; None where there is none.

    By ranks (Hanley and McNeil, Radiology 1982): scikit-learn's value in a fifth of its time, and neither it nor
    scipy.stats, a second each, to import.
    """
    scores = []
    for finding in range(targets.shape[1]):
        known = mask[:, finding]
        truth = targets[known, finding] > 0.5
        if truth.any() and not truth.all():
            positives, negatives = int(truth.sum()), int((~truth).sum())
            _, which, count = np.unique(logits[known, finding], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(count) - (count - 1) / 2)[which]  # equal logits share the mean of their ranks
            scores.append((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(scores)) if scores else None
