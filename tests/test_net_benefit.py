"""Decision curves: net benefit by its definition, its band over patients, and what the report says of it."""

from dataclasses import replace

import numpy as np
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.reporting.sections.benefit import useful_text
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.net_benefit import THRESHOLDS, decision_curves
from tests.workspace import make_scored


def curves_of(scored, probability):
    return decision_curves(scored, probability, Draws.of(scored.patients, resamples=1000, seed=0))


@pytest.fixture
def scored():
    return make_scored(300, seed=1)


@pytest.fixture
def probability(scored):
    return np.random.default_rng(2).uniform(size=scored.targets.shape) * 0.5 + 0.4 * scored.targets


def test_net_benefit_counts_cases_found_less_needless_actions_at_the_odds_of_the_threshold(scored, probability):
    masked = replace(scored, mask=scored.mask & (np.arange(300) % 3 > 0)[:, None])
    for key, curve in curves_of(masked, probability).items():
        known = masked.known(CHEXPERT.keys.index(key))
        targets, called = masked.targets[known, CHEXPERT.keys.index(key)], probability[known, CHEXPERT.keys.index(key)]
        for place in (4, 49, 79):
            t = THRESHOLDS[place]
            true, false = (np.mean(own & (called >= t)) for own in (targets, ~targets))
            assert curve.model[place] == pytest.approx(true - false * t / (1 - t))
            assert curve.everybody[place] == pytest.approx(targets.mean() - (~targets).mean() * t / (1 - t))


def test_calls_that_know_the_truth_find_every_case_and_a_constant_is_never_above_both(scored):
    for key, curve in curves_of(scored, scored.targets.astype(float)).items():
        np.testing.assert_allclose(curve.model, scored.targets[:, CHEXPERT.keys.index(key)].mean())
        assert curve.useful().all()
    for curve in curves_of(scored, np.full(scored.targets.shape, 0.305)).values():
        np.testing.assert_allclose(curve.model[:30], curve.everybody[:30])
        np.testing.assert_array_equal(curve.model[30:], 0)
        assert not curve.useful().any()


def test_the_band_is_that_of_a_mean_over_patients_whatever_their_number_of_images(scored, probability):
    scored = replace(scored, patients=np.arange(300).astype(str).astype(object))
    once = curves_of(scored, probability)
    twice = np.repeat(np.arange(300), 2)
    again = curves_of(scored.subset(twice), probability[twice])
    for key, curve in once.items():
        targets = scored.targets[:, CHEXPERT.keys.index(key)]
        worth = np.where(targets, 1.0, -1.0) * (probability[:, CHEXPERT.keys.index(key)] >= THRESHOLDS[49])  # odds of 1
        size = scored.rarer_patients()[CHEXPERT.keys.index(key)]
        expected = worth.std() / np.sqrt(300) * 2 * np.sqrt(size / (size - 1))
        assert (curve.upper - curve.lower)[49] / 2 == pytest.approx(expected, rel=0.1)
        np.testing.assert_allclose(again[key].lower, curve.lower)


def test_the_title_names_the_widest_range_of_use():
    useful = np.zeros(len(THRESHOLDS), bool)
    assert useful_text(useful) == "nowhere above both"
    useful[[0, *range(9, 60), 98]] = True
    assert useful_text(useful) == "above both from 0.10 to 0.60"
    useful[:] = np.arange(len(useful)) == 16
    assert useful_text(useful) == "above both at 0.17 alone"
