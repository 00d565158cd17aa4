"""The calls of benchmarks/ fit the functions that they go to: no test runs a benchmark, which takes minutes or more."""

import ast
import inspect
from collections.abc import Mapping
from importlib import import_module

import pytest

from benchmarks.crash import outputs
from tests.conftest import ROOT

OURS = ("benchmarks", "diagxnet", "stages", "tests")


def test_the_crash_campaign_knows_the_outputs_of_the_stages() -> None:
    known = outputs(ROOT)
    assert ROOT / "models/calibration.json" in known["evaluate"]
    assert ROOT / ".resume/vit" in known["train_vit"]


def misfits(source: str, names: Mapping[str, object]) -> tuple[list[str], int]:
    """Calls in a module's `source` of our functions by name that they do not fit, and how many were looked at. names:
    the module's globals; one that is bound anywhere in it is not looked at. What `*` or `**` brings is taken to fit."""
    tree = ast.parse(source)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    wrong, count = [], 0
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id in bound:
            continue
        function = names.get(call.func.id)
        if not inspect.isfunction(function) or function.__module__.split(".")[0] not in OURS:
            continue
        positional = [each for each in call.args if not isinstance(each, ast.Starred)]
        keywords = {each.arg: None for each in call.keywords if each.arg}
        signature = inspect.signature(function)
        whole = len(positional) == len(call.args) and len(keywords) == len(call.keywords)
        count += 1
        try:
            (signature.bind if whole else signature.bind_partial)(*positional, **keywords)
        except TypeError as error:
            wrong.append(f"{call.lineno}: {call.func.id}: {error}")
    return wrong, count


def test_every_benchmark_can_be_imported_and_its_calls_fit() -> None:
    wrong = []
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        names = vars(import_module(f"benchmarks.{path.stem}"))
        lines, count = misfits(path.read_text(encoding="utf-8"), names)
        assert count, path
        wrong += [f"{path.name}:{line}" for line in lines]
    assert not wrong


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("outputs()", "missing a required argument: 'clone'"),
        ("outputs(1, 2)", "too many positional arguments"),
        ("outputs(clone=1, linked=None)", "unexpected keyword argument 'linked'"),
        ("outputs(**rest, linked=None)", "unexpected keyword argument 'linked'"),
        ("outputs(*rest)", None),
        ("outputs(**rest)", None),
        ("other()", None),
        ("[outputs() for outputs in rest]", None),
    ],
)
def test_a_call_that_does_not_fit_is_told(call: str, words: str | None) -> None:
    wrong, _ = misfits(f"def work(rest):\n    {call}\n", {"outputs": outputs})
    assert len(wrong) == (words is not None)
    assert words is None or words in wrong[0]
