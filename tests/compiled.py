"""The gradients of tests.gradients of a compiled network, in several processes:

torchrun --standalone --nproc_per_node 2 -m tests.compiled FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch

from tests.gradients import first_gradients

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    gradients = first_gradients(folder, 8, 1, 16, compile=True)
    if torch.distributed.get_rank() == 0:
        np.savez(folder / "compiled.npz", **gradients)
