"""params.yaml is checked before any work, and each mistake is one line with key, value and what is allowed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from diagxnet.console.errors import InputError
from diagxnet.params.checked import parse, read_params, read_yaml
from diagxnet.params.document import document
from diagxnet.params.meta import HEADS, MetaParams
from diagxnet.params.whole import SECTIONS, read_all
from diagxnet.stacking.learners import MetaAttention
from tests.conftest import ROOT, leaves

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")

MISTAKES = [
    ("  hidden_dim: 256", "  hidden_dim: 0", r"meta\.hidden_dim = 0: must be greater than or equal to 2"),
    ("  hidden_dim: 256", "  hidden_dim: wide", r"meta\.hidden_dim = 'wide': must be a valid integer"),
    ("  hidden_dim: 256", "  hidden_dim: 25.5", r"meta\.hidden_dim = 25\.5: must be a valid integer"),
    ("  arch: mlp", "  arch: tree", r"meta\.arch = 'tree': must be 'mlp', 'convex'"),
    ("  hidden_dim: 256", "  hiden_dim: 256", r"meta\.hiden_dim: unknown key; did you mean hidden_dim\?"),
    ("  init: average", "  init: zero", r"meta\.init = 'zero': must be 'average' or 'random'"),
    ("    edema: ones", "    edema: one", r"data\.uncertain\.edema = 'one': must be 'ignore', 'zeros', 'ones'"),
    ("    edema: ones", "    oedema: ones", r"data\.uncertain\.oedema: no such finding; did you mean edema\?"),
    ("    val: 0.2", "    val: 0.9", r"data\.shares = .*: val \+ stack must be below 1.*got 1\.1"),
    ("  max_patients: null", "  max_patients: 3", r"data\.max_patients = 3: must be greater than or equal to 10"),
    ("  label_smoothing: 0.1", "  label_smoothing: 1.5", r"train\.label_smoothing = 1\.5: must be less than 1"),
    ("  label_smoothing: 0.1", "  label_smoothing: .nan", r"train\.label_smoothing = nan: must be a finite number"),
    (
        "  image_size: 80",
        "  image_size: 90",
        r"vit\.patch_size = 16, .*: patches of 16 pixels do not fill images of 90",
    ),
    ("  arch: vit_tiny_patch16_224", "  arch: resnet18", r"vit\.patch_size = 16: resnet18 has none .*\n.*vit\.stem = "),
    ("  patch_size: 16", "  patch_size: 20", r"vit\.stem = 'convolutions': needs a patch_size of 2, .*, not 20"),
    ("  pretrained: false  # as above", "  pretrained: true  # as above", r"stem = 'convolutions': pretrained weights"),
    (
        "  batch_size: 16  # images per step",
        "  batch_size: true  # images per step",
        r"train\.batch_size = True",
    ),
    ("  pretrained: false  # true", "  pretrained: 7  # true", r"densenet\.pretrained = 7: must be"),
    ("seed: 42", "seed: -1", r"seed = -1: must be greater than or equal to 0"),
    ("launch: python", "lunch: python", r"lunch: unknown key; known here: seed, launch"),
    ("  unit: image", "  unit: image\n  unit: study", r"line \d+: key 'unit' is given twice"),
    ("seed: 42", "seed: [42", r"params\.yaml, line \d+"),
    ("more: {}", "more: {Conv: {arch: resnet18}}", r"more\.Conv.*: a member's name must be a letter, then"),
    ("more: {}", "more: {vit: {arch: resnet18}}", r"more\.vit.*: a member cannot be called vit: metrics has that key"),
    ("more: {}", "more: {wide: {arch: resnet18, lrr: 1}}", r"more\.wide\.lrr: unknown key; did you mean lr\?"),
    ("more: {}", "more: {wide: {lr: 1.0e-3}}", r"more\.wide\.arch: is missing"),
    ("more: {}", "more: {wide: {arch: resnet18, stem: convolutions}}", r"more\.wide\.stem = .*no plain vision transf"),
    ("more: {}", "more: {wide: {arch: resnet18, epochs: 2, probe_epochs: 3}}", r"probe_epochs = 3: there are 2 epochs"),
    ("  average_best: null", "  average_best: 3", r"train\.average_best = 3: beside train\.ema: one average \(set one"),
    (
        "more: {}",
        "more: {wide: {arch: resnet18, normalise: pretrained}}",
        r"normalise = 'pretrained': there are no",
    ),
    (
        "more: {}",
        "more: {wide: {arch: resnet18, normalise: [0.5, 0]}}",
        r"normalise = \[0\.5, 0\.0\]: the devia",
    ),
    (
        "more: {}",
        "more: {wide: {arch: resnet18, normalise: [0.5]}}",
        r"normalise.* = \[0\.5\]: List should have",
    ),
    ("more: {}", "more: null", r"more = None: must be a valid dictionary"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[new.strip() for _, new, _ in MISTAKES])
def test_a_mistake_ends_in_a_line_with_key_value_and_what_is_allowed(tmp_path, old, new, message):
    assert TEXT.count(old) >= 1
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_all(path)


def test_the_file_of_the_repository_holds_every_section_and_passes():
    assert list(read_all(ROOT / "params.yaml")) == list(SECTIONS)


def test_all_mistakes_are_reported_in_one_pass(tmp_path):
    path = tmp_path / "params.yaml"
    text = TEXT.replace("hidden_dim: 256", "hidden_dim: 0").replace("unit: image", "unit: pixel")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"(?s)2 problems.*meta\.hidden_dim.*evaluate\.unit"):
        read_all(path)


def test_attention_wants_a_width_that_its_heads_can_share(tmp_path):
    assert HEADS == MetaAttention.HEADS
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("arch: mlp", "arch: attention").replace("dim: 256", "dim: 66"), encoding="utf-8")
    with pytest.raises(InputError, match=r"hidden_dim = 66: attention has 4 heads \(choose a multiple of 4\)"):
        read_params(path, meta=MetaParams)


def test_a_stage_checks_only_the_sections_it_reads(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace("unit: image", "unit: pixel"), encoding="utf-8")
    assert read_params(path, meta=MetaParams).meta.hidden_dim == 256


def test_numbers_are_those_of_yaml_12_as_dvc_writes_them():
    assert parse("a: 1e-05\nb: 1.0e-4\nc: 3\nd: 1E5\ne: python", "x") == {
        "a": 1e-5,
        "b": 1e-4,
        "c": 3,
        "d": 1e5,
        "e": "python",
    }


def test_yaml_that_would_run_code_is_refused():
    with pytest.raises(InputError, match="line 1"):
        parse("a: !!python/object/apply:os.system ['true']", "x.yaml")


def test_a_stage_prints_a_mistake_as_one_line_without_a_traceback_and_fails(tmp_path):
    (tmp_path / "params.yaml").write_text(TEXT.replace("hidden_dim: 256", "hidden_dim: 0"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.inventory"],
        cwd=tmp_path,
        env={**__import__("os").environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("inventory: params.yaml: meta.hidden_dim = 0")
    assert not Path(tmp_path / "data").exists()


def test_a_member_that_dvc_adds_and_removes_leaves_params_yaml_as_readable_as_before(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT, encoding="utf-8", newline="\n")
    apply_overrides(path, ["+more.convnext={arch: convnext_tiny}"])
    assert read_all(path)["more"]["convnext"].arch == "convnext_tiny"
    apply_overrides(path, ["~more.convnext"])
    assert read_yaml(path) == parse(TEXT, "params.yaml")


def test_the_page_of_all_params_is_what_the_models_make_of_params_yaml():
    """To renew it: python -m diagxnet.params.document > docs/params.md"""
    made = document(read_yaml(ROOT / "params.yaml"))
    assert (ROOT / "docs/params.md").read_text(encoding="utf-8") == made
    keys = {
        re.sub(r"^(densenet|vit)\.|(?<=^data\.uncertain)\..*", "", key)
        for key in leaves(read_yaml(ROOT / "params.yaml"))
    }
    assert [key for key in keys - {"more"} if f"| `{key}` |" not in made] == []
