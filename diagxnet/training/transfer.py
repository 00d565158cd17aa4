"""From the CPU's memory to the device's."""

import numpy as np
import torch
from torch import Tensor


def to_device(given: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """`given` on `device`; to a CUDA device while it computes, from page-locked memory.

    A copy from other memory waits for all that the device has to do, and the device then for the next launches. Only
    CUDA's allocator keeps page-locked memory until copies from it are done; elsewhere `non_blocking` would let the next
    batch be written over one that is still copied.
    """
    tensor = torch.as_tensor(given)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
