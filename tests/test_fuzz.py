"""Damage at random: a table, image or file of weights is read right or refused in words, in bounded memory and time.

Hypothesis draws the damage, the same in every run (`derandomize`).
"""

import struct
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from diagxnet.console.errors import InputError
from diagxnet.data.chexpert import CHEXPERT
from diagxnet.images.decode import ImageError, decode
from diagxnet.reading.tables import read_named, read_tables
from diagxnet.stacking.learners import create_meta, load_meta
from diagxnet.training.checkpoint import save_model
from tests.bad_input import META
from tests.radiographs import HEADER, Row, image_path, write_table

MEBIBYTES = 600
"""An image of 80 million pixels takes 80 MB, its source and float copies a few times that."""

SECONDS = 20
"""Of one example: far above what it takes, far below a hang."""

bounded = settings(
    derandomize=True,
    max_examples=60,
    deadline=SECONDS * 1000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module", autouse=True)
def _memory_is_bounded() -> Iterator[None]:
    """What all of this page's examples together add to the peak of this process."""
    if sys.platform == "win32":
        yield
        return
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before < MEBIBYTES << 20


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """One to three of: bytes at a place (a share of the length) replaced, put in, or everything from there cut off."""
    kinds = st.sampled_from(["replace", "insert", "cut"])
    return draw(st.lists(st.tuples(kinds, st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3))


def damaged(content: bytes, damage: list[tuple[str, float, bytes]]) -> bytes:
    for kind, share, new in damage:
        at = int(share * len(content))
        behind = {"replace": content[at + len(new) :], "insert": content[at:], "cut": b""}[kind]
        content = content[:at] + (b"" if kind == "cut" else new) + behind
    return content


def attempt(read: Callable[[], Any]) -> tuple[Any, str]:
    """What `read` returns, or None and the words in which it refuses; any other error is a test that fails."""
    try:
        return read(), ""
    except (InputError, ImageError) as error:
        return None, str(error)


def valid_table(folder: Path) -> bytes:
    rows = [
        Row(image_path(n), age=str(30 + n), labels={"Edema": "1.0", "Fracture": "-1.0", "Pneumonia": "0.0"})
        for n in range(8)
    ]
    write_table(folder / "train.csv", rows)
    return (folder / "train.csv").read_bytes()


@bounded
@given(damage=damages())
def test_a_damaged_table_is_read_as_checked_values_or_refused(tmp_path, damage):
    content = damaged(valid_table(tmp_path), damage)
    (tmp_path / "train.csv").write_bytes(content)
    tables, refusal = attempt(lambda: read_tables(tmp_path))
    if tables is None:
        assert refusal
        return
    (table,) = tables
    assert len(table.labels) == len(table.frame) == len(table.lines) <= content.count(b"\n") + 1
    assert np.isin(table.labels[~np.isnan(table.labels)], [1, 0, -1]).all()
    assert not table.frame["path"].str.contains(r"(?:^|/)\.\.(?:/|$)").any()
    assert not table.frame["path"].str.startswith("/").any()


CELLS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["1.0", "-1", "nan", "inf", "1e400", "٣", "\ufeff1", '"', "0x1", "1_0", "-0", " 1", "=1+1"]),
)


@bounded
@given(column=st.integers(1, len(HEADER) - 1), cell=CELLS)
def test_a_cell_of_any_text_is_read_as_one_of_the_allowed_values_or_refused_by_its_line(tmp_path, column, cell):
    cells = Row(image_path(1)).cells()
    cells[column] = cell
    quoted = ",".join('"' + each.replace('"', '""') + '"' for each in cells)
    (tmp_path / "train.csv").write_text(
        f"{','.join(HEADER)}\n{quoted}\n", encoding="utf-8", errors="ignore", newline=""
    )
    table, refusal = attempt(lambda: read_named(tmp_path, ["train"])[0])
    if table is None:
        assert "line" in refusal
        return
    label = table.labels[0, column - 5] if column >= 5 else np.nan
    assert np.isnan(label) or float(cell) == label
    assert table.frame["sex"].isin(["female", "male", "unknown"]).all()
    assert table.frame["view"].isin(["frontal", "lateral"]).all()
    assert table.frame["age"].isna().all() or table.frame["age"].between(0, 120).all()


def encoded(kind: str) -> bytes:
    buffer = BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, size=(40, 48), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
@bounded
@given(damage=damages())
def test_a_damaged_image_is_a_whole_square_or_refused(tmp_path, kind, damage):
    path = tmp_path / "image"
    path.write_bytes(damaged(encoded(kind), damage))
    started = time.monotonic()
    square, refusal = attempt(lambda: decode(path, 32))
    assert refusal or (square.shape, square.dtype) == ((32, 32), np.uint8)
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_an_image_cut_off_anywhere_in_its_samples_is_refused(tmp_path, kind):
    whole, path = encoded(kind), tmp_path / "image"
    for share in (0.0, 0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ImageError):
            decode(path, 32)


@bounded
@given(damage=damages(), size=st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_damaged_weights_are_loaded_in_their_shapes_or_refused(tmp_path, damage, size):
    torch.manual_seed(0)
    folder = tmp_path / "meta"
    if not folder.exists():
        save_model(folder, create_meta("mlp", 2, len(CHEXPERT), **META["options"]), META, {})
        (folder / "whole").write_bytes((folder / "model.safetensors").read_bytes())
    content = damaged((folder / "whole").read_bytes(), damage)
    content = content if size is None else struct.pack("<Q", size) + content[8:]
    (folder / "model.safetensors").write_bytes(content)
    model, refusal = attempt(lambda: load_meta(folder))
    if model is None:
        assert refusal
        return
    shapes = {
        name: tensor.shape
        for name, tensor in create_meta("mlp", 2, len(CHEXPERT), **META["options"]).state_dict().items()
    }
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == shapes
    assert model(torch.zeros(2, 2, len(CHEXPERT))).shape == (2, len(CHEXPERT))
