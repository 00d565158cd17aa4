"""The core's weights, the factor of a correction, and where the ensemble stands: on rows whose truth is known."""

import numpy as np
import pytest
from scipy.stats import norm

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.stacking.factor import fit_factor
from diagxnet.stacking.logistic import by_patient
from diagxnet.stacking.standing import stand
from diagxnet.stacking.weights import fit_core
from diagxnet.training.auroc import macro_auroc

SHARED = 0.3
"""Share of a member's noise that all members have in common."""

MEMBERS = {
    "one is better": np.array([[1.5], [0.6]]) * np.ones(14),
    "equal": np.full((2, 14), 1.2),
    "each knows half of the findings": np.array([[1.5, 0.7], [0.7, 1.5]])[:, np.arange(14) % 2],
    "five": np.array([[1.5], [1.3], [1.1], [0.8], [0.3]]) * np.ones(14),
}
"""By how many standard deviations a positive's logit is above a negative's, [members, findings]."""

BOUND = 0.0015
"""Of the macro AUROC by which the ensemble may be below the plain average or the best member, in the mean over
draws."""


def draw(separation, rows, seed):
    """Logits, targets, mask and patients, two images each, of members that separate the classes by `separation`."""
    chance = np.random.default_rng(seed)
    members, findings = separation.shape
    targets = (chance.random((rows, findings)) < np.geomspace(0.05, 0.4, findings)).astype(np.float32)
    noise = np.sqrt(SHARED) * chance.normal(size=(rows, 1, findings))
    noise = noise + np.sqrt(1 - SHARED) * chance.normal(size=(rows, members, findings))
    mask = chance.random(targets.shape) < 0.9
    return (separation * targets[:, None] + noise).astype(np.float32), targets, mask, np.arange(rows) // 2


def true_auroc(weights, separation):
    """The macro AUROC of a weighted sum on ever so many rows; weights: [members, findings]."""
    spread = SHARED * weights.sum(0) ** 2 + (1 - SHARED) * (weights**2).sum(0)
    return norm.cdf((weights * separation).sum(0) / np.sqrt(2 * spread)).mean()


def best_auroc(separation):
    """Of the best weights that are at least 0, by a search along each finding's."""
    members = len(separation)
    covariance = SHARED * np.ones((members, members)) + (1 - SHARED) * np.eye(members)
    weights = np.linalg.solve(covariance, separation)
    for finding in range(separation.shape[1]):
        kept = np.arange(members)
        while (weights[kept, finding] < 0).any():
            kept = kept[weights[kept, finding] > 0]
            weights[:, finding] = 0
            weights[kept, finding] = np.linalg.solve(covariance[np.ix_(kept, kept)], separation[kept, finding])
    return true_auroc(weights, separation)


@pytest.mark.parametrize(("rows", "draws"), [(100, 10), (1000, 3), (40_000, 1)])
@pytest.mark.parametrize("case", MEMBERS)
def test_the_core_is_never_behind_the_average_or_the_best_member_and_finds_the_best_weights(case, rows, draws):
    separation = MEMBERS[case]
    average = true_auroc(np.ones_like(separation), separation)
    best = max(true_auroc(np.eye(len(separation))[:, [place]] * np.ones(14), separation) for place in range(2))
    found = []
    for seed in range(draws):
        logits, targets, mask, patients = draw(separation, rows, seed)
        found.append(true_auroc(fit_core(logits, by_patient(targets, mask, patients)).slopes, separation))
    assert np.mean(found) > max(average, best) - BOUND
    if rows >= 1000:
        assert np.mean(found) > best_auroc(separation) - 40 / rows * 0.05 - 2e-5


def test_members_of_another_spread_are_standardised_and_of_the_same_are_not():
    logits, targets, mask, patients = draw(MEMBERS["equal"], 400, 0)
    rows = by_patient(targets, mask, patients)
    core = fit_core(logits * np.array([1.0, 5.0], np.float32)[:, None], rows)
    assert core.standardised
    assert (core.slopes[0] / core.slopes[1]).mean() == pytest.approx(5, rel=0.5)
    of_spread = np.einsum("imf,mf->if", logits * np.array([1.0, 5.0])[:, None], core.slopes) + core.intercepts
    assert of_spread.mean() == pytest.approx(3 * logits.mean(), abs=0.1)


def test_without_rows_to_learn_from_the_core_is_the_plain_mean():
    logits, targets, mask, patients = draw(MEMBERS["five"], 30, 0)
    for labels in (targets, mask & False, patients), (targets * 0, mask, patients), (targets, mask, patients * 0):
        core = fit_core(logits, by_patient(*labels))
        assert (core.slopes == 0.2).all()
        assert (core.intercepts == 0).all()
        np.testing.assert_allclose(core.left_out, logits.mean(1), atol=1e-6)


def test_a_finding_of_one_class_or_unknown_takes_the_weights_of_all_findings():
    logits, targets, mask, patients = draw(MEMBERS["one is better"], 2000, 0)
    targets[:, 3], mask[:, 8] = 0, False
    weights = fit_core(logits, by_patient(targets, mask, patients)).weights
    for finding in (3, 8):
        np.testing.assert_allclose(weights[:, finding], np.delete(weights, [3, 8], axis=1).mean(1), atol=0.05)


def test_weights_keep_of_their_distance_from_equal_ones_what_patients_left_out_bear_out():
    kept = {}
    for case in ("equal", "one is better"):
        draws = [draw(MEMBERS[case], 200, seed) for seed in range(5)]
        kept[case] = [fit_core(own[0], by_patient(*own[1:])).kept for own in draws]
    assert np.median(kept["equal"]) == 0
    assert min(kept["one is better"]) > 0.9


def test_equal_members_lose_next_to_nothing_in_any_draw():
    separation = MEMBERS["equal"]
    lost = []
    for seed in range(20):
        logits, targets, mask, patients = draw(separation, 150, seed)
        core = fit_core(logits, by_patient(targets, mask, patients))
        lost.append(true_auroc(np.ones_like(separation), separation) - true_auroc(core.slopes, separation))
    assert np.mean(lost) < 0.0003
    assert max(lost) < BOUND


def test_of_one_member_the_core_is_that_member():
    logits, targets, mask, patients = draw(np.full((1, 14), 1.0), 200, 0)
    core = fit_core(logits * 7 + 3, by_patient(targets, mask, patients))
    assert (core.slopes == 1).all()
    np.testing.assert_array_equal(core.left_out, (logits * 7 + 3)[:, 0])


def test_weights_are_at_least_0_add_up_to_1_and_come_again_to_the_bit():
    logits, targets, mask, patients = draw(MEMBERS["five"], 150, 3)
    first, second = (fit_core(logits, by_patient(targets, mask, patients)) for _ in range(2))
    assert (first.weights >= 0).all()
    np.testing.assert_allclose(first.weights.sum(0), 1)
    assert first.slopes.tobytes() == second.slopes.tobytes()
    assert first.left_out.tobytes() == second.left_out.tobytes()


def test_a_patients_images_are_in_one_fold_and_whoever_else_is_there_changes_little():
    patients = np.array([f"patient{number // 3}" for number in range(90)], object)
    labels = np.zeros((90, 2)), np.ones((90, 2), bool)
    rows = by_patient(*labels, patients)
    folds = np.searchsorted(rows.bounds[1:], np.arange(90), side="right")
    ordered = patients[rows.order]
    assert len(rows.folds()) == 10
    assert all(len(set(folds[ordered == patient])) == 1 for patient in set(patients))
    assert set(np.diff(rows.bounds)) == {9}
    np.testing.assert_array_equal(rows.given(ordered), patients)
    assert len(by_patient(labels[0][:6], labels[1][:6], patients[:6]).folds()) == 2


def test_where_there_is_nothing_to_know_what_is_left_out_knows_next_to_nothing():
    gained = []
    for seed in range(20):
        logits, targets, mask, patients = draw(np.zeros((5, 14)), 100, seed)
        core = fit_core(logits, by_patient(targets, mask, patients))
        fitted = np.einsum("imf,mf->if", logits, core.slopes)
        plain, *others = (macro_auroc(each, targets, mask) for each in (logits.mean(1), fitted, core.left_out))
        gained.append(np.array(others) - plain)
    fitted, left_out = np.mean(gained, axis=0)
    assert fitted > 0.005  # 0.03 if weights kept their whole distance from equal ones
    assert left_out < 0.3 * fitted


def test_a_correction_of_noise_gets_the_factor_0():
    chance = np.random.default_rng(0)
    for seed in range(5):
        logits, targets, mask, patients = draw(MEMBERS["equal"], 300, seed)
        noise = chance.normal(size=targets.shape)
        factor = fit_factor(logits.mean(1), noise, by_patient(targets, mask, patients))
        assert factor.value == 0
        assert (factor.left_out == 0).all()


def test_a_correction_that_knows_an_interaction_enters_as_a_whole_where_rows_are_many():
    logits, targets, mask, patients = draw(MEMBERS["equal"], 5000, 0)
    chance = np.random.default_rng(1)
    correction = 1.5 * (targets - 0.2) + chance.normal(size=targets.shape)  # log odds of its own, as good as a member
    factor = fit_factor(2 * logits.mean(1), correction, by_patient(targets, mask, patients))
    assert factor.value >= 0.8
    assert factor.gain > 5 * factor.error
    assert (factor.left_out >= 0.8).all()


def test_a_correction_that_only_turns_the_scale_is_no_help():
    logits, targets, mask, patients = draw(MEMBERS["equal"], 400, 0)
    core = logits.mean(1)
    assert fit_factor(core, -0.4 * core + 1, by_patient(targets, mask, patients)).value == 0


def test_an_ensemble_behind_the_best_member_is_told_by_more_than_its_error():
    logits, targets, mask, patients = draw(np.array([[2.0], [0.2]]) * np.ones(14), 400, 0)
    best, average = stand(logits[:, 1], logits, ("strong", "weak"), targets, mask, patients)
    assert (best.other, average.other) == ("strong", "average")
    expected = [macro_auroc(own, targets, mask) for own in (logits[:, 1], logits[:, 0], logits.mean(1))]
    assert best.auroc == pytest.approx(expected[0] - expected[1])
    assert average.auroc == pytest.approx(expected[0] - expected[2])
    assert best.is_behind()
    assert average.is_behind()
    assert not stand(logits[:, 0], logits, ("strong", "weak"), targets, mask, patients)[0].is_behind()


def test_the_error_of_a_difference_is_its_spread_over_draws():
    found = [
        stand(draw(MEMBERS["five"], 200, seed)[0].mean(1), *_of(draw(MEMBERS["five"], 200, seed)))[0]
        for seed in range(60)
    ]
    spread = np.std([each.auroc for each in found], ddof=1)
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.3)


def _of(drawn):
    logits, targets, mask, patients = drawn
    return logits, tuple("abcde"), targets, mask, patients


def test_nothing_is_said_of_a_val_split_without_two_classes():
    logits, targets, mask, patients = draw(MEMBERS["equal"], 20, 0)
    assert stand(logits.mean(1), logits, ("a", "b"), targets * 0, mask, patients) == []
    assert len(CHEXPERT) == 14
