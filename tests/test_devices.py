"""What differs by device, on devices that are played: what is asked of torch there, not what a GPU makes of it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timm.layers import BatchNormAct2d, SyncBatchNormAct
from torch import nn

from diagxnet.console.errors import InputError
from diagxnet.data.files import content_hash
from diagxnet.training import precision, preload
from diagxnet.training.loop import val_batch_size
from diagxnet.training.networks import create_base, synchronised
from diagxnet.training.transfer import to_device


@pytest.mark.parametrize(("kind", "overlaps"), [("cuda", True), ("mps", False)])
def test_only_to_a_cuda_device_a_copy_overlaps_and_from_locked_memory_alone(monkeypatch, kind, overlaps):
    asked = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("locked") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking=False: asked.append(non_blocking) or self)
    to_device(np.zeros(3, np.float32), torch.device(kind))
    assert asked == (["locked", True] if overlaps else [False])


@pytest.mark.parametrize(("kind", "expected"), [("cuda", "high"), ("cpu", "highest")])
def test_fp32_multiplies_in_tf32_on_cuda_and_in_full_elsewhere_and_no_kernel_is_chosen_by_time(
    monkeypatch, kind, expected
):
    plays = SimpleNamespace(device=torch.device(kind))
    monkeypatch.setattr(precision, "Accelerator", lambda **options: plays)
    try:
        precision.create_accelerator("fp32")
        assert torch.get_float32_matmul_precision() == expected
        assert not torch.backends.cudnn.benchmark
    finally:
        torch.set_float32_matmul_precision("highest")


def test_val_of_a_gpu_is_in_larger_passes_and_elsewhere_in_those_of_training():
    assert [val_batch_size(None, 16, torch.device(kind)) for kind in ("cuda", "cpu", "mps")] == [64, 16, 16]
    assert val_batch_size(512, 16, torch.device("cuda")) == 512


def playing(kind: str, processes: int) -> SimpleNamespace:
    return SimpleNamespace(device=torch.device(kind), num_processes=processes)


def test_synchronised_batch_norm_keeps_names_activations_and_what_the_model_gives():
    model = create_base("densenet121", findings=3, image_size=32)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight), nn.init.normal_(module.bias), module.running_mean.normal_()
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        before = model.eval()(images)
    names, kinds = list(model.state_dict()), [type(m) for m in model.modules() if isinstance(m, BatchNormAct2d)]
    model = synchronised(model, playing("cuda", 2))
    assert list(model.state_dict()) == names
    assert sum(isinstance(module, SyncBatchNormAct) for module in model.modules()) == len(kinds) == 121
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    with torch.inference_mode():
        assert torch.equal(model.eval()(images), before)


def test_synchronised_batch_norm_changes_nothing_of_one_process_and_is_refused_without_cuda():
    model = create_base("resnet10t", findings=3, image_size=32)
    kinds = [type(module) for module in model.modules()]
    assert [type(module) for module in synchronised(model, playing("cpu", 1)).modules()] == kinds
    with pytest.raises(InputError, match=r"sync_batch_norm = true needs CUDA GPUs, this runs on cpu \(set it to false"):
        synchronised(model, playing("cpu", 2))


@pytest.mark.parametrize("large", [0, 1e9])
def test_large_packed_images_are_read_once_with_a_line_that_says_how_much(tmp_path, monkeypatch, capsys, large):
    file = tmp_path / "images.npy"
    file.write_bytes(bytes(300_000_000 if not large else 3000))
    monkeypatch.setattr(preload, "LARGE", large)
    digest = preload.preload("train_vit", file, precision.create_accelerator("fp32"))
    assert digest == content_hash(file)
    said = capsys.readouterr().out
    assert said.startswith("train_vit: reads 0.3 GB of packed images once, in order: ") if not large else said == ""


@pytest.mark.parametrize("local", [True, False])
def test_of_the_processes_on_a_machine_one_reads_the_packed_images(tmp_path, monkeypatch, local):
    read, waited = [], []
    monkeypatch.setattr(preload, "content_hash", lambda path: read.append(path) or "digest")
    monkeypatch.setattr(preload, "from_first", lambda make, accelerator: "of the first")
    (tmp_path / "images.npy").write_bytes(b"123")
    plays = SimpleNamespace(
        is_main_process=False, is_local_main_process=local, wait_for_everyone=lambda: waited.append(1)
    )
    assert preload.preload("train_vit", tmp_path / "images.npy", plays) == "of the first"
    assert (len(read), len(waited)) == (local, 1)
