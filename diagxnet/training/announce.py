"""The first line of a training: what runs, on what, how."""

import torch
from accelerate import Accelerator

from diagxnet.training.loop import Recipe
from diagxnet.training.precision import describe


def announce(name: str, accelerator: Accelerator, recipe: Recipe, arch: str, model: torch.nn.Module) -> None:
    """Prints, from the first process of several, device, precision, effective batch size and parameter count."""
    processes = accelerator.num_processes
    effective = recipe.batch_size * recipe.accumulation_steps * processes
    parameters = sum(parameter.numel() for parameter in model.parameters())
    accelerator.print(
        f"{name}: {arch}, {parameters:,} parameters, on {describe(accelerator)}. Effective batch size: {effective} "
        f"({recipe.batch_size} x {recipe.accumulation_steps} steps x {processes} process{'es' * (processes > 1)})",
        flush=True,
    )
