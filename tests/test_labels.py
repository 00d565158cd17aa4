"""Label rules do what their names say, and a draw depends on nothing but its seed, path and finding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.labels.rules import RULES, apply_rules, score_labels

UNCERTAIN = np.full((4000, 14), -1.0)
PATHS = [f"train/patient{n:05d}/study1/view1_frontal.jpg" for n in range(len(UNCERTAIN))]

tables = st_numpy.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(14)), elements=st.sampled_from([1.0, 0.0, -1.0, np.nan])
)
rules = st.lists(st.sampled_from(RULES), min_size=14, max_size=14).map(
    lambda chosen: dict(zip(CHEXPERT.keys, chosen, strict=True))
)


def same_rule(rule: str) -> dict[str, str]:
    return dict.fromkeys(CHEXPERT.keys, rule)


def reference(label: float, rule: str, blank: str) -> tuple[tuple[float, float], bool]:
    """Bounds of the target and the mask of one label, in ten lines."""
    if np.isnan(label):
        return (0.0, 0.0), blank == "negative"
    if label >= 0:
        return (label, label), True
    if rule == "ignore":
        return (0.0, 0.0), False
    bounds = {"zeros": (0.0, 0.0), "ones": (1.0, 1.0), "lsr_ones": (0.55, 0.85), "lsr_zeros": (0.0, 0.3)}
    return bounds[rule], True


@given(labels=tables, uncertain=rules, blank=st.sampled_from(["negative", "ignore"]), seed=st.integers(0, 2**32 - 1))
def test_any_mixture_of_labels_and_rules_follows_the_reference(labels, uncertain, blank, seed) -> None:
    targets, mask = apply_rules(labels, PATHS[: len(labels)], CHEXPERT, uncertain=uncertain, blank=blank, seed=seed)
    assert (targets.dtype, mask.dtype) == (np.float32, np.bool_)
    for row, column in np.ndindex(labels.shape):
        (low, high), known = reference(labels[row, column], uncertain[CHEXPERT.keys[column]], blank)
        assert mask[row, column] == known
        assert np.float32(low) <= targets[row, column] <= np.float32(high)


@given(labels=tables, blank=st.sampled_from(["negative", "ignore"]))
def test_uncertain_labels_are_masked_where_metrics_are_computed(labels, blank) -> None:
    targets, mask = score_labels(labels, blank=blank)
    ignored_targets, ignored_mask = apply_rules(
        labels, PATHS[: len(labels)], CHEXPERT, uncertain=same_rule("ignore"), blank=blank, seed=0
    )
    np.testing.assert_array_equal(mask, ignored_mask)
    np.testing.assert_array_equal(targets, ignored_targets)
    assert not mask[labels == -1].any()


@given(labels=tables, uncertain=rules, data=st.data())
def test_removing_and_reordering_rows_changes_no_other_target(labels, uncertain, data) -> None:
    order = data.draw(st.permutations(range(len(labels))))
    kept = order[: data.draw(st.integers(0, len(order)))]
    paths = PATHS[: len(labels)]
    targets, mask = apply_rules(labels, paths, CHEXPERT, uncertain=uncertain, blank="negative", seed=3)
    some, some_mask = apply_rules(
        labels[kept], [paths[n] for n in kept], CHEXPERT, uncertain=uncertain, blank="negative", seed=3
    )
    np.testing.assert_array_equal(some, targets[kept])
    np.testing.assert_array_equal(some_mask, mask[kept])


@pytest.mark.parametrize(("rule", "low", "high"), [("lsr_ones", 0.55, 0.85), ("lsr_zeros", 0.0, 0.3)])
def test_lsr_targets_are_uniform_over_their_range(rule: str, low: float, high: float) -> None:
    targets, mask = apply_rules(UNCERTAIN, PATHS, CHEXPERT, uncertain=same_rule(rule), blank="negative", seed=1)
    assert mask.all()
    shares, _ = np.histogram(targets, bins=10, range=(low, high))
    assert shares.sum() == targets.size
    np.testing.assert_allclose(shares / targets.size, 0.1, atol=0.01)


def test_lsr_targets_of_two_findings_and_of_two_seeds_are_independent() -> None:
    first, _ = apply_rules(UNCERTAIN, PATHS, CHEXPERT, uncertain=same_rule("lsr_ones"), blank="negative", seed=1)
    second, _ = apply_rules(UNCERTAIN, PATHS, CHEXPERT, uncertain=same_rule("lsr_ones"), blank="negative", seed=2)
    correlations = np.corrcoef(np.concatenate([first, second], axis=1), rowvar=False) - np.eye(28)
    assert np.abs(correlations).max() < 0.08


def test_lsr_targets_are_these_on_every_machine() -> None:
    targets, _ = apply_rules(
        UNCERTAIN[:2], PATHS[:2], CHEXPERT, uncertain=same_rule("lsr_ones"), blank="negative", seed=1
    )
    np.testing.assert_allclose(targets[:, 5], [0.604921, 0.746465], rtol=1e-6)


@pytest.mark.parametrize(
    ("uncertain", "blank", "message"),
    [
        (same_rule("one"), "negative", "unknown rule 'one'"),
        ({"edema": "ones"}, "negative", "a rule for each finding"),
        (same_rule("ones"), "zero", "blank is 'zero'"),
    ],
)
def test_unknown_rules_are_refused_by_name(uncertain: dict, blank: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        apply_rules(UNCERTAIN[:1], PATHS[:1], CHEXPERT, uncertain=uncertain, blank=blank, seed=0)
