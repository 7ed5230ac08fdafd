"""Views: label-preserving perturbations under which a network no longer knows its labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from tailcut._typing import Inputs
from tailcut.errors import DataError
from tailcut.network.inside_views import (
    InsideView,
    dropouts,
    embedding_noise,
    embeds,
    own_dropout,
    unperturbed,
)
from tailcut.network.perturbations import floating_of, gaussian, geometric, swapped
from tailcut.network.token_views import hides, hiding, scattered, span
from tailcut.network.tokens import UNKNOWN, Vocabulary, token_ids
from tailcut.network.view import Perturbation, View

Views = str | Sequence[str | View | Perturbation]
"""The `views=` argument: "auto", one name, or names and callables of (inputs, generator)."""


def auto_views(inputs: Inputs, model: nn.Module | None = None) -> list[View]:
    """Views to try for inputs of this form: geometry and noise for images, else noise.

    Of texts tokens are hidden, and noise is added to the network's embedding of them; its own
    dropout is a view, if it has any. Of tables (N x columns) columns are swapped between rows.
    Which of them keep the label, and under which the memory is gone, is measured, not
    assumed: a mirrored digit is not a digit, a mirrored dog is a dog. For inputs with neither
    tokens nor exactly one floating tensor no view is known: then there is none.

    Args:
        inputs: A batch.
        model: The network, which shows whether integers are tokens; without it nothing is tried
            that happens inside it.
    """
    names = _names_for_tokens(inputs, model)
    try:
        tensor = floating_of(inputs)[1]
    except DataError:
        return [VIEWS[name] for name in names]
    if tensor.ndim == 4 and min(tensor.shape[2:]) >= 8:
        names += ["flip", "shift", "flip+shift", "rotate"]
    names += ["noise/4", "noise/2", "noise*3/4"]
    names += ["swap/4", "swap/2"] if tensor.ndim == 2 and tensor.shape[1] > 1 else []
    return [VIEWS[name] for name in names]


def _names_for_tokens(inputs: Inputs, model: nn.Module | None) -> list[str]:
    if token_ids(inputs) is None:
        return []
    embedded = model is not None and embeds(model, inputs)
    if isinstance(inputs, Tensor) and not embedded:
        return []  # counts, for all that is known
    vocabulary = UNKNOWN if model is None else Vocabulary.of(model)
    names = ["tokens/4", "tokens/2", "tokens*3/4", "span/2"] if hides(inputs, vocabulary) else []
    names += ["embedding", "embedding*2", "embedding*4"] if embedded else []
    return names + (["dropout"] if model is not None and dropouts(model) else [])


def noise_for(inputs: Inputs, model: nn.Module) -> View | None:
    """The view by which layers are denoised: on tokens that are embedded, else on numbers."""
    if token_ids(inputs) is not None:
        return VIEWS["embedding*2"] if embeds(model, inputs) else None
    try:
        floating_of(inputs)
    except DataError:
        return None
    return VIEWS["noise/4"]


def as_views(views: Views, inputs: Inputs, model: nn.Module | None = None) -> list[View]:
    """The `views=` argument: "auto", names, or callables of (inputs, generator).

    Args:
        views: As the caller gave them.
        inputs: A batch.
        model: See `auto_views`.

    Raises:
        DataError: A name that is not known.
    """
    if views == "auto":
        return auto_views(inputs, model)
    chosen: list[View] = []
    for view in [views] if isinstance(views, str) else views:
        if isinstance(view, View):
            chosen.append(view)
        elif callable(view):
            chosen.append(View(getattr(view, "__name__", type(view).__name__), view))
        elif view in VIEWS:
            chosen.append(VIEWS[view])
        else:
            raise DataError(
                f"no view is called {view!r}",
                wanted=f"'auto' or some of {', '.join(VIEWS)}",
                advice="Correct the name, or pass a callable of (inputs, generator)",
            )
    return chosen


def _embedding(name: str, deviations: float) -> View:
    during = embedding_noise(deviations)
    return InsideView(name, unperturbed, during, embeds, "a network that embeds token numbers")


VIEWS = {
    view.name: view
    for view in (
        View("flip", geometric(flip=True)),
        View("shift", geometric(shift=1 / 8)),
        View("flip+shift", geometric(shift=1 / 8, flip=True)),
        View("rotate", geometric(degrees=15, scale=0.1)),
        View("noise/4", gaussian(1 / 4)),
        View("noise/2", gaussian(1 / 2)),
        View("noise*3/4", gaussian(3 / 4)),
        View("swap/4", swapped(1 / 4)),
        View("swap/2", swapped(1 / 2)),
        hiding("tokens/4", scattered(1 / 4)),
        hiding("tokens/2", scattered(1 / 2)),
        hiding("tokens*3/4", scattered(3 / 4)),
        hiding("span/2", span(1 / 2)),
        _embedding("embedding", 1),
        _embedding("embedding*2", 2),
        _embedding("embedding*4", 4),
        InsideView(
            "dropout",
            unperturbed,
            own_dropout,
            lambda model, _inputs: bool(dropouts(model)),
            "a network with dropout modules that drop something",
        ),
    )
}
