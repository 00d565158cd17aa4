"""Cases to look at: the surest mistakes first, with a heat map and each model's probability; patients' images said."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json, write_json
from diagxnet.ensemble.calibration import probabilities, read_calibration
from diagxnet.prediction.cases import KINDS, PRIVATE, choose_cases, write_cases
from diagxnet.statistics.scored import read_scored
from tests.audited import Run, make_run
from tests.workspace import make_scored

F = CHEXPERT.keys.index("edema")


def test_the_surest_mistakes_come_first_and_unknown_labels_are_none():
    scored = make_scored(units=8)
    targets, mask = np.zeros((8, len(CHEXPERT)), bool), np.ones((8, len(CHEXPERT)), bool)
    targets[4:, F], mask[0, F] = True, False
    probability = np.zeros((8, len(CHEXPERT)))
    probability[:, F] = [0.99, 0.6, 0.7, 0.2, 0.4, 0.1, 0.9, 0.8]
    scored = replace(scored, targets=targets, mask=mask)
    found = list(choose_cases(scored, probability, {"edema": 0.5}, each=2))
    assert found == [
        ("edema", "false_positive", 2), ("edema", "false_positive", 1), ("edema", "false_negative", 5),
        ("edema", "false_negative", 4), ("edema", "true_positive", 6), ("edema", "true_positive", 7),
    ]  # fmt: skip
    assert len(list(choose_cases(scored, probability, {"edema": 0.5}, each=1))) == 3


def test_equally_sure_cases_are_in_their_order():
    scored = make_scored(units=40)
    probability = np.round(expit(scored.logits[-1]), 1)
    thresholds = dict.fromkeys(CHEXPERT.keys, 0.5)
    assert list(choose_cases(scored, probability, thresholds, 3)) == list(
        choose_cases(scored, probability, thresholds, 3)
    )
    for key, kind, unit in choose_cases(scored, probability, thresholds, 3):
        f, sign = CHEXPERT.keys.index(key), -1 if kind == "false_negative" else 1
        same = (scored.targets[:, f] == scored.targets[unit, f]) & (
            (probability[:, f] >= 0.5) == (probability[unit, f] >= 0.5)
        )
        surer = same & (sign * probability[:, f] > sign * probability[unit, f])
        before = same & (probability[:, f] == probability[unit, f]) & (np.arange(40) < unit)
        assert surer.sum() + before.sum() < 3


class _Page(HTMLParser):
    """What a page fetches, and how many of each tag it has."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: dict[str, int] = {}

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.fetched += [value for name, value in attributes if name in ("src", "href")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = make_run(tmp_path_factory.mktemp("cases"))
    for path in (run.root / "models").rglob("config.json"):
        write_json(path, read_json(path) | {"findings": list(CHEXPERT.names)})
    return run


def test_a_study_of_one_image_each_is_found_by_its_name(finished, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(finished.folders[0], data)
    manifest = pd.read_csv(data / "prepared/manifest.csv", dtype=str, keep_default_na=False)
    manifest.assign(study=[f"study {row}" for row in manifest["row"]]).to_csv(
        data / "prepared/manifest.csv", index=False
    )
    assert write_cases(tmp_path / "a.html", data, finished.folders[1], unit="study", precision="fp32", each=1)
    assert re.search("<h4>study [0-9]+</h4>", (tmp_path / "a.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("unit", ["image", "study"])
def test_the_page_shows_each_case_with_maps_and_probabilities_says_what_it_holds_and_fetches_nothing(
    finished, unit, tmp_path
):
    data, models = finished.folders
    count = write_cases(tmp_path / "a.html", data, models, unit=unit, precision="fp32", each=1)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert PRIVATE in text
    assert all(link.startswith(("data:", "#")) for link in page.fetched)
    assert page.tags["article"] == count > 0
    titles = re.split(r"<section id=", text)[1:]
    without = titles[0].count("<article") if f"<h2>{CHEXPERT.names[0]}</h2>" in titles[0] else 0
    assert page.tags["img"] == 2 * count - without  # No Finding has no place to be shown
    test = read_scored(data, models, "test", unit)
    probability = probabilities(test.logits[-1], read_calibration(models / "calibration.json")["ensemble"])
    section = text[text.index("<h2>Edema</h2>") :]
    unit_shown = test.names.tolist().index(re.search(r"<h4>(.*?)</h4>", section)[1].replace("<wbr>", ""))
    shown = re.search(r'<tr class="strong"><td>Ensemble</td><td>([0-9.]+)</td>', section)[1]
    assert float(shown) == pytest.approx(probability[unit_shown, F], abs=5e-4)
    assert write_cases(tmp_path / "b.html", data, models, unit=unit, precision="fp32", each=1) == count
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()
    for title, _ in KINDS.values():
        assert title in text


def test_the_page_is_not_larger_for_more_test_images_than_it_shows(finished, tmp_path):
    data, models = finished.folders
    one = write_cases(tmp_path / "one.html", data, models, unit="image", precision="fp32", each=1)
    assert one <= len(KINDS) * len(CHEXPERT)
    assert (tmp_path / "one.html").stat().st_size < 40_000 * one


def test_the_command_refuses_files_that_the_run_did_not_record(monkeypatch):
    from diagxnet.audit.claims import Pipeline
    from diagxnet.console.errors import InputError
    from stages import cases

    monkeypatch.setattr("sys.argv", ["stages.cases"])
    monkeypatch.chdir(Path(__file__).parents[1])
    monkeypatch.setattr(cases, "pipeline", lambda: Pipeline({}, {"models/vit"}))
    with pytest.raises(InputError, match=r"models/vit: not what the run recorded in dvc\.lock \(run: dvc repro\)"):
        cases.main()
