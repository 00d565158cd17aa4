"""Tables of predictions are judged and stacked without leakage, beside readers, and what is wrong with them is said."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from benchmarks.readers import Population, aligned_of, intervals
from diagxnet.console.errors import InputError
from diagxnet.data.files import read_json
from diagxnet.stacking.logistic import by_patient
from diagxnet.statistics.scored import Scored
from diagxnet.tables.__main__ import TAKEN, main
from diagxnet.tables.across import fit_across
from diagxnet.tables.aligned import Aligned, align
from diagxnet.tables.drawn import MODELS, READERS, best_auroc, draw
from diagxnet.tables.drawn import main as draw_main
from diagxnet.tables.measure import Settings, judge
from diagxnet.tables.named import named
from diagxnet.tables.predictions import LOGITS, ORDERED, PROBABILITIES, kinds, normal_scores, shares
from diagxnet.tables.readers import _difference, readers_figures
from diagxnet.tables.stack import deal, inputs_of, out_of_fold
from tests.conftest import ROOT

CHEXPERT = ROOT.parent / "shared/data/chexpert-test-predictions"
QUICK = ["--folds", "3", "--repeats", "1", "--bootstrap", "40"]


def write(path: Path, rows: dict[str, list], columns: str = "Study,Edema,Nodule") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [columns, *(",".join([name, *map(str, cells)]) for name, cells in rows.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def study(number: int) -> str:
    return f"patient{number:05d}/study1"


@pytest.fixture
def good(tmp_path: Path) -> dict[str, Path]:
    """Small tables that fit one another: a truth, two models and a reader."""
    generator = np.random.default_rng(3)
    truth = {study(n): [int(n % 3 == 0), int(n % 4 == 0)] for n in range(24)}
    score = {name: [f"{0.5 * (v + generator.random()):.4f}" for v in own] for name, own in truth.items()}
    other = {name: [f"{4 * (v + generator.random()) - 4:.4f}" for v in own] for name, own in truth.items()}
    calls = {name: [int(v or generator.random() < 0.2) for v in own] for name, own in truth.items()}
    tables = {"truth": truth, "one": score, "two": other, "doctor": calls}
    return {name: write(tmp_path / f"{name}.csv", rows) for name, rows in tables.items()}


def read(tables: dict[str, Path], models: tuple[str, ...] = ("one", "two"), readers: tuple[str, ...] = ("doctor",)):
    return align(tables["truth"], {n: tables[n] for n in models}, {n: tables[n] for n in readers})


def rewritten(path, old, new):
    """Every `old` becomes `new`."""
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def command(tables: dict[str, Path], out: Path) -> list[str]:
    models = [f"--model={name}={tables[name]}" for name in ("one", "two")]
    return ["--truth", str(tables["truth"]), *models, f"--reader=doctor={tables['doctor']}", "--out", str(out), *QUICK]


def test_the_command_writes_metrics_in_the_form_of_an_evaluation_and_a_page_of_one_file(good, tmp_path, capsys):
    assert main(command(good, tmp_path / "out")) == 0
    metrics = read_json(tmp_path / "out/metrics.json")
    for model in ("one", "two", "probability_mean", "rank_mean", "ensemble"):
        for metric in ("auroc", "auprc"):
            own = metrics[model][metric]
            assert set(own["per_finding"]) == {"edema", "nodule"}
            assert own["macro"] == pytest.approx(np.mean([*own["per_finding"].values()]))
            assert own["ci"]["macro"]["lower"] <= own["macro"] <= own["ci"]["macro"]["upper"]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<img") == 2
    output = capsys.readouterr()
    assert "The stack is" in output.out
    assert "doctor is" in output.out
    assert "tables: one: probabilities" in output.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "report.html"]


def test_equal_tables_give_equal_bytes(good, tmp_path):
    for place in ("first", "second"):
        main(command(good, tmp_path / place))
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_order_of_columns_and_the_writing_of_names_change_nothing(good, tmp_path):
    expected = read(good)
    rows = {name: cells.split(",") for name, _, cells in (each.partition(",") for each in _lines(good["two"]))}
    good["two"] = write(
        tmp_path / "other.csv",
        {name: [b, "x", a] for name, (a, b) in reversed(rows.items())},
        "Study,NODULE ,Comment,  edema",
    )
    found = read(good)
    np.testing.assert_array_equal(found.log_odds, expected.log_odds)
    assert found.findings.titles == {"edema": "Edema", "nodule": "Nodule"}
    assert "two: not in all tables, so left out: Comment" in found.notes


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()[1:]


def test_a_unit_is_scored_by_stacks_that_never_saw_its_patient():
    drawn = draw(60, 5, patients=40)
    patients = drawn.patients.astype(str)
    known = np.ones_like(drawn.targets)
    settings = {"folds": 4, "repeats": 2, "seed": 1}
    inputs = inputs_of(drawn.scores)
    before = out_of_fold(inputs, drawn.targets, known, patients, **settings)
    np.testing.assert_array_equal(before.scores, before.by_repeat.mean(axis=0))
    assert (before.by_repeat[0] != before.by_repeat[1]).any()
    for patient in [patient for patient in np.unique(patients) if (patients == patient).sum() > 1][:4]:
        flipped, own = drawn.targets.copy(), patients == patient
        flipped[own] = ~flipped[own]
        after = out_of_fold(inputs, flipped, known, patients, **settings)
        np.testing.assert_array_equal(after.scores[own], before.scores[own])
        assert (after.scores[~own] != before.scores[~own]).any()


def test_members_that_know_nothing_make_a_stack_that_knows_nothing():
    generator = np.random.default_rng(0)
    scores, targets = generator.normal(size=(6, 300, 3)), generator.random((300, 3)) < 0.3
    found = out_of_fold(
        inputs_of(scores),
        targets,
        np.ones_like(targets),
        np.arange(300).astype(str),
        folds=5,
        repeats=2,
        seed=0,
    )
    ranks = shares(found.scores[:, 0])
    positive = targets[:, 0]
    auroc = (ranks[positive].mean() - ranks[~positive].mean()) + 0.5
    assert auroc < 0.58


def test_of_known_skill_the_known_figures_are_found():
    aligned = aligned_of(draw(3000, 2, patients=2000))
    judged = judge(aligned, Settings(folds=3, repeats=1, bootstrap=40))
    for name, true in MODELS.items():
        assert judged.evaluation[name]["auroc"]["macro"] == pytest.approx(true, abs=0.015)
    best = judged.evaluation["ensemble"]["auroc"]["macro"]
    assert best_auroc() - 0.01 < best < best_auroc() + 0.02
    for name, (sensitivity, specificity) in READERS.items():
        found = judged.evaluation["readers"][name]
        assert found["sensitivity"]["macro"] == pytest.approx(sensitivity, abs=0.03)
        assert found["specificity"]["macro"] == pytest.approx(specificity, abs=0.015)
    weights = judged.evaluation["stack"]["weights"]
    assert all(weights["old"][key] < weights["vendor"][key] for key in aligned.findings.keys)


@pytest.mark.slow
def test_intervals_of_a_reader_minus_the_stack_hold_the_truth_about_as_often_as_they_say():
    population = Population.draw(20_000)
    held = []
    for number in range(12):
        found = intervals(draw(240, number, patients=180), population, folds=3, repeats=1, bootstrap=100, seed=number)
        held += [lower <= true <= upper for own in found.values() for _, true, _, lower, upper in own]
    assert len(held) == 12 * len(READERS) * 5
    assert 0.87 < np.mean(held) < 1


def figures_of(aligned: Aligned) -> dict:
    """Of the reader doctor beside the members."""
    labels = aligned.targets, aligned.mask, aligned.patients
    names = np.array(aligned.units, object)
    scored = Scored(aligned.members, aligned.log_odds, *labels, {}, names, aligned.findings)
    return readers_figures(scored, aligned.readers, aligned.findings.keys, resamples=60, seed=0)["doctor"]


def test_a_reader_is_compared_at_his_own_specificity_and_chance_splits_ties(good):
    truth = {study(n): [int(n < 4)] for n in range(10)}
    score = dict(zip(truth, [[9], [7], [5], [1], [8], [5], [5], [5], [0], [0]], strict=True))
    calls = dict(zip(truth, [[1], [1], [0], [0], [1], [1], [0], [0], [0], [0]], strict=True))
    for name, rows in (("truth", truth), ("one", score), ("doctor", calls)):
        write(good[name], rows, "Study,Edema")
    aligned = read(good, models=("one",))
    found = figures_of(aligned)
    assert found["sensitivity"]["macro"] == 0.5
    assert found["specificity"]["macro"] == pytest.approx(4 / 6)
    # two false positives: the one at 8, and a third of the three at 5, which brings a third of the positive at 5
    own = found["at_his_specificity"]["one"]
    assert own["sensitivity"]["macro"] == pytest.approx((2 + 1 / 3) / 4)
    assert own["reader_minus_model"]["macro"] == pytest.approx(0.5 - (2 + 1 / 3) / 4)


def test_a_reader_who_calls_what_a_model_calls_differs_from_it_by_nothing(good):
    aligned = read(good)
    cut = np.quantile(aligned.log_odds[0], 0.6, axis=0)
    aligned.readers["doctor"].called[:] = aligned.log_odds[0] >= cut
    figures = figures_of(aligned)
    minus = figures["at_his_specificity"]["one"]["reader_minus_model"]
    assert minus["macro"] == 0
    assert minus["ci"]["macro"]["lower"] <= 0 <= minus["ci"]["macro"]["upper"]
    assert minus["verdict"] == "not distinguishable"


def test_a_difference_is_as_uncertain_as_the_rarer_class(good):
    found = {"edema": (np.zeros(3), np.zeros((3, 5)), [4, 60]), "nodule": (np.zeros(3), np.zeros((3, 5)), [70, 9])}
    assert _difference(found, 2, ("edema",)).sample_sizes == {"edema": 4, "nodule": 9}


def test_a_blank_of_a_reader_and_an_unknown_label_count_for_nothing(good):
    edited(good["truth"], f"{study(0)},1,1", f"{study(0)},-1,")
    first = _lines(good["doctor"])[1]
    edited(good["doctor"], first, f"{study(1)},,")
    aligned = read(good)
    assert not aligned.mask[0].any()
    assert not aligned.readers["doctor"].read[:2].any()
    assert aligned.readers["doctor"].read[2:].all()
    assert "doctor: 2 of 48 calls are missing or blank: not judged" in aligned.notes


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0.1, 0.0], [0.9, 1.0]], [PROBABILITIES, PROBABILITIES]),
        ([[0.1, 2.0], [0.9, 0.3]], [PROBABILITIES, ORDERED]),
        ([[-0.1, 2.0], [0.9, 0.3]], [LOGITS, LOGITS]),
        ([[-500.0, 2.0], [0.9, 0.3]], [ORDERED, ORDERED]),
        ([[-1e-8, 1.0 + 1e-8], [0.9, 0.3]], [PROBABILITIES, PROBABILITIES]),
    ],
)
def test_what_scores_are_is_seen_from_them(values, expected):
    assert kinds(np.array(values)) == expected


def test_normal_scores_keep_the_order_and_equal_scores_equal():
    found = normal_scores(np.array([3.0, 1.0, 3.0, 200.0]))
    assert found[0] == found[2]
    assert found[1] < found[0] < found[3]
    assert normal_scores(np.arange(5.0)) == pytest.approx(-normal_scores(np.arange(5.0))[::-1])
    assert shares(np.array([3.0, 1.0, 3.0, 200.0])).tolist() == [0.5, 0.125, 0.5, 0.875]


def test_what_other_findings_say_is_used_where_it_helps_and_hardly_where_it_does_not():
    generator = np.random.default_rng(1)
    hidden = generator.normal(size=(800, 2))
    patients = np.arange(800).astype(str)
    known = np.ones((800, 2), bool)
    targets = hidden > 0.5
    scores = hidden + 1.5 * generator.normal(size=(800, 2))
    alone = fit_across(scores, by_patient(targets, known, patients))
    assert np.abs(alone.weights).max() < 0.15
    targets[:, 1] = targets[:, 0]
    scores[:, 1] = hidden[:, 0] + 1.5 * generator.normal(size=800)
    both = fit_across(scores, by_patient(targets, known, patients))
    assert both.weights[0, 1] > 0.3
    assert both.weights[1, 0] > 0.3

    def loss(share: float) -> float:
        return log_loss(targets[:, 0], expit(replace(both, weights=share * both.weights).apply(scores)[:, 0]))

    assert loss(1) < min(loss(0), loss(1 / 3), loss(3))


def test_of_one_finding_the_stack_is_the_members_weighted_mean(good):
    drawn = draw(80, 1)
    single = out_of_fold(
        inputs_of(drawn.scores[:, :, :1]),
        drawn.targets[:, :1],
        np.ones((80, 1), bool),
        drawn.patients.astype(str),
        folds=4,
        repeats=1,
        seed=0,
    )
    assert not single.whole.across.weights.any()


def test_patients_are_dealt_whole_and_evenly():
    patients = np.repeat(np.arange(20), 3).astype(str)
    folds = deal(patients, 4, 0)
    assert all(len(set(folds[patients == name])) == 1 for name in set(patients))
    assert np.bincount(folds).tolist() == [15, 15, 15, 15]
    assert (folds != deal(patients, 4, 1)).any()


def test_images_give_a_study_the_mean_of_their_log_odds(good, tmp_path):
    images = {}
    for name, cells in ((line.partition(",")[0], line.split(",")[1:]) for line in _lines(good["two"])):
        images |= {
            f"{name}/view1.jpg": [float(v) - 1 for v in cells],
            f"{name}/view2.jpg": [float(v) + 1 for v in cells],
        }
    expected = read(good)
    good["two"] = write(tmp_path / "images.csv", images, "Path,Edema,Nodule")
    found = read(good)
    assert found.log_odds[1] == pytest.approx(expected.log_odds[1])
    assert "two: 48 images of 24 studies: the mean of their log odds is scored" in found.notes


def test_patients_are_of_a_column_or_the_path_or_each_row_is_one(good, tmp_path):
    assert len(set(read(good).patients)) == 24
    rows = {name: [n // 2, *line.split(",")[1:]] for n, (name, line) in enumerate(_named(good["truth"]))}
    good["truth"] = write(tmp_path / "column.csv", rows, "Study,Patient,Edema,Nodule")
    found = read(good)
    assert len(set(found.patients)) == 12
    assert "column.csv: patients are named by column Patient: 12" in found.notes
    for name in ("truth", "one", "two", "doctor"):
        lines = {f"case{n}": line.split(",")[-2:] for n, (_, line) in enumerate(_named(good[name]))}
        write(good[name], lines)
    found = read(good)
    assert len(set(found.patients)) == 24
    assert any("24 of 24 rows do not name their patient" in note for note in found.notes)


def _named(path: Path) -> list[tuple[str, str]]:
    return [(line.partition(",")[0], line) for line in _lines(path)]


def test_rows_that_one_table_lacks_are_left_out_of_all_and_said(good):
    edited(good["two"], study(5), "patient99999/study1")
    found = read(good)
    assert len(found.units) == 23
    assert study(5) not in found.units
    assert f"two: lacks 1 of 24 rows ({study(5)}) of truth.csv: they are left out of all" in found.notes
    assert "two: 1 of 24 rows (patient99999/study1) are not in truth.csv: not used" in found.notes


def test_what_says_the_same_of_every_row_is_named_and_ranks_nobody(good):
    rows = {name: ["0.5", line.split(",")[2]] for name, line in _named(good["one"])}
    write(good["one"], rows)
    aligned = read(good)
    assert "one: says the same of every row, so ranks nobody: Edema" in aligned.notes
    judged = judge(aligned, Settings(folds=3, repeats=1, bootstrap=40))
    assert judged.evaluation["one"]["auroc"]["per_finding"]["edema"] == 0.5


def test_models_that_say_the_same_of_some_findings_are_named(good):
    other = dict(_named(good["two"]))
    rows = {name: [line.split(",")[1], other[name].split(",")[2]] for name, line in _named(good["one"])}
    write(good["two"], rows)
    assert any(note.startswith("one, two: rank Edema alike") for note in read(good).notes)


def test_a_finding_with_one_class_is_said_and_not_scored(good):
    rows = {name: [0, line.split(",")[2]] for name, line in _named(good["truth"])}
    write(good["truth"], rows)
    aligned = read(good)
    assert "Edema: 0 positive and 24 negative labels: cannot be scored" in aligned.notes
    judged = judge(aligned, Settings(folds=3, repeats=1, bootstrap=40))
    assert set(judged.evaluation["ensemble"]["auroc"]["per_finding"]) == {"nodule"}
    assert judged.headline == ("nodule",)


def flat_truth(tables: dict[str, Path]) -> None:
    write(tables["truth"], {name: [0, 1] for name, _ in _named(tables["truth"])})


PROBLEMS = {
    "a study twice": (
        lambda t: edited(t["one"], study(3), study(2)),
        r"one, line 5: Study 'patient00002/study1' is on line 4 too: keep one of them",
    ),
    "the same file": (
        lambda t: t["two"].write_bytes(t["one"].read_bytes()),
        r"one and two hold the same scores, or rank all alike \(give one of them\)",
    ),
    "one class": (flat_truth, r"the truth has no finding with both classes: Edema: 0 positive and 24 negative"),
    "no number": (
        lambda t: edited(t["one"], f"{study(4)},0", f"{study(4)},O"),
        r"one, line 6: Edema is 'O\.\d+': must be a number",
    ),
    "not finite": (
        lambda t: edited(t["one"], f"{study(4)},0", f"{study(4)},nan0"),
        r"one, line 6: Edema is 'nan0\.\d+': must be a number",
    ),
    "blank score": (
        lambda t: edited(t["one"], _lines(t["one"])[4], f"{study(4)},,0.5"),
        r"one, line 6: Edema is '': must be a number",
    ),
    "a label that is none": (
        lambda t: edited(t["truth"], f"{study(4)},0", f"{study(4)},2"),
        r"truth.csv, line 6: Edema is '2': must be 1, 0, -1 or blank",
    ),
    "a call that is none": (
        lambda t: edited(t["doctor"], _lines(t["doctor"])[4], f"{study(4)},0.3,0"),
        r"doctor, line 6: Edema is '0.3': must be 1, 0 or blank: a reader's call",
    ),
    "no shared finding": (
        lambda t: edited(t["one"], "Edema,Nodule", "Oedema,Mass"),
        r"no finding is a column of all tables: truth.csv has Edema, Nodule; one has Oedema, Mass; two has Edema",
    ),
    "no shared row": (
        lambda t: rewritten(t["one"], "patient", "p"),
        r"one: names none of truth.csv's rows: 'p00000/study1' here, 'patient00000/study1' there \(write them alike\)",
    ),
    "a ragged row": (
        lambda t: edited(t["one"], f"{study(4)},", f"{study(4)},1,"),
        r"one, line 6: has 4 values where the header has 3 columns",
    ),
    "a column twice": (
        lambda t: edited(t["one"], "Edema,Nodule", "Edema,edema"),
        r"one, line 1: column 'edema' is there twice",
    ),
    "semicolons": (
        lambda t: rewritten(t["one"], ",", ";"),
        r"one, line 1: the columns are separated by ';': save the table with commas",
    ),
    "no rows": (lambda t: t["one"].write_text("Study,Edema\n", encoding="utf-8"), r"one, line 1: no row follows"),
    "no such file": (lambda t: t["one"].unlink(), r"one: .*one\.csv: No such file"),
    "not UTF-8": (lambda t: t["one"].write_bytes(b"Study,\xff\xfe\n"), r"one: .*is not UTF-8"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_bad_tables_end_in_a_line_that_says_what_to_mend(good, tmp_path, capsys, name):
    spoil, expected = PROBLEMS[name]
    spoil(good)
    assert main(command(good, tmp_path / "out")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  ")]
    assert line.startswith("tables: ")
    assert re.search(expected, line)
    assert not (tmp_path / "out").exists()


def test_too_few_patients_for_the_folds_are_refused_with_what_would_do(good):
    with pytest.raises(InputError, match=r"24 patients cannot be dealt into 25 folds \(give --folds 2 to 24\)"):
        judge(read(good), Settings(folds=25, repeats=1, bootstrap=40))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["one"], "--model one: must be NAME=FILE"),
        (["one=a.csv", "one=b.csv"], "--model one: is there twice"),
        (["ensemble=a.csv"], "--model ensemble: is a key of metrics.json"),
        (["a\nb=a.csv"], "a name has at most 60 letters, all printable"),
    ],
)
def test_names_of_models_are_checked(arguments, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        named("--model", arguments, TAKEN)


def test_values_of_options_are_checked(good, tmp_path, capsys):
    assert main([*command(good, tmp_path / "out"), "--folds", "1"]) == 1
    assert "--folds is 1 (give 2 or more)" in capsys.readouterr().err


def test_the_drawn_tables_of_the_docs_are_read_whole(tmp_path, capsys):
    assert draw_main([str(tmp_path), "--studies", "90"]) == 0
    assert "vendor 0.860" in capsys.readouterr().out
    models = {name: tmp_path / f"models/{name}.csv" for name in MODELS}
    aligned = align(tmp_path / "groundtruth.csv", models, {name: tmp_path / f"readers/{name}.csv" for name in READERS})
    assert (len(aligned.units), len(set(aligned.patients))) == (90, 60)
    assert [note.partition(",")[0] for note in aligned.notes] == [
        "vendor: probabilities",
        "colleague: logits",
        "ours: probabilities",
        "old: merely ordered",
    ]
    drawn = draw(90, 0, patients=60)
    np.testing.assert_array_equal(aligned.targets, drawn.targets)
    ranks = [np.argsort(np.argsort(own, axis=0), axis=0) for own in (aligned.log_odds[0], drawn.scores[0])]
    assert np.abs(ranks[0] - ranks[1]).max() <= 1  # six digits are written


@pytest.mark.slow
@pytest.mark.skipif(not CHEXPERT.is_dir(), reason="the predictions for CheXpert's test set are not here")
def test_the_ten_models_of_chexpert_are_found_as_they_were_measured_elsewhere():
    models, readers = (
        {path.stem: path for path in sorted((CHEXPERT / folder).glob("*.csv"))} for folder in ("models", "radiologists")
    )
    judged = judge(align(CHEXPERT / "groundtruth.csv", models, readers), Settings(repeats=2, bootstrap=40))
    found = {name: judged.evaluation[name]["auroc"]["macro"] for name in judged.scored.models}
    assert [round(min(found[n] for n in models), 3), round(max(found[n] for n in models), 3)] == [0.918, 0.928]
    assert round(found["probability_mean"], 3) == round(found["rank_mean"], 3) == 0.935
    assert round(found["ensemble"], 3) >= 0.937
    assert len(judged.evaluation["readers"]) == 3
