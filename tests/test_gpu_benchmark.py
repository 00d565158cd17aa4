"""The benchmark of GPUs on a CPU, with the smallest values: that its commands work where a GPU is at hand."""

import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from diagxnet.data.files import read_json

SMALL = ["--models", "resnet10t", "--sizes", "32", "--batches", "4", "--compiled", "no"]


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, part: str, *options: str) -> list[dict]:
    monkeypatch.setattr(gpu, "IMAGES", 16)
    monkeypatch.setattr(sys, "argv", ["gpu", part, "--folder", str(folder), *SMALL, *options])
    gpu.main()
    return read_json(folder / f"{part}.json")


def test_rates_are_of_each_place_of_the_grid_and_what_cannot_be_run_says_why(tmp_path, monkeypatch):
    fp32, fp16 = run(tmp_path, monkeypatch, "rates", "--updates", "2", "--precisions", "fp32", "fp16")
    assert (fp32["model"], fp32["size"], fp32["batch"], fp32["compiled"]) == ("resnet10t", 32, 4, False)
    assert min(fp32[rate] for rate in ("loop", "pure", "val", "stack_features")) > 0
    assert fp32["share of pure compute"] == pytest.approx(fp32["loop"] / fp32["pure"], abs=0.01)
    assert "fp16" in fp16["refused"] if not gpu.ON_CUDA else fp16["loop"] > 0


@pytest.mark.slow
def test_a_killed_training_goes_on_and_its_bytes_are_compared(tmp_path, monkeypatch):
    (row,) = run(tmp_path, monkeypatch, "resume", "--precisions", "fp32")
    assert row["epochs"] == {"undisturbed": [3], "killed": [1, 3], "again": [3]}
    if not gpu.ON_CUDA:
        assert row["killed: equal bytes"]
        assert row["killed: largest difference"] == 0
