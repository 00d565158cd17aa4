"""AUROC by sex, age band and view: a model that is good on average can fail a group of patients."""

from collections.abc import Iterator

import numpy as np

from diagxnet.statistics.scored import AGE_BANDS, Scored
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.uncertainty import Estimates, estimate, with_intervals

ORDER = (*AGE_BANDS, "mixed", "unknown")
"""Groups whose order is not the alphabet's; the others come before them."""


def subgroups(scored: Scored, whole: Estimates, scoring: Scoring) -> tuple[dict[str, dict], dict[str, dict]]:
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
    for attribute, group, members in _groups(scored):
        positives, negatives = members.counts()
        enough = members.enough(scoring.min_positives)
        size = {"units": len(members.patients), "patients": len(set(members.patients))}
        unscored = {
            scored.keys[f]: {"positives": int(positives[f]), "negatives": int(negatives[f])}
            for f in np.flatnonzero(~enough & scored.scorable())
        }
        if unscored:
            too_small.setdefault(attribute, {})[group] = size | {"scored": int(enough.sum()), "findings": unscored}
        if not enough.any():
            continue
        estimates = estimate(members, resamples=scoring.bootstrap, seed=scoring.seed)
        for model in scored.models:
            keys = [scored.keys[f] for f in np.flatnonzero(enough) if scored.keys[f] in whole[model]["auroc"].values]
            if not keys:
                continue
            entry = size | {
                "findings": len(keys),
                "auroc": with_intervals(estimates[model]["auroc"].only(keys)),
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


def _groups(scored: Scored) -> Iterator[tuple[str, str, Scored]]:
    for attribute, values in scored.groups.items():
        for group in _in_order(set(values)):
            yield attribute, group, scored.subset(values == group)


def _in_order(groups: set[str]) -> list[str]:
    return sorted(groups, key=lambda group: (ORDER.index(group) if group in ORDER else -1, group))
