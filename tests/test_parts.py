"""What the report, the model card and the metrics say of the ensemble's parts."""

import pytest

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_json
from diagxnet.reporting.sections.parts import SECTION, parts_content, parts_of, parts_text
from diagxnet.statistics.results import measure
from tests.test_evaluation import COUNTS, SCORING, run
from tests.workspace import combination, make_material, make_scored


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    run(root)
    return root


def test_report_card_and_metrics_say_how_much_of_each_member_and_of_the_network_is_in_the_ensemble(root):
    page = (root / "plots/report.html").read_text(encoding="utf-8")
    card = (root / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    for text in page, card:
        assert "DenseNet 0.75 (0.75 to 0.75), ViT 0.25 (0.25 to 0.25)" in text
        assert "The network's correction is in it with factor 0.4." in text.replace("&#x27;", "'")
    assert page.count(">0.75</td>") == len(CHEXPERT)
    evaluation, summary = (read_json(root / f"metrics/{name}.json") for name in ("evaluation", "summary"))
    assert evaluation["combination"]["weights"]["vit"] == dict.fromkeys(CHEXPERT.keys, 0.25)
    assert evaluation["combination"]["factor"] == 0.4
    assert summary["behind_on_val"] == 1
    assert "It is behind by more than the error. Macro AUROC on val" in page
    assert "-0.0200 (error 0.0060) against the plain average" in page


def test_a_network_that_does_not_count_is_said_not_to_and_one_alone_has_no_weights():
    parts = parts_of(combination(["densenet"]) | {"correction": {"factor": 0.0, "gain": 0.1, "error": 1.0}}, ())
    assert parts_text(parts).endswith("with factor 0.0: it did not help on val.")
    alone = parts_of({"core": None, "correction": None, "on_val": {}}, ())
    assert alone == {"val": {}, "behind_on_val": 0}
    assert parts_text(alone) == "The ensemble is what the network makes of the members' logits."
    assert len(parts_content(alone, CHEXPERT.titles)) == 1


def test_an_evaluation_that_does_not_know_the_parts_has_no_section_on_them():
    val = make_scored(seed=1)
    results = measure(val, make_scored(), {}, SCORING, left_out=val, **COUNTS)
    assert SECTION.content(make_material(results), {}) == []
