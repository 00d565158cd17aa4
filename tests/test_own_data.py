"""A hospital's own table, with its own findings, columns and kinds of files: to report, predictions and ONNX, by params
alone, as its user runs it."""

import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.dicoms import write_dicom
from tests.test_pipeline import SMALL, bounded, clone

HEADER = ("file", "pid", "gender", "years", "Tuberculosis", "COVID-19")
PATIENTS, IMAGES_EACH = 90, 2
SIGNS = {"Tuberculosis": (slice(8, 20), slice(6, 18)), "COVID-19": (slice(28, 44), slice(24, 44))}
"""Where each finding is bright."""


def write_film(path: Path, positive: set[str], chance: np.random.Generator) -> None:
    """A film of 48 x 52 pixels as 8-bit PNG, 16-bit PNG, TIFF or DICOM, by the ending of `path`."""
    grey = chance.uniform(0.2, 0.4, (52, 48))
    for finding in positive:
        grey[SIGNS[finding]] += 0.4
    kind = path.suffixes[0]
    if kind == ".dcm":
        write_dicom(path, (grey * 4095).astype(np.uint16))
    else:
        samples = (grey * 65535).astype(np.uint16) if kind == ".16" else (grey * 255).astype(np.uint8)
        Image.fromarray(samples).save(path)


def write_hospital(root: Path) -> Path:
    """Flat files of four kinds and a table of six columns with semicolons, as a spreadsheet saves it."""
    root.mkdir()
    chance = np.random.default_rng(11)
    kinds = (".png", ".16.png", ".tif", ".dcm" if find_spec("pydicom") else ".png")
    with (root / "train.csv").open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(HEADER)
        for number in range(PATIENTS * IMAGES_EACH):
            patient, positive = number // IMAGES_EACH, {name for name in SIGNS if chance.random() < 0.4}
            name = f"film{number:04d}{kinds[number % 4]}"
            write_film(root / name, positive, chance)
            words = [("yes", "no"), ("True", "False"), ("1", "0")][number % 3]
            labels = [words[finding not in positive] if number % 11 else "NA" for finding in SIGNS]
            rows.writerow([name, f"H-{patient:03d}", "MF"[patient % 2], 20 + patient % 60, *labels])
    return root


VALUES = {
    "data.findings": ["Tuberculosis", "COVID-19"],
    "data.columns.path": "file",
    "data.columns.patient": "pid",
    "data.columns.view": "frontal",
    "data.columns.sex": "gender",
    "data.columns.age": "years",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The clone after `dvc exp run` with nothing but values of params.yaml, and the hospital's folder."""
    folder = tmp_path_factory.mktemp("own")
    root = write_hospital(folder / "hospital")
    here = clone(folder / "clone", SMALL)
    sets = {**VALUES, "data.root": root.as_posix()}
    flags = [flag for key, value in sets.items() for flag in ("-S", f"{key}={json.dumps(value)}")]
    done = bounded([sys.executable, "-m", "dvc", "exp", "run", *flags], here, 500)
    assert done.returncode == 0, done.stdout[-4000:]
    return here, root


def command(here: Path, *arguments: str) -> str:
    done = bounded([sys.executable, "-m", *arguments], here, 300)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_report_and_the_metrics_are_of_the_hospitals_findings(trained):
    here, _ = trained
    evaluation = json.loads((here / "metrics/evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["findings"] == {"tuberculosis": "Tuberculosis", "covid_19": "COVID-19"}
    assert set(evaluation["ensemble"]["auroc"]["per_finding"]) == {"tuberculosis", "covid_19"}
    assert "chexpert5" not in evaluation["ensemble"]["auroc"]
    assert set(evaluation["subgroups_too_small"]["sex"]) == {"female", "male"}
    summary = json.loads((here / "data/prepared/summary.json").read_text(encoding="utf-8"))
    assert summary["tables"]["train"]["images"] == PATIENTS * IMAGES_EACH
    assert summary["tables"]["train"]["patients"] == PATIENTS
    assert summary["tables"]["train"]["findings"]["covid_19"]["images"]["blank"] == len(range(0, 180, 11))
    for name in ("plots/report.html", "models/MODEL_CARD.md"):
        text = (here / name).read_text(encoding="utf-8")
        assert "COVID-19" in text
        assert "Pleural Effusion" not in text.partition("Params")[0]


def test_every_kind_of_file_is_packed_as_its_8_bit_twin(trained):
    here, _ = trained
    images = np.load(here / "data/packed/images.npy")
    assert len(images) == PATIENTS * IMAGES_EACH
    spreads = images.reshape(-1, 4, 32 * 32).std(axis=2).mean(axis=0)  # of each of the four kinds
    assert spreads.min() > 20


def test_predict_and_the_exported_network_know_the_findings(trained, tmp_path):
    here, root = trained
    options = ("--column", "file", "--csv", str(tmp_path / "p.csv"), "--precision", "fp32")
    text = command(here, "diagxnet.predict", str(root / "train.csv"), *options)
    assert text.count("Tuberculosis") == PATIENTS * IMAGES_EACH
    with (tmp_path / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "tuberculosis", "covid_19", "present", "doubts", "error"]
    assert all(0 <= float(row["covid_19"]) <= 1 for row in rows)
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is an extra")
    pytest.importorskip("onnxscript", reason="onnxscript is an extra")
    command(here, "diagxnet.export", str(tmp_path / "own.onnx"))
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["findings"] == "tuberculosis,covid_19"
    image = np.load(here / "data/packed/images.npy")[:1, None]
    (probabilities,) = session.run(["probabilities"], {"images": image})
    assert probabilities.shape == (1, 2)
    assert probabilities[0, 0] == pytest.approx(float(rows[0]["tuberculosis"]), abs=1e-4)


def test_another_hospital_without_these_findings_is_refused_in_a_line(trained):
    here, _ = trained
    done = bounded([sys.executable, "-m", "stages.external", "--root", "data/demo", "--out", "x.json"], here, 300)
    assert done.returncode == 1
    assert "train.csv, line 1: none of the findings is a column (Tuberculosis, COVID-19)" in done.stdout


def test_what_was_set_stays_in_params_yaml(trained):
    here, _ = trained
    data = yaml.safe_load((here / "params.yaml").read_text(encoding="utf-8"))["data"]
    assert data["findings"] == VALUES["data.findings"]
    assert data["uncertain"]["edema"] == "ones"
