"""The first line of a training: what runs, on what, how."""

import torch
from accelerate import Accelerator

from diagxnet.training.precision import describe
from diagxnet.training.recipe import Recipe


def announce(name: str, accelerator: Accelerator, recipe: Recipe, arch: str, model: torch.nn.Module) -> None:
    """Prints, from the first process of several, device, precision, effective batch size and parameter count."""
    processes = accelerator.num_processes
    batches = recipe.batches
    parameters = sum(parameter.numel() for parameter in model.parameters())
    accelerator.print(
        f"{name}: {arch}, {parameters:,} parameters, on {describe(accelerator)}. Effective batch size: "
        f"{batches.effective(processes)} ({batches.batch_size} x {batches.accumulation_steps} steps x {processes} "
        f"process{'es' * (processes > 1)})",
        flush=True,
    )
