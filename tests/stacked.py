"""stack_features on FOLDER as the fixture of tests.test_features leaves it, into FOLDER/OUT, in several processes:

torchrun --standalone --nproc_per_node 2 -m tests.stacked FOLDER OUT

The first process alone sees the models, and knows the members.
"""

import os
import sys
from pathlib import Path

from diagxnet.data.members import FIRST
from diagxnet.features.stack import stack_features

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    first = os.environ.get("RANK", "0") == "0"
    stack_features(
        FIRST if first else (),
        folder / ("models" if first else "no_models_here"),
        folder / "packed",
        folder / "prepared",
        folder / (sys.argv[2] if first else "written_by_another"),
        precision="fp32",
        batch_size=2,
    )
