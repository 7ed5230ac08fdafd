"""Candidates: every way to cut, judged on samples whose labels the network never learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.numerics.choice import choose
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.verbs.groundwork import Groundwork, Jury
from tailcut.verbs.inference import GIVEN, Inferred, Material, infer
from tailcut.verbs.options import Options
from tailcut.verbs.readouts import Candidate, features_of, make_readout
from tailcut.verbs.weighed import Weighed

_FITTED = ("lda", "centroid")
"""By default: ridge has LDA's directions in another scale."""

_REMEMBERS = 0.1
"""Memorisation of the training samples from which on a network has wrong labels to lose."""

_CELLS = 2**24
"""Numbers of logits that are judged at once."""


def weigh(
    groundwork: Groundwork, train: Batches, options: Options, *, step: Callable[[str], None]
) -> Weighed:
    """Fit every candidate that the caller's dials allow on all training samples, and judge it.

    Without a jury there is one candidate: see `_unjudged`.
    """
    jury, fitted = groundwork.jury, options.readout != "project"
    models = {each: groundwork.network(each) for each in groundwork.filters}
    inferred = {
        each: infer(groundwork, model, train, fitted=fitted, seed=options.seed, step=step)
        for each, model in models.items()
    }
    step("candidates")
    if jury is None:
        return _unjudged(groundwork, models, inferred, readout=options.readout, rank=options.rank)
    weighed = Weighed(groundwork, jury, [], None, None, models, inferred)
    candidates, parts = _own_heads(groundwork, jury, options)
    head, features = groundwork.survey.head, dict[Filter, Tensor]()
    for like in _kinds(weighed, options):
        if like.filter not in features:
            features[like.filter] = features_of(head, weighed.network(like.filter), jury.batches)
        made = weighed.readout_of(like)
        ranks = _ranks(made, like, options)
        candidates += [replace(like, rank=each) for each in ranks]
        parts += _judged(made, features[like.filter], ranks, jury, options.seed)
    scores = Scores.joined(parts)
    default = _default(candidates, groundwork.gentle)
    choice = choose(
        scores,
        jury.labels_N,
        default,
        seed=options.seed,
        forced=options.asked,
        remembers=(groundwork.survey.memorisation or 0) > _REMEMBERS,
    )
    return replace(weighed, candidates=candidates, scores=scores, choice=choice)


def _kinds(weighed: Weighed, options: Options) -> Iterator[Candidate]:
    """Candidates to fit, their ranks aside: each filter, readout and kind of labels.

    The untouched network's own head in its own spectrum, the paper's cut, is always among them
    unless all layers are to be filtered; where there are views, so are readouts of the samples
    as they are.
    """
    ground, name = weighed.groundwork, options.readout
    fitted = _FITTED if name == "auto" else () if name == "project" else (name,)
    if UNTOUCHED in (*ground.filters, ground.gentle) or options.depth == "head":
        if name in ("auto", "project"):
            yield Candidate(UNTOUCHED, "project", None, views=False)
        for each in fitted if ground.views else ():
            yield Candidate(UNTOUCHED, each, None, views=False)
    for behind, inferred in weighed.inferred.items():
        if name == "project":
            yield Candidate(behind, "project", None)
        for each in fitted:
            for material in inferred.moments:
                yield Candidate(behind, each, None, material)


def _ranks(made: Readout, like: Candidate, options: Options) -> list[int]:
    """Ranks to judge a readout at.

    A readout that is fitted keeps all directions unless the caller names it: once labels are
    inferred, fewer hardly ever help (docs/LOG.md).
    """
    if options.rank != "auto":
        return made.ranks([int(options.rank)])
    if like.readout == "project" or options.readout != "auto":
        return geometric_ranks(made.max_rank)
    return [made.max_rank]


def _judged(
    made: Readout, features_ND: Tensor, ranks: list[int], jury: Jury, seed: int
) -> list[Scores]:
    """A readout's ranks, a few at a time."""
    classes = made.gains_RK.shape[1]
    few = max(1, _CELLS // (classes * max(len(features_ND), classes)))
    return [
        Scores.explained(
            torch.cat(list(made.prefix_logits(features_ND, ranks[place : place + few]))),
            jury.labels_N,
            seed,
        )
        for place in range(0, len(ranks), few)
    ]


def _default(candidates: Sequence[Candidate], gentle: Filter) -> int:
    """The candidate that is taken unless another leads.

    LDA in all directions behind the gentle filter, on labels inferred in one round; of dials that
    leave it out, what is nearest to it.
    """

    def near(place: int) -> tuple[object, ...]:
        each = candidates[place]
        one, given = each.material == Material(1), each.material == GIVEN
        return each.filter == gentle, each.readout == "lda", one, given, each.rank or 0

    return max(range(len(candidates)), key=near)


def untouched(groundwork: Groundwork) -> Weighed:
    """The network as it is for the only candidate, and nobody to judge it."""
    alone = [Candidate(UNTOUCHED, "own head", None)]
    return Weighed(groundwork, None, alone, None, None, {}, {})


def _unjudged(
    groundwork: Groundwork,
    models: dict[Filter, nn.Module],
    inferred: dict[Filter, Inferred],
    *,
    readout: str,
    rank: int | str,
) -> Weighed:
    """The one cut that is made without a choice: LDA on the inferred labels.

    For a caller who fits no labels, it is the own head behind the filter, at the rank asked for.
    """
    (behind, model), head = next(iter(models.items())), groundwork.survey.head
    found = inferred[behind]
    name = "lda" if readout == "auto" else readout
    preferred = found.preferred
    fitted = preferred != GIVEN
    if not fitted and rank == "auto":
        cut = Candidate(behind, "own head", None)
    else:
        material = preferred if fitted else GIVEN
        made = make_readout(name if fitted else "project", found, material, head, model)
        kept = made.max_rank if rank == "auto" else made.ranks([int(rank)])[0]
        cut = Candidate(behind, made.name, kept, material)
    candidates = [Candidate(UNTOUCHED, "own head", None), cut]
    return Weighed(groundwork, None, candidates, None, None, models, inferred)


def _own_heads(
    groundwork: Groundwork, jury: Jury, options: Options
) -> tuple[list[Candidate], list[Scores]]:
    """The untouched network, and its own head behind each filter."""
    assert groundwork.own_NCK is not None
    every = options.depth != "head" and options.readout in ("auto", "project")
    filters = groundwork.tried if every and options.rank == "auto" else (UNTOUCHED,)
    own = Scores.explained(groundwork.own_NCK[:, : len(filters)], jury.labels_N, options.seed)
    return [Candidate(each, "own head", None) for each in filters], [own]
