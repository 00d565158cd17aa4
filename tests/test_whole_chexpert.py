"""CheXpert as it arrives, through DVC: batch folders, a test set with labels by study, valid.csv as val."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from diagxnet.data.files import read_json
from tests.releases import make_batches, make_test_set
from tests.test_pipeline import SMALL, bounded, clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    root = make_batches(folder / "release", patients=120, valid=50)
    table = make_test_set(folder / "chexlocalize/CheXpert", by_study=True, studies=50)
    here = clone(folder / "clone", SMALL)
    sets = {"data.root": root.as_posix(), "data.test": table.as_posix()}
    flags = [flag for key, value in sets.items() for flag in ("-S", f"{key}={json.dumps(value)}")]
    done = bounded([sys.executable, "-m", "dvc", "exp", "run", *flags], here, 600)
    assert done.returncode == 0, done.stdout[-4000:]
    return here


def test_the_test_set_is_the_table_of_its_own_and_val_is_valid_csv(trained):
    counts = read_json(trained / "metrics/evaluation.json")["counts"]
    assert (counts["units"], counts["patients"], counts["positives"]["edema"]) == (50, 50, 25)
    splits = read_json(trained / "data/prepared/summary.json")["splits"]
    assert {name: own["images"] for name, own in splits.items() if name in ("val", "test")} == {"val": 50, "test": 50}
    calibration = read_json(trained / "models/calibration.json")["models"]["ensemble"]["edema"]
    assert (calibration["positives"], calibration["negatives"]) == (25, 25)
    report = (trained / "plots/report.html").read_text(encoding="utf-8")
    assert "rows of data.test" in report


def test_the_audit_says_of_which_table_the_test_labels_are_and_who_reads_them(trained):
    done = bounded([sys.executable, "-m", "stages.audit"], trained, 300)
    assert done.returncode == 0, done.stdout
    assert "test labels: of data.test: a dependency of evaluate alone among" in done.stdout


def test_preflight_finds_nothing_that_would_stop_it(trained):
    done = bounded([sys.executable, "-m", "stages.preflight"], trained, 300)
    assert done.returncode == 0, done.stdout
    assert "rows: train.csv 120, valid.csv 50, data.test 67" in done.stdout
    assert yaml.safe_load((trained / "params.yaml").read_text(encoding="utf-8"))["data"]["test"].endswith(".csv")
