"""Model folders: model.safetensors, config.json, training_history.json. Loading one runs no code from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from diagxnet.console.errors import InputError, one_line
from diagxnet.data.files import read_json, write_bytes, write_json
from diagxnet.data.members import CONFIG

WEIGHTS, HISTORY = "model.safetensors", "training_history.json"


def save_model(folder: Path, model: nn.Module, config: dict[str, Any], history: dict[str, Any]) -> None:
    """Writes the three files of a trained model; equal weights give equal bytes.

    safetensors writes several metadata keys in random order, so the weights carry none.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(state))
    save_joint(folder, config, history)


def save_joint(folder: Path, config: dict[str, Any], history: dict[str, Any]) -> None:
    """Writes config and history alone: those of the models in the folders below."""
    write_json(folder / CONFIG, config)
    write_json(folder / HISTORY, history)


def load_model(folder: Path, create: Callable[[dict[str, Any]], nn.Module]) -> nn.Module:
    """The model that `create(config)` builds, with the weights of `folder`, in evaluation mode.

    Raises InputError where a file is missing or damaged, or the weights are another model's.
    """
    try:
        model = create(read_json(folder / CONFIG))
        model.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or folder}: no trained model here (run dvc repro)") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        reason = one_line(error, 200)
        raise InputError(f"{folder}: this is no model of ours: {reason} (delete it and run dvc repro)") from None
    return model.eval()
