"""Label rules: what a -1 (uncertain) and a blank (not mentioned) become.

Sources: Irvin et al., "CheXpert", AAAI 2019, arXiv:1901.07031, section 3 (U-Ignore, U-Zeroes, U-Ones); Pham et al.,
"Interpreting chest X-rays via CNNs that exploit hierarchical disease dependencies and uncertainty labels",
Neurocomputing 437, 2021, arXiv:1911.06475, section 3.3 (label smoothing regularization of uncertain labels).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from diagxnet.data.draws import hash_texts, mix, uniform
from diagxnet.data.findings import Findings

LSR_RANGES = {"lsr_ones": (0.55, 0.85), "lsr_zeros": (0.0, 0.3)}
"""Targets of an uncertain label are drawn uniformly from these ranges (Pham et al. 2021, section 3.3)."""

RULES = ("ignore", "zeros", "ones", *LSR_RANGES)
BLANKS = ("negative", "ignore")


def rules_of(findings: Findings, uncertain: Mapping[str, str]) -> dict[str, str]:
    """The rule for -1 of each finding, by key; `ignore` where `uncertain`, which may hold others too, has none."""
    return {key: uncertain.get(key, "ignore") for key in findings.keys}


def apply_rules(
    labels: np.ndarray,
    paths: Sequence[str],
    findings: Findings,
    *,
    uncertain: Mapping[str, str],
    blank: str,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets and mask for training (train and stack).

    labels: [rows, findings] float, 1, 0, -1 or NaN (blank). paths: [rows], what each row's draws depend on. findings:
    of the columns of `labels`. uncertain: for each finding's key, the rule for -1: `ignore` masks it (U-Ignore),
    `zeros` and `ones` make it 0 or 1 (U-Zeroes, U-Ones), `lsr_ones` and `lsr_zeros` draw its target once from [0.55,
    0.85] or [0, 0.3] (Pham et al.). blank: `negative` makes a blank 0, `ignore` masks it. A draw depends on (seed,
    path, finding) alone, so that adding or removing rows changes no other target.

    Returns targets [rows, findings] float32 (0 where masked) and mask [rows, findings] bool (True: known). Raises
    ValueError for an unknown rule or a finding without one.
    """
    if differing := set(uncertain) ^ set(findings.keys):
        raise ValueError(f"a rule for each finding is wanted; differing keys: {sorted(differing)}")
    targets, mask = score_labels(labels, blank=blank)
    for column, key in enumerate(findings.keys):
        rows = np.flatnonzero(labels[:, column] == -1)
        if uncertain[key] not in RULES:
            raise ValueError(f"{key}: unknown rule {uncertain[key]!r}; known: {', '.join(RULES)}")
        if uncertain[key] == "ignore" or not len(rows):
            continue
        mask[rows, column] = True
        targets[rows, column] = _uncertain_targets(uncertain[key], [paths[row] for row in rows], column, seed)
    return targets, mask


def score_labels(labels: np.ndarray, *, blank: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets [rows, findings] float32 and mask [rows, findings] bool for val and test: a -1 is masked, always.

    labels: [rows, findings] float, 1, 0, -1 or NaN (blank). blank: as in `apply_rules`.
    """
    if blank not in BLANKS:
        raise ValueError(f"blank is {blank!r}; known: {', '.join(BLANKS)}")
    mask = (labels == 1) | (labels == 0)
    if blank == "negative":
        mask |= np.isnan(labels)
    return (labels == 1).astype(np.float32), mask


def looked_for(labels: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Which labels can be known [rows, findings] bool: of a finding that is blank in every row of its table, none.

    Nobody looked for it there, so that its blanks say nothing, whatever `blank` is. labels: [rows, findings] float as
    read, of the rows in use. tables: [rows], the name of each row's table.
    """
    found = np.zeros(labels.shape, bool)
    for table in np.unique(tables.astype(str)):
        own = tables == table
        found[own] = ~np.isnan(labels[own]).all(axis=0)
    return found


def _uncertain_targets(rule: str, paths: list[str], column: int, seed: int) -> np.ndarray | float:
    if rule not in LSR_RANGES:
        return 1.0 if rule == "ones" else 0.0
    low, high = LSR_RANGES[rule]
    bits = mix(hash_texts(paths, seed=seed, purpose="uncertain") ^ mix(np.uint64(column)))
    return low + (high - low) * uniform(bits)
