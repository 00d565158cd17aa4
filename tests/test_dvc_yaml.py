"""dvc.yaml says exactly what each stage's code is, and which params it reads: no more, no less."""

import ast
import re
from functools import cache

import pytest
import yaml

from stages.recorded import MEMBERS
from tests.conftest import ROOT, leaves

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
FURTHER = {"train": "convnext", "read_table": "vendor"}
STAGES = {
    name: yaml.safe_load(yaml.safe_dump(stage.get("do", stage)).replace("${key}", FURTHER.get(name, "")))
    for name, stage in PIPELINE["stages"].items()
}
"""As they stand; of a stage for each further member, that of FURTHER."""

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PARAMS["more"] = {"convnext": {"arch": "convnext_tiny", "lr": 1e-3}}
PARAMS["tables"] = {"vendor": "vendor.csv"}
PACKAGES = ("diagxnet", "stages")
SHAPES_NOTHING = ("diagxnet/console/", "diagxnet/params/", "stages/running.py", "stages/live.py")
SHAPES_NOTHING += ("stages/outlook.py", "stages/train_densenet.py", "stages/train_vit.py", "stages/train.py")
"""Rooms and files that shape no byte of an output (docs/design.md): what a person sees while a stage runs, how it ends,
and the checks of params.yaml, whose values dvc.yaml lists; but for the defaults of a member."""

DEFAULTS = "diagxnet/params/member.py"

IDENTIFIED_BY_CONTENT = {"data.root", "data.test", "data.linked"}
"""Params that a stage reads and does not list: data/inventory.json holds what is there, and behind links, so
that the same data under another path (absolute, for queued experiments) decodes and trains nothing again."""


@cache
def imports_of(file: str) -> frozenset[str]:
    """The files of this repository that `file` imports itself."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            path = name.replace(".", "/") + ".py"
            if name.startswith(PACKAGES) and (ROOT / path).is_file():
                found.add(path)
    return frozenset(found)


def modules_of(file: str) -> set[str]:
    """The files of this repository that `file` imports, itself and through others, and `file`."""
    found, waiting = set(), {file}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imports_of(file) - found
    return found


TRAININGS = {"train_densenet": "densenet", "train_vit": "vit", "train": "more"}
"""Section of params.yaml that each training of a member reads."""


def params_read(name: str) -> set[str]:
    """Leaves of params.yaml that a stage reads, from its sources: sections given to read_params, attributes taken."""
    files = [file for file in modules_of(f"stages/{name}.py") if file.startswith("stages/")]
    text = "\n".join((ROOT / file).read_text(encoding="utf-8") for file in sorted(files))
    if "read_yaml(" in text or "read_all(" in text:
        return leaves(PARAMS)
    sections = set(re.findall(r"\b(\w+)=\w*(?:Params|Seed)\b", text))
    if name in TRAININGS:
        sections.add(TRAININGS[name])
    read = set()
    for section in sections:
        own = leaves(PARAMS[section], section)
        own = own or {section}
        taken = {re.sub(r"\.?model_dump$", "", each) for each in re.findall(rf"\b{section}\.([\w.]+)", text)} - {""}
        whole = re.search(rf"\b{section}\.model_dump\(\)|\b{section}\b, params\.{section}\b", text)
        whole = whole or section in ("seed", "tables") or not taken
        read |= {leaf for leaf in own if whole or any(f"{leaf}.".startswith(f"{section}.{each}.") for each in taken)}
    if "train" in sections and (names := re.findall(r'"(\w+)"', "".join(re.findall(r"SHARED \+?= \((.*)\)", text)))):
        read = {leaf for leaf in read if not leaf.startswith("train.")} | {f"train.{leaf}" for leaf in names}
    return read - IDENTIFIED_BY_CONTENT


def params_listed(name: str) -> set[str]:
    listed = set()
    for entry in STAGES[name].get("params", []):
        if entry == {"params.yaml": None}:
            return leaves(PARAMS)
        if isinstance(entry, dict):  # of a file that a stage writes
            continue
        value = PARAMS
        for part in entry.split("."):
            value = value[part]
        listed |= leaves(value, entry)
    return listed


def shapes(file: str) -> bool:
    return file == DEFAULTS or not file.startswith(SHAPES_NOTHING)


def code_listed(name: str) -> set[str]:
    """Modules that a stage depends on: files it lists, and all in the rooms it lists."""
    return set().union(*(code_below(dep) for dep in STAGES[name]["deps"] if dep.startswith(PACKAGES)))


def code_below(dep: str) -> set[str]:
    """The modules of a room, or the one that `dep` is."""
    found = {file.relative_to(ROOT).as_posix() for file in (ROOT / dep).rglob("*.py")} or {dep}
    return {file for file in found if not file.endswith("__init__.py")}


def upstream(name: str) -> set[str]:
    """The stages whose outputs a stage reads, itself and through others."""
    outs = {_path(out): other for other, stage in STAGES.items() for out in (*stage["outs"], *stage.get("metrics", ()))}
    found, waiting = set(), {name}
    while waiting:
        deps = STAGES[waiting.pop()]["deps"]
        new = {other for out, other in outs.items() for dep in deps if f"{dep}/".startswith(f"{out}/")} - found
        found |= new
        waiting |= new
    return found


def _path(entry: str | dict) -> str:
    return entry if isinstance(entry, str) else next(iter(entry))


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_depends_on_all_code_that_shapes_its_outputs(name):
    if name != "inventory":  # it runs on every dvc repro, whatever changed
        assert not {file for file in modules_of(f"stages/{name}.py") if shapes(file)} - code_listed(name)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_depends_on_no_code_but_what_it_or_a_stage_before_it_uses(name):
    used = set().union(*(modules_of(f"stages/{each}.py") for each in {name, *upstream(name)}))
    assert not code_listed(name) - used


@pytest.mark.parametrize("name", sorted(STAGES))
def test_no_stage_depends_on_what_shapes_no_output(name):
    assert not [file for file in code_listed(name) if not shapes(file)]


@pytest.mark.parametrize("name", sorted(STAGES))
def test_the_params_of_a_stage_are_exactly_those_it_reads(name):
    assert params_listed(name) == params_read(name)


@pytest.mark.parametrize(("name", "member"), [*zip(TRAININGS, ("densenet", "vit", FURTHER["train"]), strict=True)])
def test_a_training_depends_on_the_weights_that_its_own_member_begins_with(name, member):
    assert STAGES[name]["params"][-1] == {MEMBERS: [f"weights.{member}"]}
    assert MEMBERS in STAGES["inventory"]["outs"]


def test_the_stage_of_another_hospital_that_is_shown_depends_on_what_it_uses():
    shown = re.search(r"^  # external_nih:\n(?:  #.*\n)+", (ROOT / "dvc.yaml").read_text(encoding="utf-8"), re.M)[0]
    stage = yaml.safe_load(re.sub(r"^  # ?", "", shown, flags=re.M))["external_nih"]
    used = {file for file in modules_of("stages/external.py") if shapes(file)}
    listed = [code_below(dep) for dep in stage["deps"] if dep.startswith(PACKAGES)]
    assert not used - set().union(*listed)
    assert all(code & used for code in listed)
    assert stage["cmd"].startswith("python -m stages.external --root ")
    assert "metrics/external/nih.json" in stage["metrics"][0]


def test_inventory_checks_all_of_params_yaml_on_every_run():
    assert params_read("inventory") == leaves(PARAMS)
    assert STAGES["inventory"]["always_changed"] is True


def test_only_evaluate_reads_test_labels():
    readers = {name for name, stage in STAGES.items() if "data/prepared/labels_test.npz" in stage["deps"]}
    assert readers == {"evaluate"}
    whole = {name for name, stage in STAGES.items() if "data/prepared" in stage["deps"]}
    assert not whole


def test_stack_features_reads_no_labels():
    assert not [dep for dep in STAGES["stack_features"]["deps"] if dep.startswith("data/") and "labels" in dep]


def test_commands_need_no_shell():
    for name, stage in STAGES.items():
        command = f"-m stages.{name} {FURTHER.get(name, '')}".rstrip()
        assert stage["cmd"] in (f"python {command}", f"${{launch}} {command}")


def test_only_stages_know_dvc_and_the_library_reads_no_params_file():
    for file in sorted((ROOT / "diagxnet").rglob("*.py")):
        imported = {
            (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name.split(".")[0]
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert not imported & {"dvc", "dvclive", "stages"}, file


ORDER = ("console", "data", "demo", "reading", "images", "labels", "training", "features", "stacking", "ensemble")
ORDER += (
    "statistics",
    "audit",
    "reporting",
    "tables",
    "runs",
    "prediction",
    "trained_on",
    "importers",
    "external",
    "preflight",
    "params",
)
"""Rooms of diagxnet/, each of which may import from those before it. The commands beside them import from all."""


def test_imports_flow_one_way():
    rooms = {path.stem for path in (ROOT / "diagxnet").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms - set(ORDER) == set()
    for position, room in enumerate(ORDER):
        whole = ROOT / "diagxnet" / room
        for file in sorted(whole.rglob("*.py")) or [whole.with_suffix(".py")]:
            text = file.read_text(encoding="utf-8")
            for later in ORDER[position + 1 :]:
                assert not re.search(rf"^\s*(from|import) diagxnet\.{later}\b", text, re.M), (file, later)


def test_every_init_file_is_empty():
    for file in [*(ROOT / "diagxnet").rglob("__init__.py"), *(ROOT / "stages").rglob("__init__.py")]:
        assert not file.read_text(encoding="utf-8").strip(), file


OWN_TEMPLATES = {path.stem for path in (ROOT / ".dvc/plots").glob("*.json")}


def test_plots_name_no_model_so_that_a_further_member_shows_without_an_edit():
    shown = yaml.safe_dump(PIPELINE["plots"])
    assert not re.search(r"densenet|vit\b|meta", shown, re.I)
    for plot in PIPELINE["plots"]:
        ((name, own),) = plot.items()
        template = (ROOT / f".dvc/plots/{own['template']}.json") if own["template"] in OWN_TEMPLATES else None
        assert template is None or '"field": "model"' in template.read_text(encoding="utf-8"), name


def test_dvc_yaml_reads_as_a_table_of_contents():
    lines = (ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    assert lines.index("artifacts:") - next(n for n, line in enumerate(lines) if line.startswith("plots:")) <= 40


def test_stages_are_short():
    for file in (ROOT / "stages").glob("*.py"):
        if file.stem in STAGES:
            assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file
