"""The bootstrap draws patients, and each resample's metrics are scikit-learn's on the rows it drew."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.evaluation import judged
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.statistics import bootstrap
from diagxnet.statistics.bootstrap import draw_counts, resample
from diagxnet.statistics.comparison import alike, verdict
from diagxnet.statistics.intervals import (
    difference_interval,
    effective_sample_size,
    holm,
    p_value,
    proportion_interval,
    widened,
)
from diagxnet.statistics.uncertainty import Estimate, compare, estimate, mean_resamples, with_intervals
from tests.workspace import make_scored

RESAMPLES = 8


def _case(seed: int, rows: int, levels: int, patients: int) -> tuple[np.ndarray, ...]:
    """Scores on few levels (many ties), targets, mask, patients."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, (2, rows, 3)).astype(float)
    targets, mask = generator.random((rows, 3)) < 0.4, generator.random((rows, 3)) < 0.9
    return scores, targets, mask, generator.integers(0, patients, rows)


def _weights(patients: np.ndarray, seed: int) -> np.ndarray:
    """[rows, resamples] of what `resample` draws."""
    codes = np.unique(patients, return_inverse=True)[1]
    return np.concatenate(list(draw_counts(codes.max() + 1, RESAMPLES, seed, block=RESAMPLES)), axis=1)[codes]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 20))
def test_every_resample_agrees_with_scikit_learn_ties_and_one_class_included(seed, rows, levels, patients):
    scores, targets, mask, owners = _case(seed, rows, levels, patients)
    drawn = resample(scores, targets, mask, owners, resamples=RESAMPLES, seed=seed)
    weights = _weights(owners, seed)
    for (model, finding, number), value in np.ndenumerate(drawn.auroc):
        repeated = np.repeat(np.arange(rows), np.where(mask[:, finding], weights[:, number], 0))
        truth, own = targets[repeated, finding], scores[model, repeated, finding]
        if len(set(truth.tolist())) < 2:
            assert np.isnan(value)
            assert np.isnan(drawn.auprc[model, finding, number])
        else:
            assert value == pytest.approx(roc_auc_score(truth, own), abs=1e-12)
            expected = average_precision_score(truth, own)
            assert drawn.auprc[model, finding, number] == pytest.approx(expected, abs=1e-12)


def test_a_resample_draws_as_many_patients_as_there_are_with_replacement():
    counts = np.concatenate(list(draw_counts(50, 200, 0, block=7)), axis=1)
    assert counts.shape == (50, 200)
    assert (counts.sum(axis=0) == 50).all()
    assert counts.max() > 1
    assert counts.mean(axis=1).std() < 0.15


def test_rows_of_a_patient_are_drawn_together():
    # one patient has both positives: they come and go together, so AUROC is never that of one of them alone
    scores = np.array([3.0, 0.0, 2.0, 1.0]).reshape(1, 4, 1)
    targets = np.array([True, True, False, False]).reshape(4, 1)
    drawn = resample(scores, targets, np.ones((4, 1), bool), np.array([0, 0, 1, 2]), resamples=200, seed=0)
    values = drawn.auroc[~np.isnan(drawn.auroc)]
    assert set(values.tolist()) == {0.5}


def test_the_size_of_a_block_changes_no_bit(monkeypatch):
    case = _case(3, 60, 20, 25)
    whole = resample(*case, resamples=40, seed=1)
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 60 * 4 * 3)
    parts = resample(*case, resamples=40, seed=1)
    assert whole.auroc.tobytes() == parts.auroc.tobytes()
    assert whole.auprc.tobytes() == parts.auprc.tobytes()


def test_seeds_decide_the_resamples():
    case = _case(3, 60, 20, 25)
    first, again, other = (resample(*case, resamples=20, seed=seed).auroc for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_it_tells_how_far_it_is_where_asked_and_the_numbers_are_the_same(capsys):
    generator = np.random.default_rng(0)
    case = generator.normal(size=(1, 12, 2)), generator.random((12, 2)) < 0.5, np.ones((12, 2), bool), np.arange(12)
    quiet = resample(*case, resamples=20, seed=1)
    assert capsys.readouterr().err == ""
    told = resample(*case, resamples=20, seed=1, shown=True)
    assert capsys.readouterr().err.startswith("evaluate: 20/20 resamples in ")
    np.testing.assert_array_equal(told.auroc, quiet.auroc)


def test_constant_scores_are_chance_in_every_resample():
    drawn = resample(
        np.zeros((1, 40, 1)), *(_case(0, 40, 5, 40)[i][:, :1] for i in (1, 2)), np.arange(40), resamples=50, seed=0
    )
    assert set(drawn.auroc[~np.isnan(drawn.auroc)].tolist()) == {0.5}


def test_a_single_patient_gives_an_interval_that_knows_nothing():
    scored = make_scored(units=12, patients=1)
    result = with_intervals(estimate(scored, resamples=20, seed=0)["ensemble"]["auroc"])
    assert result["ci"]["per_finding"]["edema"] == {"lower": 0.0, "upper": 1.0}
    assert result["ci"]["macro"] == {"lower": 0.0, "upper": 1.0}


def test_an_interval_holds_its_value_and_stays_between_0_and_1():
    result = with_intervals(estimate(make_scored(units=40, skill=4), resamples=200, seed=0)["ensemble"]["auroc"])
    for key, value in result["per_finding"].items():
        interval = result["ci"]["per_finding"][key]
        assert 0 <= interval["lower"] <= value <= interval["upper"] <= 1


def test_a_perfect_auroc_has_the_interval_of_clopper_and_pearson():
    interval = proportion_interval(1.0, np.ones(100), 10)
    assert interval == {"lower": pytest.approx(0.025 ** (1 / 10)), "upper": 1.0}
    assert proportion_interval(0.0, np.zeros(100), 10) == {"lower": 0.0, "upper": pytest.approx(1 - 0.025 ** (1 / 10))}


def test_fewer_patients_of_the_rarer_class_widen_an_interval():
    resamples = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    widths = [
        interval["upper"] - interval["lower"]
        for interval in (proportion_interval(0.8, resamples, size) for size in (3, 10, 1000))
    ]
    assert widths == sorted(widths, reverse=True)


def test_with_many_patients_the_interval_is_the_normal_one_on_the_logit_scale():
    resamples = np.random.default_rng(0).normal(0.8, 0.05, 1000)
    half = 1.959964 * resamples.std(ddof=1) / (0.8 * 0.2)
    expected = 1 / (1 + np.exp(-(np.log(4) - half)))
    assert proportion_interval(0.8, resamples, 1e7)["lower"] == pytest.approx(expected, abs=1e-6)


def test_a_difference_over_two_patients_has_students_quantile_of_one_degree_and_the_factor_of_two():
    interval = difference_interval(0.0, widened(np.array([-0.001, 0.001]), 2), 2)
    expected = 12.706205 * np.sqrt(2e-6) * np.sqrt(2)
    assert interval == {"lower": pytest.approx(-expected), "upper": pytest.approx(expected)}


def test_a_mean_of_equal_findings_has_their_degrees_of_freedom_added_up():
    assert effective_sample_size(np.full(4, 0.1), np.full(4, 11)) == pytest.approx(4 * 10 + 1)


def test_the_rarer_class_is_counted_in_patients_not_images():
    scored = make_scored(units=40, patients=4)
    assert max(scored.rarer_patients()) <= 4


def test_a_model_compared_with_itself_differs_by_exactly_nothing():
    own = estimate(make_scored(), resamples=50, seed=0)["ensemble"]["auroc"]
    result = compare(own, own)
    assert result["macro"] == {"difference": 0.0, "ci": {"lower": 0.0, "upper": 0.0}, "share_ahead": 0.0}


def test_models_that_rank_alike_differ_by_nothing_where_a_finding_has_a_single_patient():
    values, resamples = (
        {"edema": 0.9, "fracture": 0.4},
        {"edema": np.array([0.8, 0.9]), "fracture": np.array([np.nan, 0.4])},
    )
    same = Estimate(values, resamples, {"edema": 20, "fracture": 1}, ("edema",))
    nothing = {"difference": 0.0, "ci": {"lower": 0.0, "upper": 0.0}, "share_ahead": 0.0}
    result = compare(same, same)
    assert (result["macro"], result["per_finding"]["fracture"]) == (nothing, nothing)
    other = replace(same, resamples=resamples | {"edema": np.array([0.8, 0.7])})
    assert compare(same, other)["per_finding"]["fracture"]["ci"] == {"lower": -1.0, "upper": 1.0}


def test_a_paired_difference_is_narrower_than_the_two_intervals_together():
    scored = make_scored(units=60)
    scored.logits[0] = scored.logits[3] + 0.1 * np.random.default_rng(0).normal(size=scored.logits[0].shape)
    estimates = estimate(scored, resamples=300, seed=0)
    paired = compare(estimates["ensemble"]["auroc"], estimates["densenet"]["auroc"])["macro"]["ci"]
    single = with_intervals(estimates["ensemble"]["auroc"])["ci"]["macro"]
    assert paired["upper"] - paired["lower"] < 0.5 * (single["upper"] - single["lower"])


def test_a_finding_missing_from_a_resample_keeps_its_place_in_the_mean():
    values, resamples = {"edema": 0.9, "fracture": 0.1}, {"edema": [0.8, 0.8], "fracture": [0.2, np.nan]}
    own = Estimate(values, {key: np.array(drawn) for key, drawn in resamples.items()}, {"edema": 20, "fracture": 2})
    assert mean_resamples(own, ["edema", "fracture"]) == pytest.approx([0.5, 0.45])


def test_each_finding_of_a_mean_is_widened_by_the_factor_of_its_own_patients():
    values = {"edema": 0.8, "fracture": 0.6}
    resamples = {"edema": np.array([0.7, 0.9, 0.7, 0.9]), "fracture": np.array([0.5, 0.5, 0.7, 0.7])}
    own = Estimate(values, resamples, {"edema": 101, "fracture": 2}, tuple(values))
    variance = (0.01 * 101 / 100 + 0.01 * 2) / 4  # the two do not vary together
    assert np.var(mean_resamples(own, list(values))) == pytest.approx(variance)


@pytest.fixture(scope="module")
def held() -> dict[str, list[bool]]:
    """300 test sets with the positives of CheXpert's valid.csv, two findings of which have a single one."""
    figures: dict[str, list[bool]] = {}
    for seed in range(3):
        for figure, result in judged("CheXpert valid", 100, seed):
            figures.setdefault(figure, []).append(result)
    return figures


def test_the_interval_of_a_mean_holds_the_truth_where_findings_have_a_single_positive(held):
    for figure in ("AUROC, mean", "AUROC, mean: difference of two", "AUROC, five findings"):
        assert 0.91 < np.mean(held[figure]) < 0.985, figure
    assert np.mean(held["AUROC, mean: false verdict"]) < 0.09


def test_among_equally_good_models_hardly_ever_is_any_single_finding_called_better(held):
    for metric in ("AUROC", "AUPRC"):
        assert np.mean(held[f"{metric}, any finding: false verdict"]) < 0.09, metric


def test_holms_p_values_worked_by_hand():
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.5])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).size == 0


def test_the_p_value_is_5_percent_where_the_interval_ends_at_0():
    resamples = np.random.default_rng(0).normal(0.1, 0.05, 500)
    edge = difference_interval(0.5, resamples, 12)["upper"] - 0.5
    assert p_value(edge, resamples, 12) == p_value(-edge, resamples, 12) == pytest.approx(0.05)
    assert p_value(0.1, resamples, 1) == p_value(0.0, resamples, 12) == 1.0


def test_a_finding_that_is_better_alone_is_not_distinguishable_among_many_and_one_far_ahead_is():
    generator = np.random.default_rng(0)
    keys = CHEXPERT.keys[:10]
    values = dict.fromkeys(keys, 0.0) | {CHEXPERT.keys[0]: 0.022, CHEXPERT.keys[1]: -0.05}
    drawn = {key: generator.normal(value, 0.01, 1000) for key, value in values.items()}
    sizes = dict.fromkeys(keys, 50) | {CHEXPERT.keys[9]: 1}
    first = Estimate(values, drawn, sizes, keys[:9])
    zero = replace(first, values=dict.fromkeys(keys, 0.0), resamples=dict.fromkeys(keys, np.zeros(1000)))
    result = compare(first, zero)["per_finding"]
    assert result[CHEXPERT.keys[0]]["ci"]["lower"] > 0
    assert result[CHEXPERT.keys[0]]["verdict"] == "not distinguishable"
    assert (result[CHEXPERT.keys[1]]["verdict"], "verdict" in result[CHEXPERT.keys[9]]) == ("worse", False)


def test_findings_of_a_single_patient_are_in_no_mean_unless_there_is_no_other():
    scored = make_scored(units=40, patients=20)
    targets = scored.targets.copy()
    targets[:, :13] = False
    targets[[0, 20], 0] = True  # two films of one patient
    targets[[0, 1], 1] = True
    scored = replace(scored, targets=targets)
    assert scored.headline(10) == (CHEXPERT.keys[13],)
    assert scored.headline(2) == (CHEXPERT.keys[1], CHEXPERT.keys[13])
    assert scored.headline(30) == (CHEXPERT.keys[1], CHEXPERT.keys[13])
    rare = replace(scored, targets=targets & (np.arange(14) == 0))
    assert rare.headline(1) == (CHEXPERT.keys[0],)
    assert with_intervals(estimate(rare, resamples=20, seed=0)["ensemble"]["auroc"])["ci"]["macro"]["upper"] == 1.0


def test_a_difference_that_nothing_is_known_of_spans_everything():
    assert difference_interval(0.1, np.array([0.1]), 1) == {"lower": -1.0, "upper": 1.0}


def test_models_that_differ_by_rounding_alone_rank_alike_and_neither_is_ahead():
    generator = np.random.default_rng(0)
    drawn = {key: generator.uniform(0.6, 0.8, 100) for key in ("edema", "fracture")}
    sizes = {"edema": 20, "fracture": 1}  # of a single patient nothing is known, but where two rank alike
    one = Estimate({"edema": 0.7, "fracture": 0.6}, drawn, sizes, ("edema", "fracture"))
    other = replace(one, values={"edema": np.nextafter(0.7, 1), "fracture": 0.6})
    other = replace(other, resamples=drawn | {"fracture": np.nextafter(drawn["fracture"], 1)})
    for found in (compare(one, other), compare(other, one)):
        for each in (found["macro"], *found["per_finding"].values()):
            assert (each["difference"], each["ci"], each["share_ahead"]) == (0, {"lower": 0, "upper": 0}, 0)
        assert verdict(found["macro"]) == "not distinguishable"
        assert alike(found["macro"])
    pair = replace(one, values={"edema": 0.7 + 1e-9, "fracture": 0.6})  # one pair of a billion is no rounding
    assert compare(pair, one)["per_finding"]["edema"]["difference"] == pytest.approx(1e-9, rel=1e-3)


def test_what_one_is_ahead_by_the_other_is_behind_by():
    generator = np.random.default_rng(0)
    drawn = {"edema": generator.normal(0.8, 0.01, 500)}
    one = Estimate({"edema": 0.8}, drawn, {"edema": 90}, ("edema",))
    other = replace(one, values={"edema": 0.7}, resamples={"edema": drawn["edema"] - generator.normal(0.1, 0.01, 500)})
    ahead, behind = compare(one, other)["macro"], compare(other, one)["macro"]
    assert (verdict(ahead), verdict(behind)) == ("better", "worse")
    assert behind["difference"] == -ahead["difference"] == pytest.approx(-0.1)
    assert behind["ci"]["upper"] == pytest.approx(-ahead["ci"]["lower"])
    assert (ahead["share_ahead"], behind["share_ahead"]) == (1, 0)
