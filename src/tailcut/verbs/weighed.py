"""All candidates of a repair, and what the held-out labels say of them."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from itertools import groupby

import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.errors import concerning
from tailcut.network.batches import read
from tailcut.network.filters import Filter
from tailcut.network.head import Head
from tailcut.numerics.choice import Choice
from tailcut.numerics.latent import Noise, Reading
from tailcut.numerics.readout import Readout
from tailcut.numerics.scores import Scores
from tailcut.verbs.groundwork import Groundwork, Jury
from tailcut.verbs.inference import GIVEN, ROUNDS, Inferred, Material
from tailcut.verbs.readouts import Candidate, make_readout
from tailcut.verbs.survey import Survey


@dataclass(frozen=True, eq=False)
class Weighed:
    """All candidates and what the jury says of them.

    Attributes:
        groundwork: Views and filters.
        jury: Who judged these candidates; None if nobody could.
        candidates: C of them; the first is the untouched network.
        scores: Column for column, each under the noise that it explains the jury's labels by;
            None without a jury.
        choice: None without a jury.
        models: The network behind each filter that readouts were fitted on.
        inferred: Views of all training samples behind each, and their true labels.
    """

    groundwork: Groundwork
    jury: Jury | None
    candidates: list[Candidate]
    scores: Scores | None
    choice: Choice | None
    models: dict[Filter, nn.Module]
    inferred: dict[Filter, Inferred]

    @property
    def suspicion(self) -> Reading | None:
        """The noise as inference has it behind the gentle filter; None without inference."""
        *_, inferred = self.inferred.values()
        return inferred.readings.get(Material(ROUNDS))

    def told(self, index: int) -> str:
        """A candidate in words."""
        return self.candidates[index].told(str(self.groundwork.coverage))

    @property
    def noise(self) -> Noise | None:
        """By the best candidate and the jury, else by inference; None where it cannot be told."""
        if self.scores is not None:
            assert self.scores.wrong_C is not None
            assert self.scores.transition_CKK is not None
            best = self.best_cut()
            rate = float(self.scores.wrong_C[best])
            return Noise(rate, self.scores.transition_CKK[best].double())
        if not self.inferred or not self.groundwork.tells_noise:
            return None
        *_, inferred = self.inferred.values()
        reading = inferred.readings.get(inferred.preferred)
        return None if reading is None else reading.noise

    def best_cut(self) -> int:
        """The candidate that would be chosen; without a jury the last."""
        return len(self.candidates) - 1 if self.choice is None else self.choice.best

    def accuracy_of(self, index: int) -> float | None:
        """Of a candidate on the jury's labels; None without a jury."""
        return None if self.choice is None else float(self.choice.accuracy_C[index])

    def network(self, chosen: Filter) -> nn.Module:
        """The network behind a filter."""
        if chosen in self.models:
            return self.models[chosen]
        return self.groundwork.network(chosen)

    def inferred_of(self, candidate: Candidate) -> Inferred:
        """What its readout is fitted to."""
        if candidate.views:
            return self.inferred[candidate.filter]
        return as_they_are(self.groundwork.survey)

    def readout_of(self, candidate: Candidate) -> Readout:
        """Its readout, fitted."""
        head, model = self.groundwork.survey.head, self.network(candidate.filter)
        inferred = self.inferred_of(candidate)
        return make_readout(candidate.readout, inferred, candidate.material, head, model)

    def accuracies_on(self, batches: Batches) -> list[float]:
        """Of every candidate on other labels: true ones, to report and never to choose."""
        head = self.groundwork.survey.head
        features: dict[Filter, tuple[Tensor, Tensor]] = {}
        found: list[float] = []
        for like, group in groupby(self.candidates, lambda each: replace(each, rank=None)):
            model = self.network(like.filter)
            if like.filter not in features:
                features[like.filter] = _read(head, model, batches)
            (features_ND, labels_N), ranks = features[like.filter], [each.rank for each in group]
            if ranks == [None]:
                weight_KD, bias_K = head.parameters(model)
                logits_NK = features_ND @ weight_KD.cpu().T
                predicted_NR = (logits_NK if bias_K is None else logits_NK + bias_K.cpu()).argmax(1)
                predicted_NR = predicted_NR[:, None]
            else:
                made = self.readout_of(like)
                predicted_NR = made.predictions(features_ND, [r for r in ranks if r]).cpu()
            found += (predicted_NR == labels_N[:, None]).double().mean(0).tolist()
        return found

    def temperature(self, index: int) -> float:
        """By the jury's labels; without a jury, of what the readouts say of the inferred ones."""
        if self.scores is None:
            cut = self.candidates[index]
            reading = self.inferred[cut.filter].readings.get(cut.material) if index else None
            return 1.0 if reading is None else reading.temperature
        return self.scores.temperature(index)

    def table(self, chosen: int, clean: Batches | None = None) -> pd.DataFrame:
        """Candidates with accuracy and loss on the jury's labels, the chosen one marked.

        With true labels of other samples there is the accuracy on them, too.
        """
        names = ["strength", "denoising", "readout", "rank", "rounds", "self_training", "views"]
        rows = [
            (*astuple(each.filter), each.readout, each.rank, *astuple(each.material), each.views)
            for each in self.candidates
        ]
        table = pd.DataFrame(rows, columns=names)
        table["rank"] = table["rank"].astype("Int64")
        if self.choice is not None:
            table["accuracy"] = self.choice.accuracy_C.numpy()
            table["log_loss"] = self.choice.loss_C.numpy()
        if clean is not None:
            with concerning("the samples with true labels"):
                table["clean"] = self.accuracies_on(clean)
        table["chosen"] = table.index == chosen
        return table


def as_they_are(survey: Survey) -> Inferred:
    """The training samples without views, on the untouched network, with their given labels."""
    return Inferred(survey.spectrum, {GIVEN: survey.moments.only("given")}, {})


def _read(head: Head, model: nn.Module, loader: Batches) -> tuple[Tensor, Tensor]:
    """Penultimate features and labels, in the order of this pass."""
    features, labels = [], []
    for batch in read(loader, head.classes):
        features.append(head.features_and_logits(model, batch.inputs)[0].cpu())
        labels.append(batch.labels.cpu())
    return torch.cat(features), torch.cat(labels)
