"""What prediction costs, and that it loses nothing.

    python -m benchmarks.predict folder FILMS OUT  1,000 good files out of the folder FILMS and 20 bad ones into OUT,
                                                   for: python -m diagxnet.predict OUT --csv predictions.csv
    python -m benchmarks.predict models OUT        DenseNet-121 and ViT-B/16 at 224 px with random weights into OUT
    python -m benchmarks.predict throughput MODELS [IMAGES]   images per second and per CPU second, without decoding
    python -m benchmarks.predict cold MODELS FILM  seconds to the first prediction: a new process, three times

`folder` needs pydicom. Timings are told for the machine they were taken on; none is asserted in a test.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

GOOD = 1000


def make_folder(films: Path, out: Path) -> None:
    from tests.dicoms import write_dicom

    sources = sorted(path for path in films.rglob("*.jpg") if "frontal" in path.name)
    for number in range(GOOD):
        source = sources[number % len(sources)]
        target = out / f"{number // 100}" / f"{number:04d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        if number % 50:
            shutil.copyfile(source, target.with_suffix(".jpg"))
            continue
        grey = np.asarray(Image.open(source).convert("L"))
        kind = number // 50 % 4
        if kind == 0:
            Image.fromarray(grey).save(target.with_suffix(".png"))
        elif kind == 1:
            Image.fromarray(grey.astype(np.uint16) * 16).save(target.with_suffix(".png"))
        else:
            photometric = ("MONOCHROME1", "MONOCHROME2")[kind - 2]
            stored = 255 - grey if kind == 2 else grey
            write_dicom(target, stored.astype(np.uint16) * 16, PhotometricInterpretation=photometric)
    make_bad(sources[0], out / "bad")


def make_bad(film: Path, folder: Path) -> None:
    """Twenty files that cannot be predicted, each for a reason of its own."""
    from tests.dicoms import write_dicom

    folder.mkdir(parents=True)
    jpeg = film.read_bytes()
    grey = np.asarray(Image.open(film).convert("L"))
    Image.fromarray(grey).save(folder / "whole.png")
    png = (folder / "whole.png").read_bytes()
    (folder / "whole.png").unlink()
    for name, content in {
        "01_empty.jpg": b"",
        "02_text.jpg": b"a report, not a film\n",
        "03_half.jpg": jpeg[: len(jpeg) // 2],
        "04_header_only.jpg": jpeg[:200],
        "05_half.png": png[: len(png) // 2],
        "06_checksum.png": png[:60] + bytes(40) + png[100:],
        "07_zeros.jpg": bytes(5000),
        "08_html.png": b"<html><body>404</body></html>",
        "09_gif.jpg": b"GIF89a\1\0\1\0\0\0\0;",
        "10_pdf.jpg": b"%PDF-1.7\n",
        "11_zip.png": b"PK\3\4" + bytes(100),
        "12_tiff.tif": b"II*\0\xff\xff\xff\xff",
    }.items():
        (folder / name).write_bytes(content)
    Image.new("1", (9000, 9000)).save(folder / "13_huge.png")
    (folder / "14_nowhere.jpg").symlink_to(folder / "there_is_none.jpg")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "15_pipe.jpg")
    samples = grey.astype(np.uint16) * 16
    write_dicom(folder / "16_no_image.dcm", samples, PixelData=None)
    write_dicom(folder / "17_frames.dcm", samples, NumberOfFrames=7)
    write_dicom(folder / "18_colour.dcm", samples, PhotometricInterpretation="PALETTE COLOR")
    whole = write_dicom(folder / "19_half.dcm", samples)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (folder / "20_no_dicom.dcm").write_bytes(bytes(128) + b"DICX" + bytes(500))


def make_large(out: Path) -> None:
    from tests.ensembles import make_models

    networks = {
        "densenet": {"arch": "densenet121", "patch_size": None, "stem": "patches", "batch_norm": False},
        "vit": {"arch": "vit_base_patch16_224", "patch_size": None, "stem": "patches", "batch_norm": False},
    }
    make_models(out, networks=networks, size=224)


def throughput(models: Path, images: int) -> None:
    import torch

    from diagxnet.ensemble.ensemble import Ensemble

    ensemble = Ensemble.load(models)
    size = ensemble.image_size
    films = np.random.default_rng(0).integers(0, 256, (images, size, size), dtype=np.uint8)
    ensemble.predict(films[:2], batch_size=2)
    wall, cpu = time.perf_counter(), time.process_time()
    ensemble.predict(films, batch_size=32)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    precision = ensemble.accelerator.mixed_precision.replace("no", "fp32")
    threads = torch.get_num_threads()
    print(f"{images} images at {size} px, {precision}, {threads} threads: {images / wall:.2f} images/s")
    print(f"{wall:.1f} s in all, {cpu / images:.3f} CPU seconds an image")


def cold(models: Path, film: Path) -> None:
    command = [sys.executable, "-m", "diagxnet.predict", str(film), "--models", str(models)]
    for _ in range(3):
        before, started = os.times(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after, wall = os.times(), time.perf_counter() - started
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"first prediction after {wall:.1f} s, {cpu:.1f} CPU seconds")


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    paths = [Path(each) for each in given]
    if what == "folder":
        make_folder(*paths)
    elif what == "models":
        make_large(*paths)
    elif what == "throughput":
        throughput(paths[0], int(given[1]) if len(given) > 1 else 64)
    else:
        cold(*paths)
