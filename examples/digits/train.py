"""Trains a small neural network, one epoch at a time, and keeps its loss curves."""

import json
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

import samples

DIGITS = np.arange(10)


def main() -> None:
    params = json.loads(Path("input.json").read_text())
    parts = samples.load()
    images, digits = parts["train"]
    model = MLPClassifier(
        hidden_layer_sizes=(params["hidden_units"],),
        learning_rate_init=params["learning_rate"],
        batch_size=params["batch_size"],
        alpha=params["alpha"],
        random_state=int(os.environ.get("ASSAY_SEED", "42")),
    )
    history = []
    for epoch in range(1, params["epochs"] + 1):
        model.partial_fit(images, digits, classes=DIGITS)
        point = {f"{part}_loss": float(loss_on(model, *parts[part])) for part in ("train", "validation")}
        history.append({"epoch": epoch, **point})
        print(f"epoch {epoch:3d}", *(f"{name} {value:.4f}" for name, value in point.items()), sep="  ", flush=True)
    Path("model").mkdir(exist_ok=True)
    joblib.dump(model, "model/digits.joblib")
    Path("history.json").write_text(json.dumps(history, indent=2) + "\n")


def loss_on(model: MLPClassifier, images: np.ndarray, digits: np.ndarray) -> float:
    return log_loss(digits, model.predict_proba(images), labels=DIGITS)


if __name__ == "__main__":
    main()
