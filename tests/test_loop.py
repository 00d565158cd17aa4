"""The training loop: exact over any way to cut the batch, best weights at the end, resumable to the same bytes."""

import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.statistics.history import best_record, training_metrics
from diagxnet.training import loop
from diagxnet.training.auroc import macro_auroc
from diagxnet.training.history import history, joint_history
from diagxnet.training.loop import Epoch, Examples, fit
from diagxnet.training.loss import balanced_weights
from diagxnet.training.precision import create_accelerator
from diagxnet.training.recipe import Recipe
from diagxnet.training.resume import ResumeState
from diagxnet.training.schedule import update
from diagxnet.training.sources import ArraySource, read_ahead
from diagxnet.training.windows import draw_order, sampling_weights, split_windows
from tests.conftest import ROOT
from tests.gradients import first_gradients, recipe, small_vit, unequal_examples, val_loss


def _recipe(**changes):
    return recipe(max_grad_norm=1.0, **changes)


RECIPE = _recipe()


def _examples(count=21, findings=3, features=5, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, features)).astype(np.float32)
    targets = (inputs[:, :findings] + rng.normal(size=(count, findings)) > 0).astype(np.float32)
    mask = rng.random((count, findings)) < 0.7
    return Examples(ArraySource(torch.from_numpy(inputs)), targets, mask)


def _model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def _fit(folder: Path, recipe=RECIPE, model=None, train=None, val=None, mark="mark", **options):
    model = _model() if model is None else model
    train, val = train or _examples(seed=0), val or _examples(count=13, seed=1)
    accelerator = create_accelerator("fp32")
    with Progress(recipe.schedule.epochs * len(train), "test", shown=False) as progress:
        return (
            yield from fit(
                model,
                train,
                val,
                recipe,
                accelerator=accelerator,
                state=ResumeState(folder, mark),
                progress=progress,
                **options,
            )
        )


def _bytes(model):
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


@pytest.mark.parametrize("count", [16, 11])
def test_2x8_and_1x16_give_equal_gradients_whatever_the_masks(tmp_path, count):
    whole, *others = [first_gradients(tmp_path, batch, steps, count) for batch, steps in ((16, 1), (8, 2), (4, 4))]
    for other in others:
        for name, gradient in whole.items():
            np.testing.assert_allclose(other[name], gradient, rtol=1e-9, atol=1e-14, err_msg=name)


COUNTS = (16, 11, 1)
"""Examples of a window of two processes: full, uneven, and one process left without an example."""


def _in_two_processes(module: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", module]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        encoding="utf-8",
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def by_two_processes(tmp_path_factory):
    """The folder of what tests.gradients writes."""
    folder = tmp_path_factory.mktemp("two")
    _in_two_processes("tests.gradients", str(folder), "8", "1", *map(str, COUNTS))
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_two_processes_of_a_compiled_network_x8_give_the_gradients_of_1x16(tmp_path):
    _in_two_processes("tests.compiled", str(tmp_path))
    two = np.load(tmp_path / "compiled.npz")
    for name, gradient in first_gradients(tmp_path, 16, 1, 16).items():
        np.testing.assert_allclose(two[name], gradient, rtol=1e-9, atol=1e-14, err_msg=name)


def test_two_processes_x8_give_the_gradients_of_1x16(tmp_path, by_two_processes):
    for count in COUNTS:
        two = np.load(by_two_processes / f"{count}.npz")
        assert two["processes"] == 2
        for name, gradient in first_gradients(tmp_path, 16, 1, count).items():
            np.testing.assert_allclose(two[name], gradient, rtol=1e-9, atol=1e-14, err_msg=f"{count} {name}")


@pytest.mark.parametrize("ema", [None, 0.9])
def test_two_processes_score_val_with_the_weights_that_are_saved(by_two_processes, ema):
    model, recorded = torch.load(by_two_processes / f"{ema}.pt", weights_only=False)
    assert val_loss(model) == pytest.approx(recorded, rel=1e-6)


def test_two_processes_learn_alike_in_a_linear_probe_and_after_it(by_two_processes):
    one, other = (torch.load(by_two_processes / f"probed{rank}.pt", weights_only=False) for rank in (0, 1))
    moved = [name for name, tensor in one["after"].items() if not torch.equal(tensor, one["probe"][name])]
    assert set(moved) >= {"network.fc.weight", "network.conv1.0.weight"}
    for part in ("probe", "after"):
        for name, tensor in one[part].items():
            assert "running" in name or torch.equal(other[part][name], tensor), name


@pytest.mark.parametrize("rank", [0, 1])
def test_two_machines_go_on_from_the_state_on_the_first_ones_disk_to_equal_bytes(by_two_processes, rank):
    whole, again, records, same = torch.load(by_two_processes / f"interrupted{rank}.pt", weights_only=False)
    assert records == same
    assert [record["epoch"] for record in records] == [0.7619, 1, 1.7619, 2]  # 16 of 21 examples
    for name, tensor in whole.items():
        assert torch.equal(again[name], tensor), name
    assert list((by_two_processes / "disk1").rglob("*.pt")) == []


def test_the_gradient_is_that_of_the_mean_over_the_known_labels_of_the_window(tmp_path):
    taken = first_gradients(tmp_path, 4, 4, 16)
    train, twin = unequal_examples(16), small_vit()
    targets = torch.from_numpy(train.targets) * 0.9 + 0.05
    entries = nn.functional.binary_cross_entropy_with_logits(twin(train.source.features), targets, reduction="none")
    entries[torch.from_numpy(train.mask)].mean().backward()
    for name, parameter in twin.named_parameters():
        np.testing.assert_allclose(taken[name], parameter.grad.numpy(), rtol=1e-7, atol=1e-12, err_msg=name)


def test_windows_hold_every_example_once_and_the_last_is_spread_evenly():
    order = np.random.default_rng(0).permutation(37)
    windows = split_windows(order, micro_batch=4, effective=16, processes=2)
    assert [sum(map(len, window)) for window in windows] == [16, 16, 5]
    assert [len(batch) for batch in windows[-1]] == [2, 1, 1, 1] or [len(batch) for batch in windows[-1]] == [3, 2]
    assert np.array_equal(np.concatenate([batch for window in windows for batch in window]), order)


def test_one_example_left_alone_joins_the_window_before():
    windows = split_windows(np.arange(33), micro_batch=4, effective=16, processes=1)
    assert [sum(map(len, window)) for window in windows] == [16, 17]
    assert min(len(batch) for batch in windows[-1]) >= 3
    assert [sum(map(len, window)) for window in split_windows(np.arange(1), 4, 16, 1)] == [1]


class _Small(nn.Module):
    """Has memory for `limit` examples a step while it trains, and in every other step for any number."""

    def __init__(self, limit):
        super().__init__()
        self.network, self.limit, self.steps = small_vit(), limit, 0

    def forward(self, inputs):
        self.steps += self.training
        if self.training and len(inputs) > self.limit and self.steps % 2 == 0:  # a window's second step
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network(inputs)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_out_of_memory_halves_the_micro_batch_keeps_the_effective_one_and_says_so(tmp_path, capsys, ema):
    recipe, train = _recipe(batch_size=8, accumulation_steps=2, epochs=2, ema=ema), unequal_examples(37)
    weights, updates = [], []
    for folder, limit in (("large", 8), ("small", 3)):
        model = _Small(limit)
        updates.append([epoch.record["lr"] for epoch in _fit(tmp_path / folder, recipe, model, train, train)])
        weights.append(model.state_dict())
    error = capsys.readouterr().err
    assert [f"goes on with {size} images a step, effective batch 16" in error for size in (4, 2)] == [True, True]
    assert updates[0] == updates[1]
    for name, weight in weights[0].items():
        np.testing.assert_allclose(weights[1][name], weight, rtol=1e-7, atol=1e-9, err_msg=name)


def test_out_of_memory_with_one_image_is_one_line(tmp_path):
    with pytest.raises(InputError, match="out of memory with one image a step"):
        list(_fit(tmp_path, _recipe(batch_size=1), _Small(0), unequal_examples(8), unequal_examples(8)))


def test_balanced_sampling_draws_the_rare_more_often_and_keeps_the_length_of_an_epoch():
    targets = np.zeros((400, 2), np.float32)
    targets[:100, 0] = 1  # frequent
    targets[100:104, 1] = 1  # 25 times rarer
    mask = np.ones_like(targets, bool)
    mask[103, 1] = False  # not known: not drawn more often
    weights = sampling_weights(targets, mask, 3.0)
    assert weights[:100].tolist() == [1.0] * 100
    assert weights[100:104].tolist() == [3.0, 3.0, 3.0, 1.0]
    assert sampling_weights(targets, mask, 100.0)[100] == pytest.approx((100 / 3) ** 0.5)
    counts = sum(np.bincount(draw_order(400, weights, 7, epoch), minlength=400) for epoch in range(1, 101))
    assert counts.sum() == 400 * 100
    np.testing.assert_allclose(counts[100:103] / 100, 3 * 400 / weights.sum(), rtol=0.02)
    np.testing.assert_allclose(counts[[0, 103, 399]] / 100, 400 / weights.sum(), rtol=0.05)
    assert np.array_equal(draw_order(400, weights, 7, 1), draw_order(400, weights, 7, 1))
    # the class weights are those of what is drawn
    assert balanced_weights(targets, mask, 1000.0, weights)[1] == pytest.approx((406 - 9 - 1) / 9, rel=0.01)


def test_uniform_sampling_takes_each_example_once_an_epoch():
    first, second = draw_order(50, None, 7, 1), draw_order(50, None, 7, 2)
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)


def test_balanced_sampling_changes_the_training(tmp_path):
    losses = []
    for sampling in ("uniform", "balanced"):
        recipe = _recipe(sampling=sampling, sampling_factor=5.0, epochs=1)
        losses += [epoch.record["train_loss"] for epoch in _fit(tmp_path / sampling, recipe)]
    assert losses[0] != losses[1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_training_ends_in_nearly_the_same_weights_under_the_same_names(tmp_path, monkeypatch):
    weights, calls, compile_model = [], [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: calls.append(model) or compile_model(model))
    for compiled in (False, True):
        model = _without_dropout()
        list(_fit(tmp_path / str(compiled), _recipe(compile=compiled, epochs=1, ema=0.9), model=model))
        weights.append(model.state_dict())
        assert calls == ([model] if compiled else [])
    for name, weight in weights[0].items():
        np.testing.assert_allclose(weights[1][name], weight, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", [torch.optim.SGD, partial(torch.optim.AdamW, fused=True)])
def test_a_scaled_update_is_that_of_the_gradients_as_they_are_and_one_that_overflowed_is_left_out(kind):
    # what fp16 does on a GPU; torch's scaler works on a CPU too
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    inputs = torch.arange(10.0).reshape(2, 5)
    models = _model().eval(), _model().eval()
    for model, own in zip(models, (None, scaler), strict=True):
        optimizer = kind(model.parameters(), lr=0.1)
        for factor in (1.0, float("inf")) if own else (1.0,):
            loss = model(inputs).square().sum() * factor
            (loss if own is None else own.scale(loss)).backward()
            assert update(optimizer, own, max_norm=1.0) == (factor == 1.0)
            assert all(parameter.grad is None for parameter in model.parameters())
    plain, scaled = models
    assert not torch.equal(plain[0].weight, _model()[0].weight)
    for one, other in zip(plain.parameters(), scaled.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-7)
    assert scaler.get_scale() == 512.0


def test_the_last_partial_window_is_an_update(tmp_path, monkeypatch):
    updates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given: updates.append(1) or step(self, *given))
    list(_fit(tmp_path, _recipe(epochs=1)))
    assert len(updates) == 3  # 21 examples: 8, 8 and 5


def test_the_model_ends_with_the_weights_of_the_best_epoch_not_of_the_last(tmp_path):
    # At this rate val worsens from some epoch on: the best epoch is not the last.
    recipe = _recipe(epochs=30, lr=0.1)
    model, states, epochs = _model(), [], []
    for epoch in _fit(tmp_path, recipe, model=model):
        states.append(_bytes(model))
        epochs.append(epoch.record)
    best = min(range(len(epochs)), key=lambda number: epochs[number]["val_loss"])
    assert best < len(epochs) - 1
    assert _bytes(model) == states[best] != states[-1]


@pytest.mark.parametrize(("best", "epoch"), [("loss", 1), ("auroc", 2)])
def test_the_history_names_the_epoch_whose_weights_are_kept(best, epoch):
    records = [{"epoch": 1, "val_loss": 0.5, "val_auroc": 0.7}, {"epoch": 2, "val_loss": 0.6, "val_auroc": 0.8}]
    schedule = _recipe(best=best, epochs=3).schedule
    found = history([Epoch(record, 1.0) for record in records], schedule, 10)
    assert (found["best_epoch"], found["epochs_run"], found["stopped_early"]) == (epoch, 2, True)


def test_early_stopping_ends_training(tmp_path):
    epochs = list(_fit(tmp_path, _recipe(epochs=60, lr=0.1, patience=3)))
    losses = [epoch.record["val_loss"] for epoch in epochs]
    assert len(epochs) < 60
    assert min(losses[-3:]) > min(losses) - RECIPE.schedule.min_delta


def test_what_early_stopping_saves_is_no_longer_to_be_done(tmp_path, monkeypatch):
    bars = []
    monkeypatch.setattr(Progress, "__enter__", lambda self: bars.append(self) or self)
    epochs = list(_fit(tmp_path, _recipe(epochs=60, lr=0.1, patience=3)))
    assert bars[0].total == bars[0].done == len(epochs) * len(_examples(seed=0))


def _check_goes_on(folder: Path, recipe: Recipe, stop_after: int) -> list[dict]:
    """Trains undisturbed, and in another folder with an interruption, to equal bytes; returns the records of either."""
    whole, resumed = _model(), _model()
    records = [epoch.record for epoch in _fit(folder / "whole", recipe, model=whole)]
    training = _fit(folder / "cut", recipe)
    for _ in range(stop_after):
        next(training)
    training.close()
    again = [epoch.record for epoch in _fit(folder / "cut", recipe, model=resumed)]
    assert again == records
    assert _bytes(resumed) == _bytes(whole)
    return records


@pytest.mark.parametrize("scheduler", ["plateau", "onecycle", "cosine", "constant"])
@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("ema", [None, 0.9])
def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path, scheduler, stop_after, ema):
    recipe = _recipe(scheduler=scheduler, ema=ema)
    _check_goes_on(tmp_path, recipe, stop_after)


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_an_interruption_changes_nothing_of_when_early_stopping_ends_a_training(tmp_path, stop_after):
    recipe = _recipe(epochs=9, patience=3, min_delta=10.0)  # the first epoch is better than none; no other is by 10
    assert len(_check_goes_on(tmp_path, recipe, stop_after)) == 4


@pytest.mark.parametrize("scheduler", ["plateau", "cosine"])
@pytest.mark.parametrize("stop_after", range(1, 6))
def test_a_training_interrupted_within_an_epoch_goes_on_to_the_same_bytes(tmp_path, scheduler, stop_after):
    recipe = _recipe(scheduler=scheduler, ema=0.9, val_every=1, epochs=2)
    records = _check_goes_on(tmp_path, recipe, stop_after)
    assert [record["epoch"] for record in records] == [0.381, 0.7619, 1, 1.381, 1.7619, 2]  # 8, 16, 21 of 21 examples


def _without_dropout():
    return nn.Sequential(*(layer for layer in _model() if not isinstance(layer, nn.Dropout)))


@pytest.mark.parametrize("count", [21, 33, 17])  # 8, 8, 5; four updates and one example over; two and one over
@pytest.mark.parametrize("val_every", [1, 2, 3, 100])
def test_validations_within_an_epoch_change_neither_its_updates_nor_its_loss(tmp_path, count, val_every):
    states, records = [], []
    for every in (None, val_every):
        model, train = _without_dropout(), _examples(count)
        recipe = _recipe(scheduler="constant", val_every=every, epochs=2)
        own = []
        for epoch in _fit(tmp_path / str(every), recipe, model, train):
            if isinstance(epoch.record["epoch"], int):
                states.append(_bytes(model))
            own.append(epoch.record)
        records.append(own)
    assert states[:2] == states[2:]
    updates = -(-count // 8) - (count % 8 == 1)
    assert len(records[1]) == 2 * -(-updates // val_every)
    if val_every >= updates:
        assert records[1] == records[0]
    known = train.mask[draw_order(count, None, recipe.seed, 1)].sum(1)
    first = [record for record in records[1] if record["epoch"] <= 1]
    ends = [0, *(round(record["epoch"] * count) for record in first)]
    shares = [known[start:end].sum() for start, end in pairwise(ends)]
    assert np.average([record["train_loss"] for record in first], weights=shares) == pytest.approx(
        records[0][0]["train_loss"]
    )


def test_dropout_draws_anew_in_each_part_of_an_epoch(tmp_path, monkeypatch):
    model, seeds, seed = _model(), [], torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda given: seeds.append(given) or seed(given))
    list(_fit(tmp_path, _recipe(val_every=1, epochs=2), model=model))
    assert len(set(seeds)) == len(seeds) == 2 * 3


def test_patience_and_plateau_count_validations(tmp_path):
    recipe = _recipe(epochs=3, lr=0.1, patience=4, plateau_patience=1, val_every=1, min_delta=10.0)
    records = [epoch.record for epoch in _fit(tmp_path, recipe)]
    assert [record["epoch"] for record in records] == [0.381, 0.7619, 1, 1.381, 1.7619]
    found = history([Epoch(record, 1.0) for record in records], recipe.schedule, 21)
    assert (found["epochs_run"], found["stopped_early"]) == (1.7619, True)
    assert found["best_epoch"] == min(records, key=lambda record: record["val_loss"])["epoch"]
    assert joint_history([found, found])["members"][1]["best_val_loss"] == min(r["val_loss"] for r in records)


def _averaged(folder, recipe, model, stop_after=None):
    """The records, what `fit` returns of the average, and the weights at each validation."""
    training, states = _fit(folder, recipe, model), []
    while True:
        try:
            next(training)
        except StopIteration as end:
            epochs, average = end.value
            return [epoch.record for epoch in epochs], average, states
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        if len(states) == stop_after:
            training.close()
            return None


@pytest.mark.parametrize("best", ["loss", "auroc"])
@pytest.mark.parametrize(("lr", "kept"), [(0.005, True), (0.1, False)])
def test_the_mean_of_the_best_weights_is_kept_where_val_bears_it_out(tmp_path, lr, kept, best):
    recipe = _recipe(epochs=8, lr=lr, scheduler="constant", average_best=3, best=best)
    model = nn.Sequential(*_model(), nn.BatchNorm1d(3))
    records, average, states = _averaged(tmp_path, recipe, model)
    badness = [recipe.schedule.badness(record["val_loss"], record["val_auroc"]) for record in records]
    chosen = np.argsort(badness, kind="stable")[:3]
    assert average["epochs"] == [records[epoch]["epoch"] for epoch in chosen]
    assert average["kept"] == kept
    assert kept == (recipe.schedule.badness(average["val_loss"], average["val_auroc"]) <= min(badness))
    for name, tensor in model.state_dict().items():
        own = [states[epoch][name] for epoch in (chosen if kept else chosen[:1])]
        expected = torch.stack(own).mean(0) if tensor.is_floating_point() else own[0]
        torch.testing.assert_close(tensor, expected, msg=name)
    found = history([Epoch(record, 1.0) for record in records], recipe.schedule, 21, average)
    assert found["average"] == average
    metrics = training_metrics(found)
    saved = average if kept else best_record(found)
    assert (metrics["val_auroc"], metrics["best_val_loss"]) == (saved["val_auroc"], saved["val_loss"])


@pytest.mark.parametrize("stop_after", [1, 3, 5, 8])
def test_an_interrupted_training_of_an_average_goes_on_to_the_same_bytes(tmp_path, stop_after):
    recipe = _recipe(epochs=8, average_best=3)
    whole, resumed = _model(), _model()
    records, average, _ = _averaged(tmp_path / "whole", recipe, whole)
    _averaged(tmp_path / "cut", recipe, _model(), stop_after)
    assert len(list((tmp_path / "cut").glob("best*.pt"))) == min(stop_after, 3)
    assert _averaged(tmp_path / "cut", recipe, resumed)[:2] == (records, average)
    assert _averaged(tmp_path / "cut", recipe, _model())[:2] == (records, average)  # its end was on record
    assert _bytes(resumed) == _bytes(whole)


def test_a_state_of_other_params_is_ignored_with_a_line_that_says_so(tmp_path, capsys):
    training = _fit(tmp_path, mark="one")
    next(training)
    training.close()
    fresh = [epoch.record for epoch in _fit(tmp_path / "elsewhere")]
    assert [epoch.record for epoch in _fit(tmp_path, mark="two")] == fresh
    assert "of other params" in capsys.readouterr().err


def test_a_damaged_state_is_ignored_with_a_line_that_says_so(tmp_path, capsys):
    training = _fit(tmp_path)
    next(training)
    training.close()
    (tmp_path / "last.pt").write_bytes((tmp_path / "last.pt").read_bytes()[:500])
    assert len(list(_fit(tmp_path))) == RECIPE.schedule.epochs
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("val_every", [None, 1])
def test_a_loss_that_is_not_finite_stops_and_names_epoch_update_and_rate(tmp_path, val_every):
    train, recipe = _examples(), _recipe(val_every=val_every)
    last = draw_order(len(train), None, recipe.seed, 1)[-1]  # of the third update
    train.source.features[last] = float("nan")
    with pytest.raises(InputError, match=r"loss is nan in epoch 1, update 3, at learning rate 0.05, on the examples"):
        list(_fit(tmp_path, recipe, train=train))


@pytest.mark.parametrize(("given", "size"), [(None, 4), (5, 5)])
def test_val_is_scored_in_passes_of_the_size_that_is_given_and_updates_are_fused(tmp_path, monkeypatch, given, size):
    sizes, fused = [], []
    predict, create = loop.predict_logits, loop.create_optimizer
    monkeypatch.setattr(loop, "predict_logits", lambda *a, **k: sizes.append(k["batch_size"]) or predict(*a, **k))
    monkeypatch.setattr(loop, "create_optimizer", lambda *a, **k: fused.append(k["fused"]) or create(*a, **k))
    list(_fit(tmp_path, val_batch_size=given))
    assert sizes == [size] * RECIPE.schedule.epochs
    assert fused == [True]


def test_macro_auroc_leaves_out_findings_with_one_class_and_unknown_labels():
    logits = np.array([[0.1, 1.0], [0.9, 2.0], [0.5, 3.0], [0.2, 0.0]])
    targets = np.array([[0, 1], [1, 1], [0, 1], [1, 0]], np.float32)
    mask = np.array([[1, 1], [1, 1], [1, 1], [0, 0]], bool)
    assert macro_auroc(logits, targets, mask) == 1.0
    assert macro_auroc(logits[:, 1:], targets[:, 1:], mask[:, 1:]) is None


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_reading_ahead_keeps_order_and_loses_nothing(workers):
    assert list(read_ahead(lambda item: item * 2, range(10), workers)) == [(item, item * 2) for item in range(10)]


def test_macro_auroc_is_scikit_learns_with_ties_and_unknown_labels():
    chance = np.random.default_rng(0)
    targets = (chance.random((200, 3)) < 0.3).astype(np.float32)
    logits = (chance.normal(size=targets.shape) + targets).round(1).astype(np.float32)
    mask = chance.random(targets.shape) < 0.8
    expected = [roc_auc_score(targets[mask[:, f], f], logits[mask[:, f], f]) for f in range(3)]
    assert macro_auroc(logits, targets, mask) == pytest.approx(np.mean(expected), abs=1e-12)
