"""Measures the line on the points that training did not see."""

import json
import math
from pathlib import Path


def main() -> None:
    line = json.loads(Path("model/line.json").read_text())
    points = json.loads(Path("prepared/test.json").read_text())
    errors = [y - (line["slope"] * x + line["intercept"]) for x, y in points]
    mean_y = sum(y for _, y in points) / len(points)
    squared_error = sum(error**2 for error in errors)
    metrics = {
        "rmse": math.sqrt(squared_error / len(points)),
        "r2": 1 - squared_error / sum((y - mean_y) ** 2 for _, y in points),
    }
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))


if __name__ == "__main__":
    main()
