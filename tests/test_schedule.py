import pytest
import torch

from diagxnet.training.schedule import EarlyStopping, create_optimizer, create_scheduler

OPTIONS = {"warmup": 0.1, "factor": 0.5, "patience": 2}


def _optimizer(lr=0.1):
    return create_optimizer("adamw", torch.nn.Linear(1, 1), lr=lr, weight_decay=0.01)


@pytest.mark.parametrize("updates", [1, 2, 3, 9, 10, 11, 19, 20, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_onecycle_takes_any_number_of_updates_and_peaks_at_the_learning_rate(updates, warmup):
    optimizer = _optimizer()
    options = OPTIONS | {"warmup": warmup}
    scheduler = create_scheduler("onecycle", optimizer, updates=updates, lr=0.1, **options)
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
    scheduler = create_scheduler("plateau", optimizer, updates=10, lr=0.1, **OPTIONS)
    rates = []
    for _ in range(5):
        scheduler.step(1.0)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05])


def test_constant_never_changes_the_rate():
    optimizer = _optimizer()
    scheduler = create_scheduler("constant", optimizer, updates=3, lr=0.1, **OPTIONS)
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
