"""train.ema: the moving average of weights and buffers is what val scores and what is saved."""

import numpy as np
import pytest
import torch
from torch import nn

from diagxnet.training import loop
from diagxnet.training.ema import MovingAverage
from tests.gradients import an_epoch, val_loss

CPU = torch.device("cpu")


def _network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).double()


def _copies(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


@pytest.fixture
def seen(monkeypatch):
    """The network's weights and buffers after each update."""
    taken, update = [], MovingAverage.update
    monkeypatch.setattr(
        MovingAverage, "update", lambda self, network: taken.append(_copies(network)) or update(self, network)
    )
    return taken


def test_what_is_saved_is_the_average_of_weights_and_buffers_over_all_updates(tmp_path, seen, monkeypatch):
    networks, create = [], MovingAverage.__init__
    monkeypatch.setattr(
        MovingAverage,
        "__init__",
        lambda self, network, *given: networks.append(_copies(network)) or create(self, network, *given),
    )
    model, _ = an_epoch(tmp_path, ema=0.9)
    (average,) = networks
    for n, now in enumerate(seen):
        kept = min(0.9, (1 + n) / (10 + n))
        average = {
            name: kept * average[name] + (1 - kept) * now[name] if now[name].dtype.kind == "f" else now[name]
            for name in now
        }
    assert len(seen) == 3  # 21 examples in windows of 8
    for name, value in average.items():
        np.testing.assert_allclose(model.state_dict()[name], value, rtol=1e-12, err_msg=name)
        assert not np.array_equal(value, seen[-1][name]) or name.endswith("num_batches_tracked"), name


def test_the_decay_is_reached_after_its_warm_up():
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, 0.5, CPU)
    nn.init.zeros_(average.model.weight)
    nn.init.ones_(network.weight)
    missing = 1.0
    for n in range(20):
        average.update(network)
        missing *= min(0.5, (1 + n) / (10 + n))
        assert 1 - average.model.weight.item() == pytest.approx(missing, abs=1e-6)


def test_an_update_that_overflowed_is_not_taken_in(tmp_path, seen, monkeypatch):
    update, made = loop.update, iter([True, False, True])
    monkeypatch.setattr(loop, "update", lambda *given: update(*given) and next(made))
    an_epoch(tmp_path, ema=0.9)
    assert len(seen) == 2


def test_val_is_scored_with_the_average_that_is_saved(tmp_path):
    model, recorded = an_epoch(tmp_path, ema=0.9)
    assert val_loss(model) == pytest.approx(recorded, rel=1e-6)


def test_the_average_keeps_the_memory_format_and_needs_no_gradient():
    network = _network().to(memory_format=torch.channels_last)
    average = MovingAverage(network, 0.9, CPU)
    average.update(network)
    assert average.model[0].weight.stride() == network[0].weight.stride() != _network()[0].weight.stride()
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
