"""Patients are split by hash: in shares, stably, never into two splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagxnet.data.splits import assert_disjoint, assign, subset

SHARES = {"train": 0.6, "val": 0.2, "stack": 0.2}
PATIENTS = [f"patient{n:05d}" for n in range(20_000)]
patients = st.lists(st.integers(0, 30).map(lambda n: f"patient{n:05d}"), min_size=1, max_size=60)


@given(first=patients, second=patients, seed=st.integers(0, 2**32 - 1))
def test_other_rows_move_no_patient(first: list[str], second: list[str], seed: int) -> None:
    alone = dict(zip(first, assign(first, seed=seed, shares=SHARES), strict=True))
    together = dict(zip(second + first, assign(second + first, seed=seed, shares=SHARES), strict=True))
    assert all(together[patient] == split for patient, split in alone.items())


@given(rows=patients, seed=st.integers(0, 2**32 - 1))
def test_a_patients_rows_share_one_split(rows: list[str], seed: int) -> None:
    assert_disjoint(rows, assign(rows, seed=seed, shares=SHARES))


def test_splits_have_their_shares_of_patients() -> None:
    splits = assign(PATIENTS, seed=1, shares=SHARES)
    for split, share in SHARES.items():
        assert np.mean(splits == split) == pytest.approx(share, abs=0.01)


def test_another_seed_and_another_purpose_split_independently() -> None:
    halves = {"a": 0.5, "b": 0.5}
    first = assign(PATIENTS, seed=1, shares=halves)
    for other in (assign(PATIENTS, seed=2, shares=halves), assign(PATIENTS, seed=1, shares=halves, purpose="test")):
        assert np.mean(first == other) == pytest.approx(0.5, abs=0.02)


def test_splits_are_these_on_every_machine() -> None:
    assert assign(PATIENTS[:8], seed=1, shares=SHARES).tolist() == [
        "train",
        "val",
        "val",
        "stack",
        "train",
        "val",
        "train",
        "train",
    ]


def test_shares_that_do_not_sum_to_1_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        assign(PATIENTS, seed=1, shares={"train": 0.6, "val": 0.2})


def test_a_subset_is_of_whole_patients_and_grows_by_adding() -> None:
    rows = [patient for patient in PATIENTS[:300] for _ in range(3)]
    small, large = (subset(rows, seed=1, max_patients=count) for count in (20, 50))
    assert (small.sum(), large.sum()) == (60, 150)
    assert not (small & ~large).any()


def test_a_subset_keeps_the_shares_of_the_splits() -> None:
    kept = subset(PATIENTS, seed=1, max_patients=5000)
    assert np.mean(assign(PATIENTS, seed=1, shares=SHARES)[kept] == "train") == pytest.approx(0.6, abs=0.03)


def test_no_subset_keeps_every_row() -> None:
    assert subset(PATIENTS, seed=1, max_patients=None).all()
    assert subset(PATIENTS, seed=1, max_patients=10**6).all()


def test_a_patient_in_two_splits_is_named() -> None:
    with pytest.raises(AssertionError, match="patient00001 is in more than one split: train, val"):
        assert_disjoint(["patient00001", "patient00002", "patient00001"], ["train", "train", "val"])
