"""A positive child makes its parent positive; under `conditional` no child is more probable than its parent."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from diagxnet.audit.checks import CHECKS
from diagxnet.audit.recomputed import _calibrated
from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT, PARENTS
from diagxnet.data.files import read_arrays, read_json, write_arrays
from diagxnet.data.hierarchy import FLAT, Hierarchy, cap, given_parent, next_above, pairs
from diagxnet.data.packed import open_packed
from diagxnet.data.prepared import FINDINGS_FILE, read_hierarchy, read_labels
from diagxnet.data.splits import LEARNED
from diagxnet.ensemble.calibration import probabilities, read_calibration, write_calibration
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.export import Whole
from diagxnet.params.checked import parse
from diagxnet.params.whole import read_all
from diagxnet.prediction.saliency import heat_maps
from diagxnet.statistics.calibrating import fit_calibration
from diagxnet.training.checkpoint import load_model
from diagxnet.training.networks import along_paths, from_config, standardise
from tests.audited import make_run
from tests.bad_input import prepare_of
from tests.conftest import ROOT
from tests.ensembles import SIZE, make_models
from tests.radiographs import make_data
from tests.test_audit import audited
from tests.test_crossfit import train_small
from tests.workspace import make_scored

KEYS = CHEXPERT.keys
WHOLE = Hierarchy.of("conditional", KEYS, {})
ABOVE = pairs(PARENTS, KEYS)
THREE = ("lung_opacity", "consolidation", "pneumonia")
LOGITS = st_numpy.arrays(np.float32, (3, len(KEYS)), elements=st.floats(-90, 90, width=32))
PROBABILITIES = st_numpy.arrays(np.float64, (3, len(KEYS)), elements=st.floats(0, 1))
TARGETS = st_numpy.arrays(np.float32, (3, len(KEYS)), elements=st.sampled_from([0.0, 0.2, 0.7, 1.0]))
MASKS = st_numpy.arrays(bool, (3, len(KEYS)))


def test_chexperts_parents_are_its_own_and_of_a_finding_left_out_the_next_above():
    assert WHOLE.parents == PARENTS
    assert Hierarchy.of("labels", ("lung_opacity", "pneumonia"), {}).parents == {"pneumonia": "lung_opacity"}
    assert Hierarchy.of("off", KEYS, {}) == FLAT
    assert FLAT.conditional == Hierarchy.of("labels", KEYS, {}).conditional == {}


def test_parents_that_are_passed_are_climbed_over_however_many_there_are():
    parents = {"a": "b", "b": "c", "c": "d"}
    assert next_above(parents, {"b", "c"}) == {"a": "d", "b": "d", "c": "d"}
    assert next_above(parents, {"b", "c", "d"}) == {}
    assert next_above(parents, {"d"}) == {"a": "b", "b": "c"}


@pytest.mark.parametrize(
    ("mode", "keys", "parents", "said"),
    [
        ("labels", ("tuberculosis", "covid"), {}, "nothing tells which of these findings includes another"),
        ("labels", ("edema", "fracture"), {}, "nothing tells which of these findings includes another"),
        ("off", KEYS, {"edema": "lungs"}, "data.parents: lungs is no finding"),
        ("labels", KEYS, {"odema": "lung_opacity"}, "data.parents: odema is no finding"),
        ("labels", KEYS, {"edema": "edema"}, "data.parents: edema < edema is a circle"),
        ("conditional", KEYS, {"edema": "fracture", "fracture": "edema"}, "edema < fracture < edema is a circle"),
    ],
)
def test_what_is_no_hierarchy_is_refused_with_what_to_do(mode, keys, parents, said):
    with pytest.raises(ValueError, match=said):
        Hierarchy.of(mode, keys, parents)


def test_params_refuse_a_hierarchy_of_findings_that_nothing_is_known_of(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace('hierarchy: "off"', "hierarchy: labels")
    start, end = text.index("    - No Finding"), text.index("  hierarchy:")
    path = tmp_path / "params.yaml"
    path.write_text(f"{text[:start]}    - Tuberculosis\n    - Sign\n{text[end:]}", encoding="utf-8")
    with pytest.raises(InputError, match=r"data.hierarchy = 'labels': nothing tells .*data.parents.CHILD=PARENT"):
        read_all(path)
    path.write_text(
        path.read_text(encoding="utf-8").replace("parents: {}", "parents: {sign: tuberculosis}"), encoding="utf-8"
    )
    assert read_all(path)["data"].parents == {"sign": "tuberculosis"}


def test_off_is_a_word_as_dvc_writes_it():
    assert parse("a: off\nb: true\nc: False\nd: no", "x") == {"a": "off", "b": True, "c": False, "d": "no"}


@given(TARGETS, MASKS)
def test_where_a_child_is_positive_so_are_all_above_it_and_nothing_else_changes(targets, mask):
    targets = np.where(mask, targets, 0)
    completed, known = WHOLE.complete(targets, mask, KEYS)
    for child, parent in ABOVE:
        positive = known[:, child] & (completed[:, child] >= 0.5)
        assert known[positive, parent].all()
        assert (completed[positive, parent] >= completed[positive, child]).all()
    assert (known >= mask).all()
    assert (completed >= targets).all()
    parents = sorted({parent for _, parent in ABOVE})
    others = np.setdiff1d(np.arange(len(KEYS)), parents)
    np.testing.assert_array_equal(completed[:, others], targets[:, others])
    moved = completed[:, parents] != targets[:, parents]
    assert (completed[:, parents][moved] >= 0.5).all()
    again = WHOLE.complete(completed, known, KEYS)
    np.testing.assert_array_equal(again[0], completed)
    unchanged = FLAT.complete(targets, mask, KEYS)
    np.testing.assert_array_equal(unchanged[0], targets)


@given(TARGETS, MASKS)
def test_a_child_is_learned_where_its_parent_is_positive(targets, mask):
    known = given_parent(targets, mask, ABOVE)
    children = {child for child, _ in ABOVE}
    for child, parent in ABOVE:
        np.testing.assert_array_equal(known[:, child], mask[:, child] & mask[:, parent] & (targets[:, parent] >= 0.5))
    for f in set(range(len(KEYS))) - children:
        np.testing.assert_array_equal(known[:, f], mask[:, f])


@given(LOGITS)
def test_what_a_base_model_says_is_the_product_along_the_path_and_never_above_the_parent(logits):
    found = along_paths(torch.from_numpy(logits), ABOVE)
    assert found.isfinite().all()
    own = torch.from_numpy(logits).double().sigmoid()
    for child, parent in ABOVE:
        assert (found[:, child] <= found[:, parent]).all()
        own[:, child] *= own[:, parent]
    np.testing.assert_allclose(found.double().sigmoid(), own, rtol=1e-4, atol=1e-30)


@given(PROBABILITIES)
def test_no_capped_probability_is_above_its_parents_and_the_rest_stay(probability):
    found = cap(probability, PARENTS, KEYS)
    for child, parent in ABOVE:
        assert (found[:, child] <= found[:, parent]).all()
    assert (found <= probability).all()
    lowered = found < probability
    assert not lowered[:, [f for f in range(len(KEYS)) if f not in {child for child, _ in ABOVE}]].any()
    np.testing.assert_array_equal(cap(found, PARENTS, KEYS), found)


def test_a_parent_that_was_not_learned_bounds_nothing():
    assert cap(np.array([np.nan, 0.7]), {"b": "a"}, ("a", "b"))[1] == 0.7


def make_opacities(root, labels=("0.0", "1.0", "0.0"), **patients):
    """`make_data` with the column Lung Opacity filled with `labels` in turn, whatever Edema is."""
    make_data(root, **patients)
    for path in root.glob("*.csv"):
        header, *rows = (row.split(",") for row in path.read_text(encoding="utf-8").splitlines())
        for number, row in enumerate(rows):
            row[header.index("Lung Opacity")] = labels[number % len(labels)]
        path.write_text("\n".join(map(",".join, [header, *rows])) + "\n", encoding="utf-8")


@pytest.mark.parametrize("mode", ["off", "labels", "conditional"])
def test_train_and_stack_are_completed_and_val_and_test_are_as_read(tmp_path, mode):
    make_opacities(tmp_path, train=60, valid=8)
    prepare_of(tmp_path)
    before = {split: read_labels(tmp_path / ".prepared", split) for split in ("train", "stack", "val", "test")}
    plain = (tmp_path / ".prepared" / FINDINGS_FILE).read_bytes()
    summary = prepare_of(tmp_path, hierarchy=Hierarchy.of(mode, KEYS, {}))
    assert read_hierarchy(tmp_path / ".prepared")[1].mode == mode
    assert summary["rules"].get("hierarchy", "off") == mode
    assert ((tmp_path / ".prepared" / FINDINGS_FILE).read_bytes() == plain) == (mode == "off")
    for split, old in before.items():
        new = read_labels(tmp_path / ".prepared", split)
        changed = not np.array_equal(new.targets, old.targets)
        assert changed == (split in LEARNED and mode != "off"), split


def test_a_parent_that_train_never_labels_is_refused(tmp_path):
    make_opacities(tmp_path, ("",), train=60)
    with pytest.raises(InputError, match=r"lung_opacity, the parent of edema, has no known label in train"):
        prepare_of(tmp_path, hierarchy=WHOLE)


def test_a_base_model_learns_conditional_and_says_unconditional_logits_also_when_loaded(tmp_path):
    make_opacities(tmp_path, train=60)
    prepare_of(tmp_path, hierarchy=WHOLE)
    list(train_small(tmp_path, folds=None))
    folder = tmp_path / "models/densenet"
    assert read_json(folder / "config.json")["parents"] == PARENTS
    model = load_model(folder, from_config)
    images = torch.from_numpy(np.array(open_packed(tmp_path / ".packed")[:4]))[:, None].float() / 255
    with torch.inference_mode():
        said = model(images)
        conditional = model.network(standardise(images))
    np.testing.assert_allclose(said, along_paths(conditional, ABOVE), atol=1e-4)
    assert (said[:, [child for child, _ in ABOVE]] != conditional[:, [child for child, _ in ABOVE]]).all()


def test_what_a_child_is_where_its_parent_is_not_moves_no_weight_and_no_epoch(tmp_path):
    edema, opacity = KEYS.index("edema"), KEYS.index("lung_opacity")
    make_opacities(tmp_path, train=60)
    prepare_of(tmp_path, hierarchy=WHOLE)

    def turned(split: str, where_parent_is: bool) -> None:
        path = tmp_path / f".prepared/labels_{split}.npz"
        arrays = read_arrays(path)
        chosen = (arrays["targets"][:, opacity] >= 0.5) == where_parent_is
        assert chosen.any()
        arrays["targets"][chosen, edema] = 1 - arrays["targets"][chosen, edema]
        write_arrays(path, **arrays)

    def trained() -> tuple[list, bytes]:
        epochs = [epoch.record | {"val_auroc": None} for epoch in train_small(tmp_path, folds=None)]
        return epochs, (tmp_path / "models/densenet/model.safetensors").read_bytes()

    before = trained()
    for split in ("train", "val"):
        turned(split, False)
    assert trained() == before
    turned("val", True)
    again = trained()
    assert again[0] != before[0]
    assert [epoch["train_loss"] for epoch in again[0]] == [epoch["train_loss"] for epoch in before[0]]
    turned("train", True)
    assert trained()[1] != before[1]


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    """models/ whose base models are conditional, with a calibration that would break the bound by itself."""
    models = make_models(tmp_path_factory.mktemp("bound") / "models", parents=PARENTS)
    ensemble = Ensemble.load(models, precision="fp32")
    raised = {
        key: replace(own, intercept=own.intercept + 5 * (key in PARENTS))
        for key, own in ensemble.calibration["ensemble"].items()
    }
    return replace(ensemble, calibration=ensemble.calibration | {"ensemble": raised})


def test_no_child_is_more_probable_than_its_parent_in_prediction_export_and_file(bound, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE), dtype=np.uint8)
    prediction = bound.predict(images)
    own = {key: replace(each, parent=None) for key, each in bound.calibration["ensemble"].items()}
    free = probabilities(prediction.logits, own)
    broken = [(child, parent) for child, parent in ABOVE if (free[:, child] > free[:, parent]).any()]
    assert broken, "this calibration breaks no bound, so that nothing is shown"
    for child, parent in ABOVE:
        assert (prediction.probabilities[:, child] <= prediction.probabilities[:, parent]).all()
        assert (prediction.base_logits[..., child] <= prediction.base_logits[..., parent]).all()
    with torch.inference_mode():
        exported, logits = Whole(bound).eval()(torch.from_numpy(images[:, None]))
    np.testing.assert_allclose(exported, prediction.probabilities, atol=1e-4)
    np.testing.assert_allclose(logits, prediction.logits, atol=1e-4)
    write_calibration(tmp_path / "c.json", bound.calibration, "image", "vit")
    assert read_calibration(tmp_path / "c.json") == bound.calibration


def test_a_heat_map_of_a_child_sees_its_parent_too(bound):
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    maps = heat_maps(bound, image, [KEYS.index(key) for key in THREE])
    assert maps.shape == (3, SIZE, SIZE)
    assert np.isfinite(maps).all()
    assert all(own.max() == pytest.approx(1, abs=1e-4) for own in maps)


def test_without_a_hierarchy_a_calibration_has_no_parents_and_its_file_does_not_name_any(tmp_path):
    scored = make_scored(80)
    write_calibration(tmp_path / "c.json", fit_calibration(scored, 5), "image", "vit")
    assert "parent" not in json.dumps(read_json(tmp_path / "c.json"))


def test_thresholds_are_of_bounded_probabilities_and_a_parent_not_learned_is_passed_by():
    scored = make_scored(200, skill=0.5)
    fitted = fit_calibration(scored, 5, ("consolidation",), PARENTS)["ensemble"]
    assert fitted["pneumonia"].parent == "lung_opacity"
    assert fitted["consolidation"].parent is None
    probability = probabilities(scored.logits[-1], fitted)[:, KEYS.index("pneumonia")]
    targets = scored.targets[:, KEYS.index("pneumonia")]
    free = fit_calibration(scored, 5)["ensemble"]["pneumonia"]
    assert fitted["pneumonia"].slope == free.slope
    assert fitted["pneumonia"].thresholds != free.thresholds

    def youden(cut: float) -> float:
        called = probability >= cut
        return called[targets].mean() - called[~targets].mean()

    assert youden(fitted["pneumonia"].thresholds["youden"]) == pytest.approx(max(map(youden, probability)))


def test_a_parent_that_no_label_of_val_calibrates_is_passed_by_in_prediction_export_and_audit(bound):
    own = bound.calibration["ensemble"]
    blank = replace(own["consolidation"], fit="none", slope=1.0, intercept=-50.0)
    passed = replace(bound, calibration=bound.calibration | {"ensemble": own | {"consolidation": blank}})
    images = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE), dtype=np.uint8)
    prediction = passed.predict(images)
    probability = prediction.probabilities
    pneumonia, consolidation, opacity = (KEYS.index(k) for k in ("pneumonia", "consolidation", "lung_opacity"))
    assert (probability[:, pneumonia] > probability[:, consolidation]).all()
    assert (probability[:, pneumonia] <= probability[:, opacity]).all()
    with torch.inference_mode():
        exported, _ = Whole(passed).eval()(torch.from_numpy(images[:, None]))
    np.testing.assert_allclose(exported, probability, atol=1e-4)
    units = SimpleNamespace(logits={"ensemble": prediction.logits}, keys=list(KEYS))
    again = _calibrated(units, "ensemble", passed.calibration["ensemble"], "pneumonia")
    np.testing.assert_allclose(again, probability[:, pneumonia], rtol=1e-6)


@pytest.mark.parametrize("mode", ["labels", "conditional"])
def test_a_run_of_either_mode_passes_its_audit_and_one_without_the_bound_does_not(tmp_path, mode):
    run = make_run(tmp_path, hierarchy=Hierarchy.of(mode, KEYS, {}))
    assert len(audited(run)) == len(CHECKS)
    if mode == "conditional":
        own = run.claims.calibration["ensemble"]
        assert own["edema"].parent == "lung_opacity"
        own["edema"] = replace(own["edema"], parent=None)
        with pytest.raises(InputError, match=r"calibration\.json: val gives others for 1, ensemble.edema first"):
            audited(run)
