import itertools
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from diagxnet.console.errors import InputError
from diagxnet.data.members import FIRST
from diagxnet.params.checked import read_yaml
from diagxnet.recipe import check_recipe, flags, read_recipe
from diagxnet.training.networks import create_base
from diagxnet.training.schedule import create_optimizer
from stages.base_model import options
from tests.conftest import ROOT

PARAMS = read_yaml(ROOT / "params.yaml")
METHODS, SCALES = ("baseline", "optimized", "guide", "finetune"), ("chexpert",)


def _recipe(name):
    return read_recipe(name, ROOT / "recipes")


def _params_at(key):
    value = PARAMS
    for part in key.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize("name", METHODS + SCALES)
def test_every_recipe_sets_known_keys_to_allowed_values(name):
    check_recipe(_recipe(name), PARAMS, name)


def test_recipes_of_method_all_set_the_same_keys():
    assert len({tuple(sorted(_recipe(name))) for name in METHODS}) == 1


def test_a_recipe_of_scale_sets_of_a_recipe_of_method_what_pretrained_weights_want_and_as_the_guide_does():
    chexpert, guide = _recipe("chexpert"), _recipe("guide")
    shared = set(chexpert) & set(_recipe("optimized"))
    rates = {"densenet.lr", "vit.lr"}
    assert shared == {"train.accumulation_steps", "vit.epochs", "vit.batch_norm"} | rates
    same = shared - rates
    assert {key: chexpert[key] for key in same} == {key: guide[key] for key in same}
    for key in rates:
        assert chexpert[key] == pytest.approx(_by_the_root(guide[key], chexpert), rel=0.01)


def _by_the_root(lr, values):
    """The rate of an update of 32 images for one of as many as these values make (arXiv:2205.10287)."""
    return lr * math.sqrt(values["train.batch_size"] * values["train.accumulation_steps"] / 32)


def _offered():
    """The recipes that a page or a recipe names in one command, in their order."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "recipes").glob("*.yaml"))]
    lines = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    found = {tuple(re.findall(r"python -m diagxnet\.recipe (\w+)\)", line)) for line in lines}
    return sorted(found | {(method, scale) for method in METHODS for scale in SCALES} - {()})


@pytest.mark.parametrize("names", _offered())
def test_any_combination_that_is_offered_fits_pretrained_weights_where_it_takes_them(names):
    keys = ["train.batch_size", "train.accumulation_steps"]
    keys += [f"{name}.{key}" for name in FIRST for key in ("lr", "pretrained")]
    values = {key: _params_at(key) for key in keys}
    for name in names:
        check_recipe(_recipe(name), PARAMS, name)
        values |= _recipe(name)
    for name in FIRST:
        if values[f"{name}.pretrained"] and not values.get(f"{name}.layer_decay"):
            assert values[f"{name}.lr"] <= _by_the_root(1e-4, values) * 1.01 <= 3e-4


def test_each_recipe_opens_with_hours_and_a_figure_and_says_whether_they_are_measured_or_cited():
    for file in (ROOT / "recipes").glob("*.yaml"):
        lines = file.read_text(encoding="utf-8").splitlines()
        opening = " ".join(itertools.takewhile(lambda line: line.startswith("#"), lines))
        assert re.search(r"\b0\.\d{2,4}\b", opening), file.name
        assert re.search(r"\b(hours|minutes)\b", opening, re.I), file.name
        assert "cited" in opening, file.name
        assert "measured" in opening, file.name


def test_finetune_builds_and_drives_the_members_that_chexpert_names():
    values = _recipe("finetune") | _recipe("chexpert")
    sections = check_recipe(values, PARAMS, "finetune")
    for name in FIRST:
        own, network, _ = options(SimpleNamespace(**sections), sections[name])
        model = create_base(**(network | {"pretrained": False}), findings=14, image_size=224, tried=False)
        groups = create_optimizer(own.optimization, model, own.schedule.lr).param_groups
        rates = [group["lr"] for group in groups]
        assert max(rates) == values[f"{name}.head_lr"] == 1e-3
        assert sorted(rates)[-3] <= values[f"{name}.lr"] < max(rates)
        assert min(rates) / values[f"{name}.lr"] == pytest.approx(0.03, abs=0.02)  # the first layer's
        assert own.schedule.probe_epochs == 1


def test_optimized_is_the_values_of_params_yaml():
    assert {key: _params_at(key) for key in _recipe("optimized")} == _recipe("optimized")


def test_every_key_of_every_recipe_is_in_params_yaml_so_that_dvc_takes_it():
    for name in METHODS + SCALES:
        for key in _recipe(name):
            _params_at(key)


def test_the_guides_rates_and_epochs_are_the_guides():
    guide = _recipe("guide")
    assert [guide[f"{model}.epochs"] for model in ("densenet", "vit", "meta")] == [10, 10, 20]
    assert {guide[f"{model}.lr"] for model in ("densenet", "vit", "meta")} == {1e-4}


def test_the_baseline_is_the_guides_before():
    baseline = _recipe("baseline")
    expected = {
        "meta.hidden_dim": 64,
        "meta.epochs": 5,
        "meta.lr": 1e-5,
        "meta.init": "random",
        "train.precision": "fp32",
    }
    expected |= {"train.accumulation_steps": 1, "train.optimizer": "adam", "train.label_smoothing": 0.0}
    expected |= {"train.max_grad_norm": None, "meta.patience": None, "densenet.scheduler": "constant"}
    assert {key: baseline[key] for key in expected} == expected


def test_flags_are_single_tokens_that_hydra_reads_back():
    assert flags({"a.b": None, "c": True, "d": 1e-05, "e": "x"}) == [
        "-S",
        "a.b=null",
        "-S",
        "c=true",
        "-S",
        "d=1e-05",
        "-S",
        "e=x",
    ]
    with pytest.raises(InputError, match="holds no space"):
        flags({"launch": "accelerate launch"})


def test_the_command_prints_one_token_a_line_and_none_with_a_space():
    done = subprocess.run(
        [sys.executable, "-m", "diagxnet.recipe", "baseline"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[::2] == ["-S"] * (len(lines) // 2)
    assert "meta.hidden_dim=64" in lines
    assert not any(" " in line for line in lines)


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match="no recipe 'fast'; known: baseline, chexpert, finetune, guide, optimized"):
        _recipe("fast")


def test_a_recipe_with_an_unknown_key_or_a_bad_value_is_refused():
    with pytest.raises(InputError, match=r"params\.yaml has no such key"):
        check_recipe({"meta.width": 3}, PARAMS, "x")
    with pytest.raises(InputError, match=r"meta\.hidden_dim = 0"):
        check_recipe({"meta.hidden_dim": 0}, PARAMS, "x")


def test_a_recipe_that_is_not_there_leaves_flags_that_dvc_refuses_and_no_empty_command() -> None:
    command = [sys.executable, "-m", "diagxnet.recipe", "optimised"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 1
    assert "no recipe 'optimised'; known: baseline" in done.stderr
    command = [sys.executable, "-m", "dvc", "exp", "run", "-n", "other", *done.stdout.split()]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=240)
    assert refused.returncode != 0
    assert "unrecognized arguments: --no-such-recipe" in refused.stderr
