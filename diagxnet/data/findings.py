"""The findings of a data set: what its label columns are called, in order, and the key of each.

They come from params.yaml (`data.findings`), travel with the prepared labels (findings.json) and with every model
(config.json), and whoever reads one of these takes them from there. What is known of CheXpert's besides:
`data.chexpert`.
"""

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diagxnet.console.errors import InputError

TAKEN = ("path", "present", "doubts", "error", "calibration", "count", "given", "auroc")
"""Columns of predictions, orders of the study list and keys of the metrics, beside which the keys stand."""

NO_FINDING, SUPPORT_DEVICES = "no_finding", "support_devices"
"""Keys of the finding that all others contradict, and of the one among them that does not, wherever a table has one."""

LONGEST = 60
"""Letters of a key: it names files."""


@dataclass(frozen=True)
class Findings:
    """The findings along every array's findings axis. names: the label columns. Raises ValueError, with what to do,
    where there is none, where one has no key, or where two have the same."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names no label column")
        first: dict[str, str] = {}
        for name in self.names:
            key = key_of(name)
            if not re.match("[a-z]", key) or len(key) > LONGEST or key in TAKEN:
                raise ValueError(
                    f"{name!r} gives the key {key!r}, in params, metrics and files: must begin with a letter from a to "
                    f"z, be of {LONGEST} letters at most and none of {', '.join(TAKEN)}: call the column otherwise"
                )
            if key in first:
                raise ValueError(f"{first[key]!r} and {name!r} have the same key, {key}: call one otherwise")
            first[key] = name

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The names in snake case, as keys of params.yaml and of the metrics (`pleural_effusion`)."""
        return tuple(map(key_of, self.names))

    @cached_property
    def titles(self) -> dict[str, str]:
        """The names by key."""
        return dict(zip(self.keys, self.names, strict=True))

    def named(self, text: str) -> str:
        """The key of the finding that `text` names, by name or key; ValueError with the nearest where there is none."""
        key = key_of(text)
        if key not in self.keys:
            near = difflib.get_close_matches(key, self.keys, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(self.keys)}"
            raise ValueError(f"no such finding; {hint}")
        return key

    def contradictions(self, labels: np.ndarray) -> np.ndarray:
        """[rows] bool: whether No Finding is positive and a pathology with it. labels: [rows, findings], 1 positive.

        Support Devices are no pathology. Where no finding is called No Finding, none is contradicted.
        """
        if NO_FINDING not in self.keys:
            return np.zeros(len(labels), bool)
        pathologies = [key not in (NO_FINDING, SUPPORT_DEVICES) for key in self.keys]
        return (labels[:, self.keys.index(NO_FINDING)] == 1) & (labels[:, pathologies] == 1).any(axis=1)


def key_of(name: str) -> str:
    """`name` in snake case: letters from a to z without their accents, digits, and _ for all between them."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "_", plain).strip("_")


def check_same(ours: Sequence[str], where: object, theirs: Sequence[str], there: object) -> None:
    """InputError where the findings `ours` of the file `where` are not `theirs` of the file `there`, in their order."""
    if list(ours) != list(theirs):
        order = ", the same in another order" if set(ours) == set(theirs) else ""
        raise InputError(
            f"{where} is of {', '.join(ours)}; {there} of {', '.join(theirs)}{order} (make both of one data.findings: "
            "dvc repro)"
        )
