"""The pipeline as its user runs it: through DVC, in a clone of its own, on a small drawn data set."""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.files import read_arrays, write_arrays
from tests.conftest import ROOT, leaves

SMALL = {
    "demo.images": 120,
    "demo.test_images": 60,
    "demo.size": 64,
    "data.image_size": 32,
    "densenet.arch": "test_resnet",
    "densenet.epochs": 2,
    "vit.epochs": 1,
    "meta.epochs": 2,
    "evaluate.bootstrap": 100,
}
STAGES = [*yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]]
STAGES = [name for name in STAGES if name not in ("train", "read_table")]  # of no member of the default
MODELS = {"densenet", "vit", "average", "ensemble"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def _set(folder: Path, values: dict) -> None:
    """Sets leaves of params.yaml in place, as -S does."""
    path = folder / "params.yaml"
    lines, section = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"( *)(\w+):", line):
            depth = len(match[1]) // 2
            section = [*section[:depth], match[2]]
            key = ".".join(section)
            if key in values:
                line = f"{match[1]}{match[2]}: {values[key]}"
        lines.append(line)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def clone(folder: Path, values: dict) -> Path:
    """A git repository in `folder` with the files of this one, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("metrics/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    _set(folder, values)
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        _git(folder, *command)
    return folder


def _git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True)


def environment(folder: Path) -> dict[str, str]:
    """What commands in `folder` run with: this Python first on the path, a cache of hashes beside the folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "BROWSER": "true"}  # no page of a test opens in anybody's browser
    return {**os.environ, "PATH": path, "DIAGXNET_CACHE": str(folder.parent / "cache"), **quiet}


def bounded(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess:
    """Runs `command` in `folder`; all that it printed is in `.stdout`. After so many seconds it and all processes that
    it started are killed (but workers of DVC's queue, which leave its group)."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except BaseException:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        raise
    return subprocess.CompletedProcess(command, process.returncode, output)


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path):
    command = [sys.executable, "-c", "import subprocess, sys; subprocess.run(['sleep', '71.25'])"]
    with pytest.raises(subprocess.TimeoutExpired):
        bounded(command, tmp_path, 1)
    deadline = time.monotonic() + 10
    while (listed := subprocess.run(["ps", "ax"], capture_output=True, encoding="utf-8").stdout).count("sleep 71.25"):
        assert time.monotonic() < deadline, listed
        time.sleep(0.1)


def _dvc(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    """Runs dvc in `folder` with this Python first on the path; all that it printed is in `.stdout`."""
    done = bounded([sys.executable, "-m", "dvc", *arguments], folder, 500)
    assert not check or done.returncode == 0, done.stdout[-4000:]
    return done


def _ran(done: subprocess.CompletedProcess) -> list[str]:
    return re.findall(r"Running stage '([\w@]+)'", done.stdout)


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _append(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8", newline="\n")


def _hashes(folder: Path) -> dict[str, str]:
    """Hash of each output in dvc.lock, without wall-clock figures."""
    lock, params = (yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in ("dvc.lock", "params.yaml"))
    gone = {name for name in lock["stages"] if name.startswith("train@")} - {f"train@{name}" for name in params["more"]}
    # DVC keeps what it recorded of a stage that is no more
    outputs = [out for name, stage in lock["stages"].items() if name not in gone for out in stage["outs"]]
    timed = ("metrics/timing/", "metrics/summary.json")
    return {out["path"]: out["md5"] for out in outputs if not out["path"].startswith(timed)}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    folder = clone(tmp_path_factory.mktemp("pipeline") / "clone", SMALL)
    done = _dvc(folder, "repro")
    told = re.findall(r"^(\w+): stage (\d+) of (\d+)", done.stdout, re.M)
    assert [name for name, *_ in told] == _ran(done) == STAGES
    assert [(int(place), int(every)) for _, place, every in told] == [(n + 1, len(told)) for n in range(len(told))]
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "run")
    return folder


def test_every_file_of_the_contract_is_there(pipeline):
    for name in ("densenet", "vit", "meta"):
        names = {path.name for path in (pipeline / "models" / name).iterdir()}
        assert names == {"model.safetensors", "config.json", "training_history.json"}
        assert set(json.loads((pipeline / "metrics" / f"{name}.json").read_text(encoding="utf-8"))) >= {
            "best_epoch",
            "val_auroc",
        }
    for name in (
        "models/calibration.json",
        "models/MODEL_CARD.md",
        "data/prepared/summary.json",
        "data/demo/regions.csv",
    ):
        assert (pipeline / name).is_file(), name
    evaluation = json.loads((pipeline / "metrics" / "evaluation.json").read_text(encoding="utf-8"))
    assert set(evaluation) >= {*MODELS, "comparison"}
    for model in MODELS:
        assert set(evaluation[model]["auroc"]["per_finding"]) <= set(CHEXPERT.keys)
        assert 0 <= evaluation[model]["auroc"]["macro"] <= 1


def test_git_keeps_metrics_and_the_lock_and_dvc_the_rest(pipeline):
    kept = subprocess.run(
        ["git", "ls-files"], cwd=pipeline, capture_output=True, encoding="utf-8", check=True
    ).stdout.split()
    assert {"dvc.lock", "metrics/evaluation.json", "metrics/summary.json", "metrics/densenet.json"} <= set(kept)
    assert not [name for name in kept if name.startswith(("data/", "models/", "plots/", "metrics/timing"))]


def test_a_second_repro_runs_only_inventory(pipeline):
    assert _ran(_dvc(pipeline, "repro")) == ["inventory"]


def _stage(folder: Path, name: str) -> subprocess.CompletedProcess:
    """Runs a stage by hand, without DVC."""
    return subprocess.run(
        [sys.executable, "-m", f"stages.{name}"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def test_a_run_passes_its_audit_and_one_whose_logits_were_changed_has_no_metrics(pipeline):
    passed = _stage(pipeline, "audit")
    assert passed.returncode == 0, passed.stderr
    assert len(passed.stdout.splitlines()) == 8
    logits, metrics = pipeline / "data/stacked/logits_test.npz", pipeline / "metrics/evaluation.json"
    stored = read_arrays(logits)
    write_arrays(logits, **stored | {"vit": stored["vit"] + 1})
    metrics.unlink()
    refused = _stage(pipeline, "evaluate")
    written = metrics.exists()
    _dvc(pipeline, "checkout", "--force", "data/stacked")
    _git(pipeline, "checkout", "metrics")
    assert refused.returncode == 1
    assert "evaluate: this run fails its audit: recorded: data/stacked: not what the run recorded" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not written
    assert _ran(_dvc(pipeline, "repro")) == ["inventory"]


def test_a_colleague_gets_every_model_and_metric_and_trains_nothing(pipeline, tmp_path):
    _dvc(pipeline, "remote", "add", "--local", "-d", "store", str(tmp_path / "store"))
    _dvc(pipeline, "push")
    colleague = tmp_path / "colleague"
    subprocess.run(["git", "clone", "-q", str(pipeline), str(colleague)], check=True)
    _dvc(colleague, "remote", "add", "--local", "-d", "store", str(tmp_path / "store"))
    _dvc(colleague, "pull")
    for name in ("models/densenet/model.safetensors", "models/calibration.json", "metrics/evaluation.json"):
        assert (colleague / name).read_bytes() == (pipeline / name).read_bytes()
    assert _ran(_dvc(colleague, "repro")) == ["inventory"]
    _git(colleague, "tag", "-a", "ensemble@v1.0.0", "-m", "first")
    _dvc(colleague, "artifacts", "get", ".", "ensemble", "-o", str(tmp_path / "ensemble"))
    assert (tmp_path / "ensemble/meta/model.safetensors").is_file()
    _dvc(pipeline, "remote", "remove", "--local", "store")


def test_another_hidden_dim_runs_inventory_train_meta_and_evaluate_only(pipeline):
    done = _dvc(pipeline, "exp", "run", "-n", "wide", "-S", "meta.hidden_dim=384")
    assert _ran(done) == ["inventory", "train_meta", "evaluate"]
    assert (
        json.loads((pipeline / "models/meta/config.json").read_text(encoding="utf-8"))["options"]["hidden_dim"] == 384
    )
    assert "params.yaml differs from the last commit" in done.stdout
    assert "meta.hidden_dim = 384 (was 256)" in done.stdout
    shown = _dvc(pipeline, "metrics", "diff", "HEAD", "wide", "--all").stdout
    assert "ensemble" in shown
    assert len(_dvc(pipeline, "metrics", "diff", "HEAD", "wide", "--all", "--md").stdout.splitlines()) <= 42


def test_a_name_used_twice_is_refused_before_any_work(pipeline):
    before = (pipeline / "params.yaml").read_bytes()
    done = _dvc(pipeline, "exp", "run", "-n", "wide", "-S", "meta.hidden_dim=8", check=False)
    assert done.returncode != 0
    assert "conflicts with existing experiment 'wide'" in done.stdout
    assert _ran(done) == []
    assert (pipeline / "params.yaml").read_bytes() == before


def test_an_edited_plot_runs_evaluate_only_an_edited_loss_the_trainings_the_readme_and_a_bar_nothing(pipeline):
    figures, loss = "diagxnet/reporting/drawing.py", "diagxnet/training/loss.py"
    shown = ("README.md", "diagxnet/console/progress.py", "diagxnet/params/whole.py", "stages/running.py")
    whole = {name: (pipeline / name).read_bytes() for name in (*shown, figures, loss)}
    for name in shown:
        _append(pipeline, name, "\n# a comment\n")
    assert _ran(_dvc(pipeline, "repro")) == ["inventory"]
    _append(pipeline, figures, "\n# a comment\n")
    assert _ran(_dvc(pipeline, "repro")) == ["inventory", "evaluate"]
    _append(pipeline, loss, "\n# a comment\n")
    trainings = ["train_densenet", "train_vit", "stack_features", "train_meta"]  # all that depend on the room
    assert _ran(_dvc(pipeline, "repro")) == ["inventory", *trainings, "evaluate"]
    for name, content in whole.items():
        (pipeline / name).write_bytes(content)


def _publish(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    save_file(timm.create_model("test_resnet").state_dict(), path)


def test_a_member_is_added_by_params_alone_trained_alone_and_removed_without_a_trace(pipeline, tmp_path):
    before, params = _hashes(pipeline), (pipeline / "params.yaml").read_bytes()
    weights = tmp_path / "weights.safetensors"
    _publish(weights, seed=1)
    added = f"+more.wide={{arch: test_resnet, epochs: 1, pretrained: {weights.as_posix()}}}"
    done = _dvc(pipeline, "exp", "run", "-n", "three", "-S", added)
    assert _ran(done) == ["inventory", "train@wide", "stack_features", "train_meta", "evaluate"]
    evaluation = json.loads((pipeline / "metrics/evaluation.json").read_text(encoding="utf-8"))
    assert list(evaluation)[:5] == ["densenet", "vit", "wide", "average", "ensemble"]
    assert "wide" in json.loads((pipeline / "metrics/more.json").read_text(encoding="utf-8"))
    assert json.loads((pipeline / "models/meta/config.json").read_text(encoding="utf-8"))["models"][2] == "wide"
    assert _stage(pipeline, "audit").returncode == 0
    assert _ran(_dvc(pipeline, "repro")) == ["inventory"]
    _publish(weights, seed=2)
    assert _ran(_dvc(pipeline, "repro", "train@wide")) == ["inventory", "train@wide"]
    weights.unlink()
    assert _ran(_dvc(pipeline, "repro", "train@wide")) == ["inventory"]
    (pipeline / "params.yaml").write_bytes(params)
    done = _dvc(pipeline, "repro")
    assert "models/more/wide: removed" in done.stdout
    assert not set(_ran(done)) & {"train_densenet", "train_vit", "train@wide"}
    assert not (pipeline / "models/more/wide").exists()
    assert _hashes(pipeline) == before


def test_one_base_model_alone_is_an_ensemble_too(pipeline):
    params = (pipeline / "params.yaml").read_bytes()
    done = _dvc(pipeline, "exp", "run", "-n", "alone", "-S", "vit=null")
    assert _ran(done) == ["inventory", "train_vit", "stack_features", "train_meta", "evaluate"]
    assert "vit is null in params.yaml: left out" in done.stdout
    evaluation = json.loads((pipeline / "metrics/evaluation.json").read_text(encoding="utf-8"))
    assert list(evaluation)[:3] == ["densenet", "average", "ensemble"]
    assert evaluation["average"]["auroc"] == evaluation["densenet"]["auroc"]
    assert _stage(pipeline, "audit").returncode == 0
    (pipeline / "params.yaml").write_bytes(params)
    _dvc(pipeline, "repro")


def test_another_label_rule_decodes_no_image(pipeline):
    _set(pipeline, {"data.uncertain.edema": "zeros"})
    done = _dvc(pipeline, "repro", "prepare")
    _set(pipeline, {"data.uncertain.edema": "ones"})
    assert _ran(done) == ["inventory", "prepare"]


def test_a_mistake_in_params_ends_in_its_line_before_any_work(pipeline):
    _set(pipeline, {"train.label_smoothing": 7})
    done = _dvc(pipeline, "repro", check=False)
    _set(pipeline, {"train.label_smoothing": 0.1})
    assert done.returncode != 0
    assert "inventory: params.yaml: train.label_smoothing = 7: must be less than 1" in done.stdout
    assert _ran(done) == ["inventory"]


def test_a_truncated_image_stops_before_anything_is_packed_and_a_mended_one_goes_on(pipeline):
    image = sorted((pipeline / "data/demo/valid").rglob("*.jpg"))[0]
    whole = image.read_bytes()
    image.chmod(0o644)
    broken = image.with_suffix(".tmp")
    broken.write_bytes(whole[: len(whole) // 2])
    os.replace(broken, image)
    done = _dvc(pipeline, "repro", "-s", "inventory", "pack", check=False)
    assert done.returncode != 0
    assert image.name in done.stdout
    assert "truncated" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (pipeline / "data/packed/images.npy").exists()
    broken.write_bytes(whole)
    os.replace(broken, image)
    _dvc(pipeline, "repro", "prepare")
    assert (pipeline / "data/packed/images.npy").is_file()


def test_going_back_to_earlier_values_trains_nothing_again(pipeline):
    _set(pipeline, {"meta.hidden_dim": 256})  # what -S set before stays in params.yaml
    done = _dvc(pipeline, "repro")
    assert _ran(done) == ["inventory", "evaluate"]
    assert (
        json.loads((pipeline / "models/meta/config.json").read_text(encoding="utf-8"))["options"]["hidden_dim"] == 256
    )


def test_outputs_are_read_only_links_into_a_cache_that_no_stage_wrote_into(pipeline):
    cache = pipeline / ".dvc/cache/files/md5"
    for name in ("models/vit/model.safetensors", "data/stacked/logits_test.npz", "models/calibration.json"):
        output = pipeline / name
        digest = _md5(output)
        if output.samefile(cache / digest[:2] / digest[2:]):  # a reflink is a file of its own, and may be written
            assert not output.stat().st_mode & stat.S_IWUSR, name
    for path in cache.rglob("*"):
        if path.is_file():
            assert path.parent.name + path.name.removesuffix(".dir") == _md5(path)


@pytest.mark.long
def test_settings_in_a_loop_and_in_a_queue_of_two_workers_decode_and_train_no_base_model_again(pipeline):
    shutil.copytree(pipeline / "data/demo", pipeline / "data/mine")
    for width in (4, 6, 8):
        done = _dvc(pipeline, "exp", "run", "-n", f"loop-{width}", "-S", f"meta.hidden_dim={width}")
        assert _ran(done) == ["inventory", "train_meta", "evaluate"]
    for width in (10, 12, 14):
        _dvc(pipeline, "exp", "run", "--queue", "-n", f"queue-{width}", "-S", f"meta.hidden_dim={width}")
    _dvc(pipeline, "exp", "run", "--queue", "-n", "astray", "-S", "data.root=data/mine")
    _dvc(pipeline, "queue", "start", "-j", "2")
    try:
        deadline = time.monotonic() + 400
        while re.search(r"\b(Queued|Running)\b", status := _dvc(pipeline, "queue", "status").stdout):
            assert time.monotonic() < deadline, status
            time.sleep(2)
    finally:
        _dvc(pipeline, "queue", "stop", "--kill", check=False)
        _set(pipeline, {"meta.hidden_dim": 256})
    for width in (10, 12, 14):
        assert _ran(_dvc(pipeline, "queue", "logs", f"queue-{width}")) == ["inventory", "train_meta", "evaluate"]
    assert "data.root = 'data/mine' is relative" in _dvc(pipeline, "queue", "logs", "astray").stdout


@pytest.mark.long
def test_crossfit_leaves_a_model_a_fold_and_the_same_metrics(pipeline):
    keys = leaves(json.loads((pipeline / "metrics/summary.json").read_text(encoding="utf-8")))
    done = _dvc(pipeline, "exp", "run", "-S", "stack.method=crossfit", "-S", "stack.folds=2", "-S", "vit.epochs=1")
    assert _ran(done) == ["inventory", "train_densenet", "train_vit", "stack_features", "train_meta", "evaluate"]
    assert leaves(json.loads((pipeline / "metrics/summary.json").read_text(encoding="utf-8"))) == keys
    for name in ("densenet", "vit"):
        folds = [(pipeline / f"models/{name}/fold{fold}/model.safetensors").read_bytes() for fold in (1, 2)]
        assert folds[0] != folds[1]
        assert not (pipeline / f"models/{name}/model.safetensors").exists()
    assert "Crossfit over 2 folds" in (pipeline / "models/MODEL_CARD.md").read_text(encoding="utf-8")
    _set(pipeline, {"stack.method": "holdout", "stack.folds": 5})
    assert _ran(_dvc(pipeline, "repro")) == ["inventory", "evaluate"]


def test_two_clones_run_from_scratch_leave_the_same_hashes(pipeline, tmp_path):
    twin = clone(tmp_path / "twin", SMALL)
    _dvc(twin, "repro")
    assert _hashes(twin) == _hashes(pipeline)
