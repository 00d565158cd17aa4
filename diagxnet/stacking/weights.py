"""The core of the ensemble: a weighted mean of the members' logits, shrunk towards their plain mean.

A logistic regression by finding, whose log odds are b_f + sum over m of v_mf x_mf. x_mf is member m's logit of finding
f, in the unit in which the plain mean of the members is calibrated. The weights v_mf are at least 0, which stacking
needs (Breiman, "Stacked Regressions", Machine Learning 24, 1996), and come from a hierarchy: one set of weights for
all findings, u_m ~ N(1 / M, (s / M)^2) for M members, and around it v_mf ~ N(u_m, (t / M)^2). Both strengths at 0 is
the plain mean.

A pair (s, t) is judged by the log loss of patients left out. Pairs are too alike for a few hundred patients to tell,
so that none is picked: the weights are the mean over all pairs, each counting as exp(-loss / TEMPERATURE) (pseudo-BMA,
Yao et al., "Using Stacking to Average Bayesian Predictive Distributions", Bayesian Analysis 13, 2018). With many
patients the best pair alone counts. Weights are divided by their sum: the ensemble's scale is calibration's.

A mean over many pairs is never quite the plain mean, even where that is best. So at the end weights keep only the share
max(0, 1 - (e / g)^2) of their distance from it, g being the log loss that they save on patients left out and e its
standard error: James and Stein's factor ("Estimation with Quadratic Loss", Berkeley Symposium 4, 1961), for one gain.
"""

from dataclasses import dataclass, replace

import numpy as np

from diagxnet.stacking.logistic import Rows, calibrate, gain_and_error, losses, sum_by_patient, sums, with_ones

STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0)
"""Of both levels; 1 lets a weight be zero or twice an equal weight."""

PAIRS = tuple((for_all, by_finding) for for_all in STRENGTHS for by_finding in STRENGTHS)
PLAIN = PAIRS.index((0.0, 0.0))
TEMPERATURE = 4.0
"""Nats: above 1, as the labels of an image, and the images of a patient, are no independent evidence."""

ROUNDS = 10


@dataclass(frozen=True)
class Core:
    """weights: [members, findings] float64, at least 0, of one finding adding up to 1. standardised: whether each
    member's logits are brought to one spread and mean first. slopes: [members, findings], intercepts: [findings]: both
    in one, of the logits as they are. left_out: [rows, findings] logits of the rows, each from a fit without its
    patient's fold. strengths: for_all and by_finding, the means over all pairs. kept: the share in 0..1 of the weights'
    distance from the plain mean that what they save bears out."""

    weights: np.ndarray
    standardised: bool
    slopes: np.ndarray
    intercepts: np.ndarray
    left_out: np.ndarray
    strengths: tuple[float, float]
    kept: float


def hand_on(core: Core, lacking: np.ndarray) -> Core:
    """`core` with the weight of what a member says nothing of, `lacking` [members, findings] bool, on the others: the
    same ensemble, as the logits that stood in for the member's were their mean (see `features.stacked.fill`)."""
    if not lacking.any():
        return core
    shared = (~lacking).sum(axis=0)

    def moved(values: np.ndarray) -> np.ndarray:
        return np.where(lacking, 0, values + np.where(lacking, values, 0).sum(axis=0) / shared)

    return replace(core, weights=moved(core.weights), slopes=moved(core.slopes))


def fit_core(logits: np.ndarray, rows: Rows) -> Core:
    """The core of `logits` [images, members, findings], whose labels `rows` holds (made from them in their order).

    Of one member it is that member; without two patients, or a finding of two classes, it is the plain mean.
    """
    given = logits.astype(np.float64)
    members = given.shape[1]
    classes = np.where(rows.mask, rows.targets, 0).sum(1), np.where(rows.mask, 1 - rows.targets, 0).sum(1)
    if members == 1 or len(rows.bounds) < 3 or not np.minimum(*classes).any():
        weights = np.full(given.shape[1:], 1 / members)
        return Core(weights, False, weights, np.zeros(given.shape[2]), given.mean(1), (0.0, 0.0), 0.0)
    standardised, scale, unit = _scale(given, rows)
    scaled = (given * scale[0] + scale[1])[rows.order].transpose(2, 0, 1)  # [findings, rows, members]
    inputs = with_ones(scaled * unit[:, :1, None])
    fitted, without, counts, saved = _fit(inputs, rows, unit[:, 1])
    left_out = np.empty((given.shape[0], given.shape[2]))
    for fold, own in zip(rows.folds(), without, strict=True):
        kept = _kept(np.delete(saved, np.unique(rows.patients[fold])))
        left_out[fold] = (scaled[:, fold] * _weights(own, kept)[:, None]).sum(2).T
    kept = _kept(saved)
    weights = _weights(fitted, kept).T
    slopes, intercepts = weights * scale[0], (weights * scale[1]).sum(0)
    strengths = tuple(float(level) for level in counts @ np.array(PAIRS))
    return Core(weights, standardised, slopes, intercepts, rows.given(left_out), strengths, kept)


def _scale(logits: np.ndarray, rows: Rows) -> tuple[bool, np.ndarray, np.ndarray]:
    """Whether to standardise; slope and shift [2, members, findings] of the logits; calibration [findings, 2] of their
    mean. That of the lower log loss, by more than TEMPERATURE where it is the standardised."""
    known = rows.given(rows.mask.T)[:, None]
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, logits, 0).sum(0) / count
    deviation = np.sqrt(np.where(known, (logits - mean) ** 2, 0).sum(0) / count)
    slope = deviation.mean(0) / np.where(deviation > 0, deviation, 1)
    as_they_are = np.stack([np.ones_like(slope), np.zeros_like(slope)])
    found = []
    for standardised, scale in ((False, as_they_are), (True, np.stack([slope, mean.mean(0) - slope * mean]))):
        scores = (logits * scale[0] + scale[1]).mean(1)[rows.order].T
        unit = calibrate(scores, rows)
        inputs = with_ones(scores[:, :, None]).astype(np.float32)
        loss = losses(inputs, rows, slice(None), unit[None]).sum(dtype=np.float64)
        found.append((loss, standardised, scale, unit))
    return min(found, key=lambda each: each[0] + TEMPERATURE * each[1])[1:]


def _fit(inputs: np.ndarray, rows: Rows, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients [findings, members + 1] of all rows, the same without each fold, how much each of PAIRS counts, and
    the log loss [patients] that the coefficients save against the plain mean, without the patient's fold.

    Newton steps for all pairs from their mean, until that stands still.
    """
    findings, _, coefficients = inputs.shape
    fitted = np.full((findings, coefficients), 1 / (coefficients - 1))
    fitted[:, -1] = start
    single = inputs.astype(np.float32)
    for _ in range(ROUNDS):
        gradient, curvature = sums(inputs, rows, fitted)
        total = gradient.sum(0), curvature.sum(0)
        pairs = [
            _step(total[0] - own, total[1] - spread, fitted) for own, spread in zip(gradient, curvature, strict=True)
        ]
        each = [losses(single, rows, fold, own) for fold, own in zip(rows.folds(), pairs, strict=True)]
        loss = sum(own.sum(axis=1, dtype=np.float64) for own in each)
        counts = np.exp((loss.min() - loss) / TEMPERATURE)
        counts /= counts.sum()
        before, fitted = fitted, np.tensordot(counts, _step(*total, fitted), 1)
        if np.abs(fitted - before)[:, :-1].max() < 1e-3:
            break
    without = [np.tensordot(counts, own, 1) for own in pairs]
    saved = np.empty(inputs.shape[1])
    for fold, own, plain in zip(rows.folds(), without, each, strict=True):
        saved[fold] = plain[PLAIN] - losses(single, rows, fold, own[None])[0]
    return fitted, np.stack(without), counts, sum_by_patient(saved[None], rows.patients)[0]


def _step(gradient: np.ndarray, curvature: np.ndarray, start: np.ndarray) -> np.ndarray:
    """For each of PAIRS the coefficients [pairs, findings, members + 1] after a Newton step from `start`.

    The intercept, which has no prior, is solved for first; what is left is a quadratic in the weights.
    """
    members = start.shape[1] - 1
    linear = gradient + np.matmul(curvature, start[:, :, None])[:, :, 0]
    crossed, own = curvature[:, :members, members], curvature[:, members, members]
    left = curvature[:, :members, :members] - crossed[:, :, None] * crossed[:, None] / own[:, None, None]
    pull = linear[:, :members] - crossed * (linear[:, members] / own)[:, None]
    identity, found = np.eye(members), []
    for for_all, by_finding in PAIRS:
        shared = np.full(members, 1 / members)
        if for_all:
            prior = (members / for_all) ** 2
            shared = _non_negative((left.sum(0) + prior * identity)[None], (pull.sum(0) + prior / members)[None])[0]
        weights = np.broadcast_to(shared, pull.shape)
        if by_finding:
            prior = (members / by_finding) ** 2
            weights = _non_negative(left + prior * identity, pull + prior * shared)
        intercepts = (linear[:, members] - (crossed * weights).sum(1)) / own
        found.append(np.concatenate([weights, intercepts[:, None]], axis=1))
    return np.stack(found)


def _non_negative(curvature: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """The x >= 0 [problems, n] with the least x' curvature x / 2 - linear' x."""
    from scipy.optimize import nnls  # half a second to import, which evaluation and prediction need not pay

    found = np.linalg.solve(curvature, linear[:, :, None])[:, :, 0]
    for problem in np.flatnonzero((found < 0).any(axis=1)):
        root = np.linalg.cholesky(curvature[problem])
        found[problem] = nnls(root.T, np.linalg.solve(root, linear[problem]))[0]
    return found


def _kept(saved: np.ndarray) -> float:
    """The share of the weights' distance from the plain mean to keep, for what each patient's log loss saved."""
    gain, error = gain_and_error(saved)
    return 1 - (error / gain) ** 2 if gain > error else 0.0


def _weights(coefficients: np.ndarray, kept: float) -> np.ndarray:
    """Weights [findings, members] that add up to 1, of coefficients [findings, members + 1]; equal where all are 0."""
    weights = coefficients[:, :-1]
    equal, total = 1 / weights.shape[1], weights.sum(axis=1, keepdims=True)
    return equal + kept * (np.where(total > 0, weights / np.where(total > 0, total, 1), equal) - equal)
