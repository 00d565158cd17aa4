"""The stack of models of which only the scores are known, and what it says of patients whom it never saw.

Each model's scores become the shares of rows below them: only their order counts, whatever scale they came on. On them
comes the core of the pipeline's ensemble (`stacking.weights`), whose plain mean is then the mean of ranks, and on its
normal scores what it says of the other findings (`tables.across`).
"""

from dataclasses import dataclass

import numpy as np

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.data.draws import hash_texts
from diagxnet.stacking.logistic import by_patient
from diagxnet.stacking.weights import Core, fit_core
from diagxnet.tables.across import Across, fit_across
from diagxnet.tables.predictions import normal_scores, shares


@dataclass(frozen=True)
class Stack:
    """core: of shares of rows below. across: of the core's normal scores."""

    core: Core
    across: Across

    def scores(self, inputs: np.ndarray) -> np.ndarray:
        """[units, findings] of `inputs` [units, members, findings], brought to mean 0 and spread 1 over the units: the
        scores of stacks of different patients are put together, and their offsets tell nothing of a unit."""
        core = np.einsum("umf,mf->uf", inputs, self.core.slopes) + self.core.intercepts
        found = self.across.apply(np.apply_along_axis(normal_scores, 0, core))
        spread = found.std(axis=0)
        return (found - found.mean(axis=0)) / np.where(spread > 0, spread, 1)


@dataclass(frozen=True)
class OutOfFold:
    """scores: [units, findings], the mean over repeats of stacks that never saw the unit's patient. by_repeat:
    [repeats, units, findings] each. folds: [units] of the first repeat. whole: the stack of all units."""

    scores: np.ndarray
    by_repeat: np.ndarray
    folds: np.ndarray
    whole: Stack


def inputs_of(log_odds: np.ndarray) -> np.ndarray:
    """Shares of rows below [units, members, findings] of `log_odds` [members, units, findings]."""
    return np.apply_along_axis(shares, 1, log_odds).transpose(1, 0, 2)


def fit(inputs: np.ndarray, targets: np.ndarray, mask: np.ndarray, patients: np.ndarray) -> Stack:
    """The stack of `inputs` [units, members, findings] with labels `targets`, `mask` [units, findings] bool."""
    rows = by_patient(targets, mask, patients)
    core = fit_core(inputs, rows)
    return Stack(core, fit_across(np.apply_along_axis(normal_scores, 0, core.left_out), rows))


def out_of_fold(
    inputs: np.ndarray,
    targets: np.ndarray,
    mask: np.ndarray,
    patients: np.ndarray,
    *,
    folds: int,
    repeats: int,
    seed: int,
    shown: bool = False,
) -> OutOfFold:
    """Stacks by patient: `repeats` times, patients are dealt into `folds`, and each is scored by the others' stack.

    InputError where there are fewer patients than folds. shown: whether a bar or line tells how far it is.
    """
    by_repeat, first = [], None
    with Progress(folds * repeats, "tables", "stacks", shown) as progress:
        for repeat in range(repeats):
            dealt = deal(patients, folds, seed + repeat)
            first = dealt if first is None else first
            scores = np.empty(targets.shape)
            for fold in range(folds):
                out = dealt == fold
                stack = fit(inputs[~out], targets[~out], mask[~out], patients[~out])
                scores[out] = stack.scores(inputs)[out]
                progress.update()
            by_repeat.append(scores)
    every = np.stack(by_repeat)
    return OutOfFold(every.mean(axis=0), every, first, fit(inputs, targets, mask, patients))


def deal(patients: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold [units] of each unit's patient: patients in the order of a hash, dealt in turn."""
    unique, codes = np.unique(patients.astype(str), return_inverse=True)
    if not 2 <= folds <= len(unique):
        advice = f"give --folds 2 to {len(unique)}" if len(unique) > 1 else "give more patients"
        raise InputError(f"{len(unique)} patients cannot be dealt into {folds} folds ({advice})")
    dealt = np.empty(len(unique), np.int64)
    order = np.argsort(hash_texts(unique, seed=seed, purpose="tables"), kind="stable")
    dealt[order] = np.arange(len(unique)) % folds
    return dealt[codes]
