"""Candidates: every way to cut that the caller's options allow, with its readout fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tailcut.network.filters import UNTOUCHED, Filter
from tailcut.numerics.curve import geometric_ranks
from tailcut.numerics.fits import PROJECT
from tailcut.numerics.own_head import OwnHead
from tailcut.numerics.readout import Readout
from tailcut.verbs.inference import Inferred, as_they_are
from tailcut.verbs.options import Options
from tailcut.verbs.policy import FITTED, UNSEEN_TARGETS
from tailcut.verbs.preparation import Preparation
from tailcut.verbs.readouts import fit
from tailcut.verbs.targets import AS_THEY_ARE, GIVEN, Targets


@dataclass(frozen=True)
class Cut:
    """A cut in plain values.

    Attributes:
        filter: Of every layer.
        targets: What its readout was fitted to.
        readout: Name of the readout.
        rank: Directions kept, 1..D.
    """

    filter: Filter
    targets: Targets
    readout: str
    rank: int

    @property
    def changes_features(self) -> bool:
        """Whether directions of the penultimate features can be cut: not by the own head."""
        return self.readout != OwnHead.name

    def describe(self, layers: str) -> str:
        """In words, with how many layers the filter reaches."""
        rank = f" at rank {self.rank}" if self.changes_features else ""
        filtered = f", {self.filter.describe(layers)}" if self.filter != UNTOUCHED else ""
        return f"{self.readout}{rank}{self.targets}{filtered}"

    def __str__(self) -> str:
        return self.describe("layers")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to cut: the readout of some rank behind a filter.

    Attributes:
        filter: Of every layer.
        targets: What the readout was fitted to.
        readout: Fitted; the own head is one, too.
        rank: Directions it keeps.
    """

    filter: Filter
    targets: Targets
    readout: Readout | OwnHead
    rank: int

    @property
    def cut(self) -> Cut:
        """In plain values."""
        return Cut(self.filter, self.targets, self.readout.name, self.rank)


def untouched(preparation: Preparation) -> Candidate:
    """The network as it is."""
    return _own(preparation, UNTOUCHED)


def all_candidates(
    preparation: Preparation, inferred: Mapping[Filter, Inferred], options: Options
) -> Iterator[Candidate]:
    """The untouched network first, then all that is to be compared with it.

    The untouched network's own head in its own spectrum, the paper's cut, is always among them
    unless all layers are to be filtered; where there are views, so are readouts of the samples
    as they are.
    """
    yield untouched(preparation)
    if options.depth != "head" and options.readout in ("auto", PROJECT) and not options.ranked:
        yield from (_own(preparation, each) for each in preparation.tried if each != UNTOUCHED)
    if UNTOUCHED in preparation.filters or options.depth == "head":
        plain = as_they_are(preparation.survey)
        if options.readout in ("auto", PROJECT):
            yield from fitted(preparation, UNTOUCHED, plain, PROJECT, AS_THEY_ARE, options)
        for name in names_fitted(options) if preparation.views else ():
            yield from fitted(preparation, UNTOUCHED, plain, name, AS_THEY_ARE, options)
    for behind, found in inferred.items():
        if options.readout == PROJECT:
            yield from fitted(preparation, behind, found, PROJECT, GIVEN, options)
        for name in names_fitted(options):
            for targets in found.moments:
                yield from fitted(preparation, behind, found, name, targets, options)


def default_candidate(
    preparation: Preparation, behind: Filter, inferred: Inferred, options: Options
) -> Candidate:
    """The one that is cut to where no labels can choose.

    LDA on inferred labels; on the given ones if none could be inferred.
    """
    found = UNSEEN_TARGETS if UNSEEN_TARGETS in inferred.moments else GIVEN
    name = "lda" if options.readout == "auto" else options.readout
    *_, widest = fitted(preparation, behind, inferred, name, found, options)
    return widest


def names_fitted(options: Options) -> tuple[str, ...]:
    """Readouts that are fitted to labels."""
    if options.readout == "auto":
        return FITTED
    return () if options.readout == PROJECT else (options.readout,)


def fitted(
    preparation: Preparation,
    behind: Filter,
    inferred: Inferred,
    name: str,
    targets: Targets,
    options: Options,
) -> Iterator[Candidate]:
    """One readout, fitted once, at every rank that it is to be evaluated at.

    A readout that is fitted keeps all directions unless the caller names it: once labels are
    inferred, fewer hardly ever help (docs/LOG.md).
    """
    survey = preparation.survey
    made = fit(name, inferred, targets, survey.head, survey.own_head)
    if options.ranked:
        ranks = made.ranks([int(options.rank)])
    elif name == PROJECT or options.readout != "auto":
        ranks = geometric_ranks(made.max_rank)
    else:
        ranks = [made.max_rank]
    for rank in ranks:
        yield Candidate(behind, targets, made, rank)


def _own(preparation: Preparation, behind: Filter) -> Candidate:
    made = preparation.survey.own_head
    return Candidate(behind, GIVEN, made, made.max_rank)
