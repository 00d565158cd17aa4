"""Scores the trained ensemble on another labelled folder, and trains and fits nothing.

`python -m stages.external --root DIR --out metrics/external/NAME.json`; dvc.yaml shows it as a stage.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagxnet.external.validation import validate, write_external
from diagxnet.params.checked import read_params
from diagxnet.params.data import DataParams
from diagxnet.params.evaluate import EvaluateParams
from diagxnet.params.seed import Seed
from diagxnet.reading.columns import Columns
from diagxnet.statistics.comparison import model_table
from diagxnet.statistics.scoring import Scoring
from diagxnet.tables.named import named
from diagxnet.trained_on import ALLOW_IMAGES, ALLOW_PATIENTS
from stages.running import run

FURTHER = ("path", "view", "projection", "sex", "age")
"""Columns that CheXpert's tables have, which others may call otherwise (see reading.columns.Columns)."""


def add_folder(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which folder is scored, by which models, and what its columns are called."""
    parser.add_argument("--root", type=Path, required=True, help="folder of train.csv, valid.csv and the images")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the trained ensemble")
    parser.add_argument("--tables", choices=("all", "train", "valid"), default="all", help="what of it to score")
    parser.add_argument("--patient", metavar="COLUMN", help="names the patient (default: the path; Path: one an image)")
    parser.add_argument("--study", metavar="COLUMN", help="names the study (default: the path)")
    for key in FURTHER:
        parser.add_argument(f"--{key}", metavar="COLUMN", default=getattr(Columns, key), help=f"holds the {key}")
    parser.add_argument("--ignored", metavar="COLUMN", nargs="*", default=(), help="columns that are not read")
    text = "a member that is a table: its scores of these images"
    parser.add_argument("--scores", action="append", metavar="NAME=FILE", help=text)
    parser.add_argument(ALLOW_PATIENTS, dest="allow_patients", action="store_true", help="equal names are other people")
    parser.add_argument(ALLOW_IMAGES, dest="allow_images", action="store_true", help="score images it was trained on")


def take_folder(arguments: argparse.Namespace, data: DataParams, subgroups: Mapping[str, object]) -> dict[str, Any]:
    """What `score_folder` wants of those arguments, and of params.yaml."""
    given = {key: getattr(arguments, key) for key in ("root", "models", "tables", "allow_patients", "allow_images")}
    given["scores"] = named("--scores", arguments.scores or ())
    own = {key: getattr(arguments, key) for key in ("patient", "study", *FURTHER, "ignored")}
    given["columns"] = Columns(**own, groups=tuple(subgroups))
    return given | data.model_dump(include={"views", "blank", "bad_images"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.external", description=__doc__.splitlines()[0])
    add_folder(parser)
    parser.add_argument("--out", type=Path, required=True, help="metrics, as JSON")
    parser.add_argument("--report", type=Path, help="folder of the page (default: reports/external/NAME)")
    parser.add_argument("--mapping", type=Path, help="names the labels' classes (default: mapping.json in DIR)")
    parser.add_argument("--data", type=Path, help="data folder of the run that trained: shows what is lost from there")
    given = parser.parse_args()
    report = given.report or Path("reports/external") / given.out.stem
    params = read_params(seed=Seed, data=DataParams, evaluate=EvaluateParams)
    found = validate(
        scoring=Scoring(**params.evaluate.model_dump(), seed=params.seed),
        mapping=given.mapping,
        data=given.data,
        **take_folder(given, params.data, params.evaluate.subgroups),
    )
    write_external(found, given.out, report)
    print(model_table(found.results.evaluation))
    print(report / "report.html")


if __name__ == "__main__":
    run("external", main, timed=False)
