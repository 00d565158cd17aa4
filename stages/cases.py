"""`python -m stages.cases` shows the ensemble's most confident mistakes on test, with heat maps: reports/cases.html.

No stage of dvc.yaml: test labels have one reader there, and a look at images is no figure that a run is compared by.
"""

import argparse
from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.params.checked import read_params
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.train import TrainParams
from stages.recorded import pipeline
from stages.running import run

EACH, MOST = 3, 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.cases", description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=EACH, help=f"cases of each kind and finding ({EACH})")
    parser.add_argument("--out", type=Path, default=Path("reports/cases.html"), help="the page (reports/cases.html)")
    arguments = parser.parse_args()
    if not 1 <= arguments.each <= MOST:
        parser.error(f"argument --each: must be 1 to {MOST}, is {arguments.each}")
    params = read_params(evaluate=EvaluateParams, train=TrainParams)
    if changed := pipeline().changed:
        raise InputError(f"{', '.join(sorted(changed))}: not what the run recorded in dvc.lock (run: dvc repro)")
    from diagxnet.prediction.cases import write_cases  # torch takes seconds to import

    options = {"unit": params.evaluate.unit, "precision": params.train.precision, "each": arguments.each}
    count = write_cases(arguments.out, Path("data"), Path("models"), **options)
    print(f"{arguments.out}: {count:,} cases, with images of patients")


if __name__ == "__main__":
    run("cases", main, timed=False)
