import math

import numpy as np
import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from diagxnet.training.loss import LOSSES, Objective, balanced_weights, smooth

ONES = torch.ones(2)


def _sum(name, logits, targets, mask, weights, label_smoothing):
    return Objective(name, label_smoothing, "balanced", 10.0).sum(logits, targets, mask, weights)


def test_masked_bce_is_the_hand_computed_sum_over_known_entries():
    logits = torch.tensor([[0.0, 2.0], [-1.0, 5.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    mask = torch.tensor([[True, True], [True, False]])
    expected = math.log(2) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))
    assert float(_sum("bce", logits, targets, mask, ONES, 0.0)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_masked_entry_changes_neither_the_loss_nor_a_gradient(name):
    mask = torch.tensor([[True, False], [True, True]])
    results = []
    for masked_logit, masked_target in ((0.3, 0.0), (1e4, 1.0)):
        logits = torch.tensor([[0.5, masked_logit], [-0.2, 1.0]], requires_grad=True)
        targets = torch.tensor([[1.0, masked_target], [0.0, 1.0]])
        total = _sum(name, logits, targets, mask, torch.tensor([2.0, 3.0]), 0.1)
        total.backward()
        assert logits.grad[0, 1] == 0
        results.append((total.item(), logits.grad.tolist()))
    assert results[0] == results[1]


def test_smoothing_gives_095_and_005_at_01():
    assert smooth(torch.tensor([1.0, 0.0]), 0.1).tolist() == pytest.approx([0.95, 0.05])


def test_focal_loss_without_weights_is_torchvisions():
    logits, targets = torch.randn(5, 2), torch.randint(0, 2, (5, 2)).float()
    mask = torch.ones(5, 2, dtype=torch.bool)
    theirs = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="sum")
    assert torch.allclose(_sum("focal", logits, targets, mask, ONES, 0.0), theirs)


def test_asymmetric_loss_is_the_papers_for_a_hand_computed_entry():
    logits, mask = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
    shifted = 1 / (1 + math.exp(-1)) - 0.05  # a negative's probability less the margin
    expected = 0.5**1 * math.log(2) - shifted**4 * math.log(1 - shifted)
    total = _sum("asymmetric", logits, torch.tensor([[1.0, 0.0]]), mask, ONES, 0.0)
    assert float(total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_class_weight_multiplies_the_loss_of_positives_only(name):
    logits, mask = torch.tensor([[0.4, 0.4]]), torch.ones(1, 2, dtype=torch.bool)
    for target, factor in ((1.0, 3.0), (0.0, 1.0)):
        targets = torch.full((1, 2), target)
        plain = _sum(name, logits, targets, mask, ONES, 0.0)
        weighted = _sum(name, logits, targets, mask, 3 * ONES, 0.0)
        assert float(weighted / plain) == pytest.approx(factor)


def test_balanced_weights_are_negatives_over_positives_per_finding_bounded_and_blind_to_unknown_labels():
    targets = np.array([[1, 0, 0, 1], [0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]], np.float32)
    mask = np.ones_like(targets, bool)
    mask[4, 0] = False
    assert balanced_weights(targets, mask, 10.0).tolist() == [3.0, 4.0, 1.0, 0.25]
    assert balanced_weights(targets, mask, 2.0).tolist() == [2.0, 2.0, 1.0, 0.5]
