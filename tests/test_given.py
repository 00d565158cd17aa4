"""A member that is a table of predictions: read, stacked, scored, reported and audited as one that was trained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagxnet.audit.recomputed import read_units, recompute, subgroup_figures
from diagxnet.audit.run import flat, unequal
from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_arrays, read_json, write_arrays, write_json
from diagxnet.data.findings import Findings
from diagxnet.data.members import FIRST, SCORES, member_folder
from diagxnet.ensemble.calibration import read_calibration
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.external.folder import read_rows, score_folder
from diagxnet.features.stack import stack_features
from diagxnet.features.stacked import fill, read_stacked
from diagxnet.predict import main as predict_main
from diagxnet.reporting.evaluate import evaluate
from diagxnet.stacking.logistic import by_patient
from diagxnet.stacking.weights import fit_core, hand_on
from diagxnet.tables.given import new_scores, take_table, unscored
from diagxnet.trained_on import FILE, write_trained_on
from tests.ensembles import make_models
from tests.radiographs import write_image
from tests.releases import make_batches
from tests.test_evaluation import PARAMS, SCORING
from tests.test_external import NOTHING
from tests.workspace import make_workspace

FINDINGS = Findings(("Edema", "Lung Lesion", "Fracture"))
SPLITS = ("train", "stack", "val", "test")


@pytest.fixture
def manifest() -> pd.DataFrame:
    """Two images of each of eight studies, of two patients a split."""
    rows = []
    for n in range(16):
        patient = f"patient{n // 2:05d}"
        rows.append((n, SPLITS[n // 4], f"train/{patient}/study1/view{n % 2}.jpg", f"{patient}/study1"))
    return pd.DataFrame(rows, columns=["row", "split", "path", "study"])


def write(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def take(folder: Path, header: str, rows: list[str], manifest: pd.DataFrame) -> list[str]:
    """What `take_table` says of such a table."""
    return take_table("vendor", write(folder.with_suffix(".csv"), header, rows), manifest, FINDINGS, folder)


def paths(manifest: pd.DataFrame, before: str = "Release/") -> list[str]:
    return [before + path for path in manifest["path"]]


def test_rows_are_matched_by_path_or_study_and_columns_by_name(manifest, tmp_path):
    by_path = [f"{path},{n / 20},x,{-n}" for n, path in enumerate(paths(manifest))]
    lines = take_table(
        "vendor", write(tmp_path / "a.csv", "Path,lung_lesion,Note,EDEMA", by_path), manifest, FINDINGS, tmp_path / "a"
    )
    stored = read_arrays(tmp_path / "a" / SCORES)
    assert stored["rows"].tolist() == list(range(16))
    assert stored["logits"][:, 0].tolist() == [-n for n in range(16)]
    assert np.isnan(stored["logits"][:, 2]).all()
    assert any("has no column of Fracture" in line for line in lines)
    by_study = [f"x/y/{study},{n}" for n, study in enumerate(manifest["study"].unique())]
    take_table(
        "vendor",
        write(tmp_path / "b.csv", "Study,Edema", [*by_study, "other/study,7"]),
        manifest,
        FINDINGS,
        tmp_path / "b",
    )
    own = read_arrays(tmp_path / "b" / SCORES)["logits"][:, 0]
    assert own[0] == own[1] < own[2]
    reference = np.repeat(np.arange(8.0), 2)[4:8]  # of the images of stack
    assert own[4:8] == pytest.approx((reference - reference.mean()) / reference.std())


def test_what_is_missing_and_what_is_too_much_is_said(manifest, tmp_path):
    rows = [f"{path},{n / 20}" for n, path in enumerate(paths(manifest)) if n > 2]
    lines = take_table(
        "vendor",
        write(tmp_path / "a.csv", "Path,Edema", [*rows, "Release/no.jpg,0.1"]),
        manifest,
        FINDINGS,
        tmp_path / "a",
    )
    assert "vendor: 13 of 14 rows are of images in use" in lines
    assert "vendor: has no row for 3 images of train, which crossfit alone would need" in lines
    table = write(tmp_path / "a.csv", "Path,Edema", rows[2:])
    with pytest.raises(
        InputError,
        match=r"has no row for 1 of 12 images of stack, val and test \(train/patient00002/study1/view0.jpg\)",
    ):
        take_table("vendor", table, manifest, FINDINGS, tmp_path / "a")


@pytest.mark.parametrize(
    ("header", "cell", "expected"),
    [
        ("Path,Oedema", "0.1", "no column is a finding of data.findings"),
        ("Path,Edema", "high", "line 2: Edema is 'high': must be a number"),
    ],
)
def test_a_table_that_says_nothing_or_no_numbers_is_refused(manifest, tmp_path, header, cell, expected):
    table = write(
        tmp_path / "a.csv", header, [f"{paths(manifest)[0]},{cell}", *(f"{p},1" for p in paths(manifest)[1:])]
    )
    with pytest.raises(InputError, match=expected):
        take_table("vendor", table, manifest, FINDINGS, tmp_path / "a")


def test_new_images_have_the_scale_of_the_training_and_none_is_made_up(manifest, tmp_path):
    rows = [f"{path},{n},{n / 20}" for n, path in enumerate(paths(manifest))]
    take(tmp_path / "a", "Path,Edema,Fracture", rows, manifest)
    config, stored = read_json(tmp_path / "a/config.json"), read_arrays(tmp_path / "a" / SCORES)["logits"]
    again = write(tmp_path / "b.csv", "Path,Edema,Fracture", ["images/a.jpg,3,0.15", "images/b.jpg,40,0.2"])

    def scores(table: Path, *names: str) -> np.ndarray:
        return new_scores("vendor", table, config, names, ["?"] * len(names), FINDINGS)

    found = scores(again, "/here/images/c.jpg", "/here/images/a.jpg")
    np.testing.assert_array_equal(found[1], stored[3])
    assert unscored({"vendor": found}, 0) == "has no row in the scores of vendor (let their maker score it)"
    assert unscored({"vendor": found}, 1) is None
    with pytest.raises(InputError, match="has no column of Fracture, which the ensemble takes of it"):
        scores(write(again, "Path,Edema", ["images/a.jpg,3"]), "images/a.jpg")
    points = write(again, "Path,Edema,Fracture", ["images/a.jpg,3,15"])
    with pytest.raises(InputError, match="Fracture was a probability in training, and is none here"):
        scores(points, "images/a.jpg")


def test_an_end_names_an_image_where_no_other_ends_so(manifest, tmp_path):
    rows = [f"{n // 2}.png,{n / 20}" for n in range(0, 16, 2)]
    take(tmp_path / "a", "Path,Edema", rows, manifest.iloc[::2].assign(path=[f"images/{n}.png" for n in range(8)]))
    config = read_json(tmp_path / "a/config.json")
    studies = write(tmp_path / "b.csv", "Study,Edema", ["S1,0.2", "S2,0.4", "S3,0.6"])
    names = [f"{n}.png" for n in range(5)]
    found = new_scores("vendor", studies, config, names, ["P1/S1", "P1/S1", "P1/S2", "P2/S2", "P2/S3"], FINDINGS)
    assert np.isnan(found[:, 0]).tolist() == [False, False, True, True, False]
    assert found[0, 0] == found[1, 0] < found[4, 0]


def test_the_weight_of_what_a_member_says_nothing_of_is_handed_on_and_the_ensemble_stays():
    generator = np.random.default_rng(0)
    targets = generator.random((200, 2)) < 0.4
    logits = (generator.normal(size=(200, 3, 2)) + targets[:, None]).astype(np.float32)
    logits[:, 1, 0] = np.nan
    filled, lacking = fill(logits)
    np.testing.assert_allclose(filled[:, 1, 0], logits[:, [0, 2], 0].mean(1), rtol=1e-6)
    core = fit_core(filled, by_patient(targets, np.ones_like(targets), np.arange(200).astype(str)))
    handed = hand_on(core, lacking)
    assert handed.weights[1, 0] == handed.slopes[1, 0] == 0
    assert handed.weights[:, 0].sum() == pytest.approx(1)
    np.testing.assert_array_equal(handed.weights[:, 1], core.weights[:, 1])
    both = (np.einsum("imf,mf->if", filled, own.slopes) for own in (core, handed))
    np.testing.assert_allclose(*both, rtol=1e-5, atol=1e-6)


LACKS = ("edema", "fracture")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of three members, the third of which is a table that lacks two findings."""
    root = tmp_path_factory.mktemp("given")
    make_workspace(root, members=(*FIRST, "vendor"))
    folder = member_folder(root / "models", "vendor")
    for file in folder.iterdir():
        file.unlink()
    scales = {key: {"kind": "logits", "mean": 0.0, "spread": 1.0} for key in CHEXPERT.keys if key not in LACKS}
    write_json(folder / "config.json", {"table": "vendor.csv", "findings": list(CHEXPERT.names), "scores": scales})
    for split in SPLITS:
        path = root / f"data/stacked/logits_{split}.npz"
        arrays = read_arrays(path)
        arrays["vendor"][:, [CHEXPERT.keys.index(key) for key in LACKS]] = np.nan
        write_arrays(path, **arrays)
    places = {"data": root / "data", "models": root / "models", "metrics": root / "metrics", "plots": root / "plots"}
    evaluate(**places, params=PARAMS, scoring=SCORING)
    return root


def test_figures_of_a_table_are_of_what_it_says_and_compared_on_that(scored):
    evaluation = read_json(scored / "metrics/evaluation.json")
    for metric in ("auroc", "auprc", "brier", "ece"):
        assert not set(LACKS) & set(evaluation["vendor"][metric]["per_finding"])
        assert "edema" in evaluation["ensemble"][metric]["per_finding"]
    difference = evaluation["comparison"]["ensemble_minus_vendor"]["auroc"]
    both = [key for key in difference["per_finding"] if "verdict" in difference["per_finding"][key]]
    assert not set(LACKS) & set(difference["per_finding"])
    expected = np.mean(
        [
            evaluation["ensemble"]["auroc"]["per_finding"][key] - evaluation["vendor"]["auroc"]["per_finding"][key]
            for key in both
        ]
    )
    assert difference["macro"]["difference"] == pytest.approx(expected)
    assert evaluation["lacks"] == {"vendor": list(LACKS)}
    assert evaluation["comparison"]["best_base"] != "vendor"
    assert "vendor" not in evaluation["histories"]
    calibration = read_calibration(scored / "models/calibration.json")
    assert calibration["vendor"]["edema"].fit == "none"


def test_the_audit_finds_the_same_figures_by_its_own_path(scored):
    evaluation = read_json(scored / "metrics/evaluation.json")
    calibration = read_calibration(scored / "models/calibration.json")
    val, test = (read_units(scored / "data", scored / "models", split, "image") for split in ("val", "test"))
    again = recompute(val, test, calibration, SCORING.min_positives)
    again |= subgroup_figures(test, calibration, SCORING.min_positives)
    stored = flat(evaluation)
    assert not unequal({name: stored.get(name) for name in again}, again)
    assert "vendor.auroc.macro" in again
    assert "comparison.ensemble_minus_vendor.auprc.macro.difference" in again


def test_report_and_card_name_the_table_and_what_it_lacks(scored):
    page = (scored / "plots/report.html").read_text(encoding="utf-8")
    assert "vendor says nothing of Edema" in page
    card = (scored / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "vendor (a table of predictions that others made, `vendor.csv`)" in card
    roc = read_json(scored / "plots/data/roc/edema.json")
    assert "vendor" not in roc[0]
    assert "vit" in roc[0]


def test_stack_features_stores_what_the_table_says(manifest, tmp_path, monkeypatch):
    packed, prepared = tmp_path / "packed", tmp_path / "prepared"
    packed.mkdir()
    np.save(packed / "images.npy", np.zeros((16, 32, 32), np.uint8))
    monkeypatch.setattr("diagxnet.features.stack.read_manifest", lambda folder: manifest)
    write_json(prepared / "findings.json", {"findings": list(CHEXPERT.names)})
    models = make_models(tmp_path / "models")
    rows = [f"{path},{n / 20}" for n, path in enumerate(paths(manifest))]
    table = write(tmp_path / "vendor.csv", "Path,Edema", rows)
    take_table("vendor", table, manifest, CHEXPERT, member_folder(models, "vendor"))
    folders = models, packed, prepared, tmp_path / "stacked"
    stack_features([*FIRST, "vendor"], *folders, precision="fp32", batch_size=8)
    stored = read_stacked(tmp_path / "stacked", "val")
    edema = CHEXPERT.keys.index("edema")
    assert stored.members == (*FIRST, "vendor")
    expected = np.log(np.arange(8, 12) / 20 / (1 - np.arange(8, 12) / 20))
    np.testing.assert_allclose(stored.logits[:, 2, edema], expected, rtol=1e-5)
    assert stored.lacking[2].sum() == len(CHEXPERT) - 1
    assert not stored.lacking[:2].any()
    lacks = stored.lacks(CHEXPERT.keys)
    assert set(lacks) == {"vendor"}


@pytest.fixture
def with_table(tmp_path: Path) -> Path:
    """A models folder of densenet, and vendor, a table that knows Edema alone."""
    network = {"arch": "test_resnet", "patch_size": None, "stem": "patches", "batch_norm": False}
    models = make_models(tmp_path / "models", networks={"densenet": network, "vendor": network})
    folder = member_folder(models, "vendor")
    for file in folder.iterdir():
        file.unlink()
    scales = {"edema": {"kind": "logits", "mean": 0.0, "spread": 1.0}}
    write_json(folder / "config.json", {"table": "vendor.csv", "findings": list(CHEXPERT.names), "scores": scales})
    return models


def test_an_ensemble_with_a_table_says_how_to_give_its_scores_and_predicts_with_them(with_table):
    with pytest.raises(InputError, match=r"vendor is a table of predictions \(vendor.csv\) .* --scores vendor=FILE"):
        Ensemble.load(with_table)
    with pytest.raises(InputError, match=r"--scores other: no member of .* is a table of that name"):
        Ensemble.load(with_table, given=["vendor", "other"])
    ensemble = Ensemble.load(with_table, given=["vendor"])
    assert ensemble.lacks == {"vendor": tuple(key for key in CHEXPERT.keys if key != "edema")}
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    given = np.full((2, len(CHEXPERT)), np.nan, np.float32)
    edema = CHEXPERT.keys.index("edema")
    given[:, edema] = [-3.0, 3.0]
    found = ensemble.predict(images, given={"vendor": given})
    assert np.isfinite(found.probabilities).all()
    assert found.base_logits[:, 1, edema].tolist() == [-3, 3]
    others = np.delete(np.arange(len(CHEXPERT)), edema)
    np.testing.assert_array_equal(found.base_logits[:, 1, others], found.base_logits[:, 0, others])


def test_predict_takes_the_scores_of_a_table(with_table, tmp_path, capsys):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"images/{name}.jpg", seed=ord(name))
    (tmp_path / "images/d.jpg").write_bytes(b"\xff\xd8\xff no image")
    command = [str(tmp_path / "images"), "--models", str(with_table), "--csv", str(tmp_path / "out.csv")]
    assert predict_main(command) == 1
    assert "--scores vendor=FILE" in capsys.readouterr().err
    tables = [
        write(tmp_path / f"{sign}.csv", "Path,Edema", [f"images/a.jpg,{sign}9", f"images/b.jpg,{sign}8"])
        for sign in "-+"
    ]
    found = []
    for table in tables:
        assert predict_main([*command, "--scores", f"vendor={table}"]) == 1
        found.append(pd.read_csv(tmp_path / "out.csv"))
    assert (found[0]["edema"] != found[1]["edema"])[:2].all()
    assert found[0]["edema"].notna().tolist() == [True, True, False, False]
    assert found[0]["error"][2] == "has no row in the scores of vendor (let their maker score it)"
    assert "vendor" not in found[0]["error"][3]
    maps = ["--heatmap", str(tmp_path / "maps"), "--finding", "Edema", "--finding", "Fracture"]
    maps += ["--html", str(tmp_path / "list.html")]
    assert predict_main([*command, "--scores", f"vendor={tables[0]}", *maps]) == 1
    page = (tmp_path / "list.html").read_text(encoding="utf-8")
    assert "Scores of others enter, too (vendor): no map shows what those rest on." in page
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        f"{name}.jpg.{key}.png" for name in "ab" for key in ("edema", "fracture")
    ]


def test_the_scores_of_a_release_in_batch_folders_are_found_by_the_paths_of_its_tables(with_table, tmp_path):
    root = make_batches(tmp_path / "release", patients=4, valid=2)
    write_trained_on(with_table / FILE, NOTHING)
    paths = read_rows(root, tables="all", views="all")[0]["path"].tolist()
    table = write(tmp_path / "scores.csv", "Path,Edema", [f"CheXpert-v1.0/{path},{n}" for n, path in enumerate(paths)])
    ensemble = Ensemble.load(with_table, given=["vendor"])
    options = {"views": "frontal", "blank": "negative", "bad_images": "stop", "scores": {"vendor": table}}
    found = score_folder(ensemble, root, with_table, **options)
    assert found.rows["path"].tolist() == paths
    assert found.scored.logits[1, :, CHEXPERT.keys.index("edema")].tolist() == [*range(6)]
