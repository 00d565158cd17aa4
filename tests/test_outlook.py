"""Where in a whole run a stage is, and what is left of it."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from diagxnet.console.progress import Progress
from stages.outlook import SECONDS, outlook, remember, stages
from stages.running import run
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Progress, "behind", 0.0)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_stages_are_those_of_dvc_yaml_in_its_order_with_one_for_each_further_member(project: Path) -> None:
    text = (project / "dvc.yaml").read_text(encoding="utf-8")
    plain = [name for name in yaml.safe_load(text)["stages"] if name not in ("train", "read_table")]
    assert stages() == plain
    params = (project / "params.yaml").read_text(encoding="utf-8")
    params = params.replace("more: {}", "more: {b: {arch: x}, a: {arch: y}}").replace(
        "tables: {}", "tables: {v: v.csv}"
    )
    (project / "params.yaml").write_text(params, encoding="utf-8", newline="\n")
    at = plain.index("stack_features")
    assert stages() == [*plain[:at], "train_b", "train_a", "train_v", *plain[at:]]


def test_a_stage_says_its_place_and_what_is_known_of_those_behind_it_alone() -> None:
    every = stages()
    assert outlook("train_vit") == (f"train_vit: stage {every.index('train_vit') + 1} of {len(every)}", 0.0)
    remember({"train_densenet": 7200.0, "train_vit": 10800.0})
    remember({"stack_features": 600.0, "train_meta": 30.0, "train_densenet": 9000.0})
    line, left = outlook("train_densenet")
    assert left == 10800 + 600 + 30
    assert line.endswith("; by the last run or preflight this one 2.5 h, those behind it 3.2 h, at most")
    assert outlook("train_meta")[1] == 0
    assert outlook("audit") == ("", 0.0)


@pytest.mark.parametrize("content", ["", "[1]", '{"train_vit": "x"}', "{"])
def test_a_damaged_record_is_as_none(content: str) -> None:
    SECONDS.parent.mkdir()
    SECONDS.write_text(content, encoding="utf-8")
    assert outlook("train_densenet")[1] == 0
    remember({"train_vit": 1.0})
    assert outlook("train_densenet")[1] == 1


def test_a_stage_remembers_what_it_took_with_what_it_took_before_an_interruption(project: Path, capsys) -> None:
    remember({"evaluate": 5400.0, "train_meta": 60.0})
    run("train_meta", lambda: {"seconds": 123.0})
    assert json.loads(SECONDS.read_text(encoding="utf-8")) == {"evaluate": 5400.0, "train_meta": 123.0}
    assert capsys.readouterr().out.startswith("train_meta: stage ")
    assert Progress.behind == 5400
    run("audit", lambda: None, timed=False)
    assert set(json.loads(SECONDS.read_text(encoding="utf-8"))) == {"evaluate", "train_meta"}


def test_of_several_processes_the_first_alone_tells_and_remembers(monkeypatch, capsys) -> None:
    remember({"evaluate": 5400.0})
    monkeypatch.setenv("RANK", "1")
    run("train_vit", lambda: {"seconds": 123.0})
    assert capsys.readouterr().out == ""
    assert Progress.behind == 0
    assert json.loads(SECONDS.read_text(encoding="utf-8")) == {"evaluate": 5400.0}


def test_a_bar_tells_what_is_left_of_this_stage_and_those_behind_it(monkeypatch) -> None:
    monkeypatch.setattr(Progress, "behind", 7200.0)
    progress, said = Progress(100, "train_vit", shown=False), []
    progress.bar = SimpleNamespace(format_dict={"rate": 0.01}, set_postfix_str=said.append, update=lambda items: None)
    progress.update(64)
    progress.note("epoch 1/2")
    assert said == ["epoch 1/2, whole run 3.0 h left"]


def test_lines_of_a_log_tell_what_is_left_of_the_whole_run(monkeypatch, capsys) -> None:
    monkeypatch.setattr(Progress, "behind", 7200.0)
    monkeypatch.setattr("diagxnet.console.progress.SECONDS_BETWEEN_LINES", -1)
    with Progress(100, "train_vit", shown=True) as progress:
        progress.started -= 3600
        progress.update(50)
        progress.update(50)
    halfway, end = capsys.readouterr().err.splitlines()
    assert halfway.endswith("60 min left (of the whole run 3.0 h)")
    assert end.startswith("train_vit: 100/100 img")


def test_a_defect_keeps_its_traceback_and_says_what_is_kept(tmp_path: Path) -> None:
    def main() -> None:
        raise ZeroDivisionError("x")

    with pytest.raises(ZeroDivisionError) as raised:
        run("train_vit", main)
    assert raised.value.__notes__[0].startswith("train_vit: a defect. Stages that ended are kept")
    assert not os.path.exists(SECONDS)
