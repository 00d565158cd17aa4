"""95% intervals from bootstrap resamples of patients: on the logit scale, with Student's quantile.

The percentile interval of an AUROC is too short where positives are few (see docs/evaluation.md: 81% instead of 95%
at ten positives and an AUROC of 0.95), because the bootstrap's spread is that of a sample whose size is the number of
positives, and because it cannot reach beyond the sample. The interval here keeps the bootstrap's standard error, which
respects patients with several images and missing labels, and mends both: the factor sqrt(m / (m - 1)) and Student's
quantile with m - 1 degrees of freedom, m being the patients of the rarer class (Hesterberg 2015 on
"narrowness bias"), on the scale of log(v / (1 - v)), which keeps it within 0 and 1 (Pepe 2003 for
AUROC; Boyd, Eng and Page 2013 for average precision). In a mean over findings each has the factor of its own m before
they are averaged: one for all would leave a rare finding's spread too small.
"""

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

CONFIDENCE = 0.95


def widened(resamples: np.ndarray, sample_size: float) -> np.ndarray:
    """`resamples` [resamples] of one finding with the factor sqrt(m / (m - 1)) on what they deviate from their mean.

    sample_size: m, the patients of the rarer class; of a single one nothing is known, so that its are left as they are.
    """
    if sample_size < 2 or np.isnan(resamples).all():
        return resamples
    middle = np.nanmean(resamples)
    return middle + np.sqrt(sample_size / (sample_size - 1)) * (resamples - middle)


def proportion_interval(value: float, resamples: np.ndarray, sample_size: float) -> dict[str, float]:
    """Interval of a `value` in [0, 1], such as an AUROC, from its `widened` resamples [resamples] (NaN: not defined).

    sample_size: the patients of the rarer class (see `effective_sample_size` for a mean over findings). At a value of
    exactly 0 or 1 the bootstrap has no spread: the far end is then that of Clopper and Pearson for `sample_size`
    patients who all agree. Below two patients nothing is known: 0 to 1.
    """
    spread = _spread(resamples, sample_size)
    if spread is None:
        return {"lower": 0.0, "upper": 1.0}
    if value in (0.0, 1.0):
        far = ((1 - CONFIDENCE) / 2) ** (1 / sample_size)
        return {"lower": far, "upper": 1.0} if value == 1.0 else {"lower": 0.0, "upper": 1 - far}
    half = spread / (value * (1 - value))
    return {"lower": float(expit(logit(value) - half)), "upper": float(expit(logit(value) + half))}


def difference_interval(value: float, resamples: np.ndarray, sample_size: float) -> dict[str, float]:
    """Interval of a difference of two such values from its `widened` resamples, symmetric about `value`, in [-1, 1]."""
    spread = _spread(resamples, sample_size)
    if spread is None:
        return {"lower": -1.0, "upper": 1.0}
    return {"lower": max(-1.0, value - spread), "upper": min(1.0, value + spread)}


def unbounded_interval(value: float, resamples: np.ndarray, sample_size: float) -> dict[str, float]:
    """The same for a `value` on a scale without ends, such as a slope; `sample_size` must be 2 or more."""
    spread = _spread(resamples, sample_size)
    return {"lower": value - spread, "upper": value + spread}


def p_value(value: float, resamples: np.ndarray, sample_size: float) -> float:
    """How often chance alone gives a difference as large as `value`, two-sided; 5% where `difference_interval` of the
    same arguments ends at 0. Where too little is known to tell, 1."""
    error = _error(resamples, sample_size)
    if error is None or value == 0:
        return 1.0
    return float(2 * stdtr(sample_size - 1, -abs(value) / error)) if error else 0.0


def holm(p_values: np.ndarray) -> np.ndarray:
    """The `p_values` [findings] for all of them at once (Holm 1979): where those up to 5% are called differences, there
    is any false one in at most 5% of test sets, however the findings depend on one another."""
    order = np.argsort(p_values)
    falling = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * falling), 1)
    return adjusted


def effective_sample_size(variances: np.ndarray, sample_sizes: np.ndarray) -> float:
    """The sample size whose degrees of freedom a mean over findings has, by Welch and Satterthwaite.

    variances: [findings] of each finding's `widened` resamples. sample_sizes: [findings] patients of the rarer class.
    """
    if np.max(sample_sizes) < 2:
        return float(np.max(sample_sizes))
    variances = np.nan_to_num(variances)
    total = variances.sum()
    if total == 0:
        return float(np.min(sample_sizes))
    return float(total**2 / (variances**2 / np.maximum(sample_sizes - 1, 1)).sum() + 1)


def _spread(resamples: np.ndarray, sample_size: float) -> float | None:
    """Half the width of the interval on the scale of the resamples; None where there is too little to tell."""
    error = _error(resamples, sample_size)
    return None if error is None else float(stdtrit(sample_size - 1, (1 + CONFIDENCE) / 2) * error)


def _error(resamples: np.ndarray, sample_size: float) -> float | None:
    """The standard error; None where there is too little to tell."""
    defined = resamples[~np.isnan(resamples)]
    return float(defined.std(ddof=1)) if sample_size >= 2 and len(defined) >= 2 else None
