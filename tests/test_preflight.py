"""The preflight: what it counts is what the run will use, and what it finds would have stopped the run."""

import inspect
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.hierarchy import Hierarchy
from diagxnet.preflight.plan import Notices, Plan, hours, look_at_data, training_line
from diagxnet.preflight.rehearsal import Pace, rehearse_base
from diagxnet.reading.columns import CHEXPERT_COLUMNS
from diagxnet.training.networks import create_base
from stages import preflight
from tests.bad_input import prepare_of
from tests.conftest import ROOT
from tests.gradients import recipe
from tests.radiographs import make_data

OPTIONS = {
    "image_size": 32,
    "views": "frontal",
    "uncertain": dict.fromkeys(CHEXPERT.keys, "ignore"),
    "blank": "negative",
    "split_seed": 1,
    "max_patients": None,
    "shares": {"val": 0.2, "stack": 0.2, "test": 0.2},
    "bad_images": "stop",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_data(tmp_path, train=60, valid=8)
    return tmp_path


def look(root: Path, **options: object) -> tuple[Plan, Notices]:
    return look_at_data(root, **(OPTIONS | options), disk=root / "not/yet/there")


def test_the_splits_are_those_that_prepare_makes(root: Path) -> None:
    plan, found = look(root)
    summary = prepare_of(root)
    assert plan.splits == {split: counts["images"] for split, counts in summary["splits"].items()}
    assert plan.packed == 68
    assert not found.problems


def test_the_splits_of_a_subset_are_those_that_prepare_makes(root: Path) -> None:
    plan, _ = look(root, max_patients=30)
    summary = prepare_of(root, max_patients=30)
    assert plan.splits == {split: counts["images"] for split, counts in summary["splits"].items()}
    assert sum(plan.splits.values()) == 38


def test_its_warnings_are_those_of_prepare(root: Path) -> None:
    _, found = look(root)
    warnings = [f"warning: {line}" for line in prepare_of(root, views="frontal")["warnings"]]
    assert any("fracture" in line for line in warnings)
    assert [line for line in found.lines if line.startswith("warning: ")] == warnings


def test_missing_empty_and_truncated_images_are_each_named_with_their_line(root: Path) -> None:
    images = sorted((root / "train").rglob("*.jpg"))
    images[0].unlink()
    images[1].write_bytes(b"")
    images[2].write_bytes(images[2].read_bytes()[:300])
    _, found = look(root)
    text = "\n".join(found.problems)
    for image, reason in zip(images, ("is missing", "is empty", "is truncated or damaged"), strict=False):
        assert f"{image.relative_to(root).as_posix()}: {reason}" in text
    assert text.count("train.csv, line ") == len(found.problems) == 3


def test_images_that_a_run_would_drop_are_no_problem_and_in_no_split(root: Path) -> None:
    before, _ = look(root)
    for image in sorted((root / "train").rglob("*.jpg"))[:5]:
        image.unlink()
    plan, found = look(root, bad_images="drop")
    assert not found.problems
    assert sum(plan.splits.values()) == sum(before.splits.values()) - 5
    assert "data.bad_images: drop leaves out 5 images that are missing or empty" in found.lines


def test_groups_and_tables_of_predictions_are_tried_as_the_run_will(root: Path, tmp_path: Path) -> None:
    table = root / "valid.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    added = [f"{header},BMI", *(f"{row},{20 + n}" for n, row in enumerate(rows))]
    table.write_text("\n".join(added) + "\n", encoding="utf-8")
    columns = replace(CHEXPERT_COLUMNS, groups=("BMI",))
    _, found = look(root, columns=columns, subgroups={"BMI": [24.0]})
    assert "BMI: 24_and_over 4, under_24 4" in found.lines
    vendor = tmp_path / "vendor.csv"
    vendor.write_text(f"Path,Edema\n{rows[0].split(',')[0]},0.1\n", encoding="utf-8")
    table.write_text(table.read_text(encoding="utf-8").replace(",22\n", ",heavy\n"), encoding="utf-8")
    _, found = look(root, columns=columns, subgroups={"BMI": [24.0]}, given={"vendor": str(vendor), "lost": "no.csv"})
    assert any("evaluate.subgroups.BMI: 'heavy' is no number" in each for each in found.problems)
    assert any("images of stack, val and test" in each for each in found.problems)
    assert any("lost: no.csv: No such file or directory" in each for each in found.problems)


def test_a_parent_that_is_labelled_nowhere_is_a_problem_as_in_prepare(root: Path) -> None:
    hierarchy = Hierarchy("labels", {"pneumonia": "consolidation"})
    table = pd.read_csv(root / "train.csv", dtype=str, keep_default_na=False)
    for column, label in (("Pneumonia", "1.0"), ("Consolidation", "0.0")):
        table[column] = label
    table.to_csv(root / "train.csv", index=False)
    assert not look(root, hierarchy=hierarchy)[1].problems
    table.assign(Consolidation="").to_csv(root / "train.csv", index=False)
    (problem,) = look(root, hierarchy=hierarchy)[1].problems
    assert "consolidation, the parent of pneumonia, has no known label in train" in problem


def test_the_stage_hands_on_all_that_the_section_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*arguments: object, **keywords: object) -> None:
        inspect.signature(look_at_data).bind(*arguments, **keywords)
        raise InputError("all of it")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(preflight, "look_at_data", looked)
    monkeypatch.setattr(preflight, "_trainings", lambda params, sizes: None)
    with pytest.raises(InputError, match="all of it"):
        preflight.main()


def test_a_disk_that_is_too_small_is_a_problem_that_names_the_sum(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagxnet.preflight.plan.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    _, found = look(root, image_size=1024)
    assert any("takes 0.07 GB at 1024 px" in problem and "make room" in problem for problem in found.problems)


def test_a_rule_that_leaves_one_class_is_named(root: Path) -> None:
    _, found = look(root, blank="ignore")
    assert any("no_finding: positives only in train under data.blank: ignore" in line for line in found.lines)


def test_a_split_without_an_image_is_a_problem(root: Path) -> None:
    _, found = look(root, views="lateral")
    assert any("no image in train" in problem for problem in found.problems)


def test_a_table_that_cannot_be_read_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.root"):
        look(tmp_path / "nowhere")


def test_a_rehearsal_takes_the_real_loop_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model = create_base("vit_tiny_patch16_224", findings=14, image_size=32)
    before = model.network.head.weight.clone()
    pace = rehearse_base(model, recipe(), image_size=32, augmentation={}, precision="fp32", findings=14)
    assert not before.equal(model.network.head.weight)
    assert pace.learning >= pace.running > 0
    assert pace.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert not list(tmp_path.iterdir())


def test_hours_are_epochs_of_learning_and_of_running_over_val() -> None:
    line, seconds = training_line(
        "train_vit", "vit", Pace(0.5, 0.1, "cpu", 7), recipe(epochs=3), images=100, val_images=20
    )
    assert seconds == pytest.approx(3 * (100 * 0.5 + 20 * 0.1))
    assert hours(seconds) in line


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_a_length_of_time_is_in_the_unit_that_a_person_would_use(seconds: float, text: str) -> None:
    assert hours(seconds) == text
