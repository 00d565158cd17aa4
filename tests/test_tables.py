"""Tables are read as CheXpert writes them."""

from pathlib import Path

import numpy as np
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.reading.tables import read_named, read_tables
from tests.radiographs import HEADER, Row, image_path, write_table


def read_rows(folder: Path, *rows: Row):
    write_table(folder / "train.csv", list(rows))
    return read_named(folder, ["train"])[0]


def test_labels_are_1_0_minus_1_or_nan_in_chexperts_order(tmp_path: Path) -> None:
    table = read_rows(
        tmp_path, Row(image_path(1), labels={"Edema": "1.0", "Fracture": "0", "Pneumonia": "-1.0", "No Finding": "-1"})
    )
    expected = np.full(14, np.nan)
    for key, label in (("edema", 1), ("fracture", 0), ("pneumonia", -1), ("no_finding", -1)):
        expected[CHEXPERT.keys.index(key)] = label
    np.testing.assert_array_equal(table.labels, expected[None])


def test_labels_written_with_spaces_or_more_digits_are_the_same_labels(tmp_path: Path) -> None:
    table = read_rows(tmp_path, Row(image_path(1), labels={"Edema": " 1 ", "Fracture": "-1.00", "Pneumonia": "  "}))
    assert table.labels[0, CHEXPERT.keys.index("edema")] == 1
    assert table.labels[0, CHEXPERT.keys.index("fracture")] == -1
    assert np.isnan(table.labels[0, CHEXPERT.keys.index("pneumonia")])


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    header = list(reversed(HEADER))
    row = {"Path": f"release/{image_path(1)}", "Frontal/Lateral": "Lateral", "Edema": "1.0", "No Finding": "0.0"}
    text = ",".join(header) + "\n" + ",".join(row.get(column, "") for column in header) + "\n"
    (tmp_path / "train.csv").write_text(text, encoding="utf-8", newline="\n")
    table = read_named(tmp_path, ["train"])[0]
    assert table.frame["view"].tolist() == ["lateral"]
    assert table.labels[0, [CHEXPERT.keys.index("edema"), CHEXPERT.keys.index("no_finding")]].tolist() == [1, 0]


def test_equal_study_names_of_two_patients_are_two_studies(tmp_path: Path) -> None:
    table = read_rows(tmp_path, Row(image_path(1)), Row(image_path(2)))
    assert table.frame["study"].nunique() == 2


def test_chexperts_unknown_sex_age_0_and_blank_projection_are_read(tmp_path: Path) -> None:
    table = read_rows(
        tmp_path,
        Row(image_path(1), sex="Unknown", age="0", view="Lateral", projection=""),
        Row(image_path(2), sex="Male", age="90", projection="LL"),
        Row(image_path(3), age=""),
    )
    assert table.frame["sex"].tolist() == ["unknown", "male", "female"]
    assert table.frame["projection"].tolist() == ["", "LL", "AP"]
    np.testing.assert_array_equal(table.frame["age"], [0, 90, np.nan])


def test_sex_age_and_projection_columns_are_optional(tmp_path: Path) -> None:
    header = ["Path", "Frontal/Lateral", *CHEXPERT.names]
    text = ",".join(header) + f"\nrelease/{image_path(1)},Frontal{',' * 14}\n"
    (tmp_path / "train.csv").write_text(text, encoding="utf-8")
    frame = read_named(tmp_path, ["train"])[0].frame
    assert frame[["sex", "projection"]].values.tolist() == [["unknown", ""]]
    assert frame["age"].isna().all()


def test_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", [Row(image_path(1)), Row(image_path(2))])
    text = (tmp_path / "train.csv").read_text(encoding="utf-8")
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_named(tmp_path, ["train"])[0].frame["path"].tolist() == [image_path(1), image_path(2)]


def test_blank_lines_are_no_rows_and_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", [Row(image_path(1)), Row(image_path(2))])
    lines = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "train.csv").write_text("\n".join([lines[0], "", lines[1], "", lines[2], "", ""]), encoding="utf-8")
    assert read_named(tmp_path, ["train"])[0].lines.tolist() == [3, 5]


def test_valid_csv_is_optional(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", [Row(image_path(1))])
    train, valid = read_tables(tmp_path)
    assert len(train.frame) == 1
    assert valid is None


@pytest.mark.parametrize(("name", "rows", "patients"), [("train", 765, 526), ("valid", 235, 156)])
def test_nih_tables_are_read_whole(nih: Path, name: str, rows: int, patients: int) -> None:
    table = read_named(nih, [name])[0]
    assert (len(table.frame), table.frame["patient"].nunique(), table.labels.shape) == (rows, patients, (rows, 14))
