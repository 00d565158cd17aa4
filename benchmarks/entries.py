"""The figures of README and docs that `benchmarks.figures` repeats, each with its command."""

import re
from dataclasses import dataclass

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.findings import key_of
from diagxnet.statistics.comparison import label

NUMBER = r"([+-]?\d\.\d+)"
"""A figure."""

NOT = r"[^\n]*?"
"""What is between two figures of a line."""


@dataclass(frozen=True)
class Entry:
    """Figures of a page that one command gives.

    written: a regular expression that finds them in `page`, a group each.
    file, keys: the JSON file and the dotted keys in it that hold them, in that order; or output: a regular expression
    with the same groups for what the command prints.
    clone: commands of one clone see each other's outputs; `first` must have run there. minutes: on two cores, without
    `first`. folder: of `--data`, or "" for what is drawn.
    """

    name: str
    page: str
    written: str
    command: str
    minutes: float
    file: str = ""
    keys: tuple[str, ...] = ()
    output: str = ""
    folder: str = ""
    seed: str = "42"
    clone: str = "demo"
    first: str = ""


def macro(*models: str, measure: str = "auroc") -> tuple[str, ...]:
    """Keys of the macro `measure` of each of `models`, then of the ends of the last one's interval."""
    ends = tuple(f"{models[-1]}.{measure}.ci.macro.{end}" for end in ("lower", "upper"))
    return (*(f"{model}.{measure}.macro" for model in models), *ends)


def on_val(model: str) -> tuple[str, str]:
    """Keys of its macro AUROC and AUPRC on val."""
    return f"{model}.val.auroc", f"{model}.val.auprc"


def gap(measure: str) -> tuple[str, ...]:
    """Keys of what the ensemble has of `measure` at home, elsewhere, and of the difference and its interval."""
    ends = ("own", "foreign", "difference", "ci.lower", "ci.upper")
    return tuple(f"external.gap.ensemble.{measure}.macro.{end}" for end in ends)


def minus(model: str) -> tuple[str, ...]:
    """Keys of the ensemble's macro AUROC minus that of `model`, and of the interval."""
    return tuple(
        f"comparison.ensemble_minus_{model}.auroc.macro.{end}" for end in ("difference", "ci.lower", "ci.upper")
    )


def row(start: str, count: int) -> str:
    """A regular expression of `count` figures on the line, or row of a table, that begins with `start`."""
    return re.escape(start) + NOT + NOT.join([NUMBER] * count)


REPRO, FOUR = "dvc repro", ("densenet", "vit", "average", "ensemble")
BASELINE = "dvc exp run -n baseline $(python -m diagxnet.recipe baseline)"
NIH = "dvc exp run -n nih -S data.root=/your/nih-cxr-1k"
ABROAD = (
    "python -m stages.external --root /your/nih-cxr-1k --out metrics/external/nih.json --data data "
    "--allow-known-patients"
)
JUDGE = (
    "python -m diagxnet.tables --truth {0}/groundtruth.csv "
    "$(for f in {0}/models/*.csv; do echo --model $(basename $f .csv)=$f; done) "
    "$(for f in {0}/{1}/*.csv; do echo --reader $(basename $f .csv)=$f; done) --out reports/judged-{1}"
)
DRAWN = "python -m diagxnet.tables.drawn reports/drawn; " + JUDGE.format("reports/drawn", "readers")
PUBLIC = "chexpert-test-predictions"
PUBLISHED = JUDGE.format(f"/your/{PUBLIC}", "radiologists")
RULES = f"python -m stages.label_rules /your/{PUBLIC}/labelers/chexpert_labels.csv /your/{PUBLIC}/groundtruth.csv"
EVALUATION, ABROAD_FILE = "metrics/evaluation.json", "metrics/external/nih.json"
DRAWN_FILE, PUBLISHED_FILE = "reports/judged-readers/metrics.json", "reports/judged-radiologists/metrics.json"
SHARE = rf"\d+ of \d+ {NUMBER} \({NUMBER} to {NUMBER}\)"
INTERVAL = rf"{NUMBER} \({NUMBER} to {NUMBER}\)"


def rule(finding: str, label: str, written: str = "") -> Entry:
    """How often `label` of `finding` is true by radiologists; written: its passage in the page, where it is no row's
    first."""
    return Entry(
        f"rules-{label.removeprefix('-1') or 'uncertain'}-{key_of(finding)}",
        "docs/data.md",
        written or row(f"| {label}, {finding} |", 3),
        RULES,
        1,
        output=rf"{finding} +(?:\d+ of [^)]+\) +){{{3 if label == 'blank' else 2}}}{SHARE}",
        folder=PUBLIC,
        seed="none",
    )


ENTRIES = (
    Entry("demo", "README.md", row("| 174 drawn radiographs |", 6), REPRO, 10, EVALUATION, macro(*FOUR)),
    Entry(
        "demo-verdict",
        "README.md",
        rf"macro AUROC {NUMBER} \(95% interval over patients {NUMBER} to {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        minus("best_base"),
    ),
    Entry(
        "demo-terminal",
        "README.md",
        NOT.join(rf"{label(model)} +{NUMBER} +{NUMBER} +{INTERVAL} +{INTERVAL}\n" for model in FOUR),
        REPRO,
        10,
        EVALUATION,
        tuple(key for model in FOUR for key in (*on_val(model), *macro(model), *macro(model, measure="auprc"))),
    ),
    Entry(
        "demo-val",
        "docs/evaluation.md",
        f"On the demo that is an AUROC of {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        on_val("ensemble")[:1],
    ),
    Entry(
        "demo-ece",
        "docs/evaluation.md",
        rf"174 images {NUMBER}, where a perfectly calibrated model would show {NUMBER}",
        REPRO,
        10,
        EVALUATION,
        ("ensemble.ece.macro", "ensemble.ece.if_calibrated.macro"),
    ),
    Entry(
        "demo-findings",
        "docs/demo.md",
        r"[^\n]*\n".join(rf"\| {name} \| [\d.]+ \| [\d.]+ \| {NUMBER} \|" for name in CHEXPERT.names),
        REPRO,
        10,
        EVALUATION,
        tuple(f"densenet.auroc.per_finding.{key}" for key in CHEXPERT.keys),
    ),
    Entry(
        "demo-one-thread",
        "docs/start/reviewer.md",
        rf"became {NUMBER}, {NUMBER}, {NUMBER} and {NUMBER}, and the ensemble minus DenseNet {INTERVAL}",
        f"OMP_NUM_THREADS=1 {REPRO}",
        20,
        EVALUATION,
        (*macro(*FOUR)[:4], *minus("best_base")),
        clone="one-thread",
    ),
    Entry("demo-average", "README.md", row("average of its base models (", 3), REPRO, 10, EVALUATION, minus("average")),
    Entry(
        "pointing",
        "docs/predict.md",
        row("does in ", 3),
        "python -m benchmarks.pointing",
        2,
        output=rf"mean of the findings +\d+ +{NUMBER} +{NUMBER} +{NUMBER}",
        seed="none",
        first=REPRO,
    ),
    Entry(
        "abroad-auroc",
        "docs/external.md",
        row("| AUROC |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("auroc"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "abroad-auprc",
        "docs/external.md",
        row("| AUPRC |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("auprc"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "abroad-ece",
        "docs/external.md",
        row("| ECE |", 5),
        ABROAD,
        2,
        ABROAD_FILE,
        gap("ece"),
        folder="nih-cxr-1k",
        first=REPRO,
    ),
    Entry(
        "baseline",
        "README.md",
        row("| the same, baseline |", 6),
        BASELINE,
        12,
        EVALUATION,
        macro(*FOUR),
        clone="baseline",
    ),
    Entry(
        "nih",
        "README.md",
        row("| 235 NIH radiographs, 7 findings |", 6),
        NIH,
        12,
        EVALUATION,
        macro(*FOUR),
        folder="nih-cxr-1k",
        clone="nih",
    ),
    Entry(
        "members",
        "docs/members.md",
        row("| mean of probabilities | |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("probability_mean"),
        seed="0",
    ),
    Entry(
        "members-stack",
        "docs/members.md",
        row("what findings have in common |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("ensemble"),
        seed="0",
    ),
    Entry(
        "members-vendor",
        "docs/members.md",
        row("| vendor | 0.860 |", 3),
        DRAWN,
        1,
        DRAWN_FILE,
        macro("vendor"),
        seed="0",
    ),
    Entry(
        "published-mean",
        "docs/members.md",
        rf"mean of probabilities \| {NUMBER} \({NUMBER} to {NUMBER}",
        PUBLISHED,
        6,
        PUBLISHED_FILE,
        macro("probability_mean"),
        folder=PUBLIC,
        seed="0",
    ),
    Entry(
        "published-stack",
        "docs/members.md",
        row("| stack, out of fold |", 3),
        PUBLISHED,
        6,
        PUBLISHED_FILE,
        macro("ensemble"),
        folder=PUBLIC,
        seed="0",
    ),
    *(rule(finding, "-1") for finding in ("Consolidation", "Pneumonia", "Pleural Effusion")),
    rule("Atelectasis", "-1", row("| -1, Atelectasis; Edema |", 3)),
    rule("Edema", "-1", r"\| -1, Atelectasis; Edema \|[^;]*; " + NOT + INTERVAL),
    *(rule(finding, "blank") for finding in ("Cardiomegaly", "Enlarged Cardiomediastinum")),
)
