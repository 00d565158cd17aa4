"""Files from strangers run no code, stay in their folder, and fetch nothing; what is written is whole or not there."""

import ast
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diagxnet.console.errors import InputError
from diagxnet.data.files import read_arrays, replacing, write_text
from diagxnet.images.decode import ImageError, decode
from diagxnet.reading.inventory import take_inventory
from diagxnet.reading.paths import under_root
from diagxnet.training.checkpoint import save_model
from diagxnet.training.networks import base_config, create_base, from_config, load_base
from diagxnet.training.resume import BEST, LAST, ResumeState
from stages.report import SPECIAL
from tests.bad_input import RunsCode
from tests.conftest import ROOT
from tests.radiographs import make_data, write_image

CODE = sorted(path for folder in ("diagxnet", "stages", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_state_that_would_run_code_is_ignored_and_runs_none(tmp_path, capsys, write):
    marker = tmp_path / "ran"
    write({"fingerprint": "mark", "epochs": RunsCode(marker)}, tmp_path / LAST)
    assert ResumeState(tmp_path, "mark").load() is None
    assert "is damaged" in capsys.readouterr().err
    assert not marker.exists()


def test_a_state_that_is_none_of_ours_is_ignored(tmp_path, capsys):
    for other in (torch.ones(2), {"epochs": 3}, [1]):
        torch.save(other, tmp_path / LAST)
        assert ResumeState(tmp_path, "mark").load() is None
        assert "training starts from the beginning" in capsys.readouterr().err


def test_best_weights_that_would_run_code_run_none(tmp_path):
    torch.save({"weight": RunsCode(tmp_path / "ran")}, tmp_path / BEST.format(0))
    with pytest.raises(pickle.UnpicklingError):
        ResumeState(tmp_path, "mark").load_best(0)
    assert not (tmp_path / "ran").exists()


def test_arrays_that_would_run_code_are_refused_and_run_none(tmp_path):
    np.savez(tmp_path / "labels.npz", rows=np.array([RunsCode(tmp_path / "ran")], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_arrays(tmp_path / "labels.npz")
    assert not (tmp_path / "ran").exists()


def test_the_planted_pickle_does_run_code_where_nothing_prevents_it(tmp_path):
    """Else the tests above would prove nothing."""
    torch.save(RunsCode(tmp_path / "ran"), tmp_path / "file")
    torch.load(tmp_path / "file", weights_only=False)
    assert (tmp_path / "ran").exists()


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Calls in a source file by the dotted name of what is called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_nothing_is_loaded_in_a_way_that_could_run_code():
    seen = set()
    for path in CODE:
        for name, call in calls(path):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            where = f"{path.name}, line {call.lineno}"
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", where
            if name == "np.load":
                assert keywords.get("allow_pickle", "False") == "False", where
            if name == "yaml.load":
                assert keywords.get("Loader") == "_Loader", where
            assert name.split(".")[0] not in ("pickle", "joblib", "dill", "shelve", "marshal"), where
            assert name not in ("eval", "exec", "os.system", "yaml.unsafe_load", "yaml.full_load"), where
            assert keywords.get("shell") != "True", where
            seen.add(name)
    assert {"torch.load", "np.load", "yaml.load"} <= seen


@pytest.mark.parametrize(
    "path",
    [
        "r/../x/patient1/study1/a.jpg",
        "r\\..\\x\\patient1\\study1\\a.jpg",
        "/r/patient1/study1/a.jpg",
        "\\r\\patient1\\study1\\a.jpg",
        "C:/r/patient1/study1/a.jpg",
        "r/C:/patient1/study1/a.jpg",
        "r/patient1/study1/D:a.jpg",
        "r/patient1/study1/\x00.jpg",
        "r/patient1/study1/\u202egpj.a",
    ],
)
def test_a_path_that_could_leave_the_root_or_hide_is_refused(path):
    with pytest.raises(ValueError, match=r"absolute|leaves data\.root|cannot be printed"):
        under_root(path)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the right to make links")
def test_links_are_followed_inside_the_root_and_never_out_of_it(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "root-secret"
    write_image(root / "a/b/real.png")
    write_image(outside / "secret.png")
    (root / "a/inside.png").symlink_to(root / "a/b/real.png")
    (root / "a/outside.png").symlink_to(outside / "secret.png")
    (root / "a/twice.png").symlink_to(root / "a/outside.png")
    (root / "a/up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "root-by-link").symlink_to(root, target_is_directory=True)
    assert decode(root / "a/inside.png", 16, root).shape == (16, 16)
    assert decode(tmp_path / "root-by-link/a/b/real.png", 16, tmp_path / "root-by-link").shape == (16, 16)
    assert decode(root / "a/twice.png", 16, root, linked=outside).shape == (16, 16)
    for path in ("a/outside.png", "a/twice.png", "a/up/root-secret/secret.png"):
        with pytest.raises(ImageError, match=r"is a link to a file outside data\.root"):
            decode(root / path, 16, root)


def test_a_page_of_a_revision_is_written_in_reports_whatever_the_revision_is_called():
    for rev in ("../../etc/passwd", "a/b", "..", "a\\b", "C:x", "x\n<script>"):
        name = f"report-{SPECIAL.sub('-', rev)}.html"
        assert Path("reports", name).parent == Path("reports")
        assert not set(name) & set('/\\:\n<>"')


def test_nothing_is_fetched_from_a_network_unless_pretrained_is_true(tmp_path, monkeypatch, no_network):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    make_data(tmp_path / "data", train=4, valid=0)
    take_inventory(tmp_path / "data", cache=tmp_path / "cache")
    config = base_config(
        "resnet10t",
        findings=["Edema"],
        image_size=32,
        pretrained=False,
        dropout=0.0,
        patch_size=None,
        stem="patches",
        batch_norm=False,
    )
    save_model(tmp_path / "model", from_config(config), config, {})
    load_base(tmp_path / "model")
    assert no_network == []
    with pytest.raises(InputError, match="timm's hub gave no weights for resnet10t"):
        create_base("resnet10t", findings=1, image_size=32, pretrained=True)
    assert no_network


def test_a_write_that_the_disk_cuts_off_leaves_the_old_file_and_no_part_of_the_new(tmp_path):
    path = tmp_path / "file.json"
    write_text(path, "old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of what is n", encoding="utf-8")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert [each.name for each in tmp_path.iterdir()] == ["file.json"]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_read_only_output_is_replaced_and_what_it_was_linked_to_stays(tmp_path):
    cache, output = tmp_path / "cache", tmp_path / "output"
    cache.write_text("cached", encoding="utf-8")
    os.link(cache, output)
    output.chmod(0o444)
    write_text(output, "new")
    assert (cache.read_text(encoding="utf-8"), output.read_text(encoding="utf-8")) == ("cached", "new")


def test_a_state_that_the_disk_cut_off_leaves_the_one_before(tmp_path, monkeypatch):
    state = ResumeState(tmp_path, "mark")
    state.save({"epochs": [1], "finished": False}, [0], {0: {"weight": torch.ones(2)}})
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> None:
        whole(path, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        state.save({"epochs": [1, 2], "finished": False}, [1], {1: {"weight": torch.zeros(2)}})
    assert state.load()["epochs"] == [1]
    assert state.load_best(0)["weight"].tolist() == [1, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST.format(0), LAST]


def test_a_file_dated_ahead_of_the_clock_is_hashed_each_time(tmp_path):
    """A clock that jumps back leaves files from the future; one that changes again may keep its size and date."""
    make_data(tmp_path / "data", train=4, valid=0)
    image = next((tmp_path / "data").rglob("*.jpg"))
    content, name = image.read_bytes(), image.relative_to(tmp_path / "data").as_posix()
    hashes = []
    for last in (content[-3], content[-3] ^ 1):
        image.write_bytes(content[:-3] + bytes([last]) + content[-2:])
        os.utime(image, (4e9, 4e9))
        hashes.append(take_inventory(tmp_path / "data", cache=tmp_path / "cache")["images"][name]["hash"])
    assert hashes[0] != hashes[1]
