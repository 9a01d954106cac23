"""Splits the committed points into a training and a test part."""

import csv
import json
import os
import random
from pathlib import Path

PREPARED = Path("prepared")


def main() -> None:
    params = json.loads(Path("input.json").read_text())
    with open("data/points.csv", newline="") as file:
        points = [(float(row["x"]), float(row["y"])) for row in csv.DictReader(file)]
    random.Random(int(os.environ.get("ASSAY_SEED", "7"))).shuffle(points)
    test_count = round(len(points) * params["test_share"])
    PREPARED.mkdir(exist_ok=True)
    for name, part in {"test": points[:test_count], "train": points[test_count:]}.items():
        (PREPARED / f"{name}.json").write_text(json.dumps(part))
        print(f"{name}: {len(part)} points")


if __name__ == "__main__":
    main()
