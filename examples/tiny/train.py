"""Fits y = slope * x + intercept by least squares, with an optional ridge penalty on the slope."""

import json
from pathlib import Path

import prepare


def main() -> None:
    if not prepare.PREPARED.exists():
        prepare.main()
    params = json.loads(Path("input.json").read_text())
    points = json.loads((prepare.PREPARED / "train.json").read_text())
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
    variance = sum((x - mean_x) ** 2 for x, _ in points)
    slope = covariance / (variance + params["ridge"])
    line = {"slope": slope, "intercept": mean_y - slope * mean_x}
    Path("model").mkdir(exist_ok=True)
    Path("model/line.json").write_text(json.dumps(line))
    print(f"y = {line['slope']:.4f} x + {line['intercept']:.4f}")


if __name__ == "__main__":
    main()
