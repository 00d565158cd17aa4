"""Splits by patient, by hashing: a patient's split depends on the seed and on the patient alone."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from diagxnet.data.draws import hash_texts, uniform

SPLITS = ("train", "val", "stack", "test")

LEARNED = ("train", "stack")
"""Splits that models are fitted to, and whose targets follow the rules for -1; in the others a -1 is masked for every
metric. Crossfit puts them together."""


def splits_of(tables: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By table the splits that its patients go to. tables: `train`, and `valid` and `test` where they are there.

    The last table is the test set; where data.test names one, valid.csv is val, and train.csv is train and stack.
    """
    held = {"test": ("test",), "valid": ("val",)} if "test" in tables else {"valid": ("test",)}
    held = {table: held[table] for table in tables if table in held}
    rest = tuple(split for split in SPLITS if (split,) not in held.values())
    return {"train": rest, **held}


def assign(patients: Sequence[str], *, seed: int, shares: Mapping[str, float], purpose: str = "split") -> np.ndarray:
    """The split of each row: array of names [rows].

    patients: [rows], the patient of each row. shares: split name -> share of patients, in order, summing to 1.
    The share of [0, 1) into which a hash of (seed, purpose, patient) falls is the patient's split, so the shares hold
    in expectation, and no row added or removed moves another patient. Raises ValueError where shares do not sum to 1.
    """
    if abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise ValueError(f"shares must be from 0 to 1 and sum to 1, got {dict(shares)}")
    codes, unique = pd.factorize(np.asarray(patients, dtype=object))
    draws = uniform(hash_texts(unique, seed=seed, purpose=purpose))
    bounds = np.cumsum(list(shares.values()))[:-1]
    names = np.array(list(shares), dtype=object)
    return names[np.searchsorted(bounds, draws, side="right")][codes]


def subset(patients: Sequence[str], *, seed: int, max_patients: int | None) -> np.ndarray:
    """Mask [rows] bool of the rows of the `max_patients` patients with the smallest hashes; None keeps all.

    The hash is independent of the one that `assign` uses, so a subset keeps the splits' shares; and a smaller subset is
    part of every larger one.
    """
    codes, unique = pd.factorize(np.asarray(patients, dtype=object))
    if max_patients is None or max_patients >= len(unique):
        return np.ones(len(codes), dtype=bool)
    bits = hash_texts(unique, seed=seed, purpose="subset")
    kept = np.zeros(len(unique), dtype=bool)
    kept[np.argsort(bits, kind="stable")[:max_patients]] = True
    return kept[codes]


def assert_disjoint(patients: Iterable[str], splits: Iterable[str]) -> None:
    """Raises AssertionError naming a patient who is in two splits. patients, splits: [rows]."""
    pairs = pd.DataFrame({"patient": list(patients), "split": list(splits)}).drop_duplicates()
    twice = pairs["patient"].duplicated(keep=False)
    if twice.any():
        patient = pairs.loc[twice, "patient"].iloc[0]
        names = ", ".join(sorted(pairs.loc[pairs["patient"] == patient, "split"]))
        raise AssertionError(f"patient {patient} is in more than one split: {names}")
