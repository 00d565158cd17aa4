"""Figures with what a unit more moves each by, from which their spread over patients follows without measuring again.

A resample's figure is to first order the figure and what each drawn patient moves it by (the infinitesimal jackknife;
Davison and Hinkley 1997, section 2.7). For an AUROC that is the method of DeLong et al. 1988. Each function returns the
figure and the moves [units], whose sum is 0.
"""

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata

from diagxnet.statistics.calibrating import logistic


def auroc_moves(targets: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Of the area under the ROC, ties counting half. targets: [units] bool, both classes. scores: [units]."""
    ranks = rankdata(scores)
    own = np.empty(len(scores))
    for chosen in (targets, ~targets):
        own[chosen] = rankdata(scores[chosen])
    positives, negatives = targets.sum(), (~targets).sum()
    below = ranks - own  # of the other class, how many score lower
    placements = np.where(targets, below / negatives, 1 - below / positives)
    value = placements[targets].mean()
    return float(value), (placements - value) / np.where(targets, positives, negatives)


def rate_moves(called: np.ndarray, among: np.ndarray) -> tuple[float, np.ndarray]:
    """Of the share of `called` in `among`, both [units] bool, the latter not empty."""
    value = called[among].mean()
    return float(value), among * (called - value) / among.sum()


def in_the_large_moves(linear: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Of calibration-in-the-large: the intercept of the logistic regression of `targets` [units] bool on the logit of
    the probability, `linear` [units], with the slope held at 1 (Cox 1958); both classes must be there."""
    intercept = float(logistic(np.ones((len(linear), 1)), targets, np.zeros(1), linear)[0])
    predicted = expit(linear + intercept)
    return intercept, (targets - predicted) / (predicted * (1 - predicted)).sum()
