"""A record of a study whose every figure is easy to see, and a grid without processes."""

from tailcut.lab.claims.record import Record
from tailcut.lab.grid.work import measured


def epoch_of(number, test):
    return {
        "epoch": number,
        "loss": 0.0,
        "train": 1.0,
        "holdout": 0.5,
        "test": test,
        "seconds": 1.0,
    }


def record_of(**changes):
    """A record whose every statistic is easy to see."""
    last = {
        "epoch": 8,
        "ranks": [1, 2, 4, 8, 16],
        "rank": 16,
        "width": 16,
        "effective_rank": 2.0,
        "own": {
            "holdout": [0.1, 0.4, 0.5, 0.5, 0.3],
            "test": [0.2, 0.5, 0.7, 0.8, 0.4],
            "flipped given": [0.1, 0.2, 0.3, 0.4, 0.9],
            "flipped true": [0.2, 0.5, 0.6, 0.5, 0.1],
        },
        "true": {"leading": {"test": [0.2, 0.5, 0.8, 0.9, 0.9]}},
        "given": {
            "leading": {"flipped given": [0.1, 0.1, 0.1, 0.15, 0.3]},
            "tail": {"flipped given": [0.3, 0.3, 0.4, 0.6]},
        },
        "segregation": {"index": 0.3, "null": 0.1, "noise_depth": 0.8, "noise_explained": 0.5},
    }
    first = {
        **last,
        "epoch": 0,
        "segregation": {"index": 0.05, "null": 0.0, "noise_depth": 0.9, "noise_explained": 0.1},
    }
    second = {
        **last,
        "epoch": 1,
        "segregation": {"index": 0.1, "null": 0.0, "noise_depth": 0.7, "noise_explained": 0.2},
    }
    epochs = zip(range(1, 6), (0.3, 0.6, 0.9, 0.5, 0.4), strict=True)
    record = {
        "epochs": [epoch_of(number, test) for number, test in epochs],
        "probes": [first, second, last],
        "last": 0.4,
        "best_epoch": 0.9,
        "noisy_epoch": 0.6,
        "repair": {"after": 0.95},
    }
    return Record.from_json({**record, **changes})


def in_this_process(work, todo, **_):
    """What the pool does, without the seconds that a process takes to import torch."""
    for name, study in todo.items():
        yield name, measured(work, study)
