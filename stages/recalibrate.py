"""Fits calibration and thresholds of the trained ensemble to another hospital, on a labelled sample of its own.

`python -m stages.recalibrate --root DIR` writes a file that `diagxnet.predict --calibration` takes.
"""

import argparse
from pathlib import Path

from diagxnet.external.recalibration import recalibrate_folder, table
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.seed import Seed
from diagxnet.statistics.scoring import Scoring
from stages.external import add_folder, take_folder
from stages.running import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.recalibrate", description=__doc__.splitlines()[0])
    add_folder(parser)
    parser.add_argument("--out", type=Path, help="the calibration (default: reports/recalibrated/NAME.json)")
    given = parser.parse_args()
    out = given.out or Path("reports/recalibrated") / f"{given.root.resolve().name}.json"
    params = read_params(seed=Seed, data=DataParams, evaluate=EvaluateParams)
    scoring = Scoring(**params.evaluate.model_dump(), seed=params.seed)
    folder = take_folder(given, params.data, params.evaluate.subgroups)
    own, findings = recalibrate_folder(out=out, scoring=scoring, **folder)
    print(table(own, findings))
    print(f"{out} (predict with it: python -m diagxnet.predict --calibration {out} PATH)")


if __name__ == "__main__":
    run("recalibrate", main, timed=False)
