"""Logits of a split: in any number of processes and whatever the memory, those of one process with enough of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.training.logits import predict_logits
from diagxnet.training.precision import create_accelerator
from diagxnet.training.sources import ArraySource

INPUTS = torch.arange(13.0)[:, None] + torch.tensor([0.0, 0.5])


class Small(nn.Module):
    """Gives its inputs back, and has memory for `limit` of them at once."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit, self.sizes = limit, []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(inputs))
        return inputs


def predicted(model: nn.Module, **options) -> np.ndarray:
    given = {"batch_size": 8, "accelerator": create_accelerator("fp32")} | options
    return predict_logits(model, ArraySource(INPUTS), len(INPUTS), **given)


def test_out_of_memory_halves_the_pass_once_for_all_and_says_so(capsys):
    model = Small(limit=3)
    assert np.array_equal(predicted(model), INPUTS.numpy())
    assert model.sizes == [2, 2, 2, 2, 2, 2, 1]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" images")[0] for line in said] == [f"out of memory: goes on with {size}" for size in (4, 2)]


def test_out_of_memory_with_one_image_is_one_line():
    with pytest.raises(InputError, match="out of memory with one image a forward pass"):
        predicted(Small(limit=0))


@pytest.mark.parametrize(("processes", "batch_size"), [(2, 4), (3, 8), (3, 2), (4, 8)])
def test_processes_share_the_batches_of_one_and_put_the_logits_together_in_order(processes, batch_size):
    # (4, 8): two batches, so that two processes have none
    whole, padded, models = Small(limit=99), [], []
    predicted(whole, batch_size=batch_size)

    def run(index: int, gather) -> np.ndarray:
        models.append(Small(limit=99))
        plays = SimpleNamespace(process_index=index, num_processes=processes, device=torch.device("cpu"))
        plays.autocast, plays.gather = create_accelerator("fp32").autocast, gather
        with Progress(len(INPUTS), "logits", shown=False) as progress:
            logits = predicted(models[-1], batch_size=batch_size, accelerator=plays, progress=progress)
            assert progress.done == len(INPUTS) or index
        return logits

    for index in range(processes):
        run(index, lambda own: padded.append(own) or torch.zeros(processes * len(own), 2))
    batches = -(-len(INPUTS) // batch_size)
    taken = [size for model in models[:batches] for size in model.sizes]
    assert taken[: len(whole.sizes)] == whole.sizes
    assert np.array_equal(run(0, lambda own: torch.cat(padded)), INPUTS.numpy())
