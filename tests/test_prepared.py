"""Prepared data: every row in one split, targets by the rules, counts that add up."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.packed import read_index
from diagxnet.data.prepared import read_labels, read_manifest
from diagxnet.labels.prepare import audit_table
from diagxnet.labels.rules import RULES, apply_rules, score_labels
from diagxnet.reading.columns import Columns
from diagxnet.reading.tables import read_tables
from tests.bad_input import pack_of, prepare_of
from tests.radiographs import Row, image_path, make_data, write_image, write_table

SPLITS = ("train", "val", "stack", "test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_data(tmp_path, train=60, valid=8)
    return tmp_path


def labels_as_read(root: Path) -> pd.Series:
    return {
        path: row for table in read_tables(root) for path, row in zip(table.frame["path"], table.labels, strict=True)
    }


def write_studies(root: Path) -> None:
    """Twenty patients with two studies of two views, the labels differing between the views; test patients beside."""
    for table, patients in (("train", range(20)), ("valid", range(900, 904))):
        rows = []
        for patient in patients:
            for study in (1, 2):
                rows.append(Row(image_path(patient, study, 1, table), labels={"Edema": "1.0", "No Finding": "1.0"}))
                rows.append(Row(image_path(patient, study, 2, table), view="Lateral", labels={"Edema": "-1.0"}))
        for row in rows:
            write_image(root / row.path)
        write_table(root / f"{table}.csv", rows)


def test_every_row_is_in_one_split_and_files_agree(root: Path) -> None:
    prepare_of(root)
    manifest = read_manifest(root / ".prepared")
    assert manifest["row"].tolist() == list(range(68))
    assert manifest["path"].tolist() == read_index(root / ".packed")["path"].tolist()
    for split in SPLITS:
        labels = read_labels(root / ".prepared", split)
        assert labels.rows.tolist() == manifest["row"][manifest["split"] == split].tolist()
        assert (labels.rows.dtype, labels.targets.dtype, labels.mask.dtype) == (np.int64, np.float32, np.bool_)
        assert labels.targets.shape == labels.mask.shape == (len(labels.rows), 14)
        assert not labels.targets[~labels.mask].any()


def test_train_and_stack_follow_the_rules_and_val_and_test_mask_what_is_uncertain(root: Path) -> None:
    uncertain = dict.fromkeys(CHEXPERT.keys, "lsr_ones")
    prepare_of(root, uncertain=uncertain, blank="ignore")
    manifest, read = read_manifest(root / ".prepared"), labels_as_read(root)
    for split in SPLITS:
        paths = manifest["path"][manifest["split"] == split].tolist()
        labels = np.array([read[path] for path in paths])
        if split in ("train", "stack"):
            expected = apply_rules(labels, paths, CHEXPERT, uncertain=uncertain, blank="ignore", seed=1)
        else:
            expected = score_labels(labels, blank="ignore")
        prepared = read_labels(root / ".prepared", split)
        np.testing.assert_array_equal(prepared.targets, expected[0])
        np.testing.assert_array_equal(prepared.mask, expected[1])


def test_the_cells_of_further_columns_of_test_go_to_a_file_that_no_training_reads(root: Path) -> None:
    prepare_of(root)
    before = {path.name: path.read_bytes() for path in (root / ".prepared").iterdir()}
    table = pd.read_csv(root / "valid.csv", dtype=str, keep_default_na=False)
    table.assign(Race=["Asian", " White", ""] + ["Black"] * 5).to_csv(root / "valid.csv", index=False)
    prepare_of(root, columns=Columns(groups=("Race",)))
    found = pd.read_csv(root / ".prepared/groups.csv", keep_default_na=False)
    assert found["Race"].tolist() == ["Asian", "White", ""] + ["Black"] * 5
    assert found["row"].tolist() == read_labels(root / ".prepared", "test").rows.tolist()
    after = {path.name: path.read_bytes() for path in (root / ".prepared").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"groups.csv"}


def test_the_manifest_holds_no_label(root: Path) -> None:
    prepare_of(root)
    header = (root / ".prepared" / "manifest.csv").read_text(encoding="utf-8").split("\n")[0]
    assert header == "row,split,path,patient,study,view,projection,sex,age"


def test_valid_csv_is_the_test_set_whatever_the_subset(root: Path) -> None:
    prepare_of(root, max_patients=30)
    manifest = read_manifest(root / ".prepared")
    assert manifest["path"][manifest["split"] == "test"].str.startswith("valid/").all()
    assert (manifest["split"] == "test").sum() == 8
    assert manifest["patient"][manifest["split"] != "test"].nunique() == 30


def test_without_valid_csv_a_share_of_patients_is_the_test_set(tmp_path: Path) -> None:
    make_data(tmp_path, train=200, valid=0)
    prepare_of(tmp_path)
    manifest = read_manifest(tmp_path / ".prepared")
    shares = manifest["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.08)
    assert shares["train"] == pytest.approx(0.48, abs=0.1)


def test_removing_rows_moves_no_other_row_and_changes_no_other_target(root: Path) -> None:
    uncertain = dict.fromkeys(CHEXPERT.keys, "lsr_zeros")
    prepare_of(root, uncertain=uncertain)
    before, targets_before = splits_and_targets(root)
    lines = (root / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "train.csv").write_text("".join(lines[:1] + lines[5:]), encoding="utf-8", newline="\n")
    prepare_of(root, uncertain=uncertain)
    after, targets_after = splits_and_targets(root)
    assert len(after) == len(before) - 4
    assert all(before[path] == split for path, split in after.items())
    assert all((targets_before[path] == targets).all() for path, targets in targets_after.items())


def splits_and_targets(root: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    manifest = read_manifest(root / ".prepared")
    paths = manifest.set_index("row")["path"]
    targets = {}
    for split in SPLITS:
        labels = read_labels(root / ".prepared", split)
        targets |= {paths[row]: target for row, target in zip(labels.rows, labels.targets, strict=True)}
    return dict(zip(manifest["path"], manifest["split"], strict=True)), targets


def test_a_reader_refuses_a_manifest_with_a_patient_in_two_splits(root: Path) -> None:
    prepare_of(root)
    path = root / ".prepared" / "manifest.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[1].split(",")
    cells[0], cells[1] = "999", "val" if cells[1] != "val" else "train"
    path.write_text("\n".join([*lines, ",".join(cells)]) + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="more than one split"):
        read_manifest(root / ".prepared")


def test_a_study_counts_with_its_first_row(tmp_path: Path) -> None:
    write_studies(tmp_path)
    counts = prepare_of(tmp_path)["tables"]["train"]
    assert (counts["images"], counts["studies"], counts["patients"]) == (80, 40, 20)
    edema = counts["findings"]["edema"]
    assert edema["images"] == {"positive": 40, "negative": 0, "uncertain": 40, "blank": 0}
    assert edema["studies"] == {"positive": 40, "negative": 0, "uncertain": 0, "blank": 0}


@pytest.mark.parametrize(("views", "images"), [("all", 80), ("frontal", 40), ("lateral", 40)])
def test_views_choose_rows_after_the_audit_of_the_table(tmp_path: Path, views: str, images: int) -> None:
    write_studies(tmp_path)
    summary = prepare_of(tmp_path, views=views)
    manifest = read_manifest(tmp_path / ".prepared")
    assert views == "all" or set(manifest["view"]) == {views}
    assert sum(summary["splits"][split]["images"] for split in ("train", "val", "stack")) == images
    assert summary["tables"]["train"]["images"] == 80


def test_rows_that_contradict_themselves_are_counted(tmp_path: Path) -> None:
    write_studies(tmp_path)
    summary = prepare_of(tmp_path)
    assert summary["tables"]["train"]["contradictions"] == 40
    assert sum(summary["splits"][split]["contradictions"] for split in SPLITS) == 40 + 8


def test_splits_add_up_to_the_tables(root: Path) -> None:
    summary = prepare_of(root)
    for key in CHEXPERT.keys:
        for label in ("positive", "negative", "uncertain", "blank"):
            whole = sum(summary["tables"][name]["findings"][key]["images"][label] for name in ("train", "valid"))
            assert sum(summary["splits"][split]["findings"][key]["images"][label] for split in SPLITS) == whole


def test_no_finding_under_ignored_blanks_is_warned_of_by_the_rules_name(root: Path) -> None:
    summary = prepare_of(root, blank="ignore")
    assert "no_finding" in summary["one_class"]["train"]
    expected = "no_finding: positives only in train under data.blank: ignore; nothing can be learned from that"
    assert expected in summary["warnings"]
    assert "no_finding" not in prepare_of(root, blank="negative")["one_class"]["train"]


def write_partly_blank(root: Path) -> None:
    """Fracture is blank throughout train.csv and Edema throughout valid.csv; in train.csv all but one row are blank of
    Pneumonia."""
    for table, first, count in (("train", 0, 60), ("valid", 900, 8)):
        rows = [Row(image_path(number, table=table)) for number in range(first, first + count)]
        for number, row in enumerate(rows):
            write_image(root / row.path)
            row.labels = {"No Finding": "1.0" if number % 2 else ""}
            row.labels |= {"Edema": "1.0" if number % 3 else "0.0"} if table == "train" else {"Fracture": "1.0"}
        rows[7].labels["Pneumonia"] = "1.0"
        write_table(root / f"{table}.csv", rows)


@pytest.mark.parametrize("blank", ["negative", "ignore"])
def test_what_is_blank_throughout_its_table_is_masked_and_without_a_label_in_train_not_learned(
    tmp_path: Path, blank: str
) -> None:
    write_partly_blank(tmp_path)
    summary = prepare_of(tmp_path, blank=blank)
    known = {split: read_labels(tmp_path / ".prepared", split).mask.mean(axis=0) for split in SPLITS}
    for split in SPLITS:
        assert known[split][CHEXPERT.keys.index("fracture")] == 0  # labelled in valid.csv, which teaches nothing
    assert known["train"][CHEXPERT.keys.index("edema")] == 1
    assert known["test"][CHEXPERT.keys.index("edema")] == 0
    for key in ("no_finding", "pneumonia"):
        assert (known["train"][CHEXPERT.keys.index(key)] == 1) == (blank == "negative")
    blank_in = {key: [split for split in SPLITS if key in summary["not_annotated"][split]] for key in CHEXPERT.keys}
    assert blank_in["edema"] == ["test"]
    assert blank_in["fracture"] == ["train", "val", "stack"]
    assert blank_in["no_finding"] == blank_in["pneumonia"] == []
    assert {"no_finding", "edema"}.isdisjoint(summary["not_learned"])
    assert "fracture" in summary["not_learned"]
    assert ("pneumonia" in summary["not_learned"]) == (known["train"][CHEXPERT.keys.index("pneumonia")] == 0)
    warned = next(line for line in summary["warnings"] if "fracture" in line)
    assert warned.endswith("no known label in train as all are blank; nothing can be learned from that")


def test_a_rule_for_uncertain_labels_that_leaves_one_class_is_named(tmp_path: Path) -> None:
    write_studies(tmp_path)
    warnings = prepare_of(tmp_path, uncertain=dict.fromkeys(CHEXPERT.keys, "ones"))["warnings"]
    assert (
        "edema: positives only in train under data.uncertain.edema: ones; nothing can be learned from that" in warnings
    )


def test_the_audit_table_shows_each_table_and_split_within_120_columns(root: Path) -> None:
    summary = prepare_of(root)
    text = audit_table(summary, CHEXPERT)
    for title in (
        "train.csv as read: 60 images",
        "valid.csv as read: 8 images",
        "split train:",
        "split stack:",
        "split val:",
        "split test: 8 images",
    ):
        assert title in text
    assert max(map(len, text.split("\n\ndropped")[0].splitlines())) <= 120
    assert text.count("Pleural Effusion") == 6


def test_equal_inputs_give_equal_bytes(root: Path) -> None:
    prepare_of(root, uncertain=dict.fromkeys(CHEXPERT.keys, "lsr_ones"))
    first = {path.name: path.read_bytes() for path in (root / ".prepared").iterdir()}
    prepare_of(root, uncertain=dict.fromkeys(CHEXPERT.keys, "lsr_ones"))
    assert {path.name: path.read_bytes() for path in (root / ".prepared").iterdir()} == first
    assert sorted(first) == [
        "findings.json",
        "folds.npz",
        "groups.csv",
        "labels_stack.npz",
        "labels_test.npz",
        "labels_train.npz",
        "labels_val.npz",
        "manifest.csv",
        "summary.json",
    ]


def test_the_written_summary_is_the_returned_one(root: Path) -> None:
    summary = prepare_of(root)
    assert json.loads((root / ".prepared" / "summary.json").read_text(encoding="utf-8")) == summary


def test_metadata_survive_the_manifest(tmp_path: Path) -> None:
    write_studies(tmp_path)
    rows = [Row(image_path(950), sex="Unknown", age="", projection=""), Row(image_path(951), age="0", projection="LL")]
    for row in rows:
        write_image(tmp_path / row.path)
    write_table(tmp_path / "valid.csv", rows)
    prepare_of(tmp_path)
    manifest = read_manifest(tmp_path / ".prepared")
    test = manifest[manifest["split"] == "test"]
    assert test["sex"].tolist() == ["unknown", "female"]
    assert test["projection"].tolist() == ["", "LL"]
    np.testing.assert_array_equal(test["age"], [np.nan, 0])


@pytest.mark.parametrize("rule", RULES)
def test_the_nih_data_prepare_under_every_rule(nih: Path, tmp_path: Path, rule: str) -> None:
    from diagxnet.labels.prepare import prepare

    pack_of(nih, tmp_path)
    for blank in ("negative", "ignore"):
        summary = prepare(
            nih,
            tmp_path / ".packed",
            tmp_path / "prepared",
            views="all",
            uncertain=dict.fromkeys(CHEXPERT.keys, rule),
            blank=blank,
            split_seed=1,
            max_patients=None,
            shares={"val": 0.2, "stack": 0.2, "test": 0.2},
        )
        assert summary["splits"]["test"]["images"] == 235
        assert summary["not_learned"] == ["fracture", "support_devices"]
        for split in SPLITS:
            mask = read_labels(tmp_path / "prepared", split).mask
            assert not mask[:, [CHEXPERT.keys.index("fracture"), CHEXPERT.keys.index("support_devices")]].any()
