"""The figures depend on the results alone, and can be read without colour."""

import io
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from PIL import Image

from diagxnet.reporting.drawing import FURTHER_STYLES, STYLES, render
from diagxnet.reporting.report import SECTIONS
from diagxnet.reporting.section import Material
from diagxnet.reporting.sections.calibration import wilson
from diagxnet.reporting.sections.data import contact_sheet
from diagxnet.reporting.sections.thresholds import OUTCOME_STYLES
from diagxnet.reporting.sections.training import learning_curves
from diagxnet.statistics.results import measure
from diagxnet.statistics.scoring import Scoring
from tests.workspace import make_material, make_scored

FIGURES = {name: drawing.make for section in SECTIONS for name, drawing in section.drawings.items()}
SCORING, COUNTS = (
    Scoring("image", bootstrap=20, min_positives=15, seed=0),
    {"not_learned": (), "studies": 60, "dropped": 0},
)
OF_FINDINGS = [name for name in FIGURES if name not in ("auroc_per_finding", "learning_curves", "contact_sheet")]

HISTORY = {
    "best_epoch": 2,
    "stopped_early": True,
    "train_images": 1234,
    "epochs": [{"epoch": e, "train_loss": 1 / e, "val_loss": 1 / e, "val_auroc": 0.7, "lr": 1e-3} for e in (1, 2, 3)],
}


@pytest.fixture(scope="module")
def material() -> Material:
    histories, val = {"densenet": HISTORY, "vit": HISTORY, "meta": HISTORY}, make_scored(units=60, seed=1)
    return make_material(measure(val, make_scored(units=60), histories, SCORING, left_out=val, **COUNTS))


@pytest.mark.parametrize("name", FIGURES)
def test_a_users_matplotlibrc_changes_no_byte(material, name):
    first = render(FIGURES[name], material)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "hatch.linewidth": 5}):
        assert render(FIGURES[name], material) == first


def test_a_figure_carries_no_date_and_no_version(material):
    image = Image.open(io.BytesIO(render(learning_curves, material)))
    assert set(image.info) <= {"dpi"}


@pytest.mark.parametrize("name", OF_FINDINGS)
def test_every_panel_states_its_n(material, name):
    figure = FIGURES[name](material)
    texts = [text for axes in figure.axes if axes.axison for text in [_texts(axes)]]
    assert texts
    assert all("n = 60" in text or "n = 30" in text for text in texts)


def test_intervals_and_learning_curves_state_their_n(material):
    assert "n = 60" in _texts(FIGURES["auroc_per_finding"](material).axes[0])
    figure = learning_curves(material)
    assert all("n = 1,234" in axes.get_title() for axes in figure.axes[:3])


def test_models_and_outcomes_differ_without_colour():
    styles = [*STYLES.values(), *FURTHER_STYLES]
    for what in ("linestyle", "marker", "color"):
        assert len({str(style[what]) for style in styles}) == len(styles)
    grey = {name: (style["hatch"], _luminance(style["facecolor"]) > 0.6) for name, style in OUTCOME_STYLES.items()}
    assert len(set(grey.values())) == len(grey)


def test_no_colour_fades_on_white_paper():
    # 3 to 1 is what WCAG 2.1 asks of graphics, of relative luminance
    for style in (*STYLES.values(), *FURTHER_STYLES):
        assert 1.05 / (_relative_luminance(style["color"]) + 0.05) > 3


def test_intervals_of_many_members_do_not_touch_those_of_the_next_finding():
    members = [f"member{number}" for number in range(9)]
    val, test = (make_scored(units=60, seed=seed, members=members) for seed in (1, 0))
    figure = FIGURES["auroc_per_finding"](
        make_material(measure(val, test, dict.fromkeys([*members, "meta"], HISTORY), SCORING, left_out=val, **COUNTS))
    )
    points = [container.lines[0].get_ydata() for container in figure.axes[0].containers]
    assert len(points) == 11
    assert all(abs(np.concatenate(points) - np.round(np.concatenate(points))) < 0.45)
    rows = np.sort([own[0] for own in points])
    assert np.diff(rows) == pytest.approx(0.8 / 11)


def test_the_legend_of_the_confusion_counts_shows_their_hatches(material):
    patches = FIGURES["confusion"](material).legends[0].get_patches()
    assert [patch.get_hatch() or "" for patch in patches] == [style["hatch"] for style in OUTCOME_STYLES.values()]
    assert all(patch.get_edgecolor()[:3] == (1, 1, 1) for patch in patches)  # what hatches are drawn with


def test_a_group_too_small_to_be_scored_has_a_line_that_says_so(material):
    results = material.results
    groups = {**results.test.groups, "sex": np.where(np.arange(60) < 3, "unknown", "female").astype(object)}
    val, test = make_scored(units=60, seed=1), replace(results.test, groups=groups)
    figure = FIGURES["subgroups"](make_material(measure(val, test, results.histories, SCORING, left_out=val, **COUNTS)))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "sex: unknown (n = 3; too small to be scored)" in labels


def test_the_interval_of_a_bin_is_wilsons():
    # 2 of 10 by Wilson 1927: (2 + z**2 / 2) / (10 + z**2) +- z / (10 + z**2) * sqrt(2 * 8 / 10 + z**2 / 4)
    z = 1.959964
    centre, half = (2 + z**2 / 2) / (10 + z**2), z / (10 + z**2) * np.sqrt(1.6 + z**2 / 4)
    bins = {"observed": np.array([0.2]), "count": np.array([10])}
    assert wilson(bins) == pytest.approx(np.array([[centre - half], [centre + half]]))


def test_the_contact_sheet_names_what_each_image_shows(material):
    targets = np.zeros((4, 14), bool)
    targets[1, [5, 13]] = True
    figure = contact_sheet(
        replace(material, images=np.zeros((9, 8, 8), np.uint8), rows=np.array([3, 5, 6, 8]), positive=targets)
    )
    titles = [axes.get_title().strip() for axes in figure.axes if axes.get_images()]
    assert titles == ["Edema", "Support Devices", "no label positive"]
    assert "n = 4 test images" in figure.get_suptitle()


def test_the_contact_sheet_shows_each_finding_where_it_is_most_alone(material):
    targets = np.zeros((4, 14), bool)
    targets[0, :6] = True
    targets[2, 5] = targets[3, 5] = True
    images = np.arange(4, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    figure = contact_sheet(replace(material, images=images, rows=np.arange(4), positive=targets))
    shown = {
        axes.get_title().strip(): axes.get_images()[0].get_array().max() for axes in figure.axes if axes.get_images()
    }
    assert shown["Edema"] == 2
    assert shown["Lung Lesion"] == 0
    assert shown["no label positive"] == 1


def _texts(axes) -> str:
    return " ".join(
        [axes.get_title(), axes.get_title(loc="left"), *(label.get_text() for label in axes.get_yticklabels())]
    )


def _relative_luminance(color: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _luminance(color: str) -> float:
    red, green, blue = matplotlib.colors.to_rgb(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
