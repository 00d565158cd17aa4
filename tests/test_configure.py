"""params.yaml is set from the command line without a grammar of its own."""

import shutil
from pathlib import Path

import pytest

from diagxnet.console.errors import InputError
from diagxnet.params.checked import read_yaml
from stages.configure import configure
from tests.conftest import ROOT

NAMES = ["/my films/Röntgen (1), neu = alt/~#", "C:\\Films\\Röntgen", "\\\\server\\films", "on", "12"]
"""Folders that Hydra's grammar refuses, or that YAML would take for something else."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    return tmp_path


@pytest.mark.parametrize("folder", NAMES)
def test_a_path_is_taken_as_it_is_typed_and_nothing_else_changes(project: Path, folder: str) -> None:
    before = read_yaml(project / "params.yaml")
    configure([f"data.root={folder}"])
    after = read_yaml(project / "params.yaml")
    assert after["data"]["root"] == folder
    assert after == before | {"data": before["data"] | {"root": folder}}
    assert "# side of the square images in pixels" in (project / "params.yaml").read_text(encoding="utf-8")


def test_recipes_and_values_are_set_in_order_and_later_ones_win(project: Path) -> None:
    configure(["guide", "chexpert", "densenet.pretrained=weights/d.safetensors", "data.findings=[Stauung, Erguß (li)]"])
    params = read_yaml(project / "params.yaml")
    assert params["data"]["root"] == "data/CheXpert-v1.0-small"
    assert (params["vit"]["pretrained"], params["vit"]["batch_norm"]) == (True, False)
    assert params["densenet"]["pretrained"] == "weights/d.safetensors"
    assert params["data"]["findings"] == ["Stauung", "Erguß (li)"]
    configure(
        [
            "data.root=data/demo",
            "densenet.pretrained=false",
            "densenet.lr=1e-4",
            "more.small={arch: resnet10t, epochs: 3}",
        ]
    )
    params = read_yaml(project / "params.yaml")
    assert params["data"]["root"] == "data/demo"
    assert (params["densenet"]["pretrained"], params["densenet"]["lr"]) == (False, 1e-4)
    configure(["densenet.normalise=[0.5, 0.25]", "vit.normalise=pretrained"])
    later = read_yaml(project / "params.yaml")
    assert (later["densenet"]["normalise"], later["vit"]["normalise"]) == ([0.5, 0.25], "pretrained")
    assert params["more"] == {"small": {"arch": "resnet10t", "epochs": 3}}


def test_the_marks_that_hydra_wants_of_new_and_of_removed_keys_are_taken(project: Path) -> None:
    before = read_yaml(project / "params.yaml")
    configure(["+more.small={arch: resnet10t}", "++more.small.lr=1e-3"])
    assert read_yaml(project / "params.yaml")["more"] == {"small": {"arch": "resnet10t", "lr": 1e-3}}
    configure(["~more.small"])
    assert read_yaml(project / "params.yaml") == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["chexprt"], "no recipe 'chexprt'; known: baseline, chexpert"),
        (["data.rot=x"], "params.yaml: data.rot: unknown key"),
        (["date.root=x"], "date.root: params.yaml has no date to set it in"),
        (["data.image_size=small"], "data.image_size"),
        (["data.findings=[a"], "data.findings=[a: is no YAML"),
        (["~more.small"], "~more.small: params.yaml has no such key"),
    ],
)
def test_what_inventory_would_refuse_is_refused_and_leaves_the_file(project: Path, words, reason) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(InputError) as refused:
        configure(["data.root=elsewhere", *words])
    assert reason in str(refused.value)
    assert (project / "params.yaml").read_bytes() == before
