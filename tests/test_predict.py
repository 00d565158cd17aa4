"""predict: everything that can be read is predicted, everything else keeps its reason, and nothing is lost."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.ensemble.ensemble import Ensemble
from diagxnet.images.decode import read_radiograph
from diagxnet.images.doubts import FRONTAL, NOT_FRONTAL, Doubt, doubts_of_square, frontal_likeness
from diagxnet.predict import main
from diagxnet.prediction.inputs import list_inputs
from tests.conftest import ROOT
from tests.dicoms import needs_pydicom, write_dicom
from tests.ensembles import SIZE, make_models
from tests.radiographs import image_path, make_data, write_image
from tests.test_report import BROWSER, FLAGS, opened


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp("predict") / "models")


def frontal(side=64):
    """[side, side] uint8, something like a chest: FRONTAL, grown."""
    grey = ((FRONTAL - FRONTAL.min()) * 40).astype(np.uint8)
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR))


def write_frontal(path, invert=False, side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(255 - frontal(side) if invert else frontal(side)).save(path)
    return path


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_with_bad_files_is_predicted_but_for_those_which_are_named_each(models, tmp_path, capsys):
    folder = tmp_path / "films"
    good = [write_frontal(folder / f"{number // 4}/{number}.png") for number in range(7)]
    content = good[0].read_bytes()
    bad = {
        "empty.jpg": (b"", "is empty"),
        "text.png": (b"no image at all", "is no image"),
        "cut.png": (content[: len(content) // 2], "is truncated or damaged"),
        "gif.jpg": (b"GIF89a" + bytes(40), "is GIF, which is not read: save it as PNG"),
        "two\nlines.jpg": (b"x", "is no image"),
    }
    for name, (bytes_, _) in bad.items():
        (folder / name).write_bytes(bytes_)
    (folder / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (folder / "notes.txt").write_text("passed over", encoding="utf-8")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
    table = tmp_path / "predictions.csv"

    assert main([str(folder), "--models", str(models), "--csv", str(table), "--json"]) == 1
    out, err = capsys.readouterr()
    found = rows(table)
    failed = {row["path"]: row["error"] for row in found if row["error"]}
    assert len(found) == len(good) + len(failed) == 7 + len(bad) + 1 + hasattr(os, "mkfifo")
    for name, (_, reason) in bad.items():
        path = str(folder / name).replace("\n", "\\n")
        assert failed[path].startswith(reason)
        assert f"predict: {path}: {reason}" in err
    assert failed[str(folder / "gone.jpg")] == "is missing"
    assert err.count("notes.txt") == 1
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["path"] for record in records] == [row["path"] for row in found]
    predicted = [record for record in records if "error" not in record]
    expected = Ensemble.load(models).predict(read_radiograph(good[0], SIZE).image[None]).probabilities[0]
    for record in predicted:
        np.testing.assert_allclose(list(record["probabilities"].values()), expected, atol=2e-3)


def test_probabilities_are_printed_sorted_and_marked_where_they_reach_the_threshold(models, tmp_path, capsys):
    path = write_frontal(tmp_path / "film.png")
    assert main([str(path), "--models", str(models)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(path)
    assert len(lines) == 1 + len(CHEXPERT)
    values = [float(line[31:36]) for line in lines[1:]]
    assert values == sorted(values, reverse=True)
    for line, value in zip(lines[1:], values, strict=True):
        known = "no threshold" not in line
        threshold = float(line.split("threshold ")[1].rstrip(")")) if known else 2.0
        assert (line[2] == "*") == (value >= threshold), line
    assert any(line[2] == "*" for line in lines[1:])
    assert any(line[2] == " " for line in lines[1:])


def test_a_finding_that_was_not_learned_is_left_empty_everywhere_and_has_no_map(tmp_path, capsys):
    models = make_models(tmp_path / "models", not_learned=("edema", "no_finding"))
    film, table, page = write_frontal(tmp_path / "film.png"), tmp_path / "p.csv", tmp_path / "p.html"
    outputs = ["--csv", str(table), "--html", str(page)]
    assert main([str(film), "--models", str(models), *outputs]) == 0
    out, err = capsys.readouterr()
    assert "predict: not learned, so left empty: No Finding, Edema (no label in training)" in err
    assert [line.split() for line in out.splitlines()[-2:]] == [
        ["No", "Finding", "not", "learned"],
        ["Edema", "not", "learned"],
    ]
    (row,) = rows(table)
    assert (row["edema"], row["no_finding"]) == ("", "")
    assert all(0 < float(row[key]) < 1 for key in CHEXPERT.keys if key not in ("edema", "no_finding"))
    assert not {"edema", "no_finding"} & set(row["present"].split("; "))
    assert "<td>Edema</td><td>not learned</td><td>none</td>" in page.read_text(encoding="utf-8")
    assert main([str(film), "--models", str(models), "--json"]) == 0
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [key for key, value in record["probabilities"].items() if value is None] == ["no_finding", "edema"]
    assert main([str(film), "--models", str(models), "--html", str(page), "--finding", "edema"]) == 1
    assert "Edema: these models never learned it, so there is no map" in capsys.readouterr().err


def test_what_was_not_learned_has_no_logit_either(tmp_path):
    ensemble = Ensemble.load(make_models(tmp_path / "models", not_learned=("edema",)))
    prediction = ensemble.predict(np.zeros((2, SIZE, SIZE), np.uint8))
    for values in (prediction.probabilities, prediction.logits, prediction.base_logits):
        missing = np.isnan(values).reshape(-1, len(CHEXPERT))
        assert (missing == [key == "edema" for key in CHEXPERT.keys]).all()


def test_a_table_in_chexperts_form_names_images_below_its_folder(tmp_path):
    make_data(tmp_path, train=2, valid=0)
    items, _ = list_inputs([tmp_path / "train.csv"])
    assert [item.path for item in items] == [tmp_path / image_path(0), tmp_path / image_path(1)]
    assert all(item.root == tmp_path for item in items)


@pytest.mark.parametrize(
    "value", ["/etc/passwd", "//host/a.png", "../a.png", "C:\\a.png", "release/C:/x.png", "a/../../b.png", ""]
)
def test_a_tables_path_that_leaves_its_folder_is_not_opened(models, tmp_path, value, capsys):
    write_frontal(tmp_path / "in/a.png")
    (tmp_path / "in/list.csv").write_text(f'Path,note\na.png,\n"{value}",x\n', encoding="utf-8")
    items, _ = list_inputs([tmp_path / "in/list.csv"])
    assert items[0].problem is None
    assert items[1].problem


def test_a_link_in_a_table_may_not_lead_outside(tmp_path):
    write_frontal(tmp_path / "secret.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(Exception, match="is a link to a file outside"):
        read_radiograph(tmp_path / "in/a.png", SIZE, tmp_path / "in")


def test_links_that_loop_and_names_that_are_too_long_are_said_and_the_rest_predicted(models, tmp_path, capsys):
    write_frontal(tmp_path / "in/a.png")
    (tmp_path / "in/loop.png").symlink_to("loop.png")
    long = "x" * 300
    (tmp_path / "in/list.csv").write_text(f"Path\nloop.png\n{long}/b.png\na.png\n", encoding="utf-8")
    paths = [str(tmp_path / "in/list.csv"), str(tmp_path / f"{long}.png")]
    assert main([*paths, "--models", str(models), "--json"]) == 1
    errors = [json.loads(line).get("error") for line in capsys.readouterr().out.splitlines()]
    assert errors[2] is None
    assert all(errors[number] for number in (0, 1, 3)), errors


def test_an_error_of_the_system_is_one_line(monkeypatch, capsys):
    def fail(*_):
        raise OSError(5, "Input/output error", "a\nb.png")

    monkeypatch.setattr("diagxnet.predict.predict", fail)
    assert main(["a.png"]) == 1
    assert capsys.readouterr().err == "predict: a\\nb.png: Input/output error\n"
    monkeypatch.setenv("DIAGXNET_DEBUG", "1")
    with pytest.raises(OSError, match="Input/output"):
        main(["a.png"])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_terminal_without_a_paths_letters_shows_escapes(models, tmp_path, monkeypatch, form):
    path = write_frontal(tmp_path / "Röntgen.png")
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main([str(path), "--models", str(models), *form]) == 0
    shown.flush()
    out = shown.buffer.getvalue().decode("ascii")
    assert json.loads(out)["path"] == str(path) if form else "R\\xf6ntgen.png" in out


def test_json_is_ascii(models, tmp_path, capsys):
    assert main([str(write_frontal(tmp_path / "Röntgen.png")), "--models", str(models), "--json"]) == 0
    assert "R\\u00f6ntgen.png" in capsys.readouterr().out


def test_linked_folders_are_counted_as_passed_over_and_named_on_one_line(models, tmp_path, capsys):
    write_frontal(tmp_path / "films/a.png")
    write_frontal(tmp_path / "others/b.png")
    (tmp_path / "films/li\x1bnk").symlink_to(tmp_path / "others", target_is_directory=True)
    assert main([str(tmp_path / "films"), "--models", str(models)]) == 0
    err = capsys.readouterr().err
    assert f"linked folders: 1 ({tmp_path / 'films'}{os.sep}li\\x1bnk)" in err


def test_what_was_written_is_named_at_the_end(models, tmp_path, capsys):
    write_frontal(tmp_path / "a.png")
    names = {"--csv": "p.csv", "--heatmap": "maps", "--html": "l.html"}
    written = {option: tmp_path / name for option, name in names.items()}
    options = [str(word) for pair in written.items() for word in pair]
    assert main([str(tmp_path / "a.png"), "--models", str(models), "--finding", "edema", *options]) == 0
    assert capsys.readouterr().err.endswith(f"predict: wrote {', '.join(map(str, written.values()))}\n")
    assert all(path.exists() for path in written.values())


def test_inputs_that_name_nothing_are_refused(tmp_path, models, capsys):
    with pytest.raises(InputError, match="no image here"):
        list_inputs([tmp_path])
    (tmp_path / "list.csv").write_text("Image\na.png\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column Path"):
        list_inputs([tmp_path / "list.csv"])
    assert main([str(tmp_path / "none.png"), "--models", str(tmp_path / "no")]) == 1
    assert "no: no such folder" in capsys.readouterr().err
    assert main([str(tmp_path / "none.png"), "--models", str(models), "--csv", str(tmp_path / "list.csv/x")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert main([str(tmp_path / "none.png"), "--models", str(models)]) == 1
    assert capsys.readouterr().err == f"predict: {tmp_path / 'none.png'}: is missing\n"


def test_outputs_of_files_of_one_name_do_not_overwrite_each_other(tmp_path):
    paths = [write_frontal(tmp_path / folder / "a.png") for folder in ("x", "y", "z")]
    items, _ = list_inputs(paths)
    assert [item.name for item in items] == ["a.png", "a.png-2", "a.png-3"]


def test_what_is_doubtful_is_predicted_and_said(models, tmp_path, capsys):
    write_frontal(tmp_path / "inverted.png", invert=True)
    Image.new("L", (64, 64), 90).save(tmp_path / "even.png")
    colour = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colour).save(tmp_path / "photo.jpg", quality=95)
    write_image(tmp_path / "wide.png", size=(300, 64))
    write_frontal(tmp_path / "small.png", side=20)
    assert main([str(tmp_path), "--models", str(models), "--json"]) == 0
    out, err = capsys.readouterr()
    doubts = {os.path.basename(record["path"]): record["doubts"] for record in map(json.loads, out.splitlines())}
    assert "looks inverted" in doubts["inverted.png"][0]
    assert "hardly any contrast" in doubts["even.png"][0]
    assert "in colour" in doubts["photo.jpg"][0]
    assert "only the square in its middle" in doubts["wide.png"][0]
    assert doubts["small.png"][0].startswith("is small: 20 x 20 pixels, fewer than")
    assert err.count("warning:") == sum(map(len, doubts.values()))


def test_a_frontal_radiograph_is_not_doubted(tmp_path):
    assert read_radiograph(write_frontal(tmp_path / "a.png"), SIZE).doubts == ()
    assert doubts_of_square(np.rot90(frontal())) == [Doubt(NOT_FRONTAL)]


def test_of_real_radiographs_hardly_one_is_doubted_and_of_negatives_hardly_one_is_not(nih):
    paths = sorted((nih / "train").rglob("*.jpg"))[::4]
    likeness = np.array([frontal_likeness(read_radiograph(path, SIZE).image) for path in paths])
    assert len(likeness) > 100
    assert (likeness < 0.2).mean() < 0.02
    assert (likeness < -0.2).sum() == 0


@needs_pydicom
def test_dicom_files_are_found_by_content_and_a_png_of_the_same_is_predicted_alike(models, tmp_path, capsys):
    samples = frontal().astype(np.uint16) * 16
    write_dicom(tmp_path / "IM00001", samples)
    Image.fromarray(samples).save(tmp_path / "b.png")
    assert main([str(tmp_path), "--models", str(models), "--json"]) == 0
    out, err = capsys.readouterr()
    first, second = (json.loads(line) for line in out.splitlines())
    assert first["probabilities"] == second["probabilities"]
    assert "SECRET" not in out + err


def test_maps_and_a_study_list_are_written_for_every_image(models, tmp_path, capsys):
    write_frontal(tmp_path / "films/<b>a.png")
    write_frontal(tmp_path / "films/sub/b.png", invert=True)
    (tmp_path / "films/bad.png").write_bytes(b"<i>")
    maps, page = tmp_path / "maps", tmp_path / "list.html"
    arguments = ["--models", str(models), "--heatmap", str(maps), "--html", str(page), "--finding", "Edema"]
    assert main([str(tmp_path / "films"), *arguments, "--finding", "pneumonia"]) == 1
    names = sorted(path.relative_to(maps).as_posix() for path in maps.rglob("*.png"))
    assert names == [f"{image}.png.{key}.png" for image in ("<b>a", "sub/b") for key in ("edema", "pneumonia")]
    assert Image.open(maps / names[0]).size == (940, 500)
    text = page.read_text(encoding="utf-8")
    assert text.count("<article") == 2
    assert text.count("data:image/jpeg") == 2 * 3
    assert "&lt;b&gt;a.png" in text
    assert "<script" not in text
    assert "bad.png" in text
    assert "Doubtful: looks inverted" in text
    capsys.readouterr()
    assert main([str(tmp_path / "films"), "--models", str(models), "--finding", "oedema", "--html", str(page)]) == 1
    assert capsys.readouterr().err.endswith(
        "--finding oedema: no such finding; did you mean edema? (name one that these models predict)\n"
    )
    for width in (1280, 390) if BROWSER else ():
        shown, console, asked = opened(page, tmp_path / str(width), width)
        assert "<h2>Images</h2>" in shown
        assert console == ""
        assert asked == []


def test_findings_to_map_without_a_place_for_maps_are_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["x.png", "--finding", "edema"])
    assert caught.value.code == 2
    assert "give --heatmap or --html" in capsys.readouterr().err


def test_a_study_list_is_left_alone_where_the_run_fails(models, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise InputError("no luck")

    arguments = [str(write_frontal(tmp_path / "a.png")), "--models", str(models), "--html"]
    monkeypatch.setattr("diagxnet.predict.run", fail)
    assert main([*arguments, str(tmp_path / "new/list.html")]) == 1
    assert list((tmp_path / "new").iterdir()) == []
    assert main([*arguments, str(tmp_path / "new")]) == 1
    assert "new: cannot be written: Is a directory" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert main([*arguments, str(tmp_path / "new/list.html")]) == 1
    assert "list.html: cannot be written: Permission denied" in capsys.readouterr().err


def test_a_folder_with_spaces_and_umlauts_is_predicted_and_its_page_opened(models, tmp_path, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address) or len(shown) == 1)
    film, page = write_frontal(tmp_path / "Röntgen Bilder (neu) #1%/Müller.png"), tmp_path / "Ergebnis für heute.html"
    arguments = [str(film.parent), "--models", str(models), "--html", str(page), "--open"]
    assert main(arguments) == 0
    assert "no browser here" not in capsys.readouterr().err
    assert main(arguments) == 0
    assert f"no browser here (open {page} yourself)" in capsys.readouterr().err
    assert shown == [page.as_uri()] * 2
    assert "Röntgen Bilder (neu) #1%/<wbr>Müller.png" in page.read_text(encoding="utf-8")


def test_a_page_that_nobody_writes_is_not_opened(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--open"])
    assert "--open shows the page that --html writes" in capsys.readouterr().err


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_the_study_list_is_sorted_by_the_finding_that_is_chosen(models, tmp_path):
    for number, grey in enumerate((40, 200)):
        Image.new("L", (64, 64), grey).save(tmp_path / f"{number}.png")
        shade = np.full((64, 64), grey, np.uint8)
        shade[:, : 10 + number] = 0
        Image.fromarray(shade).save(tmp_path / f"{number}.png")
    page = tmp_path / "list.html"
    assert main([str(tmp_path), "--models", str(models), "--html", str(page), "--csv", str(tmp_path / "p.csv")]) == 0
    found = rows(tmp_path / "p.csv")
    key = next(key for key in CHEXPERT.keys if float(found[1][key]) > float(found[0][key]))
    text = page.read_text(encoding="utf-8")
    chosen = text.replace(' checked=""', "").replace(f'id="by-{key}"', f'id="by-{key}" checked=""')
    (tmp_path / "chosen.html").write_text(chosen, encoding="utf-8", newline="\n")
    heights = {}
    for name in ("list", "chosen"):
        shot = tmp_path / f"{name}.png"
        flags = (*FLAGS, f"--user-data-dir={tmp_path / name}", "--window-size=1280,2400", f"--screenshot={shot}")
        subprocess.run([BROWSER, *flags, (tmp_path / f"{name}.html").as_uri()], check=True, capture_output=True)
        pixels = np.asarray(Image.open(shot).convert("L")).astype(int)
        heights[name] = [np.flatnonzero((np.abs(pixels - grey) < 3).sum(1) > 100)[0] for grey in (40, 200)]
    assert heights["list"][0] < heights["list"][1]
    assert heights["chosen"][0] > heights["chosen"][1]


@pytest.mark.slow
def test_the_command_works_where_there_are_only_models(models, tmp_path):
    shutil.copytree(models, tmp_path / "models")
    write_frontal(tmp_path / "film.png")
    command = [sys.executable, "-m", "diagxnet.predict", "film.png"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("film.png\n")
    assert done.stderr == ""
