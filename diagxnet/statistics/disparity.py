"""What a group of patients gets that the rest do not: rates at the threshold, calibration and AUROC, group minus rest.

A model that is as good everywhere in the mean can miss the sick of one group (Seyyed-Kalantari et al. 2021,
doi:10.1038/s41591-021-01595-0): its true positive rate there is lower, or in No Finding its false positive rate higher,
which they call underdiagnosis.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import logit

from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.influence import auroc_moves, in_the_large_moves, rate_moves
from diagxnet.statistics.intervals import (
    CONFIDENCE,
    difference_interval,
    effective_sample_size,
    holm,
    p_value,
    unbounded_interval,
)
from diagxnet.statistics.recalibration import CERTAIN
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimate, mean_resamples, mean_sample_size, separate_difference

MEASURES = ("sensitivity", "false_positive_rate", "in_the_large", "auroc")
UNDECIDED = "not distinguishable"


def group_estimates(
    scored: Scored,
    probability: np.ndarray,
    thresholds: Mapping[str, float | None],
    members: np.ndarray,
    findings: Mapping[str, int],
    draws: Draws,
) -> dict[str, Estimate]:
    """MEASURES of the last model in the group `members` [units] bool: AUROC of its logits, the others of its calibrated
    `probability` [units, findings], which a hierarchy may have bounded.

    thresholds: by key of a finding; without one it has no rates. findings: by key the column of those to measure, each
    with both classes in the group. draws: of the patients of `scored`, so that groups which share patients are drawn
    together.
    """
    measured = _Measured(MEASURES, len(members))
    for key, f in findings.items():
        known, patients = _known(scored, members, f)
        targets, own = scored.targets[known, f], probability[known, f]
        rarer = min(patients.values())
        linear = logit(own.clip(CERTAIN, 1 - CERTAIN))
        measured.add("in_the_large", key, in_the_large_moves(linear, targets), known, rarer)
        measured.add("auroc", key, auroc_moves(targets, scored.logits[-1, known, f]), known, rarer)
        if thresholds.get(key) is not None:
            called = own >= thresholds[key]
            measured.add("sensitivity", key, rate_moves(called, targets), known, patients[True])
            measured.add("false_positive_rate", key, rate_moves(called, ~targets), known, patients[False])
    return measured.estimates(draws)


def group_aurocs(scored: Scored, members: np.ndarray, findings: Mapping[str, int], draws: Draws) -> dict[str, Estimate]:
    """The AUROC of every model in the group; arguments as in `group_estimates`. To resample a ranking anew for each
    group and model would cost more than all else of an evaluation."""
    measured = _Measured(scored.models, len(members))
    for key, f in findings.items():
        known, patients = _known(scored, members, f)
        for m, model in enumerate(scored.models):
            moves = auroc_moves(scored.targets[known, f], scored.logits[m, known, f])
            measured.add(model, key, moves, known, min(patients.values()))
    return measured.estimates(draws)


def _known(scored: Scored, members: np.ndarray, finding: int) -> tuple[np.ndarray, dict[bool, int]]:
    """The group's units whose label of `finding` is known, and the patients with a positive and with a negative one."""
    known = np.flatnonzero(members & scored.mask[:, finding])
    targets, owners = scored.targets[known, finding], scored.patients[known]
    return known, {each: len(set(owners[targets == each])) for each in (True, False)}


class _Measured:
    """Figures by name and finding, of `units` units, with what each unit moves them by."""

    def __init__(self, names: Sequence[str], units: int) -> None:
        self.values: dict[str, dict[str, float]] = {name: {} for name in names}
        self.sizes: dict[str, dict[str, int]] = {name: {} for name in names}
        self.moves: dict[tuple[str, str], np.ndarray] = {}
        self.units = units

    def add(self, name: str, key: str, figure: tuple[float, np.ndarray], known: np.ndarray, size: int) -> None:
        """figure: as of `influence`, of the units `known` (numbers). size: patients whom its spread is as sure as."""
        self.values[name][key], moves = figure
        self.sizes[name][key] = size
        self.moves[name, key] = np.zeros(self.units)
        self.moves[name, key][known] = moves

    def estimates(self, draws: Draws) -> dict[str, Estimate]:
        resamples: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.values}
        if self.moves:
            columns = np.stack(list(self.moves.values()), axis=1)
            drawn = draws.sums(draws.by_patient(columns, np.arange(self.units))).T
            for (name, key), own in zip(self.moves, drawn, strict=True):
                resamples[name][key] = self.values[name][key] + own
        return {
            name: Estimate(values, resamples[name], self.sizes[name], tuple(values))
            for name, values in self.values.items()
        }


Pair = tuple[Mapping[str, Estimate], Mapping[str, Estimate]]
"""MEASURES in a group and in the rest, over the same findings."""


def minus_rest(pairs: Mapping[str, Pair], *, mirrored: bool) -> dict[str, dict[str, dict[str, object]]]:
    """By group and measure, the group minus the rest: {"macro" | "per_finding": {key}: {"difference", "ci"}}.

    pairs: of the groups of one attribute. mirrored: these are two, each of which is the other's rest, and so one
    question. A mean has a "verdict" besides: `higher`, `lower` or `not distinguishable`, by Holm for all groups and
    measures of the attribute at once.
    """
    result: dict[str, dict[str, dict[str, object]]] = {}
    p_values: dict[tuple[str, str], float] = {}
    for group, (own, rest) in pairs.items():
        result[group] = {}
        for name in MEASURES:
            keys = list(own[name].values)
            if not keys:
                continue
            interval = unbounded_interval if name == "in_the_large" else difference_interval
            pair = own[name], rest[name]
            each = {key: separate_difference(*pair, [key], interval) for key in keys}
            result[group][name] = {"macro": separate_difference(*pair, keys, interval), "per_finding": each}
            p_values[group, name] = _p_value(*pair, keys, proportion=name != "in_the_large")
    question = {each: (next(iter(pairs)), each[1]) if mirrored else each for each in p_values}
    asked = list(dict.fromkeys(question.values()))
    adjusted = dict(zip(asked, holm(np.array([p_values[each] for each in asked])), strict=True))
    for (group, name), first in question.items():
        own = result[group][name]["macro"]
        higher = "higher" if own["difference"] > 0 else "lower"
        own["verdict"] = higher if adjusted[first] <= 1 - CONFIDENCE else UNDECIDED
    return result


def _p_value(first: Estimate, second: Estimate, keys: Sequence[str], *, proportion: bool) -> float:
    """How often chance alone gives a difference of the means over `keys` as large as this, two-sided.

    A proportion is compared by its log-odds: in a small group the spread of one near 0 or 1 is estimated too small, and
    as often as not is so because it happened to be near.
    """
    values, drawn, sizes = [], [], []
    for each in (first, second):
        value, size = float(np.mean([each.values[key] for key in keys])), mean_sample_size(each, keys)
        spread = mean_resamples(each, keys) - value
        if proportion:
            inside = min(max(value, 0.5 / size), 1 - 0.5 / size)
            value, spread = float(logit(inside)), spread / (inside * (1 - inside))
        values.append(value)
        drawn.append(spread)
        sizes.append(size)
    size = effective_sample_size(np.array([each.var() for each in drawn]), np.array(sizes))
    return p_value(values[0] - values[1], drawn[0] - drawn[1], size)
