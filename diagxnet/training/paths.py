"""Probabilities along a hierarchy of findings, as logits."""

from collections.abc import Sequence

import torch
from torch import Tensor


def along_paths(logits: Tensor, parents: Sequence[tuple[int, int]]) -> Tensor:
    """Logits [images, findings] of the product of the probabilities on the path from the top down to each finding.

    logits: of the conditional probabilities. parents: (child, parent), a parent's own pair before its children's. That
    of p q is -log(exp(-a) + exp(-b) + exp(-a - b)) for the logits a of p and b of q, which no product underflows in,
    and never above a.
    """
    columns = list(logits.unbind(1))
    for child, parent in parents:
        a, b = columns[parent], columns[child]
        columns[child] = -torch.logsumexp(torch.stack([-a, -b, -a - b]), dim=0)
    return torch.stack(columns, dim=1) if parents else logits
