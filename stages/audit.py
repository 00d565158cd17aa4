"""`python -m stages.audit` checks a finished run: leaks, and whether its metrics are what its files give."""

import argparse
from pathlib import Path

from diagxnet.audit.claims import Claims
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.train import TrainParams
from stages.recorded import pipeline
from stages.running import run

IMAGES = 8


def check(claims: Claims, *, images: int = IMAGES) -> list[str]:
    """Audits the run in the current folder, whose metrics say `claims`, by params.yaml; a line for each check."""
    from diagxnet.audit.checks import audit  # torch and pandas take seconds to import

    params = read_params(data=DataParams, train=TrainParams, evaluate=EvaluateParams)
    return audit(
        Path("data"),
        Path("models"),
        claims,
        pipeline(),
        tables=Path(params.data.root),
        named={name: getattr(params.data.columns, name) for name in ("path", "patient", "study")},
        test_table=params.data.test,
        unit=params.evaluate.unit,
        min_positives=params.evaluate.min_positives,
        precision=params.train.precision,
        images=images,
        columns=params.evaluate.subgroups,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.audit", description=__doc__)
    parser.add_argument(
        "--images", type=int, default=IMAGES, help=f"of each split, whose logits are made again ({IMAGES})"
    )
    images = parser.parse_args().images
    if images < 1:
        parser.error(f"argument --images: must be 1 or more, is {images}")
    from diagxnet.audit.run import read_claims

    print("\n".join(check(read_claims(Path("metrics"), Path("models")), images=images)))


if __name__ == "__main__":
    run("audit", main, timed=False)
