"""An ensemble is scored on another hospital's folder as it is, and never unawares on what it was trained on."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import content_hash, read_json, write_json
from diagxnet.data.members import member_folder
from diagxnet.ensemble.calibration import read_calibration
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.external.folder import read_rows, score
from diagxnet.external.gap import CALIBRATION_METRICS, Hospital, calibration_estimates, gap
from diagxnet.external.sections import external_sections
from diagxnet.external.validation import validate, write_external
from diagxnet.images.decode import decode
from diagxnet.reading.columns import Columns
from diagxnet.reading.tables import read_tables
from diagxnet.statistics.bootstrap import draw_counts
from diagxnet.statistics.comparison import label, models_of
from diagxnet.statistics.metrics import auroc, brier, ece
from diagxnet.statistics.scoring import Scoring
from diagxnet.statistics.uncertainty import estimate
from diagxnet.trained_on import FILE, TrainedOn, collect, hash_patients, read_trained_on, write_trained_on
from tests.ensembles import make_models
from tests.radiographs import Row, image_path, write_image, write_table
from tests.workspace import make_scored, make_workspace

PARAMS = {"views": "frontal", "blank": "negative", "bad_images": "stop"}
PARAMS |= {"scoring": Scoring("image", bootstrap=20, min_positives=5, seed=0)}
NOTHING = TrainedOn(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 16), np.uint8))
PATIENTS = 30
HISTORY = {"best_epoch": 1, "epochs": [{"epoch": 1, "train_loss": 0.6, "val_loss": 0.7, "val_auroc": 0.5, "lr": 1}]}
HISTORY |= {"epochs_run": 1, "stopped_early": False, "train_images": 9}
NETWORKS = {
    "densenet": {"arch": "test_resnet", "patch_size": None, "batch_norm": False},
    "vit": {"arch": "test_vit", "patch_size": None, "batch_norm": True},
}


def make_hospital(root: Path) -> Path:
    """So many patients of one image: Edema in every third, uncertain in one, Pneumonia in nobody, else blank."""
    rows = []
    for patient in range(PATIENTS):
        edema = "-1.0" if patient == 1 else "1.0" if patient % 3 == 0 else "0.0"
        labels = {"Edema": edema, "Pneumonia": "0.0", "No Finding": "1.0" if patient % 2 else "0.0"}
        rows.append(Row(image_path(patient), sex=("Male", "Female")[patient % 2], labels=labels))
        write_image(root / rows[-1].path, seed=patient)
    write_table(root / "train.csv", rows)
    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """models/ that were trained on nothing known, and other/, a hospital."""
    root = tmp_path_factory.mktemp("world")
    make_models(root / "models", networks=NETWORKS)
    for name in ("densenet", "vit", "meta"):
        write_json(root / "models" / name / "training_history.json", HISTORY)
    write_trained_on(root / "models" / FILE, NOTHING)
    make_hospital(root / "other")
    return root


def run(world: Path, **options):
    """The evaluation of other/ and its results; nothing is written."""
    return validate(**({"root": world / "other", "models": world / "models"} | PARAMS | options)).results


def write(world: Path, folder: Path, **options) -> None:
    found = validate(world / "other", world / "models", **(PARAMS | options))
    write_external(found, folder / "nih.json", folder / "page")


@pytest.fixture(scope="module")
def done(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    mapping = {"source": "Theirs", "findings": {key: [] for key in CHEXPERT.keys} | {"edema": ["Wet", "Oedema"]}}
    write_json(world / "other/mapping.json", mapping | {"unused": ["<b>Hernia</b>"], "notes": ["a note"]})
    write(world, folder)
    (world / "other/mapping.json").unlink()
    return folder, run(world)


def test_the_logits_are_the_ensembles_own_of_each_image(world):
    ensemble = Ensemble.load(world / "models")
    paths = read_rows(world / "other", tables="all", views="all")[0]["path"].tolist()
    images = np.stack([decode(world / "other" / path, ensemble.image_size) for path in paths])
    expected = ensemble.predict(images)
    base, logits, bad = score(ensemble, world / "other", paths, batch_size=7, workers=2)
    np.testing.assert_allclose(base, expected.base_logits, atol=1e-5)
    np.testing.assert_allclose(logits, expected.logits, atol=1e-5)
    assert not bad


def test_metrics_are_those_of_the_scored_labels_with_the_calibration_as_it_stands(world, done):
    folder, results = done
    edema = CHEXPERT.keys.index("edema")
    known = results.test.known(edema)
    assert len(known) == PATIENTS - 1  # a -1 is masked
    targets, logits = results.test.targets[known, edema], results.test.logits[3, known, edema]
    written = read_json(folder / "nih.json")["ensemble"]
    assert written["auroc"]["per_finding"]["edema"] == pytest.approx(auroc(targets, logits))
    fitted = read_calibration(world / "models/calibration.json")["ensemble"]["edema"]
    probability = 1 / (1 + np.exp(-(fitted.slope * logits + fitted.intercept)))
    assert written["ece"]["per_finding"]["edema"] == pytest.approx(ece(targets, probability))
    called = probability >= fitted.thresholds["youden"]
    assert written["youden"]["sensitivity"]["per_finding"]["edema"] == pytest.approx(called[targets].mean())


def test_findings_that_the_other_set_does_not_annotate_are_absent_and_what_was_compared_is_counted(done):
    written = read_json(done[0] / "nih.json")
    overlap = written["external"]["overlap"]
    assert overlap["findings"] == {"compared": 2, "annotated": 3, "of": 14}
    assert overlap["labels_compared"] == {"no_finding": PATIENTS, "edema": PATIENTS - 1}
    assert overlap["one_class"] == ["pneumonia"]
    assert len(overlap["not_annotated"]) == 11
    assert set(written["ensemble"]["auroc"]["per_finding"]) == {"no_finding", "edema"}
    assert written["counts"]["negatives"]["fracture"] == 0
    assert set(written["one_class"]["test"]) == {"pneumonia"}


def test_intervals_subgroups_and_the_comparison_are_there_as_in_the_evaluation(done):
    written = read_json(done[0] / "nih.json")
    assert set(written["ensemble"]["auroc"]["ci"]["per_finding"]) == {"no_finding", "edema"}
    assert set(written["ensemble"]["subgroups"]["sex"]) <= {"female", "male"}
    assert written["comparison"]["best_base"] == "densenet"
    assert {"densenet", "vit", "average", "ensemble"} < set(written)


def test_what_the_ensemble_never_learned_is_masked_and_named_however_it_is_annotated_here(copied):
    make_models(copied / "models", networks=NETWORKS, not_learned=("edema", "fracture"))
    for name in ("densenet", "vit", "meta"):
        write_json(copied / "models" / name / "training_history.json", HISTORY)
    evaluation = run(copied).evaluation
    overlap = evaluation["external"]["overlap"]
    assert overlap["not_learned"] == ["edema"]
    assert overlap["one_class"] == ["pneumonia"]
    assert overlap["findings"]["compared"] == 1
    assert set(evaluation["ensemble"]["auroc"]["per_finding"]) == {"no_finding"}
    assert set(evaluation["one_class"]["test"]) == {"pneumonia"}
    page = str(external_sections(evaluation))
    assert "never learned by this ensemble: Edema." in page


def test_the_best_base_model_is_the_one_that_evaluate_named_whatever_the_first_folds_history_says(copied):
    best = HISTORY["epochs"][0] | {"val_auroc": 0.9}
    write_json(copied / "models/densenet/training_history.json", HISTORY | {"epochs": [best]})
    stored = read_json(copied / "models/calibration.json")
    write_json(copied / "models/calibration.json", stored | {"best_base": "vit"})
    evaluation = run(copied).evaluation
    assert evaluation["comparison"]["best_base"] == "vit"
    assert "val" not in evaluation["vit"]


def test_a_finding_that_one_table_leaves_blank_is_masked_there_and_scored_in_the_other(copied):
    rows = [Row(image_path(number, table="valid"), labels={"No Finding": "1.0"}) for number in (900, 901)]
    for row in rows:
        write_image(copied / "other" / row.path)
    write_table(copied / "other/valid.csv", rows)
    results = run(copied)
    assert results.test.mask[:, CHEXPERT.keys.index("no_finding")].sum() == PATIENTS + 2
    assert results.test.mask[:, CHEXPERT.keys.index("edema")].sum() == PATIENTS - 1


def test_a_mapping_that_merges_classes_is_named_in_the_output_and_on_the_page(done):
    mapping = read_json(done[0] / "nih.json")["external"]["mapping"]
    assert mapping["merged"] == {"edema": ["Wet", "Oedema"]}
    page = (done[0] / "page/report.html").read_text(encoding="utf-8")
    assert "Edema is any of Wet, Oedema" in page
    assert "&lt;b&gt;Hernia&lt;/b&gt;" in page


def test_without_a_mapping_there_is_none_and_a_damaged_one_is_refused(world, tmp_path):
    (tmp_path / "mapping.json").write_text('{"source": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="is no mapping"):
        run(world, mapping=tmp_path / "mapping.json")
    assert "mapping" not in run(world).evaluation["external"]


def test_equal_runs_measure_the_same(world, done):
    assert run(world).evaluation == done[1].evaluation


def remember(world: Path, patients: list[str], images: list[Path]) -> None:
    digests = b"".join(bytes.fromhex(content_hash(image)) for image in images)
    sizes = np.array([image.stat().st_size for image in images], np.int64)
    record = TrainedOn(np.sort(hash_patients(patients)), sizes, np.frombuffer(digests, np.uint8).reshape(-1, 16))
    write_trained_on(world / "models" / FILE, record)


@pytest.fixture
def copied(world, tmp_path) -> Path:
    shutil.copytree(world, tmp_path / "world")
    return tmp_path / "world"


def test_a_patient_who_was_trained_on_is_refused_unless_told_otherwise(copied):
    remember(copied, ["patient00004"], [])
    with pytest.raises(InputError, match="1 of 30 patients have the name of one trained on: patient00004"):
        run(copied)
    guard = run(copied, allow_patients=True).evaluation["external"]["trained_on"]
    assert guard == {"checked": True, "known_patients": 1, "known_images": 0}


def test_an_image_that_was_trained_on_is_refused_under_any_name_unless_told_otherwise(copied, tmp_path):
    shutil.copy(copied / "other" / image_path(3), tmp_path / "elsewhere.jpg")
    remember(copied, [], [tmp_path / "elsewhere.jpg"])
    with pytest.raises(InputError, match=f"1 of 30 images were trained on: {image_path(3)}"):
        run(copied, allow_patients=True)
    assert run(copied, allow_images=True).evaluation["external"]["trained_on"]["known_images"] == 1


def test_models_that_do_not_say_what_they_were_trained_on_are_refused_unless_both_are_allowed(copied):
    (copied / "models" / FILE).unlink()
    with pytest.raises(InputError, match="nobody can tell what these models were trained on"):
        run(copied, allow_images=True)
    evaluation = run(copied, allow_images=True, allow_patients=True).evaluation
    assert evaluation["external"]["trained_on"]["checked"] is False
    page = str(external_sections(evaluation))
    assert "Nobody could tell" in page


def test_what_was_trained_on_is_every_split_but_test(tmp_path):
    header = "row,split,path,patient,study,view,projection,sex,age\n"
    lines = [f"{row},{split},{split}.jpg,{split}_patient,s,frontal,AP,male,50\n" for row, split in enumerate(SPLITS)]
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/manifest.csv").write_text(header + "".join(lines), encoding="utf-8")
    images = {f"{split}.jpg": {"size": 7, "hash": f"{row:032x}"} for row, split in enumerate(SPLITS)}
    write_json(tmp_path / "inventory.json", {"images": images})
    write_trained_on(tmp_path / FILE, collect(tmp_path / "inventory.json", tmp_path / "prepared"))
    record = read_trained_on(tmp_path / FILE)
    known = record.known_patients([f"{split}_patient" for split in SPLITS])
    assert known == ["stack_patient", "train_patient", "val_patient"]
    assert record.digests[:, -1].tolist() == [0, 1, 2]
    write_json(tmp_path / "inventory.json", {"images": {}})
    with pytest.raises(InputError, match="lacks 3 images"):
        collect(tmp_path / "inventory.json", tmp_path / "prepared")


SPLITS = ("train", "val", "stack", "test")


def test_all_bad_images_are_named_at_once_or_left_out_and_counted(copied):
    (copied / "other" / image_path(2)).write_bytes(b"no image")
    (copied / "other" / image_path(5)).unlink()
    with pytest.raises(InputError, match="2 problems") as caught:
        run(copied)
    assert f"train.csv, line 4: {image_path(2)} is no image" in str(caught.value)
    assert f"train.csv, line 7: {image_path(5)} is missing" in str(caught.value)
    counts = run(copied, bad_images="drop").evaluation["counts"]
    assert (counts["units"], counts["dropped_images"]) == (PATIENTS - 2, 2)


def test_a_table_a_view_or_a_folder_that_is_not_there_is_refused(world, tmp_path):
    with pytest.raises(InputError, match="give --root the folder"):
        run(world, root=tmp_path)
    with pytest.raises(InputError, match="give --data the data"):
        run(world, data=tmp_path)
    with pytest.raises(InputError, match=r"valid.csv: no such file"):
        run(world, tables="valid")
    with pytest.raises(InputError, match="no lateral image"):
        run(world, views="lateral")


def test_only_the_tables_asked_for_are_scored(copied):
    write_table(copied / "other/valid.csv", [Row(image_path(900, table="valid"))])
    sizes = [len(read_rows(copied / "other", tables=name, views="all")[0]) for name in ("train", "valid", "all")]
    assert sizes == [PATIENTS, 1, PATIENTS + 1]
    (copied / "other/train.csv").unlink()
    for name in ("valid", "all"):
        assert len(read_rows(copied / "other", tables=name, views="all")[0]) == 1


def test_another_hospitals_patients_come_from_the_column_that_is_named_for_it(copied):
    table = copied / "other/train.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    lines = [f"{header},MRN", *(f"{row},m{number // 2}" for number, row in enumerate(rows))]
    table.write_text("\n".join(lines).replace("/study1/", "/").replace("/patient0", "/x") + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown column 'MRN'"):
        run(copied)
    rows, _ = read_rows(copied / "other", tables="all", views="all", columns=Columns("MRN"))
    assert rows["patient"].tolist() == [f"m{number // 2}" for number in range(PATIENTS)]


@pytest.mark.parametrize("names", [("vit",), ("densenet", "vit", "wide")], ids=["one", "three"])
def test_ensembles_of_one_and_of_three_members_are_scored_on_another_hospital_and_beside_their_own(names, tmp_path):
    networks = {name: NETWORKS.get(name, NETWORKS["densenet"]) for name in names}
    make_models(tmp_path / "models", networks=networks)
    for name in (*names, "meta"):
        write_json(member_folder(tmp_path / "models", name) / "training_history.json", HISTORY)
    write_trained_on(tmp_path / "models" / FILE, NOTHING)
    make_hospital(tmp_path / "other")
    make_workspace(tmp_path / "home", members=names)
    evaluation = run(tmp_path, data=tmp_path / "home/data").evaluation
    assert models_of(evaluation) == models_of(evaluation["external"]["gap"]) == (*names, "average", "ensemble")
    page = str(external_sections(evaluation))
    for name in names:
        assert f"<td>{label(name)}: AUROC</td>" in page
    make_workspace(tmp_path / "foreign", members=("densenet", "vit"))
    with pytest.raises(InputError, match=rf"of densenet, vit, and the ensemble is of {', '.join(names)} \(give --data"):
        run(tmp_path, data=tmp_path / "foreign/data")


def hospitals(skill: float):
    own, foreign = make_scored(units=300, seed=1), make_scored(units=300, seed=2, skill=skill)
    return own, Hospital(foreign, estimate(foreign, resamples=200, seed=0))


def test_the_drop_is_the_plain_difference_and_its_interval_holds_zero_where_there_is_none(world):
    calibration = read_calibration(world / "models/calibration.json")
    own, foreign = hospitals(skill=1.5)
    entry = gap(own, foreign, calibration, resamples=200, seed=1, min_positives=10)["ensemble"]["auroc"]["macro"]
    expected = [
        np.mean([auroc(each.targets[:, f], each.logits[3, :, f]) for f in range(len(CHEXPERT))])
        for each in (own, foreign.scored)
    ]
    assert entry["own"] == pytest.approx(expected[0])
    assert entry["difference"] == pytest.approx(expected[1] - expected[0])
    assert entry["ci"]["lower"] < 0 < entry["ci"]["upper"]


def test_a_finding_with_a_single_positive_in_one_of_two_sets_is_in_no_mean_of_the_drop(world):
    calibration = read_calibration(world / "models/calibration.json")
    own, foreign = hospitals(skill=1.5)
    own.targets[1:, 0] = False
    found = gap(own, foreign, calibration, resamples=200, seed=1, min_positives=10)
    entry = found["ensemble"]["auroc"]
    assert (found["findings"], found["findings_in_means"]) == (len(CHEXPERT.keys), len(CHEXPERT.keys) - 1)
    rest = [entry["per_finding"][key]["difference"] for key in CHEXPERT.keys[1:]]
    assert entry["macro"]["difference"] == pytest.approx(np.mean(rest))
    assert CHEXPERT.keys[0] in entry["per_finding"]


def test_a_loss_of_skill_shows_as_a_drop_in_auroc_and_in_calibration(world):
    calibration = read_calibration(world / "models/calibration.json")
    own, foreign = hospitals(skill=0.3)
    lost = gap(own, foreign, calibration, resamples=200, seed=1, min_positives=10)["ensemble"]
    assert lost["auroc"]["macro"]["ci"]["upper"] < 0
    assert lost["brier"]["macro"]["ci"]["lower"] > 0


def test_an_unpaired_interval_is_as_wide_as_both_sets_are_uncertain(world):
    """Independent sets: the variances add, and equal draws in both would take some of that away."""
    calibration = read_calibration(world / "models/calibration.json")
    own, foreign = hospitals(skill=1.5)
    interval = gap(own, foreign, calibration, resamples=200, seed=1, min_positives=10)["ensemble"]["auroc"][
        "per_finding"
    ]["edema"]["ci"]
    errors = [
        estimate(each, resamples=200, seed=3)["ensemble"]["auroc"].resamples["edema"].std()
        for each in (own, foreign.scored)
    ]
    assert interval["upper"] - interval["lower"] == pytest.approx(2 * 1.96 * np.hypot(*errors), rel=0.2)


def test_resampled_calibration_is_that_of_the_drawn_rows():
    """With one resample in which each patient is drawn as often as counted, checked against the plain metrics."""
    scored = make_scored(units=60, patients=20)
    scored.mask[::7] = False
    probability = np.random.default_rng(5).random((60, len(CHEXPERT)))
    drawn = calibration_estimates(scored, probability, resamples=3, seed=4)
    counts = np.concatenate([*draw_counts(20, 3, 4, 3)], axis=1)
    codes = np.unique(scored.patients, return_inverse=True)[1]
    for resample in range(3):
        rows = np.repeat(np.arange(60), counts[codes, resample])
        rows = rows[scored.mask[rows, 5]]
        for name, metric in {"brier": brier, "ece": ece}.items():
            expected = metric(scored.targets[rows, 5], probability[rows, 5])
            assert drawn[name].resamples[CHEXPERT.keys[5]][resample] == pytest.approx(expected)
    assert set(drawn) == set(CALIBRATION_METRICS)


def test_sets_without_a_common_finding_have_no_drop(world):
    own, foreign = hospitals(skill=1.5)
    own.mask[:] = False
    assert gap(own, foreign, {}, resamples=5, seed=1, min_positives=10) == {"findings": 0}


def test_the_nih_radiographs_are_scored_with_their_blank_findings_absent(world, nih):
    results = run(world, root=nih, tables="valid")
    assert set(results.evaluation["external"]["overlap"]["not_annotated"]) == {"fracture", "support_devices"}
    assert results.evaluation["counts"]["units"] == len(read_tables(nih)[1].frame)
