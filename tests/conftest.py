"""What the tests share."""

import os
import socket
import time
from pathlib import Path

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # one of as many processes as there are cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of what tests start
    torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]
NIH = ROOT.parent / "shared" / "data" / "nih-cxr-1k"


@pytest.fixture
def nih() -> Path:
    """The folder of 1,000 real NIH radiographs in CheXpert's layout."""
    if not NIH.is_dir():
        pytest.skip("the NIH radiographs are not on this machine")
    return NIH


@pytest.fixture(autouse=True)
def _same_start() -> None:
    torch.manual_seed(0)


def leaves(value: object, prefix: str = "") -> set[str]:
    """The dotted keys of a nested mapping's leaves."""
    if not isinstance(value, dict):
        return {prefix}
    return {leaf for key, child in value.items() for leaf in leaves(child, f"{prefix}.{key}" if prefix else key)}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list:
    """What was asked for by name or address, each of which is refused."""
    asked = []

    def refuse(*arguments: object, **options: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the hub's library tries again after a while
    return asked
