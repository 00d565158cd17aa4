"""The device, and the arithmetic that it does best."""

from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from diagxnet.console.errors import InputError

NAMES = {"no": "off (fp32)", "bf16": "on (bf16)", "fp16": "on (fp16 with loss scaling)"}


def computes_bf16(device: torch.device) -> bool:
    """Whether `device` has bf16 arithmetic of its own: a CUDA GPU from Ampere, a CPU with AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("arm_bf16"))
    return False


def resolve(precision: str, device: torch.device) -> str:
    """accelerate's name ("no", "bf16", "fp16") for `train.precision` on `device`.

    auto: bf16 where `computes_bf16`, else fp16 on CUDA, else fp32 (MPS too). Raises InputError for fp16 on a CPU.
    """
    if precision == "auto":
        if computes_bf16(device):
            return "bf16"
        return "fp16" if device.type == "cuda" else "no"
    if precision == "fp16" and device.type != "cuda":
        raise InputError(f"train.precision = 'fp16' needs a CUDA GPU, this runs on {device.type} (use auto)")
    return {"fp32": "no"}.get(precision, precision)


def create_accelerator(precision: str) -> Accelerator:
    """An accelerate.Accelerator on the best device at hand, with `train.precision` resolved for it.

    On CUDA what is left in fp32 multiplies in TF32 (from Ampere on; 10 bits of mantissa, where bf16 has 7), as torch's
    convolutions do by themselves. `cudnn.benchmark` stays off: it takes what was fastest this time, so that equal runs
    may compute otherwise. accelerate keeps its settings in a singleton; a second training in one process (folds, tests)
    starts afresh.
    """
    AcceleratorState._reset_state()
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=1))  # others wait while one reads all packed images
    device = Accelerator(kwargs_handlers=[patience]).device
    AcceleratorState._reset_state()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    return Accelerator(mixed_precision=resolve(precision, device))


def describe(accelerator: Accelerator) -> str:
    """`cpu (2 threads). Mixed precision: on (bf16)`"""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if device.type == "cpu":
        threads = torch.get_num_threads()
        name += f" ({threads} thread{'s' * (threads > 1)})"
    return f"{name}. Mixed precision: {NAMES[accelerator.mixed_precision]}"
