"""Random numbers for one purpose have nothing to do with those that others draw from the seed."""

import numpy as np
import pytest
import torch

from tailcut.network.batches import Batch
from tailcut.network.sample import RandomSample
from tailcut.numerics.draws import numpy_generator, torch_generator
from tailcut.numerics.scores import halves

N, RATE = 20_000, 0.4


def flipped_by(library, seed):
    """Which labels somebody flips who draws a number for each from the same seed."""
    if library == "numpy":
        return torch.from_numpy(np.random.default_rng(seed).random(N) < RATE)
    return torch.rand(N, generator=torch.Generator().manual_seed(seed)) < RATE


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_a_sample_is_drawn_from_wrong_and_right_labels_alike(library, seed):
    flipped_N = flipped_by(library, seed)
    sample = RandomSample(4096, seed)
    for rows_n in torch.arange(N).split(256):
        sample.update(Batch(rows_n[:, None].float(), flipped_N[rows_n].long(), rows_n))
    drawn = torch.cat([batch.labels for batch in sample.batches()]).double()
    assert float(drawn.mean()) == pytest.approx(RATE, abs=0.03)
    assert float(drawn[:1024].mean()) == pytest.approx(RATE, abs=0.06)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_halves_hold_wrong_and_right_labels_alike(library):
    flipped_N = flipped_by(library, 0).double()
    for mine_N, _ in halves(N, 0):
        assert float(flipped_N[mine_N].mean()) == pytest.approx(RATE, abs=0.02)


def test_one_seed_and_purpose_give_the_same_numbers_and_others_give_others():
    def drawn(seed, purpose):
        one = numpy_generator(seed, purpose).random(4)
        return (*one, *torch.rand(4, generator=torch_generator(seed, purpose)).tolist())

    assert drawn(0, "views") == drawn(0, "views")
    others = {drawn(seed, what) for seed in (0, 1, 2**63 - 1) for what in ("views", "sample")}
    assert len(others) == 6
    assert (np.random.default_rng(0).random(4) != numpy_generator(0, "sample").random(4)).all()
