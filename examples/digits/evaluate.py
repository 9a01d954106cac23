"""Measures the model on samples it has never seen, and draws its loss curves and its confusion matrix."""

import json
from pathlib import Path

import joblib
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, f1_score, log_loss

import samples


def main() -> None:
    model = joblib.load("model/digits.joblib")
    images, digits = samples.load()["test"]
    predicted = model.predict(images)
    metrics = {
        "accuracy": accuracy_score(digits, predicted),
        "f1_macro": f1_score(digits, predicted, average="macro"),
        "loss": log_loss(digits, model.predict_proba(images), labels=model.classes_),
    }
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    draw_loss(json.loads(Path("history.json").read_text()))
    draw_confusion(digits, predicted)


def draw_loss(history: list) -> None:
    figure, axes = plt.subplots(layout="constrained")
    epochs = [point["epoch"] for point in history]
    for part in ("train", "validation"):
        axes.plot(epochs, [point[f"{part}_loss"] for point in history], label=part)
    axes.set(title="Loss per epoch", xlabel="epoch", ylabel="log loss", yscale="log")
    axes.legend()
    figure.savefig("loss.png", dpi=120)


def draw_confusion(digits, predicted) -> None:
    figure, axes = plt.subplots(layout="constrained")
    ConfusionMatrixDisplay.from_predictions(digits, predicted, ax=axes, cmap="Blues", colorbar=False)
    axes.set_title("Confusion matrix on the test samples")
    figure.savefig("confusion.png", dpi=120)


if __name__ == "__main__":
    main()
