"""The preflight: what it counts is what the run will use, and what it finds would have stopped the run."""

import inspect
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from diagxnet.console.errors import InputError
from diagxnet.console.progress import hours
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.hierarchy import Hierarchy
from diagxnet.params.whole import read_all
from diagxnet.preflight import plan as planned
from diagxnet.preflight import rehearsal
from diagxnet.preflight.advice import advice
from diagxnet.preflight.plan import Notices, Plan, look_at_data, path_line, training_line
from diagxnet.preflight.rehearsal import Pace, rehearse_base, rows_a_second
from diagxnet.reading.columns import CHEXPERT_COLUMNS
from diagxnet.training.loop import Epoch
from diagxnet.training.networks import create_base
from diagxnet.training.precision import create_accelerator
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
    assert (pace.kind, pace.memory) == ("cpu", None)
    assert pace.path > 0
    assert pace.pure == max(pace.learning - pace.path, 0)
    assert not list(tmp_path.iterdir())


def test_on_a_cpu_a_rehearsal_takes_small_steps_whatever_the_recipe_has() -> None:
    sizes = []
    model = create_base("vit_tiny_patch16_224", findings=14, image_size=32)
    model.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    large = recipe(batch_size=64, accumulation_steps=4)
    rehearse_base(model, large, image_size=32, augmentation={}, precision="fp32", findings=14)
    assert sizes == [16] * 7  # two epochs of an update of two steps and of val, and val alone


@pytest.mark.parametrize(("probe_epochs", "learns"), [(0, True), (1, True), (3, False)])
def test_a_rehearsal_is_of_the_whole_network_unless_the_probe_is_all_of_the_training(probe_epochs, learns) -> None:
    model = create_base("test_resnet", findings=14, image_size=32)
    before = model.network.conv1[0].weight.clone()
    own = recipe(epochs=3, probe_epochs=probe_epochs)
    rehearse_base(model, own, image_size=32, augmentation={}, precision="fp32", findings=14)
    assert before.equal(model.network.conv1[0].weight) != learns


def test_learning_is_what_the_second_epoch_took_without_its_val(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4 * 0.25])  # val's four examples alone
    monkeypatch.setattr(rehearsal, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(rehearsal, "predict_logits", lambda *a, **k: None)
    monkeypatch.setattr(rehearsal, "fit", lambda *a, **k: [Epoch({}, 100.0), Epoch({}, 9.0)])
    model, accelerator = create_base("test_resnet", findings=3, image_size=32), create_accelerator("fp32")
    pace = rehearsal._rehearse(model, recipe(), lambda examples: None, accelerator, 3)
    assert (pace.running, pace.learning) == (0.25, (9.0 - 1.0) / 8)  # of two steps of four


def test_memory_counts_twice_for_each_time_that_it_did_not_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = iter([3, 5])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: {"num_ooms": next(refused)})
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=40))
    assert rehearsal._Memory(torch.device("cuda")).share() == 0.75 * 4
    assert rehearsal._Memory(torch.device("cpu")).share() is None


def test_what_is_expected_of_a_stage_is_of_all_models_of_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    params = SimpleNamespace(**read_all(ROOT / "params.yaml"))
    params.stack = params.stack.model_copy(update={"method": "crossfit", "folds": 5, "views": 3})
    params.densenet = params.densenet.model_copy(update={"seeds": 2})
    pace, expected = Pace(0.5, 0.1, "cpu", 7, path=0.1, pure=0.4), {}
    for name in ("rehearse_base", "rehearse_meta"):
        monkeypatch.setattr(preflight, name, lambda *a, **k: pace)
    monkeypatch.setattr(preflight, "_advise", lambda params, paces: None)
    monkeypatch.setattr(preflight, "remember", expected.update)
    preflight._trainings(params, None)
    assert expected == {}
    preflight._trainings(params, {"train": 80, "stack": 20, "val": 10, "test": 30})
    assert expected["train_densenet"] == pytest.approx(5 * 2 * params.densenet.epochs * (80 * 0.5 + 10 * 0.1))
    assert expected["train_vit"] == pytest.approx(5 * params.vit.epochs * (80 * 0.5 + 10 * 0.1))
    # two networks of DenseNet and one of ViT: each image of train and stack once, of val and test by every fold's
    assert expected["stack_features"] == pytest.approx(3 * (2 + 1) * (100 + 5 * 40) * 0.1)
    seeds = params.meta.ensemble_seeds
    assert expected["train_meta"] == pytest.approx(seeds * params.meta.epochs * (100 * 0.5 + 10 * 0.1))


def test_the_share_of_learning_is_what_it_takes_of_the_whole_step() -> None:
    pace = Pace(0.01, 0.001, "cpu", 7, path=0.002, pure=0.008)
    assert path_line(pace, 64) == "  gathered and augmented at 500 images/s: 80% of its time the cpu learns"
    held = path_line(replace(pace, kind="cuda", memory=0.42), 64)
    assert held.endswith("80% of its time the cuda learns; 42% of its memory in use with 64 images a step")
    assert path_line(replace(pace, memory=1.3), 64).endswith("; its memory does not hold 64 images a step")


def test_rows_come_from_the_packed_file_if_there_is_one(tmp_path: Path) -> None:
    assert rows_a_second(tmp_path / "images.npy") is None
    np.save(tmp_path / "images.npy", np.zeros((5, 8, 8), np.uint8))
    assert rows_a_second(tmp_path / "images.npy") > 0


@pytest.mark.parametrize(
    ("memory", "said"), [(10**6, "data/packed, .*, does not fit"), (10**12, "data/packed, .*, fits")]
)
def test_whether_the_packed_images_fit_the_memory_is_told(root: Path, monkeypatch, memory: int, said: str) -> None:
    monkeypatch.setattr(planned, "machine_memory", lambda: memory)
    _, found = look(root, image_size=224)
    assert any(re.search(said, line) for line in found.lines)


GPU = Pace(0.001, 0.0002, "a GPU", 7, path=0.0001, pure=0.001, kind="cuda", memory=0.3)
SET = {"batch_size": 64, "accumulation_steps": 2, "precision": "auto", "num_workers": 0, "launch": "python", "gpus": 1}
SET |= {"rows_a_second": None}


@pytest.mark.parametrize(
    ("pace", "changes", "expected"),
    [
        (GPU, {}, ["batch_size=128 -S train.accumulation_steps=1: as many"]),
        (replace(GPU, memory=0.5), {}, []),
        (replace(GPU, memory=0.05), {"batch_size": 16, "accumulation_steps": 8}, ["batch_size=128"]),
        (replace(GPU, memory=1.8), {}, ["batch_size=32 -S train.accumulation_steps=4: more does not fit"]),
        (GPU, {"gpus": 2}, ["num_processes 2", "batch_size=64 -S train.accumulation_steps=1"]),
        (GPU, {"gpus": 4}, ["num_processes 4", "batch_size=32 -S train.accumulation_steps=1"]),
        (GPU, {"gpus": 16}, ["num_processes 16", r"batch_size=8 -S .*=1 -S train.sync_batch_norm=true: .*BatchNorm"]),
        (
            GPU,
            {"accumulation_steps": 3, "gpus": 2},
            ["num_processes 2", "batch_size=32 -S train.accumulation_steps=3: as"],
        ),
        (GPU, {"batch_size": 48, "accumulation_steps": 1, "gpus": 3}, ["num_processes 3", "size=16 -S .*_steps=1: as"]),
        (replace(GPU, memory=1.8), {"batch_size": 16}, ["batch_size=8 -S train.accumulation_steps=4: more does not"]),
        (GPU, {"gpus": 3}, ["num_processes 3", "do not divide the 128 images"]),
        (replace(GPU, memory=0.5), {"gpus": 2, "launch": "torchrun"}, []),
        (replace(GPU, memory=0.5), {"precision": "fp32"}, ["train.precision=auto"]),
        (replace(GPU, memory=0.5), {"rows_a_second": 900.0}, ["num_workers=8: the disk gives 900 images/s .* 1,000"]),
        (replace(GPU, memory=0.5), {"rows_a_second": 1100.0}, []),
        (replace(GPU, memory=0.5), {"rows_a_second": 900.0, "num_workers": 8}, []),
        (Pace(0.1, 0.1, "cpu", 7), {"precision": "fp32", "batch_size": 16}, []),
        (
            Pace(0.1, 0.1, "cpu", 7),
            {},
            ["batch_size=16 -S train.accumulation_steps=8: larger steps"],
        ),
        (Pace(0.1, 0.1, "mps", 7, kind="mps"), {}, []),
    ],
)
def test_advice_is_given_where_this_machine_asks_for_it_and_keeps_the_update(pace, changes, expected) -> None:
    lines = advice({"densenet": pace, "vit": replace(pace, learning=2 * pace.learning)}, **(SET | changes))
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert re.search(part, line)


def test_steps_fit_the_member_that_takes_the_most_memory() -> None:
    assert advice({"densenet": replace(GPU, memory=0.5), "vit": GPU}, **SET) == []


def test_hours_are_epochs_of_learning_and_of_running_over_val() -> None:
    line, seconds = training_line(
        "train_vit", "vit", Pace(0.5, 0.1, "cpu", 7), recipe(epochs=3), images=100, val_images=20
    )
    assert seconds == pytest.approx(3 * (100 * 0.5 + 20 * 0.1))
    assert hours(seconds) in line


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_a_length_of_time_is_in_the_unit_that_a_person_would_use(seconds: float, text: str) -> None:
    assert hours(seconds) == text


def test_the_hours_count_every_validation_of_an_epoch():
    pace = Pace(learning=1e-9, running=1.0, device="cpu", parameters=1)
    seconds = [
        training_line("train", "arch", pace, recipe(epochs=2, val_every=every), 8 * 10 + 1, 5)[1] for every in (None, 4)
    ]
    assert seconds == pytest.approx([2 * 5, 2 * 3 * 5])  # eleven updates of eight images
