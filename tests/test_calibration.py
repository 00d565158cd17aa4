"""Calibration is fitted on val only, is finite whatever val holds, and its file can be read back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration
from sklearn.linear_model import LogisticRegression

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json, write_json
from diagxnet.data.findings import KEYS
from diagxnet.ensemble.calibration import probabilities, read_calibration, write_calibration
from diagxnet.statistics.calibrating import LEAST_SLOPE, fit_calibration, offset, platt, thresholds
from diagxnet.statistics.metrics import ece
from diagxnet.statistics.scored import Scored
from tests.workspace import make_scored


def _case(size: int = 200, slope: float = 2.0, intercept: float = -1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=size)
    return logits, generator.random(size) < expit(slope * logits + intercept)


def test_platt_agrees_with_scikit_learns_sigmoid_calibration():
    logits, targets = _case()
    slope, intercept = platt(logits, targets)
    theirs = _sigmoid_calibration(logits, targets.astype(float))
    assert (-slope, -intercept) == (pytest.approx(theirs[0], abs=1e-4), pytest.approx(theirs[1], abs=1e-4))


def test_platt_comes_close_to_the_unpenalised_regression_on_many_units():
    logits, targets = _case(size=20_000)
    theirs = LogisticRegression(C=np.inf).fit(logits[:, None], targets)
    slope, intercept = platt(logits, targets)
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=5e-3)
    assert intercept == pytest.approx(theirs.intercept_[0], abs=1e-2)


def test_separable_labels_give_a_finite_slope():
    slope, intercept = platt(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert 0 < slope < 100
    assert abs(intercept) < 1e-6


def test_huge_logits_are_no_trouble():
    logits, targets = _case()
    slope, intercept = platt(logits * 1e4, targets)
    expected = platt(logits, targets)
    assert (slope * 1e4, intercept) == (pytest.approx(expected[0], rel=1e-6), pytest.approx(expected[1], abs=1e-6))


def test_equal_logits_give_the_smoothed_prevalence():
    targets = np.repeat([True, False], [3, 7])
    slope, intercept = platt(np.full(10, 1.5), targets)
    smoothed = (3 * 4 / 5 + 7 * 1 / 9) / 10
    assert expit(slope * 1.5 + intercept) == pytest.approx(smoothed)


def test_the_offset_gives_the_mean_of_the_smoothed_targets():
    logits, targets = _case()
    positives, negatives = targets.sum(), (~targets).sum()
    smoothed = (positives * (positives + 1) / (positives + 2) + negatives / (negatives + 2)) / len(targets)
    assert expit(logits + offset(logits, targets)).mean() == pytest.approx(smoothed)


def test_youdens_threshold_is_midway_below_the_score_that_maximises_j():
    probability = np.array([0.1, 0.2, 0.3, 0.7, 0.9])
    targets = np.array([False, False, True, False, True])
    # at 0.9: J = 1/2; at 0.3: J = 1 - 1/3
    assert thresholds(probability, targets)["youden"] == pytest.approx((0.2 + 0.3) / 2)


def test_youdens_threshold_gives_up_a_positive_that_costs_too_many_negatives():
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])
    targets = np.array([True, False, False, False, True, True])
    assert thresholds(probability, targets)["youden"] == pytest.approx(0.6)  # J = 2/3; calling all, 0


def test_the_other_threshold_has_the_most_sensitivity_at_90_percent_specificity():
    probability = np.linspace(0.01, 0.99, 40)
    targets = np.zeros(40, bool)
    targets[[5, 30, 33, 39]] = True
    cut = thresholds(probability, targets)["specificity_90"]
    called = probability >= cut
    assert (~called[~targets]).mean() >= 0.9
    lower = probability >= probability[probability < cut].max()
    assert (~lower[~targets]).mean() < 0.9 or lower[targets].sum() == called[targets].sum()


def test_sensitivity_at_90_percent_specificity_worked_by_hand():
    # ten negatives, so one false positive is allowed; with a second, at 0.5, specificity would be 0.8
    probability = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.8, 0.45, 0.6, 0.9])
    targets = np.repeat([False, True], [10, 3])
    cut = thresholds(probability, targets)["specificity_90"]
    assert cut == pytest.approx((0.5 + 0.6) / 2)
    assert (probability[targets] >= cut).mean() == pytest.approx(2 / 3)


def test_where_the_surest_are_negative_nobody_is_called_even_at_a_probability_of_1():
    cut = thresholds(np.array([1.0, 1.0, 0.2, 0.1]), np.array([False, False, True, True]))["specificity_90"]
    assert cut > 1.0
    assert np.isfinite(cut)


def test_two_neighbouring_floats_are_still_told_apart():
    low = 0.5
    high = np.nextafter(low, 1)
    for below, above in ((low, high), (high, np.nextafter(high, 1))):
        cut = thresholds(np.array([below, above]), np.array([False, True]))["youden"]
        assert below < cut <= above


def test_constant_probabilities_call_everybody_or_nobody():
    cuts = thresholds(np.full(10, 0.3), np.repeat([True, False], 5))
    assert cuts["youden"] == pytest.approx(0.15)
    assert cuts["specificity_90"] == pytest.approx(0.65)


def _val(**changes: np.ndarray) -> Scored:
    return replace(make_scored(units=60), **changes)


def test_one_class_on_val_gets_an_intercept_and_no_threshold():
    targets = make_scored(units=60).targets.copy()
    targets[:, 5] = False
    edema = fit_calibration(_val(targets=targets), 5)["ensemble"]["edema"]
    assert (edema.fit, edema.slope, edema.thresholds) == ("intercept", 1.0, None)
    logits = make_scored(units=60).logits[3, :, 5]
    assert expit(logits + edema.intercept).mean() == pytest.approx(1 / 62)


def test_few_positives_on_val_get_an_intercept_only():
    targets = make_scored(units=60).targets.copy()
    targets[:, 5] = np.arange(60) < 4
    assert fit_calibration(_val(targets=targets), 5)["ensemble"]["edema"].fit == "intercept"
    assert fit_calibration(_val(targets=targets), 4)["ensemble"]["edema"].fit in ("platt", "flat")


def test_no_label_on_val_leaves_the_sigmoid_as_it_is():
    mask = make_scored(units=60).mask.copy()
    mask[:, 5] = False
    edema = fit_calibration(_val(mask=mask), 5)["ensemble"]["edema"]
    assert (edema.fit, edema.slope, edema.intercept, edema.thresholds) == ("none", 1.0, 0.0, None)


def test_a_model_that_ranks_val_backwards_keeps_its_order():
    logits = -np.abs(make_scored(units=60).logits)
    logits[:, make_scored(units=60).targets] -= 3
    edema = fit_calibration(_val(logits=logits), 5)["ensemble"]["edema"]
    assert (edema.fit, edema.slope) == ("flat", LEAST_SLOPE)
    assert all(0 < cut < 1 for cut in edema.thresholds.values())


def test_calibration_mends_shifted_logits():
    logits, targets = _case(size=600)
    slope, intercept = platt(logits[:300] + 3, targets[:300])
    before = ece(targets[300:], expit(logits[300:] + 3))
    after = ece(targets[300:], expit(slope * (logits[300:] + 3) + intercept))
    assert after < 0.3 * before


def test_calibration_json_reads_back_as_what_was_fitted(tmp_path):
    scored = make_scored(units=60)
    calibration = fit_calibration(scored, 5)
    write_calibration(tmp_path / "calibration.json", calibration, "image", "vit")
    again = read_calibration(tmp_path / "calibration.json")
    assert again == calibration
    for m, model in enumerate(scored.models):
        expected = [
            expit(calibration[model][key].slope * scored.logits[m, :, f] + calibration[model][key].intercept)
            for f, key in enumerate(KEYS)
        ]
        assert probabilities(scored.logits[m], again[model]) == pytest.approx(np.stack(expected, axis=1))


def test_a_missing_or_foreign_calibration_is_refused(tmp_path):
    path = tmp_path / "calibration.json"
    with pytest.raises(InputError, match="no calibration here"):
        read_calibration(path)
    write_calibration(path, fit_calibration(make_scored(units=60), 5), "image", "vit")
    write_json(path, read_json(path) | {"version": 99})
    with pytest.raises(InputError, match="another version"):
        read_calibration(path)
