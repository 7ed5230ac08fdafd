"""repair: choose the cut, make it, and hand back a network of the same class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from tailcut._typing import Batches, Inputs
from tailcut.errors import StoreError
from tailcut.files import store
from tailcut.network import pretrained
from tailcut.network.batches import read
from tailcut.network.head import Head
from tailcut.network.modules import inner, network_in, state_of
from tailcut.network.stream import logits_of, runnable
from tailcut.network.surgery import changed_tensors, like, ready, with_tensors
from tailcut.network.views import Views
from tailcut.numerics.choice import Gain, Verdict
from tailcut.numerics.curve import RankCurve
from tailcut.numerics.latent import Noise
from tailcut.numerics.spectrum import Spectrum
from tailcut.report.page import page
from tailcut.verbs import runs
from tailcut.verbs.diagnosis import Diagnosis
from tailcut.verbs.options import Options
from tailcut.verbs.pipeline import examine
from tailcut.verbs.progress import steps
from tailcut.verbs.result import from_dict


@dataclass(frozen=True, eq=False)
class Repair:
    """A repaired network, what was done to it, and the way back.

    Attributes:
        diagnosis: All that was found.
        undo_tensors: The tensors that the cut has changed, as they were before.
        network: None if loaded without it.
    """

    diagnosis: Diagnosis
    undo_tensors: dict[str, Tensor]
    network: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        """Same class, same state_dict keys, shapes and dtypes as the model given.

        Raises:
            StoreError: Loaded from a directory without the network to put the weights into.
        """
        if self.network is None:
            raise StoreError(
                "a repair loaded without its network",
                wanted="the network whose weights these are",
                advice="Pass it: tailcut.load(directory, model)",
            )
        return self.network

    @property
    def verdict(self) -> Verdict:
        """One of "cut", "leave" and "unknown"; only a "cut" has changed the model."""
        return self.diagnosis.verdict

    @property
    def reason(self) -> str:
        """Of the verdict, in one sentence."""
        return self.diagnosis.reason

    @property
    def readout(self) -> str:
        """Name of the readout that is now the head; "own head" if it is the network's own."""
        return self.diagnosis.chosen.readout

    @property
    def rank(self) -> int:
        """Directions kept at the penultimate layer, 1..D; D where none was cut there."""
        return self.diagnosis.chosen.rank

    @property
    def strength(self) -> float:
        """Of the filter on every layer: smaller cuts more, infinite leaves them as they are."""
        return self.diagnosis.chosen.filter.strength

    @property
    def denoising(self) -> float:
        """Of the filter on every layer: larger cuts more, 0 leaves them as they are."""
        return self.diagnosis.chosen.filter.denoising

    @property
    def fine_tuning(self) -> int | None:
        """Directions kept of each weight's change since pretraining; None where all are."""
        return self.diagnosis.chosen.filter.fine_tuning

    @property
    def gain(self) -> Gain | None:
        """In accuracy on true labels, as held-out given ones tell; None without a holdout."""
        return self.diagnosis.gain

    @property
    def noise(self) -> Noise | None:
        """Estimated label noise; None where it cannot be estimated."""
        return self.diagnosis.noise

    @property
    def memorisation(self) -> float | None:
        """m on the training samples, 1 if every label is repeated; None without a holdout."""
        return self.diagnosis.memorisation

    @property
    def candidates(self) -> pd.DataFrame:
        """Every cut that was evaluated, with accuracy and log loss on the held-out labels."""
        return self.diagnosis.candidates

    @property
    def curve(self) -> RankCurve | None:
        """Accuracy at every rank on the "given" and, where known, "clean" labels."""
        return self.diagnosis.curve

    @property
    def spectrum(self) -> Spectrum:
        """Of the penultimate features before the cut."""
        return self.diagnosis.spectrum

    @property
    def head(self) -> Head:
        """The network's head."""
        return self.diagnosis.head

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `result.json`: plain data."""
        return self.diagnosis.to_dict()

    def predict_proba(self, inputs: Inputs | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Class probabilities (N x K, float32) of one batch of inputs.

        After a cut they are those of the true labels, by one temperature fitted under the
        estimated noise. Else they are the network's own.
        """
        given: Inputs = inputs if not isinstance(inputs, np.ndarray) else torch.from_numpy(inputs)
        given = runnable(self.model, given)
        return torch.softmax(logits_of(self.model, given).float(), 1).cpu().numpy()

    def features(self, loader: Batches) -> Tensor:
        """Penultimate features (N x D) of the repaired network, on the CPU."""
        model = inner(self.model)
        parts = [
            self.head.features_and_logits(model, runnable(model, batch.inputs))[0].cpu()
            for batch in read(loader)
        ]
        return torch.cat(parts)

    def undo(self) -> nn.Module:
        """A copy of the network as it was before the cut, bit for bit."""
        return with_tensors(self.model, self.undo_tensors)

    def report(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML page."""
        return store.write_text(path, page(self.summary))

    def save(
        self,
        directory: str | Path,
        *,
        config: str | None = None,
        file_format: pretrained.Form = "safetensors",
    ) -> Path:
        """Write the network and everything known about it, all of it or nothing.

        `repaired.safetensors`, `undo.safetensors`, `spectrum.safetensors`, `candidates.csv`,
        `curve.csv`, `report.html` and `result.json`, which holds the checksums of the others. They
        take the place of a run that was saved there before; others' files stay. A network with
        `save_pretrained` becomes a folder `repaired`, with the tokenizer, the image processor and
        the code that lie where it was loaded from (its `name_or_path`), if that is on this machine,
        and a model card that says what was done.

        Args:
            directory: May be new.
            config: Of the command that made the repair, kept as `config.yaml`.
            file_format: "safetensors", or "torch" for the state_dict alone in `repaired.pth`.

        Raises:
            StoreError: A torch file of a network that saves itself as a folder.
        """
        return runs.write_repair(directory, self, self.summary, config, form=file_format)

    def __repr__(self) -> str:
        return f"Repair({self.verdict}: {self.reason})"


def repair(
    model: nn.Module,
    train: Batches,
    holdout: Batches | None = None,
    *,
    clean: Any = None,
    views: Views = "auto",
    depth: str = "auto",
    readout: str = "auto",
    rank: int | str = "auto",
    backbone: nn.Module | None = None,
    force: bool = False,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> Repair:
    """Cut memorised label noise out of a trained network: no retraining, no clean labels.

    Every layer proven to be a linear map is filtered, as strongly as the held-out labels like it
    best or not at all; readouts of the features, fitted to the labels as they are given and to
    the true ones as they are inferred, on views of the training samples under which the network
    has forgotten what it memorised, are compared with its own head, at every rank; and the best
    of them is folded into a copy of the network, if it gains for sure or if many labels are
    wrong. Else nothing is changed. `tailcut.verbs.policy` has every choice on one page.

    Two feature vectors of every training sample are held meanwhile: 2 x N x D in float32.

    Args:
        model: A trained classifier; it is never changed.
        train: The batches it was trained on, with the labels it was trained on.
        holdout: Batches it was not trained on; noisy labels will do, 500 samples are enough.
        clean: True labels where they are known, used to report and never to choose: a vector
            of one for each training sample, or batches of other samples with true labels.
        views: "auto", or names or callables: perturbations that keep the label.
        depth: "head" (cut the penultimate features only), "all" (every layer) or "auto".
        readout: "project", "ridge", "centroid", "lda" or "auto".
        rank: Directions to keep, or "auto".
        backbone: The network as it was before it was fine-tuned, in the same class or wrapped
            otherwise, with any head or none. Then what fine-tuning changed may be cut, too.
        force: Go on although the network does not predict its training labels: what is fitted
            is then a linear probe of its features rather than a repair.
        seed: Of samples, views and halves; one seed gives one result.
        device: To work on; the model's own if not given.
        progress: Show the running step on a terminal.

    Raises:
        HeadError: No linear head that gives the network's logits.
        DataError: Data that cannot be used.
    """
    with steps(shown=progress) as step:
        found = examine(
            model,
            train,
            holdout,
            Options(views, depth, readout, rank, force, seed, backbone),
            clean=clean,
            device=device,
            step=step,
        )
    model = network_in(model)
    network = like(model, state_of(found.network))
    return Repair(found.diagnosis, changed_tensors(ready(model), network), network)


def load(directory: str | Path, model: nn.Module | None = None) -> Repair:
    """A saved repair.

    Args:
        directory: Where `Repair.save` wrote.
        model: Any instance of the network's class, such as the network before the repair; it
            stays as it is. Without it, everything but the network itself is there.

    Raises:
        StoreError: Files that are missing, damaged, of another run, or do not fit the model.
    """
    directory = Path(directory)
    summary, names = runs.read(directory)
    spectrum, head = runs.load_spectrum(directory / runs.SPECTRUM)
    undo_tensors = store.load_tensors(directory / runs.UNDO)
    network = None
    if model is not None:
        network = pretrained.load(ready(network_in(model)), directory, names)
    return Repair(from_dict(summary, spectrum, head), undo_tensors, network)
