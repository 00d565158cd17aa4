"""Looks at the drawn demo data and measures how hard it is.

    python -m benchmarks.demo sheets FOLDER       contact sheets: six severities of each finding, whole studies
    python -m benchmarks.demo difficulty FOLDER   AUROC per finding of DenseNet-121 and of a linear model; draws into
                                                  FOLDER first where it holds no train.csv

The second takes about two minutes on two cores. Neither is timed by a test.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from diagxnet.data.chexpert import CHEXPERT
from diagxnet.demo.anatomy import draw_anatomy
from diagxnet.demo.canvas import Box
from diagxnet.demo.draw import draw_demo
from diagxnet.demo.labels import Sign, View, plan_studies
from diagxnet.demo.render import render_view
from diagxnet.images.decode import decode

SEED = 7
SIZE = 320
SEVERITIES = (0.12, 0.34, 0.5, 0.66, 0.83, 1.0)


def sheet(films: list[tuple[str, np.ndarray, list[tuple[str, Box]]]], columns: int, boxes: bool) -> Image.Image:
    height, width = films[0][1].shape
    rows = -(-len(films) // columns)
    page = Image.new("L", (columns * width, rows * (height + 14)))
    draw = ImageDraw.Draw(page)
    for index, (title, film, found) in enumerate(films):
        left, top = index % columns * width, index // columns * (height + 14)
        page.paste(Image.fromarray(film), (left, top + 14))
        draw.text((left + 3, top + 1), title, fill=255)
        for _, box in found if boxes else []:
            draw.rectangle((left + box.left, top + 14 + box.top, left + box.right, top + 14 + box.bottom), outline=230)
    return page


def severity_sheet(key: str, boxes: bool, view: View) -> Image.Image:
    """Six patients with one finding, from hardly visible to severe."""
    films = []
    for column, severity in enumerate(SEVERITIES):
        patient = 100 * CHEXPERT.keys.index(key) + column + 1
        signs = {} if key == "no_finding" else {key: Sign(severity, 1)}
        shown = view if view.name == "lateral" else View("frontal", "AP" if column % 2 else "PA")
        film, found = render_view(SEED, patient, 1, draw_anatomy(SEED, patient), signs, shown, SIZE)
        films.append((f"{key} {severity}", film, found))
    return sheet(films, 3, boxes)


def study_sheet(first: int) -> Image.Image:
    """Whole studies of consecutive patients, frontal and lateral, with what they show."""
    films = []
    for patient in range(first, first + 30):
        anatomy = draw_anatomy(SEED, patient)
        for study in plan_studies(SEED, patient, "train"):
            for view in study.views:
                film, found = render_view(SEED, patient, study.number, anatomy, study.signs, view, SIZE)
                signs = " ".join(f"{key[:9]}:{sign.severity:.1f}" for key, sign in study.signs.items())
                films.append((f"{patient}/{study.number} {signs}"[:64], film, found))
    return sheet(films[:16], 4, boxes=False)


def draw_sheets(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key in CHEXPERT.keys:
        severity_sheet(key, False, View("frontal", "PA")).save(folder / f"frontal_{key}.png")
        severity_sheet(key, True, View("lateral", "")).save(folder / f"lateral_{key}.png")
    for first in (1, 31):
        study_sheet(first).save(folder / f"studies_{first}.png")


# Difficulty ---------------------------------------------------------------------------------------------------------

EPOCHS, BATCH, ACCUMULATED, RATE = 10, 16, 2, 1e-3
IMAGE_SIZE, THUMBNAIL = 80, 16


def frontal_share(folder: Path, table: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frontal images [images, 80, 80] uint8, labels [images, 14] (NaN where uncertain) and patients of one table."""
    rows = pd.read_csv(folder / f"{table}.csv")
    rows = rows[rows["Frontal/Lateral"] == "Frontal"]
    paths = [folder / path.split("/", 1)[1] for path in rows["Path"]]
    with ThreadPoolExecutor() as pool:
        images = np.stack(list(pool.map(lambda path: decode(path, IMAGE_SIZE), paths)))
    labels = rows[list(CHEXPERT.names)].fillna(0).to_numpy(np.float32)
    labels[labels == -1] = np.nan
    return images, labels, rows["Path"].str.extract(r"patient(\d+)")[0].astype(int).to_numpy()


def train_densenet(images: np.ndarray, labels: np.ndarray, seed: int) -> torch.nn.Module:
    """The default recipe in short: from scratch, AdamW, one cycle, class weights, smoothing, light augmentation."""
    torch.manual_seed(seed)
    model = timm.create_model("densenet121", in_chans=1, num_classes=len(CHEXPERT)).to(
        memory_format=torch.channels_last
    )
    known = ~np.isnan(labels)
    positives = np.nansum(labels, axis=0)
    weights = torch.tensor(np.clip((known.sum(0) - positives) / np.maximum(positives, 1), 0.1, 10), dtype=torch.float32)
    mask, targets = torch.from_numpy(known), torch.from_numpy(np.nan_to_num(labels)) * 0.9 + 0.05
    pixels = torch.from_numpy(images)[:, None].float() / 255
    steps = EPOCHS * -(-len(images) // (BATCH * ACCUMULATED))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(EPOCHS):
        order = torch.randperm(len(images))
        for part in order.split(BATCH * ACCUMULATED):
            for rows in part.split(BATCH):
                with torch.autocast("cpu", torch.bfloat16):
                    logits = model(_augmented(pixels[rows]).contiguous(memory_format=torch.channels_last)).float()
                loss = F.binary_cross_entropy_with_logits(logits, targets[rows], pos_weight=weights, reduction="none")
                (loss * mask[rows]).sum().div(mask[part].sum()).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model.eval()


def _augmented(images: torch.Tensor) -> torch.Tensor:
    angle = (torch.rand(len(images)) - 0.5) * 0.24
    matrix = torch.zeros(len(images), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle)
    matrix[:, 0, 1], matrix[:, 1, 0] = -torch.sin(angle), torch.sin(angle)
    matrix[:, :, 2] = (torch.rand(len(images), 2) - 0.5) * 0.2
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


@torch.inference_mode()
def densenet_scores(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    pixels = torch.from_numpy(images)[:, None].float() / 255
    return torch.cat([model(part) for part in pixels.split(100)]).numpy()


def linear_scores(images: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Logistic regression per finding on standardised 16 x 16 thumbnails."""

    def thumbnails(stack: np.ndarray) -> np.ndarray:
        block = IMAGE_SIZE // THUMBNAIL
        return stack.reshape(len(stack), THUMBNAIL, block, THUMBNAIL, block).mean((2, 4)).reshape(len(stack), -1)

    scores = np.zeros((len(test), len(CHEXPERT)))
    for finding in range(len(CHEXPERT)):
        known = ~np.isnan(labels[:, finding])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, class_weight="balanced"))
        model.fit(thumbnails(images[known]), labels[known, finding])
        scores[:, finding] = model.decision_function(thumbnails(test))
    return scores


def measure_difficulty(folder: Path, seed: int) -> None:
    if not (folder / "train.csv").exists():
        draw_demo(folder, images=1000, test_images=200, seed=SEED, size=SIZE)
    images, labels, patients = frontal_share(folder, "train")
    test, truth, _ = frontal_share(folder, "valid")
    chosen = np.random.default_rng(seed).permutation(np.unique(patients))
    training = np.isin(patients, chosen[: round(0.6 * len(chosen))])
    linear = linear_scores(images[training], labels[training], test)
    densenet = densenet_scores(train_densenet(images[training], labels[training], seed), test)
    print(f"{training.sum()} training images, {len(test)} test images")
    print(f"{'finding':28} positives train test   DenseNet-121  linear 16 x 16")
    table = []
    for index, finding in enumerate(CHEXPERT.names):
        pair = [roc_auc_score(truth[:, index], scores[:, index]) for scores in (densenet, linear)]
        table.append(pair)
        positives = int(np.nansum(labels[training, index])), int(truth[:, index].sum())
        print(f"{finding:28} {positives[0]:15} {positives[1]:4}   {pair[0]:12.3f}  {pair[1]:14.3f}")
    macro = np.mean(table, axis=0)
    print(f"{'macro':28} {'':20}   {macro[0]:12.3f}  {macro[1]:14.3f}")


def main() -> None:
    task, folder = sys.argv[1], Path(sys.argv[2])
    if task == "sheets":
        draw_sheets(folder)
    else:
        measure_difficulty(folder, int(sys.argv[3]) if len(sys.argv) > 3 else 0)


if __name__ == "__main__":
    main()
