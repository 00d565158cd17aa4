"""`python -m stages.train NAME` trains the further member NAME, of section `more`, into models/more/NAME."""

import sys

from stages.base_model import train
from stages.running import run

if __name__ == "__main__":
    name = sys.argv[1]
    run(f"train_{name}", lambda: train(name))
