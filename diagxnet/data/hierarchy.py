"""Findings that others include: a child is present only where its parent is, as pneumonia is a consolidation.

Off, findings know nothing of each other. Under `labels` a positive child makes its parent positive in train and stack.
Under `conditional` base models besides learn each child where its parent is positive, and what they say of it is the
product of the conditional probabilities along the path from the top (Pham et al., "Interpreting chest X-rays via CNNs
that exploit hierarchical disease dependencies and uncertainty labels", Neurocomputing 437, 2021); after
stacking and calibration, which treat each finding by itself, no child is more probable than its parent (`cap`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from diagxnet.data.chexpert import CHEXPERT, PARENTS

OFF, LABELS, CONDITIONAL = MODES = ("off", "labels", "conditional")
POSITIVE = 0.5
"""From here on a target is positive (the lsr rules draw from 0.55 to 0.85, or from 0 to 0.3)."""


@dataclass(frozen=True)
class Hierarchy:
    """mode: one of MODES. parents: the parent's key by child's, both of them findings; none where it is off."""

    mode: str = OFF
    parents: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, mode: str, keys: Sequence[str], given: Mapping[str, str]) -> "Hierarchy":
        """The hierarchy of the findings `keys`. given: parents by child; where it is empty CheXpert's, of its findings.

        Raises ValueError, with what to do, where no parent is known, one is no finding, or a path ends where it began.
        """
        for key in (*given, *given.values()):
            if key not in keys:
                raise ValueError(f"data.parents: {key} is no finding; known here: {', '.join(keys)}")
        for child in given:
            path = [child]
            while path[-1] in given and path[-1] not in path[:-1]:
                path.append(given[path[-1]])
            if path[-1] in path[:-1]:
                raise ValueError(f"data.parents: {' < '.join(path)} is a circle")
        if mode == OFF:
            return FLAT
        parents = dict(given) or (_chexpert(keys) if set(keys) <= set(CHEXPERT.keys) else {})
        if not parents:
            raise ValueError(
                f"data.hierarchy = {mode!r}: nothing tells which of these findings includes another (say so: "
                "-S '+data.parents.CHILD=PARENT'; or set it to off)"
            )
        return cls(mode, parents)

    @property
    def conditional(self) -> dict[str, str]:
        """The parents that base models learn by; none but under `conditional`."""
        return dict(self.parents) if self.mode == CONDITIONAL else {}

    def complete(self, targets: np.ndarray, mask: np.ndarray, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`targets` and `mask` [images, findings] in which a positive child has made its parents positive: where it is
        known, they are, and are no less than it. keys: of the findings."""
        targets, mask = targets.copy(), mask.copy()
        for child, parent in reversed(pairs(self.parents, keys)):
            positive = mask[:, child] & (targets[:, child] >= POSITIVE)
            known = np.where(mask[:, parent], targets[:, parent], 0)
            targets[positive, parent] = np.maximum(known, targets[:, child])[positive]
            mask[positive, parent] = True
        return targets, mask


FLAT = Hierarchy()
"""No finding includes another."""


def pairs(parents: Mapping[str, str], keys: Sequence[str]) -> list[tuple[int, int]]:
    """(child, parent) as columns among `keys`, each parent's own pair before its children's."""
    left, ordered = dict(parents), []
    while left:
        ready = [child for child, parent in left.items() if parent not in left]
        ordered += [(keys.index(child), keys.index(left[child])) for child in ready]
        left = {child: parent for child, parent in left.items() if child not in ready}
    return ordered


def given_parent(targets: np.ndarray, mask: np.ndarray, above: Sequence[tuple[int, int]]) -> np.ndarray:
    """`mask` [images, findings] without the children whose parent is not known to be positive: what a base model learns
    under `conditional`. above: see `pairs`."""
    known = mask.copy()
    for child, parent in above:
        known[:, child] &= mask[:, parent] & (targets[:, parent] >= POSITIVE)
    return known


def cap(probability: np.ndarray, parents: Mapping[str, str], keys: Sequence[str]) -> np.ndarray:
    """`probability` [..., findings], from the top down no child's above its parent's (HTD of Notaro et al., BMC
    Bioinformatics 18:449, 2017). A parent that was not learned, NaN, bounds nothing."""
    capped = probability.copy()
    for child, parent in pairs(parents, keys):
        above = capped[..., child] > capped[..., parent]
        capped[..., child] = np.where(above, capped[..., parent], capped[..., child])
    return capped


def next_above(parents: Mapping[str, str], passed: Collection[str]) -> dict[str, str]:
    """The parent's key by child's; where that is among the `passed`, the next above it that is not, if there is one."""
    found = {}
    for child, above in parents.items():
        while above in passed:
            above = parents.get(above)
        if above is not None:
            found[child] = above
    return found


def _chexpert(keys: Sequence[str]) -> dict[str, str]:
    """CheXpert's parents among `keys`; of one that is left out, the next above it."""
    above = next_above(PARENTS, {*PARENTS.values()} - {*keys})
    return {child: above[child] for child in keys if child in above}
