"""Calls at the thresholds of val, and Brier scores: their values, and their intervals over patients."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.calibration import FindingCalibration
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.operating import MEASURES, brier_scores, confusions, operating_points
from tests.workspace import make_scored

CALIBRATION = {
    key: FindingCalibration(1.0, 0.0, "platt", 20, 20, {"youden": 0.5, "specificity_90": 0.9}) for key in CHEXPERT.keys
}
F = CHEXPERT.keys.index("edema")


def draws_of(scored, resamples=500):
    return Draws.of(scored.patients, resamples=resamples, seed=0)


def points_of(scored, probability, calibration=CALIBRATION, prevalence=None, headline=CHEXPERT.keys):
    return operating_points(scored, probability, calibration, draws_of(scored), headline, prevalence or {})


@pytest.fixture
def scored():
    return make_scored(400, seed=3)


@pytest.fixture
def probability(scored):
    return np.random.default_rng(4).uniform(size=scored.targets.shape) * 0.7 + 0.3 * scored.targets


def test_every_measure_agrees_with_scikit_learn_over_the_known_units(scored, probability):
    masked = replace(scored, mask=scored.mask & (np.arange(400) % 4 > 0)[:, None])
    own = points_of(masked, probability)["youden"]
    known = masked.known(F)
    targets, called = masked.targets[known, F], probability[known, F] >= 0.5
    expected = {
        "sensitivity": recall_score(targets, called),
        "specificity": recall_score(~targets, ~called),
        "precision": precision_score(targets, called),
        "npv": precision_score(~targets, ~called),
        "f1": f1_score(targets, called),
    }
    assert {name: own[name]["per_finding"]["edema"] for name in MEASURES} == pytest.approx(expected)
    brier = brier_scores(masked, probability, draws_of(masked), CHEXPERT.keys)
    assert brier["per_finding"]["edema"] == pytest.approx(brier_score_loss(targets, probability[known, F]))
    assert brier["macro"] == pytest.approx(np.mean(list(brier["per_finding"].values())))


def test_where_nobody_is_called_positive_precision_is_0_and_nothing_is_known_of_it(scored):
    own = points_of(scored, np.zeros(scored.targets.shape))["youden"]
    values = {name: own[name]["per_finding"]["edema"] for name in MEASURES}
    prevalence = scored.targets[:, F].mean()
    assert values == pytest.approx({"sensitivity": 0, "specificity": 1, "precision": 0, "npv": 1 - prevalence, "f1": 0})
    assert own["precision"]["ci"]["per_finding"]["edema"] == {"lower": 0.0, "upper": 1.0}


def test_a_probability_equal_to_the_threshold_is_called_positive():
    scored = make_scored(units=4)
    counts = confusions(scored, np.full((4, 14), 0.5), CALIBRATION, "youden")
    assert all(own["true_negative"] == own["false_negative"] == 0 for own in counts.values())


def test_a_finding_without_a_threshold_has_no_operating_point():
    scored = make_scored(units=4)
    calibration = CALIBRATION | {"edema": FindingCalibration(1.0, 0.0, "intercept", 0, 4, None)}
    points = points_of(scored, np.full((4, 14), 0.5), calibration)
    assert "edema" not in points["youden"]["f1"]["per_finding"]
    assert "pneumonia" in points["youden"]["f1"]["per_finding"]


def test_means_are_over_the_findings_of_the_headline(scored, probability):
    own = points_of(scored, probability, headline=("edema", "fracture"))["youden"]["npv"]
    assert own["macro"] == pytest.approx((own["per_finding"]["edema"] + own["per_finding"]["fracture"]) / 2)


def test_an_interval_is_that_of_a_share_of_patients_whatever_their_number_of_images(scored, probability):
    own = points_of(scored, probability)["youden"]["sensitivity"]
    value, interval = own["per_finding"]["edema"], own["ci"]["per_finding"]["edema"]
    positives = scored.targets[:, F].sum()
    expected = 2 * 1.98 * np.sqrt(value * (1 - value) / positives)
    assert interval["lower"] < value < interval["upper"]
    assert interval["upper"] - interval["lower"] == pytest.approx(expected, rel=0.12)
    twice = np.repeat(np.arange(400), 2)
    again = points_of(scored.subset(twice), probability[twice])["youden"]["sensitivity"]["ci"]["per_finding"]["edema"]
    assert again == pytest.approx(interval)


def test_at_a_stated_prevalence_ppv_and_npv_follow_by_bayes(scored, probability):
    share = float(scored.targets[:, F].mean())
    own = points_of(scored, probability, prevalence={"edema": share, "fracture": 0.01})["youden"]
    stated = own["at_prevalence"]
    assert stated["prevalence"] == {"edema": share, "fracture": 0.01}
    for name in ("precision", "npv"):
        assert stated[name]["per_finding"]["edema"] == pytest.approx(own[name]["per_finding"]["edema"])
    sensitivity, specificity = (own[name]["per_finding"]["fracture"] for name in ("sensitivity", "specificity"))
    expected = sensitivity * 0.01 / (sensitivity * 0.01 + (1 - specificity) * 0.99)
    assert stated["precision"]["per_finding"]["fracture"] == pytest.approx(expected)
    ends = stated["precision"]["ci"]["per_finding"]["fracture"]
    assert ends["lower"] < expected < ends["upper"]
    assert "at_prevalence" not in points_of(scored, probability)["youden"]
