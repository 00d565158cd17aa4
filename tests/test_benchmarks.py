"""The calls of benchmarks/ fit the functions that they go to: no test runs a benchmark, which takes minutes or more."""

from importlib import import_module

import pytest

from benchmarks.crash import outputs
from tests.calls import misfits
from tests.conftest import ROOT

PREPARED = "prepare(root, packed, folder, views=v, uncertain=u, blank=b, split_seed=1, max_patients=None, "
IMPORT = "from diagxnet.labels.prepare import prepare\n"


def test_the_crash_campaign_knows_the_outputs_of_the_stages() -> None:
    known = outputs(ROOT)
    assert ROOT / "models/calibration.json" in known["evaluate"]
    assert ROOT / ".resume/vit" in known["train_vit"]


def found(source: str) -> list[str]:
    names: dict[str, object] = {"__name__": "benchmarks.made_up"}
    exec(source, names)
    return misfits(source, names)[0]


def test_every_call_fits_its_function() -> None:
    """One test for all modules, so that one process imports them."""
    wrong = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        names = vars(import_module(f"benchmarks.{path.stem}"))
        lines, count = misfits(path.read_text(encoding="utf-8"), names)
        assert count, path
        wrong += [f"{path.name}:{line}" for line in lines]
    assert not wrong


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (PREPARED + "shares={}, linked=None)", "unexpected keyword argument 'linked'"),
        (PREPARED + ")", "missing a required argument: 'shares'"),
        (PREPARED + "**{'shares': {}, 'linked': None})", "unexpected keyword argument 'linked'"),
        ("own = {'shares': {}}; own['linked'] = None; " + PREPARED + "**own)", "unexpected keyword argument 'linked'"),
        (
            "own = OWN | {'shares': {}}; " + PREPARED + "**own, **rest)",
            "unexpected keyword argument 'linked'",
        ),
        (
            "own = params.data.model_dump(); own.pop('root'); prepare(root, packed, folder, **own)",
            "params.yaml is",
        ),
        ("prepare(root, packed, folder, views, **rest)", "too many positional arguments"),
        (PREPARED + "**rest | {'linked': None})", "unexpected keyword argument 'linked'"),
        ("prepare(*rest, linked=None)", "unexpected keyword argument 'linked'"),
        (PREPARED + "**OWN, linked=None)", "got 'linked' twice"),
        ("labels.prepared(root)", "no attribute 'prepared'"),
        ("from diagxnet.labels.prepare import prepared; prepared()", "no attribute 'prepared'"),
    ],
)
def test_a_call_that_does_not_fit_is_told(body: str, words: str) -> None:
    source = f"import diagxnet.labels.prepare as labels\n{IMPORT}OWN = {{'linked': None}}\n\n\n"
    (line,) = found(source + f"def work(root, packed, folder, rest, params):\n    {body}\n")
    assert words in line


@pytest.mark.parametrize(
    "body",
    [
        PREPARED + "shares={})",
        PREPARED + "**rest)",
        "own, _ = rest; " + PREPARED + "**own)",
        "own = {'linked': None}; own = {'shares': {}}; " + PREPARED + "**own)",
        "prepare = rest; prepare(linked=None)",
        "own = {'linked': 1, **rest}; own.pop('linked'); " + PREPARED + "**own)",
    ],
)
def test_a_call_that_may_fit_is_not(body: str) -> None:
    assert not found(f"{IMPORT}\ndef work(root, packed, folder, rest):\n    {body}\n")
