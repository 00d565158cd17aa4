"""Calibration is fitted on val only, is finite whatever val holds, and its file can be read back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.calibration import _sigmoid_calibration
from sklearn.linear_model import LogisticRegression

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json, write_json
from diagxnet.ensemble.calibration import probabilities, read_calibration, write_calibration
from diagxnet.statistics.bootstrap import Draws, draw_counts
from diagxnet.statistics.calibrating import LEAST_SLOPE, fit_calibration, offset, platt, thresholds
from diagxnet.statistics.intervals import unbounded_interval
from diagxnet.statistics.metrics import ece
from diagxnet.statistics.recalibration import chance_ece, recalibration, refit
from diagxnet.statistics.scored import Scored
from diagxnet.statistics.uncertainty import with_intervals
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


def _recalibrated(shift: float, stretch: float, units: int = 2000, patients: int = 1000) -> dict[str, dict]:
    """Probabilities whose logits are `stretch` times the true ones and `shift` above them."""
    scored = make_scored(units=units, patients=patients)
    generator = np.random.default_rng(1)
    true = generator.normal(size=scored.targets.shape) - 1
    scored = replace(scored, targets=generator.random(true.shape) < expit(true))
    draws = Draws.of(scored.patients, resamples=300, seed=0)
    estimates = recalibration(scored, expit(stretch * true + shift), draws, min_positives=10)
    return {name: with_intervals(own, unbounded_interval) for name, own in estimates.items()}


def _share_held(own: dict, truth: float) -> float:
    intervals = own["ci"]["per_finding"].values()
    return float(np.mean([interval["lower"] <= truth <= interval["upper"] for interval in intervals]))


def test_a_model_calibrated_by_construction_has_nothing_in_the_large_and_a_slope_of_1():
    for name, truth in (("in_the_large", 0.0), ("slope", 1.0)):
        own = _recalibrated(0.0, 1.0)[name]
        assert own["macro"] == pytest.approx(truth, abs=0.05)
        assert own["ci"]["macro"]["lower"] < truth < own["ci"]["macro"]["upper"]
        assert own["ci"]["macro"]["upper"] - own["ci"]["macro"]["lower"] < 0.15
        assert _share_held(own, truth) >= 12 / 14


def test_a_shifted_model_is_found_out_in_the_large_and_an_overconfident_one_by_its_slope():
    shifted = _recalibrated(-0.5, 1.0)
    assert shifted["in_the_large"]["macro"] == pytest.approx(0.5, abs=0.05)
    assert shifted["in_the_large"]["ci"]["macro"]["lower"] > 0.4
    assert _share_held(shifted["in_the_large"], 0.0) == 0
    assert shifted["slope"]["macro"] == pytest.approx(1.0, abs=0.05)
    extreme = _recalibrated(0.0, 2.0)["slope"]
    assert extreme["macro"] == pytest.approx(0.5, abs=0.03)
    assert extreme["ci"]["macro"]["upper"] < 0.6


def test_the_regression_on_test_is_scikit_learns():
    logits, targets = _case(size=500)
    values, _ = refit(logits, targets)
    assert values[1] == pytest.approx(LogisticRegression(C=np.inf).fit(logits[:, None], targets).coef_[0, 0], rel=1e-3)
    assert expit(logits + values[0]).mean() == pytest.approx(targets.mean())


def test_an_interval_on_test_is_as_wide_as_refitting_in_each_resample_of_patients():
    logits, targets = _case(size=240)
    patients = np.arange(240) % 120
    values, moved = refit(logits, targets)
    counts = np.concatenate(list(draw_counts(120, 300, 0, 300)), axis=1)
    again = [refit(np.repeat(logits, own[patients]), np.repeat(targets, own[patients]))[0] for own in counts.T]
    for place in range(2):
        linear = values[place] + np.bincount(patients, moved[place]) @ counts
        assert linear.std() == pytest.approx(np.std(again, axis=0)[place], rel=0.1)
        assert np.corrcoef(linear, np.array(again)[:, place])[0, 1] > 0.95


def test_where_labels_are_separable_or_probabilities_constant_the_slope_is_finite():
    for logits in (np.array([-2.0, -1.0, 1.0, 2.0]), np.zeros(4)):
        values, moved = refit(logits, np.array([False, False, True, True]))
        assert np.isfinite(values).all()
        assert np.isfinite(moved).all()


def test_ece_by_chance_is_what_drawn_labels_have_and_falls_with_the_size_of_the_test_set():
    generator = np.random.default_rng(0)
    probability = generator.random(200)
    drawn = [ece(generator.random(200) < probability, probability) for _ in range(300)]
    assert chance_ece(probability, 1) == pytest.approx(np.mean(drawn), rel=0.05)
    assert chance_ece(np.tile(probability, 25), 1) == pytest.approx(np.mean(drawn) / 5, rel=0.1)
    assert chance_ece(np.array([0.0, 1.0]), 1) == 0


def test_calibration_json_reads_back_as_what_was_fitted(tmp_path):
    scored = make_scored(units=60)
    calibration = fit_calibration(scored, 5)
    write_calibration(tmp_path / "calibration.json", calibration, "image", "vit")
    again = read_calibration(tmp_path / "calibration.json")
    assert again == calibration
    for m, model in enumerate(scored.models):
        expected = [
            expit(calibration[model][key].slope * scored.logits[m, :, f] + calibration[model][key].intercept)
            for f, key in enumerate(CHEXPERT.keys)
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
