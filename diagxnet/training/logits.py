"""Logits of a model over a whole split, in evaluation mode."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from diagxnet.console.errors import InputError
from diagxnet.console.progress import Progress
from diagxnet.training.sources import Source, read_ahead
from diagxnet.training.transfer import to_device


def predict_logits(
    model: nn.Module,
    source: Source,
    examples: int,
    *,
    batch_size: int,
    accelerator: Accelerator,
    workers: int = 0,
    progress: Progress | None = None,
) -> np.ndarray:
    """logits: [examples, findings] float32, of examples 0 to `examples` - 1, without augmentation.

    Several processes share the batches, which are those of one process, and all return the whole. Out of GPU memory,
    `batch_size` is halved, with a line that says so. The model is left in evaluation mode.
    """
    model.eval()
    index, processes = accelerator.process_index, accelerator.num_processes
    batches = [np.arange(start, min(start + batch_size, examples)) for start in range(0, examples, batch_size)]
    share = -(-len(batches) // processes)
    shares = [batches[start : start + share] for start in range(0, share * processes, share)]
    own = shares[index] or batches[:1]  # a process without a batch needs one to know how many findings there are
    forward = _Forward(model, accelerator, batch_size)
    parts = []
    with torch.inference_mode():
        for batch, raw in read_ahead(source.read, own, workers):
            parts.append(forward(source, batch, raw))
            if progress is not None:
                progress.update(sum(len(each[len(parts) - 1]) for each in shares if len(each) >= len(parts)))
    logits = torch.cat(parts)
    if processes > 1:
        logits = _gathered(logits, [sum(map(len, each)) for each in shares], accelerator)
    return logits.cpu().numpy()


def _gathered(logits: Tensor, counts: list[int], accelerator: Accelerator) -> Tensor:
    """The logits of all processes one below the other, the first `counts` of each."""
    most = max(counts)
    padded = F.pad(logits[:most], (0, 0, 0, most - min(len(logits), most)))
    every = accelerator.gather(padded).split(most)
    return torch.cat([own[:count] for own, count in zip(every, counts, strict=True)])


class _Forward:
    """Forward passes of `size` examples at the most, fewer once the memory did not suffice."""

    def __init__(self, model: nn.Module, accelerator: Accelerator, size: int) -> None:
        self.model, self.accelerator, self.size = model, accelerator, size

    def __call__(self, source: Source, batch: np.ndarray, raw: Tensor) -> Tensor:
        """Logits [batch, findings] float32 of the examples `batch`, whose raw inputs are `raw`."""
        parts, done = [], 0
        while done < len(batch):
            part = slice(done, done + self.size)
            logits = self._logits(source, batch[part], raw[part])
            if logits is None:
                torch.cuda.empty_cache()
            else:
                parts.append(logits)
                done += len(logits)
        return torch.cat(parts)

    def _logits(self, source: Source, batch: np.ndarray, raw: Tensor) -> Tensor | None:
        """None where the memory did not suffice: `size` is smaller then."""
        try:
            inputs = source.finish(to_device(raw, self.accelerator.device), batch, None)
            with self.accelerator.autocast():
                return self.model(inputs).float()
        except torch.OutOfMemoryError as error:
            self._halve(error)
            return None

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        if self.size == 1:
            advice = "choose a smaller model or image_size, or free the memory that another program holds"
            raise InputError(f"out of memory with one image a forward pass ({advice})") from error
        self.size = -(-self.size // 2)
        print(
            f"out of memory: goes on with {self.size} images a forward pass (the last bits may differ)", file=sys.stderr
        )
