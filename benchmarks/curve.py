"""All ranks in one pass against refits at single ranks: `python benchmarks/curve.py`.

Prints ratios of times taken in the same run, on random features of N x D with K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tailcut import Moments, Readout, rank_curve

N, D, K = 20_000, 512, 10
RANKS = (8, 64, 512)


def main() -> None:
    """Time tailcut once for all ranks, scikit-learn once for each of three."""
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.randint(0, K, (N,), generator=generator)
    means_KD = torch.randn(K, D, generator=generator) / 8
    scales_D = torch.arange(1, D + 1) ** -0.5
    features_ND = (means_KD[labels_N] + torch.randn(N, D, generator=generator)) * scales_D

    def every_rank() -> None:
        moments = Moments(D, K)
        for rows in torch.arange(N).split(1000):
            moments.update(features_ND[rows], given=labels_N[rows])
        batches = [(features_ND, {"given": labels_N})]
        rank_curve(Readout.lda(moments), batches)

    def one_rank(rank: int) -> None:
        scores = PCA(rank, svd_solver="covariance_eigh").fit_transform(features_ND.numpy())
        LinearDiscriminantAnalysis("lsqr", shrinkage=0.1).fit(scores, labels_N).score(
            scores, labels_N
        )

    ours = seconds(every_rank)
    print(f"LDA on {N} x {D} features, accuracy at all {D} ranks by tailcut: 1")
    for rank in RANKS:
        ratio = seconds(lambda rank=rank: one_rank(rank)) / ours
        print(f"the same at rank {rank:>3} alone by scikit-learn: {ratio:.2f}")


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of a few runs."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


if __name__ == "__main__":
    main()
