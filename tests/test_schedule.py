import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from diagxnet.training.networks import create_base
from diagxnet.training.schedule import EarlyStopping, Optimization, Schedule, create_optimizer, create_scheduler
from tests.gradients import recipe


def _optimizer(lr=0.1, **changes):
    return create_optimizer(recipe(weight_decay=0.01, **changes).optimization, torch.nn.Linear(1, 1), lr)


def _scheduler(name, optimizer, updates, **changes):
    values = {"lr": 0.1, "warmup": 0.1, "plateau_factor": 0.5, "plateau_patience": 2} | changes
    return create_scheduler(recipe(scheduler=name, **values).schedule, optimizer, updates)


def test_adamw_decays_the_weights_apart_from_the_gradient_and_adam_with_it_biases_too():
    moved = {}
    for name in ("adamw", "adam"):
        optimizer = _optimizer(lr=0.1, optimizer=name)
        weight, bias = parameters = optimizer.param_groups[0]["params"]
        before = [parameter.detach().clone() for parameter in parameters]
        weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
        optimizer.step()
        moved[name] = [(after / old).item() for after, old in zip(parameters, before, strict=True)]
    assert moved["adamw"] == pytest.approx([0.999, 0.999], abs=1e-6)
    assert all(abs(ratio - 0.999) > 0.01 for ratio in moved["adam"])  # a step of the rate, whatever the gradient's size


@pytest.mark.parametrize("updates", [1, 2, 3, 9, 10, 11, 19, 20, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_onecycle_takes_any_number_of_updates_and_peaks_at_the_learning_rate(updates, warmup):
    optimizer = _optimizer()
    scheduler = _scheduler("onecycle", optimizer, updates, warmup=warmup)
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert max(rates) <= 0.1 + 1e-12
    assert max(rates) > 0.04
    if updates >= 100 and warmup:
        assert max(rates) == pytest.approx(0.1, rel=1e-2)
        assert rates.index(max(rates)) == pytest.approx(warmup * updates, abs=2)


def test_plateau_halves_the_rate_after_more_than_patience_epochs_without_improvement():
    optimizer = _optimizer()
    scheduler = _scheduler("plateau", optimizer, 10)
    rates = []
    for _ in range(5):
        scheduler.step(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05])


@pytest.mark.parametrize(("updates", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (10, 0.0), (100, 0.2)])
def test_cosine_rises_linearly_to_the_rate_and_falls_by_half_a_cosine_to_zero(updates, warmup):
    optimizer = _optimizer()
    scheduler = _scheduler("cosine", optimizer, updates, warmup=warmup)
    rates = []
    for _ in range(updates + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert min(rates[:-1]) > 0.0
    assert rates[-1] == 0.0
    if updates == 100:
        np.testing.assert_allclose(rates[:20], 0.1 * np.arange(1, 21) / 21)
        theirs = CosineAnnealingLR(_optimizer(), 80)  # torch's, in its closed form
        theirs.last_epoch = 40
        assert rates[20] == pytest.approx(0.1)
        assert rates[60] == pytest.approx(theirs._get_closed_form_lr()[0]) == pytest.approx(0.05)
        assert np.all(np.diff(rates[20:]) < 0)


def test_constant_never_changes_the_rate():
    optimizer = _optimizer()
    scheduler = _scheduler("constant", optimizer, 3)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_early_stopping_waits_patience_epochs_for_a_fall_of_more_than_min_delta():
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert [stopping.stops(loss) for loss in (1.0, 0.95, 0.8, 0.75, 0.72)] == [False, False, False, False, True]


def test_early_stopping_without_patience_never_stops():
    stopping = EarlyStopping(patience=None, min_delta=0.0)
    assert not any(stopping.stops(1.0) for _ in range(50))


def test_layers_learn_at_rates_of_their_own_and_neither_norms_nor_position_embeddings_decay():
    model = create_base("vit_tiny_patch16_224", findings=3, image_size=32, patch_size=8)
    optimizer = create_optimizer(Optimization("adamw", 0.1, None, layer_decay=0.5), model, 1e-3)
    groups = {id(each): group for group in optimizer.param_groups for each in group["params"]}
    own = {name: groups[id(each)] for name, each in model.network.named_parameters()}
    assert len(own) == sum(len(group["params"]) for group in optimizer.param_groups)
    assert own["head.weight"]["lr"] == pytest.approx(1e-3)
    assert own["blocks.11.attn.qkv.weight"]["lr"] == pytest.approx(5e-4)
    assert own["blocks.0.attn.qkv.weight"]["lr"] == pytest.approx(1e-3 * 0.5**12)
    decaying = {name for name, group in own.items() if group["weight_decay"]}
    wide = {name for name, each in model.network.named_parameters() if each.ndim > 1}
    assert decaying == wide - {"pos_embed", "cls_token"}
    scheduler = create_scheduler(Schedule(1, 1e-3, "onecycle", 0.5, 2, 0.5, None, 0.0), optimizer, 10)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    assert max(group["lr"] for group in optimizer.param_groups) == pytest.approx(1e-3, rel=0.1)
    assert own["blocks.0.attn.qkv.weight"]["lr"] < 1e-6


def test_the_best_epoch_has_the_least_loss_or_the_most_auroc():
    by_loss, by_auroc = (Schedule(1, 1e-3, "constant", 0.5, 2, 0.1, None, 0.0, best) for best in ("loss", "auroc"))
    assert by_loss.badness(0.4, 0.9) == 0.4
    assert by_auroc.badness(0.4, 0.9) == pytest.approx(0.1)
    assert by_auroc.badness(0.4, None) == 0.4
