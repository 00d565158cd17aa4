"""The spread over trainings of other seeds, and which experiments it is taken over."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.params.checked import read_yaml
from diagxnet.reporting.wording import flat
from diagxnet.trainings import spread_table, spreads
from stages import seeds


def evaluation(ensemble, best, half):
    """As metrics/evaluation.json has it, with figures `ensemble` and `best` and intervals of `half` to each side."""

    def metric(value):
        return {"macro": value, "ci": {"macro": {"lower": value - half, "upper": value + half}}}

    def difference(value):
        return {"macro": {"difference": value, "ci": {"lower": value - half / 2, "upper": value + half / 2}}}

    figures = {"densenet": best, "ensemble": ensemble}
    content = {
        name: {"auroc": metric(own), "auprc": metric(own - 0.1), "val": {"auroc": own + 0.02}}
        for name, own in figures.items()
    }
    minus = {metric: difference(ensemble - best) for metric in ("auroc", "auprc")}
    return content | {"comparison": {"ensemble_minus_best_base": minus, "ensemble_minus_average": minus}}


def test_spread_is_over_trainings_and_its_variance_adds_to_that_over_patients(monkeypatch):
    monkeypatch.setattr("diagxnet.trainings.models_of", lambda content: ["densenet", "ensemble"])
    values = (0.80, 0.82, 0.84)
    found = {each.what: each for each in spreads([evaluation(own, 0.81, 1.959964 * 0.015) for own in values])}
    own = found["Ensemble on test", "AUROC"]
    assert own.trainings == pytest.approx(0.02)
    assert own.patients == pytest.approx(0.015)
    assert own.both == pytest.approx(0.025)
    assert found["DenseNet on test", "AUROC"].trainings == pytest.approx(0)
    assert found["Ensemble on val", "AUROC"].both is None
    np.testing.assert_allclose(found["Ensemble - its best base model, on test", "AUPRC"].values, [-0.01, 0.01, 0.03])
    assert found["Ensemble - its best base model, on test", "AUROC"].patients == pytest.approx(0.0075)
    lines = spread_table(list(found.values()))
    assert (
        len({line.index(each.what[1], len(each.what[0])) for line, each in zip(lines[1:], found.values(), strict=True)})
        == 1
    )
    assert "-0.0100 to +0.0300" in lines[-1]


class Revision:
    """A revision's files."""

    def __init__(self, params, **files):
        self.files = {"params.yaml": yaml.safe_dump(params)} | {
            name.replace("__", "/") + ".json": json.dumps(own) for name, own in files.items()
        }

    def read_text(self, name, encoding):
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None


def test_experiments_of_other_seeds_alone_are_found(monkeypatch):
    params = read_yaml(Path("params.yaml"))
    measured = {"metrics__evaluation": {"some": 1}}
    revisions = {
        "same": Revision(params, **measured),
        "seed-43": Revision(params | {"seed": 43}, **measured),
        "again-43": Revision(params | {"seed": 43}, **measured),
        "wide": Revision(params | {"seed": 44, "meta": params["meta"] | {"hidden_dim": 384}}, **measured),
        "unfinished": Revision(params | {"seed": 45}),
    }
    monkeypatch.setattr(seeds, "open_revision", revisions.__getitem__)
    monkeypatch.setattr(seeds, "_experiments", lambda: [name for name in revisions if name != "unfinished"])
    here = flat(params)
    assert list(seeds.others([], here)) == ["seed-43"]
    assert seeds.others(["seed-43"], here) == {"seed-43": {"some": 1}}
    for named, reason in (
        (["wide"], "wide: differs in meta.hidden_dim, and not in seed alone"),
        (["same"], "same: has the seed of the workspace, 42"),
        (["seed-43", "again-43"], "again-43: has the seed of seed-43, 43"),
        (["unfinished"], "metrics/evaluation.json of unfinished: not in git"),
    ):
        with pytest.raises(InputError, match=reason):
            seeds.others(named, here)
    monkeypatch.setattr(seeds, "_experiments", lambda: ["same"])
    with pytest.raises(InputError, match="seed alone"):
        seeds.others([], here)


def test_the_recorded_run_beside_itself_has_no_spread(capsys):
    recorded = read_json("metrics/evaluation.json")
    found = spreads([recorded, recorded])
    assert {each.trainings for each in found} == {0.0}
    assert len(found) == 4 * 2 * 2 + 4
