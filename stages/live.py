"""Live curves: DVCLive writes them while a training runs, for its terminal, editor and Studio views."""

from collections.abc import Iterable, Iterator

import torch
from dvclive import Live, monitor_system

from diagxnet.training.loop import Epoch
from stages.running import is_first


def live(name: str, epochs: Iterable[Epoch], *, monitor: bool = False) -> Iterator[Epoch]:
    """Passes `epochs` on and logs each to dvclive/NAME, from the first process of several.

    monitor: DVCLive also logs the use of CPU, memory, disk and GPU, every few seconds. The folder is no output of the
    pipeline (its rows carry times); models/NAME/training_history.json is.
    """
    if not is_first():
        yield from epochs
        return
    if not torch.cuda.is_available():
        # DVCLive asks for GPUs wherever their Python library is, and fails where the driver is not
        monitor_system.GPU_AVAILABLE = False
    with Live(f"dvclive/{name}", save_dvc_exp=False, dvcyaml=None, monitor_system=monitor) as board:
        for epoch in epochs:
            for metric, value in epoch.record.items():
                if metric != "epoch" and value is not None:
                    board.log_metric(metric, value)
            board.next_step()
            yield epoch
