"""Deep truncation: every linear layer is filtered by the moments of its own inputs."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tailcut._typing import Batches
from tailcut.network.batchnorm import reestimate_batchnorm
from tailcut.network.fine_tuning import FineTuning
from tailcut.network.layer_moments import weights_of
from tailcut.network.layer_statistics import LayerInputs, LayerStatistics
from tailcut.network.layers import layers_in
from tailcut.numerics.checks import float64

_FLOOR = 1e-7
"""Of the white part of a filter: what float32 products leave of directions without input."""

_FLOOR_OF_NOISE = 1e-11
"""Of the white part relative to the noise, for a factor in float64."""

_SCARCE = 1e-4
"""Of the white part where noise is known from few rows: as the weakest truncation (docs/LOG.md).

With fewer rows than inputs some map keeps all inputs seen and undoes all changes seen, and says
nothing of others; least squares without a penalty is worst where rows and inputs are as many
(Hastie et al., Annals of Statistics 2022).
"""

_ROUNDED = 1e-5
"""Of all moments: a white part below this may not outweigh what products made negative."""


@dataclass(frozen=True)
class Filter:
    """What every layer keeps of its inputs: W <- W S ((1 - 1/a) S + I/a + b N)^-1.

    S is the second moment of the layer's inputs, of trace 1, and N that of what noise in the
    network's input changes about them, in the same unit. Biases stay, as the moments are
    uncentred. A rational filter needs no eigendecomposition: it is one Cholesky solve, unless
    rounding has left S or N eigenvalues below 0.

    Attributes:
        strength: a, at least 1; *smaller* cuts more, infinity does not. Alone it is SAP's
            scaling a s / ((a - 1) s + 1) of a direction with share s, a ridge filter with
            penalty about 1/a (Kodge et al., AAAI 2025).
        denoising: b; larger cuts more, 0 does not. Alone, with b = 1, it is the Wiener filter:
            of all linear maps of the noisy inputs that which is nearest to W p in the mean square.
        fine_tuning: Before that, the rank to which the change of each weight since pretraining is
            kept, see `FineTuning`; None keeps all.
    """

    strength: float = math.inf
    denoising: float = 0.0
    fine_tuning: int | None = None

    @property
    def by_moments(self) -> bool:
        """Whether it goes by what the layers receive."""
        return bool(self.denoising) or not math.isinf(self.strength)

    def describe(self, layers: str) -> str:
        """What it does, with how many layers it does it to."""
        parts = [] if math.isinf(self.strength) else [f"truncated at {self.strength:g}"]
        if self.denoising:
            parts.append(f"denoised at {self.denoising:g}")
        filtered = f"{layers} {' and '.join(parts)}" if parts else ""
        known = self.fine_tuning
        kept = "" if known is None else f"fine-tuning kept to rank {known}"
        return " and ".join(each for each in (kept, filtered) if each)

    def __str__(self) -> str:
        return self.describe("layers")

    def __call__(self, weight_GOP: Tensor, second_GPP: Tensor, noise_GPP: Tensor) -> Tensor:
        """The weight (G x O x P, float64) that this filter makes of one.

        Moments of any rank will do. Directions without input are cut from the weight.
        """
        moments = zip(weight_GOP, second_GPP, noise_GPP, strict=True)
        return torch.stack([self._filtered(*each) for each in moments])

    def of(self, weight_GOP: Tensor, inputs: LayerInputs) -> Tensor:
        """The same for the moments of a layer, by samples x samples where its rows are held.

        Where noise is known from few rows, layers are truncated at 10 000 or more strongly.
        """
        if self.denoising and inputs.scarce:
            chosen = Filter(min(self.strength, 1 / _SCARCE), self.denoising)
        else:
            chosen = self
        if inputs.dual is not None:
            return inputs.dual.filtered(weight_GOP, chosen._white, chosen.denoising)
        return chosen(float64(weight_GOP), inputs.second_GPP, inputs.noise_GPP)

    def _white(self, noisiness: float) -> float:
        """Share of the white part, with b N of this trace."""
        return max(1 / self.strength, _FLOOR, _FLOOR_OF_NOISE * noisiness)

    def _filtered(self, weight_OP: Tensor, second_PP: Tensor, noise_PP: Tensor) -> Tensor:
        noise_PP = self.denoising * noise_PP
        noisiness = float(noise_PP.trace())
        white = self._white(noisiness)
        rounding = _ROUNDED * (1 + noisiness)
        factor_PP = _factor(self._total(second_PP, noise_PP, white), white, rounding)
        if noisiness and factor_PP is not None:  # which hides what is negative in the inputs'
            own_PP = self._total(second_PP, torch.zeros_like(noise_PP), white)
            factor_PP = None if _factor(own_PP, white, rounding) is None else factor_PP
        if factor_PP is None:
            second_PP, noise_PP = _nonnegative(second_PP), _nonnegative(noise_PP)
            factor_PP = torch.linalg.cholesky(self._total(second_PP, noise_PP, white))
        return torch.cholesky_solve(second_PP @ weight_OP.T, factor_PP).T

    @staticmethod
    def _total(second_PP: Tensor, noise_PP: Tensor, white: float) -> Tensor:
        total_PP = (1 - white) * second_PP + noise_PP
        total_PP.diagonal().add_(white)
        return total_PP


def _factor(total_PP: Tensor, white: float, rounding: float) -> Tensor | None:
    """Cholesky factor; None with an eigenvalue below half of a white part that rounding reaches."""
    if white < rounding:
        shifted_PP = total_PP.clone()
        shifted_PP.diagonal().sub_(white / 2)
        if torch.linalg.cholesky_ex(shifted_PP)[1]:
            return None
    factor_PP, failed = torch.linalg.cholesky_ex(total_PP)
    return None if failed else factor_PP


def _nonnegative(moment_PP: Tensor) -> Tensor:
    """Without the directions in which there is nothing but rounding."""
    eigenvalues_P, basis_PP = torch.linalg.eigh(moment_PP)
    rounding = max(-2 * float(eigenvalues_P[0]), 0.0)
    kept_P = torch.where(eigenvalues_P > rounding, eigenvalues_P, 0)
    return (basis_PP * kept_P) @ basis_PP.T


UNTOUCHED = Filter()
"""The filter that leaves every layer as it is."""


def truncated_copy(
    model: nn.Module,
    moments: LayerStatistics | None,
    chosen: Filter,
    batches: Batches,
    fine_tuning: FineTuning | None = None,
) -> nn.Module:
    """A copy with every layer filtered and its BatchNorm statistics taken anew.

    Args:
        model: The untouched network; the idle filter returns it as it is.
        moments: Taken on it; for filters that go by them.
        chosen: The filter.
        batches: Training inputs for the BatchNorm statistics; their labels are not used.
        fine_tuning: For filters that keep a part of it.
    """
    if chosen == UNTOUCHED:
        return model
    twin = copy.deepcopy(model)
    if chosen.fine_tuning is not None:
        assert fine_tuning is not None
        fine_tuning.keep(twin, chosen.fine_tuning)
    if chosen.by_moments:
        assert moments is not None
        truncate_layers(twin, moments, chosen)
    reestimate_batchnorm(twin, batches)
    return twin


def truncate_layers(model: nn.Module, moments: LayerStatistics, chosen: Filter) -> None:
    """Filter, in place, every layer whose inputs were seen.

    Args:
        model: A copy of the network the moments were taken on.
        moments: Of the *untouched* network; measured better than layer by layer.
        chosen: The filter.
    """
    targets = weights_of(layers_in(model))
    layers = moments.layers
    for name, inputs in moments.inputs.items():
        if name not in targets:  # a bare one
            targets[name] = replace(layers[name], tensor=model.get_parameter(name))
        targets[name].write(chosen.of(targets[name].matrix_GOP, inputs))
