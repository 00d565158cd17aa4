"""Every metric against a case worked by hand, or scikit-learn where it has the metric under another form."""

from dataclasses import replace

import numpy as np
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.statistics.metrics import (
    auprc,
    auroc,
    brier,
    ece,
    means,
    per_finding,
    prevalence,
    reliability,
)
from diagxnet.statistics.scored import Scored, by_study
from tests.workspace import make_scored

TARGETS = np.array([True, False, True, False, False])
SCORES = np.array([0.9, 0.8, 0.4, 0.4, 0.1])


def test_auroc_is_the_share_of_pairs_ranked_right_with_ties_as_half():
    # 0.9 beats three negatives; 0.4 loses to 0.8, ties with 0.4, beats 0.1
    assert auroc(TARGETS, SCORES) == pytest.approx((3 + 1.5) / 6)


def test_auprc_is_precision_at_each_rise_of_recall():
    # recall 1/2 at precision 1; recall 1 at 0.4, where the tie brings 2 of 4
    assert auprc(TARGETS, SCORES) == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)


def test_constant_scores_are_chance():
    assert auroc(TARGETS, np.zeros(5)) == 0.5
    assert auprc(TARGETS, np.zeros(5)) == pytest.approx(2 / 5)


def test_brier_is_the_mean_squared_distance():
    expected = (0.1**2 + 0.8**2 + 0.6**2 + 0.4**2 + 0.1**2) / 5
    assert brier(TARGETS, SCORES) == pytest.approx(expected)


def test_ece_weighs_each_bins_gap_by_its_share():
    # bins: [0.1], [0.4, 0.4], [0.8], [0.9]
    expected = (1 * 0.1 + 2 * abs(0.5 - 0.4) + 1 * 0.8 + 1 * 0.1) / 5
    assert ece(TARGETS, SCORES) == pytest.approx(expected)


def test_ece_of_probabilities_that_come_true_is_zero():
    targets = np.repeat([True, False], [3, 7])
    assert ece(targets, np.full(10, 0.3)) == pytest.approx(0)


def test_a_probability_of_one_is_in_the_last_bin():
    bins = reliability(np.array([True, False]), np.array([1.0, 0.95]))
    assert bins["count"].tolist() == [2]
    assert bins["observed"].tolist() == [0.5]


def test_means_are_plain_means_and_the_five_are_those_of_the_competition():
    result = means({"edema": 0.8, "atelectasis": 0.6, "fracture": 0.1})
    assert result["macro"] == pytest.approx(0.5)
    assert result["chexpert5"] == pytest.approx(0.7)


def test_a_mean_over_nothing_has_no_key():
    assert means({"fracture": 0.5}) == {"macro": 0.5, "per_finding": {"fracture": 0.5}}
    assert means({}) == {"per_finding": {}}


def _with(targets: np.ndarray, mask: np.ndarray) -> Scored:
    return replace(make_scored(units=len(targets)), targets=targets, mask=mask)


def test_a_finding_with_one_class_has_no_key():
    targets = make_scored(units=20).targets.copy()
    targets[:, 0], targets[:, 1] = True, False
    keys = per_finding(_with(targets, np.ones_like(targets)), np.zeros((20, 14)), auroc).keys()
    assert list(keys) == list(CHEXPERT.keys[2:])


def test_masked_labels_change_no_metric():
    scored = make_scored(units=30)
    mask = scored.mask.copy()
    mask[10:, 5] = False
    flipped = scored.targets.copy()
    flipped[10:, 5] = ~flipped[10:, 5]
    values = [
        per_finding(_with(targets, mask), scored.logits[0], auroc)["edema"] for targets in (scored.targets, flipped)
    ]
    assert values[0] == values[1] == auroc(scored.targets[:10, 5], scored.logits[0, :10, 5])


def test_prevalence_is_the_share_of_positives_among_the_known():
    scored = make_scored(units=10)
    mask = scored.mask.copy()
    mask[5:, 0] = False
    assert prevalence(_with(scored.targets, mask))["no_finding"] == scored.targets[:5, 0].mean()


def test_a_study_has_the_mean_logit_of_its_views_and_any_of_their_findings():
    scored = make_scored(units=5)
    targets, mask = scored.targets.copy(), scored.mask.copy()
    targets[:2, 5] = [False, True]
    mask[2:4, 6] = False
    mask[0, 7], targets[0, 7], targets[1, 7] = False, True, False
    views = {**scored.groups, "view": np.array(["lateral", "frontal_ap", "lateral", "lateral", "frontal_pa"], object)}
    images = replace(scored, targets=targets, mask=mask, groups=views)
    studies = by_study(images, np.array(["b/1", "b/1", "a/1", "a/1", "a/2"], object))
    assert studies.names.tolist() == ["b/1", "a/1", "a/2"]
    assert studies.logits == pytest.approx(
        np.stack([scored.logits[:, :2].mean(1), scored.logits[:, 2:4].mean(1), scored.logits[:, 4]], axis=1)
    )
    assert studies.targets[0, 5]
    assert studies.mask[:, 6].tolist() == [True, False, True]
    assert not studies.targets[0, 7]  # its only positive view is masked
    assert studies.groups["view"].tolist() == ["mixed", "lateral", "frontal_pa"]
