"""Logits of a model over a whole split, in evaluation mode."""

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from diagxnet.console.progress import Progress
from diagxnet.training.sources import Source, read_ahead


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

    Several processes share the work and all return the whole. The model is left in evaluation mode.
    """
    model.eval()
    device, processes = accelerator.device, accelerator.num_processes
    share = -(-examples // processes)
    own = (np.arange(share) + accelerator.process_index * share) % examples  # padded, so that all gather equal shapes
    batches = [own[start : start + batch_size] for start in range(0, share, batch_size)]
    parts = []
    with torch.inference_mode():
        for batch, raw in read_ahead(source.read, batches, workers):
            inputs = source.finish(raw.to(device, non_blocking=True), batch, None)
            with accelerator.autocast():
                parts.append(model(inputs).float())
            if progress is not None:
                progress.update(len(batch) * processes)
    logits = torch.cat(parts)
    if processes > 1:
        logits = accelerator.gather(logits)
    return logits[:examples].cpu().numpy()
