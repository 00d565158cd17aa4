"""Export: one ONNX file that says what PyTorch says."""

import sys

import numpy as np
import pytest
import torch

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.export import Whole, main
from tests.ensembles import NETWORKS, SIZE, make_models


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "folds", "views"),
    [(("densenet", "vit"), None, 1), (("densenet", "vit"), 2, 2), (("vit",), None, 1), (("vit", "a", "b"), None, 1)],
)
def test_the_exported_file_gives_pytorchs_probabilities_for_any_number_of_images(tmp_path, capsys, names, folds, views):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is an extra")
    pytest.importorskip("onnxscript", reason="onnxscript is an extra")
    networks = {name: NETWORKS.get(name, NETWORKS["densenet"]) for name in names}
    options = {"members": 2, "folds": folds, "views": views, "networks": networks, "not_learned": ("edema",)}
    models = make_models(tmp_path / "models", **options)
    assert main(["--models", str(models), str(tmp_path / "out" / "ensemble.onnx")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["ensemble.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "out" / "ensemble.onnx", providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["findings"].split(",") == list(CHEXPERT.keys)
    assert metadata["image_size"] == str(SIZE)
    assert metadata["not_learned"] == "edema"
    ensemble = Ensemble.load(models, precision="fp32")
    images = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE), dtype=np.uint8)
    images[4] = 7  # of one value, whose deviation is 0
    for count in (1, 5):
        expected = ensemble.predict(images[:count])
        probabilities, logits = session.run(["probabilities", "logits"], {"images": images[:count, None]})
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(logits, expected.logits, atol=1e-4)
        for given in (probabilities, logits):
            assert np.isnan(given).all(axis=0).tolist() == [key == "edema" for key in CHEXPERT.keys]
        assert np.nanmax(probabilities) - np.nanmin(probabilities) > 0.01


def test_the_network_that_is_exported_says_what_the_ensemble_says_and_nothing_of_what_was_not_learned(tmp_path):
    ensemble = Ensemble.load(make_models(tmp_path / "models", not_learned=("edema",)), precision="fp32")
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    with torch.inference_mode():
        probabilities, logits = Whole(ensemble).eval()(torch.from_numpy(images[:, None]))
    expected = ensemble.predict(images)
    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_allclose(logits, expected.logits, atol=1e-4)
    for given in (probabilities, logits):
        assert given.isnan().all(dim=0).tolist() == [key == "edema" for key in CHEXPERT.keys]


def test_without_onnx_the_message_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["--models", str(tmp_path), str(tmp_path / "ensemble.onnx")]) == 1
    assert "python -m pip install -c constraints.txt onnx onnxscript" in capsys.readouterr().err
