"""Images of one film are found, however they were saved, and their patients never stand on two sides."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.data.folds import read_draws
from diagxnet.data.packed import read_duplicates
from diagxnet.data.prepared import read_manifest
from diagxnet.demo.draw import draw_demo
from diagxnet.images.decode import square
from diagxnet.images.duplicates import WORDS, film_hash, find_duplicates
from diagxnet.labels.prepare import audit_table
from tests.bad_input import prepare_of
from tests.radiographs import Row, image_path, make_data, write_table

SIZE = 64


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


COPIES = {
    "re-encoded": lambda film: jpeg(film, 60),
    "half the size": lambda film: film.resize((film.width // 2, film.height // 2), Image.Resampling.LANCZOS),
    "enlarged": lambda film: film.resize((film.width * 2, film.height * 2), Image.Resampling.BICUBIC),
    "resized and re-encoded": lambda film: jpeg(film.resize((film.width * 3 // 4, film.height * 3 // 4)), 75),
    "brighter": lambda film: ImageEnhance.Brightness(film).enhance(1.15),
    "darker": lambda film: ImageEnhance.Brightness(film).enhance(0.85),
    "of more contrast": lambda film: ImageEnhance.Contrast(film).enhance(1.15),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Image.Image]:
    """Sixty drawn films of as many patients."""
    root = tmp_path_factory.mktemp("demo")
    draw_demo(root, images=100, test_images=50, size=160, seed=3)
    first = [next(patient.rglob("*frontal.jpg"), None) for patient in sorted(root.glob("train/patient*"))]
    return [Image.open(path).convert("L") for path in first if path is not None][:60]


def squares(films: list[Image.Image]) -> np.ndarray:
    return np.stack([square(film, SIZE) for film in films])


def found_in(images: np.ndarray, workers: int = 1) -> list[tuple[int, int]]:
    hashes = np.stack([film_hash(image) for image in images])
    return [(each.first, each.second) for each in find_duplicates(hashes, images, workers)]


def test_films_of_different_patients_are_no_copies(films):
    assert len(films) > 30
    assert found_in(squares(films)) == []


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found(how, films):
    copies = [COPIES[how](film) for film in films[:20]]
    pairs = found_in(squares([*films, *copies]))
    expected = [(number, len(films) + number) for number in range(20)]
    assert set(pairs) <= set(expected)
    assert len(pairs) >= 19


def test_films_that_are_alike_from_afar_and_not_in_detail_are_no_copies():
    chance = np.random.default_rng(0)
    far = Image.fromarray(chance.normal(size=(4, 4)).astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    near = [np.kron(chance.normal(size=(32, 32)), np.ones((2, 2))) for _ in range(2)]
    images = np.stack([128 + 30 * np.asarray(far) + 12 * texture for texture in near]).clip(0, 255).astype(np.uint8)
    hashes = np.stack([film_hash(image) for image in images])
    hashes[1] = hashes[0]  # as near as hashes can be
    assert find_duplicates(hashes, images) == []


def test_of_many_equal_images_each_is_paired_with_the_first(films):
    images = squares([films[0], films[1], *[films[0]] * 4])
    assert found_in(images) == [(0, 2), (0, 3), (0, 4), (0, 5)]
    assert found_in(images, workers=2) == found_in(images)


def test_a_block_of_many_rows_hides_no_pair(films):
    noise = np.random.default_rng(0).integers(0, 256, (5000, 32, 32), dtype=np.uint8)
    images = np.concatenate([noise, noise[[17, 4999]]])
    assert found_in(images) == [(17, 5000), (4999, 5001)]


def test_an_image_with_hardly_any_contrast_is_nobodys_copy():
    images = np.full((3, 32, 32), 7, np.uint8)
    images[1, 5] = 9
    assert not film_hash(images[1]).any()
    assert found_in(images) == []
    assert film_hash(images[0]).shape == (WORDS,)


def share_films(root: Path, pairs: list[tuple[str, str]]) -> None:
    """Gives the second image of each pair the first one's film, larger and as JPEG of another quality."""
    for one, other in pairs:
        film = Image.open(root / one)
        film.resize((film.width * 2, film.height * 2), Image.Resampling.BICUBIC).save(root / other, quality=90)


def test_patients_who_share_a_film_are_of_one_split_and_one_fold_and_nobody_else_moves(tmp_path):
    make_data(tmp_path, train=60, valid=8)
    prepare_of(tmp_path)
    before = read_manifest(tmp_path / ".prepared").set_index("patient")["split"]
    assert read_duplicates(tmp_path / ".packed").empty
    linked = [(image_path(n), image_path(n + 1)) for n in range(10, 20)]  # a chain of eleven patients
    share_films(tmp_path, linked[:1])
    rows = [Row(image_path(n), labels={"Edema": str(n % 2)}) for n in range(60)]
    rows += [Row(image_path(n, study=2), labels={"Edema": "1"}) for n in range(11, 20)]
    write_table(tmp_path / "train.csv", rows)
    for n in range(11, 20):  # each of the chain shares one film with the one before, another with the next
        (tmp_path / image_path(n, study=2)).parent.mkdir(parents=True)
        share_films(tmp_path, [(image_path(n + 1), image_path(n, study=2))])
    summary = prepare_of(tmp_path)
    manifest = read_manifest(tmp_path / ".prepared")
    chain = [f"patient{n:05d}" for n in range(10, 21)]
    after = manifest.set_index("patient")["split"]
    assert len(set(after[chain])) == 1
    others = sorted(set(before.index) - set(chain))
    assert after[others].to_dict() == before[others].to_dict()
    draws = pd.Series(*reversed([(d := read_draws(tmp_path / ".prepared")).rows, d.values]))
    own = manifest[manifest["patient"].isin(chain)]["row"]
    assert len(set(draws.reindex(own).dropna())) <= 1
    assert summary["duplicates"]["patients_joined"] == 11
    assert summary["duplicates"]["of_two_patients"] == 10
    assert "11 patients share films with others" in audit_table(summary, CHEXPERT)


def test_who_shares_a_film_with_the_test_set_is_left_out_of_training_and_named(tmp_path, capsys):
    make_data(tmp_path, train=60, valid=8)
    share_films(tmp_path, [(image_path(90_003, table="valid"), image_path(4)), (image_path(4), image_path(5))])
    summary = prepare_of(tmp_path)
    patients = set(read_manifest(tmp_path / ".prepared")["patient"])
    assert {"patient00004", "patient00005"}.isdisjoint(patients)
    assert "patient90003" in patients
    assert summary["duplicates"]["patients_left_out"] == {"train": 2}
    assert any("2 patients of train.csv have films that a table nearer to test has" in w for w in summary["warnings"])
    assert "pack: warning: " in (said := capsys.readouterr().err)
    assert "pairs of images are the same film" in said


def test_two_images_of_one_film_of_one_patient_are_reported_and_move_nobody(tmp_path):
    make_data(tmp_path, train=60, valid=8)
    prepare_of(tmp_path)
    before = (tmp_path / ".prepared/manifest.csv").read_text(encoding="utf-8")
    rows = (tmp_path / "train.csv").read_text(encoding="utf-8").splitlines()
    second = rows[8].replace(image_path(7), image_path(7, study=2))
    (tmp_path / "train.csv").write_text("\n".join([*rows, second]) + "\n", encoding="utf-8")
    (tmp_path / image_path(7, study=2)).parent.mkdir()
    share_films(tmp_path, [(image_path(7), image_path(7, study=2))])
    summary = prepare_of(tmp_path)
    assert summary["duplicates"] == {
        "pairs": 1, "of_two_patients": 0, "patients_joined": 0, "patients_left_out": {},
    }  # fmt: skip
    splits = read_manifest(tmp_path / ".prepared").set_index("path")["split"]
    assert splits[image_path(7)] == splits[image_path(7, study=2)]
    for line in before.splitlines()[1:]:
        _, split, path, *_ = line.split(",")
        assert splits[path] == split
