"""What a preflight would set otherwise on this machine: values that change how fast a run is; of what it learns, the
images that BatchNorm normalises by alone."""

from collections.abc import Mapping

from diagxnet.preflight.rehearsal import CPU_STEP, Pace

STEPS_MEMORY = 0.8
"""Of a GPU's memory, what steps may take at most: the rest is for its allocator, and val."""

SLOW_DISK_THREADS = 8

LEAST_NORMALISED = 16
"""Images of a step that BatchNorm's moments want at least."""


def advice(
    paces: Mapping[str, Pace],
    *,
    batch_size: int,
    accumulation_steps: int,
    precision: str,
    num_workers: int,
    launch: str,
    gpus: int,
    rows_a_second: float | None,
) -> list[str]:
    """A line for each setting that this machine asks for: `-S key=value`, and why; none where all is well.

    paces: of each base model. The keywords are those of params.yaml; gpus: CUDA devices here; rows_a_second: at which
    the packed file gives rows in random order, None where there is none yet. The images of an update stay as many as
    they are, and so the rates fit.
    """
    lines, processes = [], 1
    if gpus > 1 and launch == "python":
        processes = gpus
        lines.append(
            f'-S "launch=accelerate launch --multi_gpu --num_processes {gpus} --mixed_precision no": there are {gpus} '
            "GPUs (docs/scaling.md)"
        )
    lines += _steps(paces, batch_size, accumulation_steps, processes)
    if precision == "fp32" and any(pace.kind == "cuda" for pace in paces.values()):
        lines.append("-S train.precision=auto: fp32 leaves most of a GPU unused (unless the recipe is about it)")
    needed = max((1 / pace.learning for pace in paces.values()), default=0.0)
    if rows_a_second is not None and rows_a_second < needed and num_workers < SLOW_DISK_THREADS:
        lines.append(
            f"-S train.num_workers={SLOW_DISK_THREADS}: the disk gives {rows_a_second:,.0f} images/s to one thread, "
            f"training takes {needed:,.0f}"
        )
    return lines


def _steps(paces: Mapping[str, Pace], batch_size: int, accumulation_steps: int, processes: int) -> list[str]:
    """Steps as large as the memory of a GPU allows, for the update as it is, shared by so many processes."""
    share = max((pace.memory for pace in paces.values() if pace.memory is not None), default=None)
    update, rest = divmod(batch_size * accumulation_steps, processes)
    if share is None:
        large = batch_size > CPU_STEP and not update % CPU_STEP and any(pace.kind == "cpu" for pace in paces.values())
        steps = f"-S train.batch_size={CPU_STEP} -S train.accumulation_steps={update // CPU_STEP}"
        return [f"{steps}: larger steps take a CPU's memory, and are no faster"] if large else []
    if rest:
        images = batch_size * accumulation_steps
        return [f"{processes} GPUs do not divide the {images} images of an update: scale the rates to what you take"]
    size = min(batch_size, update)
    while size % 2 == 0 and (share * size / batch_size > 1 or update % size):
        size //= 2
    while update % (2 * size) == 0 and share * 2 * size / batch_size < STEPS_MEMORY:
        size *= 2
    if update % size or (size, update // size) == (batch_size, accumulation_steps):
        return []
    why = "more does not fit the GPU's memory" if share > 1 else "as many images an update as now, in large steps"
    several = " -S train.sync_batch_norm=true" if processes > 1 and size < LEAST_NORMALISED else ""
    steps = f"-S train.batch_size={size} -S train.accumulation_steps={update // size}{several}"
    return [f"{steps}: {why} (BatchNorm normalises by the images of a step)"]
