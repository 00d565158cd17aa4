"""Groups by further columns of the table, from its cells to a verdict; a planted gap is found, and chance seldom is."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from benchmarks.subgroups import COLUMNS, flagged
from diagxnet.audit.recomputed import _grouped
from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.prepared import GROUPS
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.reporting.page import join
from diagxnet.reporting.sections.subgroups import subgroup_parts
from diagxnet.reporting.wording import flat
from diagxnet.statistics.bootstrap import Draws
from diagxnet.statistics.disparity import UNDECIDED, group_estimates
from diagxnet.statistics.groups import BLANK, grouped, read_groups
from diagxnet.statistics.influence import auroc_moves, in_the_large_moves, rate_moves
from diagxnet.statistics.metrics import auroc
from diagxnet.statistics.results import measure
from diagxnet.statistics.subgroups import listed
from tests.test_evaluation import COUNTS, SCORING
from tests.workspace import history, make_scored

EDEMA = CHEXPERT.keys.index("edema")


def test_numbers_are_binned_with_the_lower_bound_inside_and_blanks_are_unknown():
    cells = np.array(["24.9", "25", "30", "", "unknown", "-3", "1e3", "29.99"], object)
    assert grouped(cells, [25, 30], "BMI").tolist() == [
        "under_25", "25_to_30", "30_and_over", "unknown", "unknown", "under_25", "30_and_over", "25_to_30"
    ]  # fmt: skip


def test_categories_stand_as_they_are():
    assert grouped(np.array(["GE", "", "Philips "[:-1]], object), "categories", "Scanner").tolist() == [
        "GE", "unknown", "Philips"
    ]  # fmt: skip


def test_a_column_that_makes_no_groups_is_refused_with_the_mend():
    with pytest.raises(InputError, match=r"evaluate\.subgroups\.BMI: 'fat' is no number \(say categories instead\)"):
        grouped(np.array(["20", "fat"], object), [25], "BMI")
    many = np.array([f"{number}" for number in range(30)], object)
    with pytest.raises(InputError, match=r"test has 30 different values, and 20 at most make groups \(give the bounds"):
        grouped(many, "categories", "Weight")


def test_ranges_are_listed_by_where_they_begin_and_unknown_last():
    groups = ("100_and_over", "9.5_to_20", "under_9.5", "unknown", "20_to_100", "GE", "mixed", "Acme")
    evaluation = {"model": {"subgroups": {"x": {group: {} for group in groups}}}, "subgroups_too_small": {}}
    order = [group for _, group, *_ in listed(evaluation, "model")]
    assert order == ["Acme", "GE", "under_9.5", "9.5_to_20", "20_to_100", "100_and_over", "mixed", "unknown"]


@pytest.mark.parametrize("name", ["auroc", "rate", "in_the_large"])
def test_what_a_unit_moves_a_figure_by_is_what_leaving_it_out_does(name):
    """The jackknife: with unit i left out the figure falls by its move, to first order in 1 / units."""
    generator = np.random.default_rng(3)
    targets = generator.random(400) < 0.4
    scores = np.round(generator.normal(size=400) + targets, 1)
    figure = {
        "auroc": lambda chosen: auroc_moves(targets[chosen], scores[chosen]),
        "rate": lambda chosen: rate_moves(scores[chosen] > 0.5, targets[chosen]),
        "in_the_large": lambda chosen: in_the_large_moves(scores[chosen] - 0.3, targets[chosen]),
    }[name]
    value, moves = figure(np.arange(400))
    left_out = [value - figure(np.delete(np.arange(400), unit))[0] for unit in range(400)]
    assert moves.sum() == pytest.approx(0, abs=1e-9)
    assert np.abs(np.array(left_out) - moves).max() < 0.02 * np.abs(moves).max()
    if name == "auroc":
        assert value == pytest.approx(auroc(targets, scores))


def test_a_groups_rates_are_those_of_its_units_and_spread_as_a_bootstrap_of_patients_does():
    scored = make_scored(units=300, patients=150)
    probability, members = expit(scored.logits[3]), np.arange(300) % 3 == 0
    draws = Draws.of(scored.patients, resamples=600, seed=1)
    found = group_estimates(scored, probability, {"edema": 0.6}, members, {"edema": EDEMA}, draws)
    targets, called = scored.targets[members, EDEMA], probability[members, EDEMA] >= 0.6
    assert found["sensitivity"].values["edema"] == pytest.approx(called[targets].mean())
    assert found["false_positive_rate"].values["edema"] == pytest.approx(called[~targets].mean())
    counts = draws.counts[draws.codes][members]  # [units, resamples]
    rates = (counts * (called & targets)[:, None]).sum(0) / (counts * targets[:, None]).sum(0)
    assert found["sensitivity"].resamples["edema"].std() == pytest.approx(rates.std(), rel=0.1)


def test_a_gap_planted_in_a_column_is_found_in_metrics_and_report():
    """The ensemble misses the sick of one site, and of no group besides."""
    val, test = make_scored(units=300, seed=1), make_scored(units=300, patients=150)
    sites = np.where(np.arange(300) % 150 // 2 % 2 == 1, "North", "South").astype(object)
    missed = test.targets[None] & (sites == "North")[:, None]
    test = replace(test, logits=test.logits - 1.5 * missed, groups=test.groups | {"Site": sites})
    histories = dict.fromkeys(("densenet", "vit", "meta"), history(np.random.default_rng(5)))
    evaluation = measure(val, test, histories, SCORING, left_out=val, **COUNTS).evaluation
    north, south = (evaluation["ensemble"]["subgroups"]["Site"][name]["minus_rest"] for name in ("North", "South"))
    assert north["sensitivity"]["macro"]["verdict"] == "lower"
    assert north["sensitivity"]["macro"]["ci"]["upper"] < 0
    assert south["sensitivity"]["macro"]["verdict"] == "higher"
    assert north["false_positive_rate"]["macro"]["verdict"] == UNDECIDED
    others = evaluation["ensemble"]["subgroups"]["sex"]["female"]["minus_rest"]
    assert {own["macro"]["verdict"] for own in others.values()} == {UNDECIDED}
    report = join(subgroup_parts(evaluation))
    assert "Site: North" in report
    assert "<strong>lower</strong>" in report


def test_groups_of_another_run_are_refused(tmp_path):
    pd.DataFrame({"row": [1, 2], "Site": ["a", "b"]}).to_csv(tmp_path / GROUPS, index=False)
    assert read_groups(tmp_path, np.array([2]), {"Site": "categories"})["Site"].tolist() == ["b"]
    for rows, rules in (([3], {"Site": "categories"}), ([1], {"Scanner": "categories"})):
        with pytest.raises(InputError, match=r"groups\.csv: lacks a column .* \(make it with: dvc repro prepare\)"):
            read_groups(tmp_path, np.array(rows), rules)


def test_columns_that_say_nothing_are_seldom_flagged_and_a_planted_gap_nearly_always():
    """`python -m benchmarks.subgroups` measures the rate; here, that it is no multiple of 5%, and the gap is found."""
    found = [flagged("CheXpert test", seed, resamples=100) for seed in range(8)]
    nulls = [each[column] for each, column in itertools.product(found, COLUMNS[:3])]
    assert sum(nulls) <= 5  # of 24: at 5% more than that is seen once in 900 draws
    assert sum(each[COLUMNS[3]] for each in found) >= 7


def test_names_that_are_no_ranges_are_sorted_as_words():
    groups = {".", "1.2.3", "under_25", "25_to_30", "30_and_over", "unknown", "under_1e+06", "GE"}
    evaluation = {"model": {"subgroups": {"x": {group: {} for group in groups}}}, "subgroups_too_small": {}}
    order = [group for _, group, *_ in listed(evaluation, "model")]
    assert order == [".", "1.2.3", "GE", "under_1e+06", "under_25", "25_to_30", "30_and_over", "unknown"]


def test_evaluation_and_audit_take_the_same_cells_for_blank(tmp_path):
    cells = [*BLANK, *(each.upper() for each in BLANK), "Asian", "#N/A ", "-nan", "NULL"]
    frame = pd.DataFrame({"row": np.arange(len(cells)), "Race": cells})
    frame.to_csv(tmp_path / "groups.csv", index=False)
    stripped = np.array([cell.strip() for cell in cells], object)
    ours = grouped(stripped, "categories", "Race")
    assert ours.tolist() == _grouped(tmp_path / "groups.csv", "Race", "categories").tolist()
    assert (ours != "unknown").sum() == 2


def test_params_of_bins_are_written_as_yaml_has_them_and_groups_of_ours_are_refused():
    assert flat({"evaluate": {"subgroups": {"BMI": [25, 30.5]}}}) == {"evaluate.subgroups.BMI": "[25, 30.5]"}
    given = {"unit": "image", "bootstrap": 100, "min_positives": 10, "prevalence": {}}
    assert EvaluateParams(**given, subgroups={"BMI": [25, 30]}).subgroups == {"BMI": [25, 30]}
    for name in ("age", "sex", "view", "row"):
        with pytest.raises(ValueError, match="call the column otherwise"):
            EvaluateParams(**given, subgroups={name: "categories"})
