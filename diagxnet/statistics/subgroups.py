"""Figures by sex, age band, view and further columns: a model that is good on average can fail a group of patients."""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from diagxnet.ensemble.calibration import FindingCalibration
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.disparity import Pair, group_aurocs, group_estimates, minus_rest
from diagxnet.statistics.intervals import proportion_interval, unbounded_interval
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import Estimates, with_intervals

LAST = ("mixed", "unknown")
"""Groups that come after all others."""

BIN = re.compile(r"(?P<below>under_)?(?P<start>-?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?)(_.*)?")
"""A group that is a range of numbers, as age bands are."""

RULE = "youden"
"""The threshold that rates in groups are at."""


def add_disparities(
    scores: dict[str, dict],
    scored: Scored,
    probability: np.ndarray,
    calibration: Mapping[str, FindingCalibration],
    draws: Draws,
    min_positives: int,
) -> None:
    """Adds to the ensemble's entries in `scores` (the first of `subgroups`) the rates at RULE's threshold, calibration
    in the large, and "minus_rest": see `minus_rest`.

    A finding counts that has `enough` of both classes in the group, and in "minus_rest" also in the rest. probability,
    calibration: the ensemble's, the former [units, findings]. draws: of the patients of `scored`.
    """
    thresholds = {key: own.thresholds and own.thresholds[RULE] for key, own in calibration.items()}

    def measured(members: np.ndarray, findings: np.ndarray) -> dict:
        columns = {scored.findings.keys[f]: int(f) for f in np.flatnonzero(findings)}
        return group_estimates(scored, probability, thresholds, members, columns, draws)

    for attribute, entries in scores["ensemble"].items():
        pairs: dict[str, Pair] = {}
        for group, entry in entries.items():
            inside = scored.groups[attribute] == group
            enough, of_rest = (scored.subset(chosen).enough(min_positives) for chosen in (inside, ~inside))
            for name, own in measured(inside, enough).items():
                if name != "auroc":
                    interval = unbounded_interval if name == "in_the_large" else proportion_interval
                    entry[name] = with_intervals(own, interval)
            if (enough & of_rest).any():
                pairs[group] = measured(inside, enough & of_rest), measured(~inside, enough & of_rest)
        mirrored = len(pairs) == len(set(scored.groups[attribute])) == 2
        for group, differences in minus_rest(pairs, mirrored=mirrored).items():
            entries[group]["minus_rest"] = differences


def subgroups(
    scored: Scored, whole: Estimates, draws: Draws, min_positives: int
) -> tuple[dict[str, dict], dict[str, dict]]:
    """By model, attribute and group the AUROC; and by attribute and group what is too small to be scored.

    A finding is scored in a group that has `enough` of both classes of it; a group of which no finding is scored has no
    entry in the first. An entry there: {"units", "patients", "findings": how many are scored, "auroc": see
    `with_intervals`, "positives" | "negatives": {key: units} of those scored, "everyone": the macro AUROC of `whole`
    over the same findings, so that groups in which different findings are scored can be compared}. An entry in the
    second: {"units", "patients", "scored": how many findings are, "findings": {key: {"positives", "negatives"}} of
    those that are not}.
    """
    scores: dict[str, dict] = {model: {} for model in scored.models}
    too_small: dict[str, dict] = {}
    for attribute, group, inside in _groups(scored):
        members = scored.subset(inside)
        positives, negatives = members.counts()
        enough = members.enough(min_positives)
        size = {"units": len(members.patients), "patients": len(set(members.patients))}
        unscored = {
            scored.keys[f]: {"positives": int(positives[f]), "negatives": int(negatives[f])}
            for f in np.flatnonzero(~enough & scored.scorable())
        }
        if unscored:
            too_small.setdefault(attribute, {})[group] = size | {"scored": int(enough.sum()), "findings": unscored}
        if not enough.any():
            continue
        of_group = {scored.keys[f]: int(f) for f in np.flatnonzero(enough)}
        estimates = group_aurocs(scored, inside, of_group, draws)
        for model in scored.models:
            keys = [scored.keys[f] for f in np.flatnonzero(enough) if scored.keys[f] in whole[model]["auroc"].values]
            if not keys:
                continue
            entry = size | {
                "findings": len(keys),
                "auroc": with_intervals(estimates[model].only(keys)),
                "positives": {key: int(positives[scored.keys.index(key)]) for key in keys},
                "negatives": {key: int(negatives[scored.keys.index(key)]) for key in keys},
                "everyone": float(np.mean([whole[model]["auroc"].values[key] for key in keys])),
            }
            scores[model].setdefault(attribute, {})[group] = entry
    return scores, too_small


def listed(evaluation: dict, model: str) -> list[tuple[str, str, dict, dict]]:
    """Every group as (attribute, group, entry, entry of what is too small in it); an entry that is not there is empty.

    evaluation: content of metrics/evaluation.json.
    """
    scores, too_small = evaluation[model]["subgroups"], evaluation["subgroups_too_small"]
    return [
        (attribute, group, scores.get(attribute, {}).get(group, {}), too_small.get(attribute, {}).get(group, {}))
        for attribute in dict.fromkeys((*scores, *too_small))
        for group in _in_order({*scores.get(attribute, {}), *too_small.get(attribute, {})})
    ]


def _groups(scored: Scored) -> Iterator[tuple[str, str, np.ndarray]]:
    for attribute, values in scored.groups.items():
        for group in _in_order(set(values)):
            yield attribute, group, values == group


def _in_order(groups: set[str]) -> list[str]:
    """Names by the alphabet, then ranges by where they begin, then LAST."""

    def place(group: str) -> tuple[int, float, str]:
        if group in LAST:
            return 2, LAST.index(group), group
        found = BIN.fullmatch(group)
        if found is None:
            return 0, 0.0, group
        return 1, -np.inf if found["below"] else float(found["start"]), group

    return sorted(groups, key=place)
