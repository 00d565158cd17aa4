"""Table 1 and the way from rows to units: counts by hand, and every loss with its reason."""

import re

import numpy as np
import pandas as pd
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.prepared import Labels
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.cohort import content
from diagxnet.statistics.cohort import cohort, losses
from tests.bad_input import prepare_of
from tests.radiographs import image_path, make_data

ROWS = pd.DataFrame(
    {
        "patient": ["a", "a", "b", "c"],
        "study": ["a/1", "a/2", "b/1", "c/1"],
        "view": ["frontal", "frontal", "lateral", "frontal"],
        "projection": ["AP", "PA", "", ""],
        "sex": ["female", "female", "male", "unknown"],
        "age": [50.0, 51.0, 70.0, np.nan],
    }
)


def test_age_and_sex_are_of_patients_and_views_and_findings_of_images():
    targets, mask = np.zeros((4, len(CHEXPERT)), np.float32), np.ones((4, len(CHEXPERT)), bool)
    targets[:, 0], mask[3, 0] = [1, 0.6, 0.3, 1], False
    found = cohort(ROWS, Labels(np.arange(4), targets, mask), CHEXPERT.keys)
    assert [found[name] for name in ("images", "studies", "patients")] == [4, 4, 3]
    assert found["age"] == {"mean": 60.0, "deviation": pytest.approx(np.sqrt(200)), "unknown": 1}
    assert found["sex"] == {"female": 1, "male": 1, "unknown": 1}
    assert found["view"] == {"frontal": 1, "frontal_ap": 1, "frontal_pa": 1, "lateral": 1}
    assert found["findings"]["no_finding"] == {"positive": 2, "known": 3}
    nobody = cohort(ROWS.assign(age=np.nan), Labels(np.arange(4), targets, mask), CHEXPERT.keys)
    assert nobody["age"] == {"mean": None, "deviation": None, "unknown": 3}


@pytest.mark.parametrize("valid", [8, 0])
def test_what_is_read_is_what_is_used_and_what_is_lost_whatever_the_tables(valid, tmp_path):
    make_data(tmp_path, train=60, valid=valid)
    (tmp_path / image_path(5)).write_bytes(b"")
    (tmp_path / image_path(6)).write_bytes(b"GIF89a")
    text = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    text[20:23] = [line.replace("Frontal,AP", "Lateral,") for line in text[20:23]]
    (tmp_path / "train.csv").write_text("".join(text), encoding="utf-8")
    summary = prepare_of(tmp_path, views="frontal")
    found = losses(summary)
    assert list(found) == ["train", *(["valid"] if valid else [])]
    own = found["train"]
    assert own["read"] == 60
    assert (sum(own["unreadable"].values()), len(own["unreadable"]), own["not_wanted"]) == (2, 2, 3)
    assert sum(own["in_use"].values()) == 55
    assert ("test" in own["in_use"]) == (not valid)
    if valid:
        assert found["valid"] == {"read": 8, "unreadable": {}, "not_wanted": 0, "in_use": {"test": 8}}


def test_the_report_shows_the_losses_and_their_reasons(tmp_path):
    from tests.test_evaluation import run

    results = run(tmp_path)
    text = (tmp_path / "plots/report.html").read_text(encoding="utf-8")
    section = text[text.index('<section id="patients">') : text.index('<section id="data">')]
    assert "221 rows of train.csv" in section
    assert "1 unreadable: truncated" in section
    assert "150 rows of valid.csv" in section
    assert re.search(r"13 findings scored on 150 test images of 75 patients", section)
    masked = results.evaluation["counts"]["masked"].values()
    assert f"labels that are not known: {min(masked)} to {max(masked)} a finding" in section
    assert "findings of one class: Fracture" in section
    assert "<td>Images</td><td>60</td><td>120</td><td>40</td><td>150</td>" in section
    assert not content(Material(results, {}, {}, None, None, None, {}), {})
    assert "Sex: unknown" in section
