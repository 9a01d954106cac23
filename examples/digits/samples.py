"""Reads the images and splits them: of every five samples one is for testing and one for validation."""

import csv
from pathlib import Path

import numpy as np

# Assay writes the first file from the lake; run by hand, the committed copy is used.
SOURCES = [Path("data/train.csv"), Path("data/digits.csv")]
PIXEL_MAX = 16.0


def load() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (scaled to 0..1) and digits of the parts `train`, `validation` and `test`."""
    source = next(path for path in SOURCES if path.exists())
    with open(source, newline="") as file:
        rows = list(csv.DictReader(file))
    pixels = [name for name in rows[0] if name.startswith("p")]
    images = np.array([[float(row[name]) for name in pixels] for row in rows]) / PIXEL_MAX
    digits = np.array([int(row["digit"]) for row in rows])
    fold = np.array([int(row["sample"]) % 5 for row in rows])
    masks = {"train": fold > 1, "validation": fold == 1, "test": fold == 0}
    return {part: (images[mask], digits[mask]) for part, mask in masks.items()}
