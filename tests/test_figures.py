"""The figures depend on the results alone, and can be read without colour."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from diagxnet.evaluation.figures import FIGURES, OUTCOME_STYLES, STYLES, contact_sheet, learning_curves, render
from diagxnet.evaluation.results import Results, measure
from tests.workspace import make_scored

HISTORY = {
    "best_epoch": 2,
    "stopped_early": True,
    "train_images": 1234,
    "epochs": [{"epoch": e, "train_loss": 1 / e, "val_loss": 1 / e, "val_auroc": 0.7, "lr": 1e-3} for e in (1, 2, 3)],
}


@pytest.fixture(scope="module")
def results() -> Results:
    histories = {"densenet": HISTORY, "vit": HISTORY, "meta": HISTORY}
    sizes = {"unit": "image", "studies": 60, "dropped": 0, "bootstrap": 20, "min_positives": 15, "seed": 0}
    return measure(make_scored(units=60, seed=1), make_scored(units=60), histories, **sizes)


@pytest.mark.parametrize("name", FIGURES)
def test_a_users_matplotlibrc_changes_no_byte(results, name):
    first = render(FIGURES[name], results)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30, "hatch.linewidth": 5}):
        assert render(FIGURES[name], results) == first


def test_a_figure_carries_no_date_and_no_version(results):
    image = Image.open(io.BytesIO(render(learning_curves, results.histories)))
    assert set(image.info) <= {"dpi"}


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "auroc_per_finding"])
def test_every_panel_states_its_n(results, name):
    figure = FIGURES[name](results)
    texts = [text for axes in figure.axes if axes.axison for text in [_texts(axes)]]
    assert texts
    assert all("n = 60" in text or "n = 30" in text for text in texts)


def test_bars_and_learning_curves_state_their_n(results):
    assert "n = 60" in _texts(FIGURES["auroc_per_finding"](results).axes[0])
    figure = learning_curves(results.histories)
    assert all("n = 1,234" in axes.get_title() for axes in figure.axes[:3])


def test_models_and_outcomes_differ_without_colour():
    assert len({str(style["linestyle"]) for style in STYLES.values()}) == len(STYLES)
    assert len({style["hatch"] for style in STYLES.values()}) == len(STYLES)
    grey = {name: (style["hatch"], _luminance(style["facecolor"]) > 0.6) for name, style in OUTCOME_STYLES.items()}
    assert len(set(grey.values())) == len(grey)


def test_the_contact_sheet_names_what_each_image_shows():
    targets = np.zeros((4, 14), bool)
    targets[1, [5, 13]] = True
    figure = contact_sheet(np.zeros((9, 8, 8), np.uint8), np.array([3, 5, 6, 8]), targets)
    titles = [axes.get_title().strip() for axes in figure.axes if axes.get_images()]
    assert titles == ["Edema", "Support Devices", "no label positive"]
    assert "n = 4 test images" in figure.get_suptitle()


def _texts(axes) -> str:
    return " ".join(
        [axes.get_title(), axes.get_title(loc="left"), *(label.get_text() for label in axes.get_yticklabels())]
    )


def _luminance(color: str) -> float:
    red, green, blue = matplotlib.colors.to_rgb(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
