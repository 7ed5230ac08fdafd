"""Draw the README's figure from a committed result: `python docs/figure.py`."""

from __future__ import annotations

import json
from pathlib import Path

from tailcut.report.figures import rank_curve

HERE = Path(__file__).parent
RESULT = HERE.parent / "benchmarks/results/repair/cifar-cnn-symmetric-40-0.json"


def main() -> None:
    """Accuracy against kept rank on CIFAR-10, on white, as a file of its own."""
    summary = json.loads(RESULT.read_text(encoding="utf-8"))["with_holdout"]
    figure = rank_curve(summary).replace("<svg ", '<svg style="background: #fff" ', 1)
    (HERE / "accuracy-by-rank.svg").write_text(figure + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
