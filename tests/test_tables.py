"""Tables are read as CheXpert writes them."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import Findings
from diagxnet.reading.columns import Columns
from diagxnet.reading.tables import read_named, read_paths, read_tables
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
    (train,) = read_tables(tmp_path)
    assert len(train.frame) == 1


@pytest.mark.parametrize(("name", "rows", "patients"), [("train", 765, 526), ("valid", 235, 156)])
def test_nih_tables_are_read_whole(nih: Path, name: str, rows: int, patients: int) -> None:
    table = read_named(nih, [name])[0]
    assert (len(table.frame), table.frame["patient"].nunique(), table.labels.shape) == (rows, patients, (rows, 14))


def write_own(folder: Path, text: str, name: str = "train.csv") -> None:
    content = text.encode()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


OWN = Columns(
    patient="PID", path="file", view=None, sex="Gender", age="Years", findings=Findings(("Tuberculosis", "COVID-19"))
)
OWN_TEXT = """file,PID,Gender,Years,Tuberculosis,COVID-19
a_frontal.png,p1,M,045Y,True,no
sub/b_Lateral.png,p1,F,NA,nan,YES
c_frontal.dcm,p2,nan,,-1,False
"""


def test_a_table_of_other_names_is_read_by_its_names(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write_own(tmp_path, OWN_TEXT)
    table = read_named(tmp_path, ["train"], OWN)[0]
    assert table.frame["path"].tolist() == ["a_frontal.png", "sub/b_Lateral.png", "c_frontal.dcm"]
    assert table.frame["patient"].tolist() == ["p1", "p1", "p2"]
    assert table.frame["view"].tolist() == ["frontal", "lateral", "frontal"]
    assert table.frame["sex"].tolist() == ["male", "female", "unknown"]
    np.testing.assert_array_equal(table.frame["age"], [45, np.nan, np.nan])
    np.testing.assert_array_equal(table.labels, [[1, 0], [np.nan, 1], [-1, 0]])


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("train.csv", lambda text: text.replace(",", ";")),
        ("train.csv", lambda text: text.replace(",", "\t")),
        ("train.csv.gz", lambda text: text),
        ("train.csv.gz", lambda text: "\ufeff" + text.replace("\n", "\r\n").replace(",", ";")),
        (
            "train.csv",
            lambda text: "\n".join(f"{n - 1 if n else ''},{row}" for n, row in enumerate(text.split("\n")[:-1])),
        ),
        ("train.csv", lambda text: text.replace("\n", ",0\n").replace(",0\n", ",Unnamed: 0\n", 1)),
    ],
)
def test_semicolons_archives_and_an_index_of_pandas_make_no_difference(tmp_path: Path, name: str, edit) -> None:
    (tmp_path / "sub").mkdir()
    write_own(tmp_path, OWN_TEXT)
    plain = read_named(tmp_path, ["train"], OWN)[0]
    (tmp_path / "train.csv").unlink()
    write_own(tmp_path, edit(OWN_TEXT), name)
    other = read_named(tmp_path, ["train"], OWN)[0]
    pd.testing.assert_frame_equal(other.frame, plain.frame)
    np.testing.assert_array_equal(other.labels, plain.labels)
    assert read_paths(tmp_path, OWN) == [
        ("train", plain.frame["path"].tolist(), plain.frame["view"].tolist(), [2, 3, 4], plain.files)
    ]


def test_a_first_component_falls_away_unless_it_is_a_folder_of_the_root(tmp_path: Path) -> None:
    for first, expected in (("gone", "a_frontal.png"), ("there", "there/a_frontal.png")):
        (tmp_path / "there").mkdir(exist_ok=True)
        write_own(tmp_path, OWN_TEXT.replace("a_frontal", f"{first}/a_frontal"))
        assert read_named(tmp_path, ["train"], OWN)[0].frame["path"][0] == expected


def test_all_images_are_of_one_view_where_that_is_said(tmp_path: Path) -> None:
    write_own(tmp_path, OWN_TEXT.replace("_frontal", "").replace("_Lateral", ""))
    with pytest.raises(InputError, match="3 of 3 rows do not say whether an image is frontal or lateral"):
        read_named(tmp_path, ["train"], OWN)
    said = replace(OWN, view="frontal")
    assert set(read_named(tmp_path, ["train"], said)[0].frame["view"]) == {"frontal"}
    assert read_paths(tmp_path, said)[0].views == ["frontal"] * 3


def test_a_column_of_projections_tells_the_view(tmp_path: Path) -> None:
    write_own(tmp_path, "file,PID,Position,Tuberculosis,COVID-19\na,1,AP,1,0\nb,2,ll,1,0\nc,3,Lateral,0,0\n")
    columns = replace(OWN, view="Position", sex=None, age=None)
    frame = read_named(tmp_path, ["train"], columns)[0].frame
    assert frame[["view", "projection"]].values.tolist() == [["frontal", "AP"], ["lateral", "LL"], ["lateral", ""]]


def test_a_single_finding_is_a_table(tmp_path: Path) -> None:
    write_own(tmp_path, "file,PID,Tuberculosis\na_frontal,1,1\nb_frontal,2,0\n")
    columns = Columns(patient="PID", path="file", findings=Findings(("Tuberculosis",)))
    np.testing.assert_array_equal(read_named(tmp_path, ["train"], columns)[0].labels, [[1], [0]])
