"""torchxrayvision's models as members: what they say of a folder becomes a table, of images as they were trained on.

A stand-in for the package, with random weights: a test must not need it, nor its weights.
"""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from diagxnet.images.decode import whole_square
from diagxnet.tables.predictions import PROBABILITIES, kinds, read_predictions
from diagxnet.xrayvision import main
from tests.radiographs import write_image

SIZE = 48
PATHOLOGIES = ["Atelectasis", "Effusion", "", "Lung Opacity"]


class Net(nn.Module):
    """As the package's models: `pathologies`, one of them not trained, probabilities of images from -1024 to 1024."""

    pathologies = PATHOLOGIES

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner = nn.Sequential(nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))
        self.dropout = nn.Dropout(0.5)
        self.seen: list[torch.Tensor] = []
        self(torch.zeros(1, 1, SIZE, SIZE))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return torch.sigmoid(self.dropout(self.inner(images / 1024)))


@pytest.fixture
def package(monkeypatch):
    model = Net()

    def get_model(weights: str) -> Net:
        if weights != f"densenet121-res{SIZE}-all":
            raise Exception("Weights not found")
        return model

    monkeypatch.setitem(sys.modules, "torchxrayvision", SimpleNamespace(models=SimpleNamespace(get_model=get_model)))
    return model


def test_a_folder_is_scored_as_the_model_scores_each_image_alone(package, tmp_path, capsys):
    for n in range(19):
        write_image(tmp_path / f"films/patient{n:05d}/study1/a.jpg", seed=n)
    (tmp_path / "films/bad.jpg").write_bytes(b"\xff\xd8nothing")
    weights = ["--weights", f"densenet121-res{SIZE}-all", "--csv", str(tmp_path / "xrv.csv")]
    assert main([str(tmp_path / "films"), *weights]) == 1
    assert "bad.jpg: " in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "xrv.csv")
    assert table.columns.tolist() == ["Path", "Atelectasis", "Pleural Effusion", "Lung Opacity"]
    assert len(table) == 19
    for row in (0, 18):
        grey = whole_square(table["Path"][row], SIZE).astype(np.float32)
        with torch.inference_mode():
            (expected,) = package(torch.from_numpy(grey / 255 * 2048 - 1024)[None, None])
        np.testing.assert_allclose(table.iloc[row, 1:].to_numpy(float), expected[[0, 1, 3]], rtol=1e-4)
    assert max(float(each.abs().max()) for each in package.seen[1:]) <= 1024
    problems: list[str] = []
    read = read_predictions("xrv", tmp_path / "xrv.csv", problems)
    values = np.stack([read.numbers(key, problems) for key in read.cells], axis=1)
    assert not problems
    assert kinds(values) == [PROBABILITIES] * 3


def test_a_wide_image_is_cropped_to_its_whole_height(tmp_path):
    grey = np.zeros((60, 100), np.uint8)
    grey[:, 20:80] = 200
    grey[:3, 20:80] = 100
    Image.fromarray(grey).save(tmp_path / "wide.png")
    square = whole_square(tmp_path / "wide.png", 30)
    assert square.shape == (30, 30)
    assert square.min() > 80
    assert square[0, 1:-1].max() < 120
    assert (square[3:, 1:-1] == 200).all()


def test_without_the_package_or_such_weights_it_says_what_to_do(package, monkeypatch, tmp_path, capsys):
    write_image(tmp_path / "a.jpg", seed=1)
    command = [str(tmp_path / "a.jpg"), "--csv", str(tmp_path / "xrv.csv")]
    assert main([*command, "--weights", "resnet9"]) == 1
    assert "--weights resnet9: torchxrayvision has no such model here: Weights not found" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    assert main(command) == 1
    assert "torchxrayvision is not installed (python -m pip install torchxrayvision)" in capsys.readouterr().err
    assert not (tmp_path / "xrv.csv").exists()
