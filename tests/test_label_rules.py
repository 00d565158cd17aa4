"""How often a labeler's labels are true, and the rules that follow."""

import csv
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from diagxnet.label_rules import Confirmed, compare, rule_for_blank, rule_for_uncertain, table
from tests.conftest import ROOT

STUDIES = ROOT.parent / "shared" / "data" / "chexpert-test-predictions"


def write(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return path


def tables(folder: Path, said: list[list[str]], true: list[list[str]], header: tuple = ("Study", "Edema")) -> tuple:
    return write(folder / "said.csv", list(header), said), write(folder / "true.csv", list(header), true)


def test_each_label_is_counted_where_the_truth_is_known_whatever_the_order(tmp_path):
    said = [["a", "1"], ["b", "-1"], ["c", ""], ["d", "0"], ["e", "-1.0"], ["f", "1"]]
    true = [["e", "1"], ["d", "0"], ["c", "1"], ["b", "0"], ["a", "1"], ["f", ""], ["g", "1"]]
    findings, confirmed, lines = compare(*tables(tmp_path, said, true), "Study")
    assert findings.names == ("Edema",)
    assert confirmed["edema"] == {
        "1": Confirmed(1, 1),
        "0": Confirmed(1, 0),
        "-1": Confirmed(2, 1),
        "blank": Confirmed(1, 1),
    }
    assert lines == ["6 studies; in one table alone: said.csv 0, true.csv 1"]


def test_an_interval_is_wilsons():
    assert Confirmed(10, 2).interval() == pytest.approx((0.0567, 0.5098), abs=1e-4)  # Newcombe 1998, by hand
    assert str(Confirmed(10, 2)) == "2 of 10 0.20 (0.06 to 0.51)"
    assert str(Confirmed(0, 0)) == "none"


@pytest.mark.parametrize(
    ("number", "true", "rule"),
    [
        (100, 1, "zeros"),
        (100, 12, "lsr_zeros"),
        (100, 68, "lsr_ones"),
        (100, 97, "ones"),
        (100, 55, "ignore"),
        (9, 0, "ignore"),
        (0, 0, "ignore"),
    ],
)
def test_the_rule_for_minus_1_is_the_one_of_the_nearest_target_where_the_labels_tell(number, true, rule):
    assert rule_for_uncertain({"-1": Confirmed(number, true)}) == rule


@pytest.mark.parametrize(
    ("blank", "positive", "rule"),
    [
        ((400, 100), (100, 80), "negative"),
        ((400, 100), (100, 30), "ignore"),
        ((400, 2), (10, 0), "negative"),
        ((9, 9), (100, 0), "negative"),
    ],
)
def test_a_blank_is_negative_where_it_is_rarely_true_or_less_often_than_at_large(blank, positive, rule):
    assert rule_for_blank({"1": Confirmed(*positive), "blank": Confirmed(*blank)}) == rule


def test_studies_of_one_patient_are_said_to_make_intervals_short(tmp_path):
    rows = [[f"release/test/patient00001/study{number}", "1"] for number in (1, 2)]
    assert "they are of 1 patients" in compare(*tables(tmp_path, rows, rows), "Study")[2][1]


@pytest.mark.parametrize(
    ("said", "true", "key", "message"),
    [
        ([["a", "1"]], [["b", "1"]], "Study", "have no Study in common"),
        ([["a", "1"], ["a", "0"]], [["a", "1"]], "Study", r"said.csv, line 3: Study 'a' is there twice \(mend"),
        ([["a", "2"]], [["a", "1"]], "Study", "said.csv, line 2: Edema is '2': must be 1, 0, -1 or blank"),
        ([["a", "1", "1"]], [["a", "1"]], "Study", "said.csv, line 2: has 3 values where the header has 2 columns"),
        ([["a", "1"]], [["a", "1"]], "Exam", r"no column 'Exam': it has Study, Edema \(name it: --key\)"),
    ],
)
def test_tables_that_cannot_be_compared_end_in_a_line(tmp_path, said, true, key, message):
    with pytest.raises(InputError, match=message):
        compare(*tables(tmp_path, said, true), key)


def test_tables_without_a_finding_in_common_are_refused(tmp_path):
    said = write(tmp_path / "said.csv", ["Study", "Edema"], [["a", "1"]])
    true = write(tmp_path / "true.csv", ["Study", "Oedema"], [["a", "1"]])
    with pytest.raises(InputError, match="have no label column in common"):
        compare(said, true, "Study")


@pytest.mark.skipif(not STUDIES.is_dir(), reason="the predictions on CheXpert's test set are not on this machine")
def test_radiologists_confirm_two_uncertain_consolidations_and_a_quarter_of_the_blank_cardiomegalies():
    findings, confirmed, lines = compare(STUDIES / "labelers/chexpert_labels.csv", STUDIES / "groundtruth.csv", "Study")
    assert len(findings) == 14
    assert len(lines) == 1
    assert confirmed["consolidation"]["-1"] == Confirmed(63, 2)
    assert confirmed["atelectasis"]["-1"] == Confirmed(81, 44)
    assert confirmed["cardiomegaly"]["blank"] == Confirmed(395, 102)
    text = table(findings, confirmed, {"edema": "ones", "consolidation": "ignore"})
    assert "zeros (now ignore)" in text
    assert rule_for_uncertain(confirmed["atelectasis"]) == "ignore"
