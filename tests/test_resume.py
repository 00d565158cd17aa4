"""What throws the state of an unfinished training away, and what must not."""

import errno
import shutil
import sys
from pathlib import Path

import pytest
import torch

from diagxnet.training import base, loop, resume
from diagxnet.training.checkpoint import save_model
from diagxnet.training.resume import PACKAGE, ResumeState, fingerprint
from tests.bad_input import prepare_of
from tests.gradients import recipe
from tests.radiographs import make_data
from tests.test_crossfit import train_small

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A copy of our code, which fingerprints are then of."""
    copied = shutil.copytree(PACKAGE, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(resume, "PACKAGE", copied)
    return copied


def _edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


WORDS = [
    ("console/progress.py", "import sys\n", "import sys\n\nWIDTH = 1  # another bar\n"),
    ("params/train.py", "per known label", "per label that is known"),
    ("training/loop.py", "# Dropout follows from", "# Dropout\n        # follows from"),
    ("training/loop.py", "One pass over the training examples", "A pass over all training examples"),
    ("training/loop.py", 'f"epoch {number}/', 'f"after epoch {number} of '),
    ("training/loop.py", "the val loss is {loss}", "val: {loss}"),
    ("training/windows.py", "out of memory: goes on with", "goes on, out of memory, with"),
]
DEEDS = [
    ("training/loss.py", "gamma=2.0", "gamma=3.0"),
    ("training/loop.py", "badness(loss, auroc) <= badness", "badness(loss, auroc) < badness"),
    ("training/epoch_loss.py", "value * known", "value + known"),
    ("data/draws.py", "np.uint64(", "1 + np.uint64("),
]


@pytest.mark.parametrize(("file", "old", "new"), WORDS)
def test_an_edited_comment_docstring_or_message_keeps_the_state(code, file, old, new):
    before = fingerprint(base.ROOMS, CPU)
    _edit(code / file, old, new)
    assert fingerprint(base.ROOMS, CPU) == before


@pytest.mark.parametrize(("file", "old", "new"), DEEDS)
def test_code_that_shapes_weights_drops_the_state(code, file, old, new):
    before = fingerprint(base.ROOMS, CPU)
    _edit(code / file, old, new)
    assert fingerprint(base.ROOMS, CPU) != before


def test_the_number_of_threads_decides_on_a_cpu_alone(monkeypatch):
    marks = []
    for threads in (1, 64):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        marks.append((fingerprint(base.ROOMS, CPU), fingerprint(base.ROOMS, GPU)))
    (cpu, gpu), (other_cpu, other_gpu) = marks
    assert cpu != other_cpu
    assert gpu == other_gpu != cpu


@pytest.mark.parametrize(
    ("of", "other"),
    [
        ("torch.__version__", "0.0.1"),
        ("numpy.__version__", "0.0.1"),
        ("importlib.metadata.version", {"timm": "0.0.1"}.get),
    ],
)
def test_another_version_of_what_computes_drops_the_state(monkeypatch, of, other):
    before = fingerprint(base.ROOMS, CPU)
    monkeypatch.setattr(of, other)
    assert fingerprint(base.ROOMS, CPU) != before


def test_threads_that_read_ahead_are_no_part_of_a_recipes_identity_and_all_else_is():
    whole = recipe().identity()
    assert recipe(num_workers=5).identity() == whole
    for key, value in (("lr", 1.0), ("batch_size", 5), ("sampling", "balanced"), ("loss", "focal"), ("compile", True)):
        assert recipe(**{key: value}).identity() != whole


@pytest.mark.parametrize(("file", "old", "new", "kept"), [(*WORDS[2], True), (*DEEDS[0], False)])
def test_a_base_model_goes_on_or_starts_over_accordingly(tmp_path, code, monkeypatch, file, old, new, kept):
    make_data(tmp_path, train=60)
    prepare_of(tmp_path)
    training = train_small(tmp_path, folds=None)
    next(training)
    training.close()
    _edit(code / file, old, new)
    learned, learn = [], loop._Training.learn
    monkeypatch.setattr(loop._Training, "learn", lambda self, epoch: learned.append(epoch) or learn(self, epoch))
    list(train_small(tmp_path, folds=None))
    assert learned == ([2] if kept else [1, 2])


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of a file's size")
def test_a_disk_that_is_full_is_an_error_of_the_system_that_names_the_file(tmp_path):
    import resource  # not on Windows

    model = torch.nn.Linear(1024, 1024)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, before[1]))
    try:
        for write in (
            lambda: save_model(tmp_path, model, {}, {}),
            lambda: ResumeState(tmp_path, "mark").save({"model": model.state_dict()}, [], {}),
        ):
            with pytest.raises(OSError, match="too large") as raised:
                write()
            assert (raised.value.errno, Path(raised.value.filename).parent) == (errno.EFBIG, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not [*tmp_path.iterdir()]
