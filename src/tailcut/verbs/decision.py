"""The verdict: cut, leave, or unknown with what to bring."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tailcut.numerics.choice import NOISY, Gain, Verdict
from tailcut.numerics.latent import Noise, Reading
from tailcut.verbs.missing import told_of_missing_bias
from tailcut.verbs.weighed import Weighed

_UNCHECKED = "unchecked, as no held-out labels judged it"
_BRING = "bring 500 held-out samples, noisy labels will do"


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes:
        verdict: "cut", "leave" or "unknown".
        index: Of the candidate; 0, the untouched network, unless the verdict is "cut".
        reason: Why, in one sentence.
        gain: On true labels by held-out given ones that did not choose; None without them.
    """

    verdict: Verdict
    index: int
    reason: str
    gain: Gain | None


def decide(weighed: Weighed, *, asked: bool) -> Decision:
    """Read the verdict off the candidates.

    With held-out labels the choice has it: see `choice.choose`.

    Args:
        weighed: All candidates.
        asked: The caller named both readout and rank: nothing is left to choose but how
            strongly to truncate the layers, and the cut is made whatever it gains.
    """
    found = _unjudged if weighed.choice is None else _judged
    decision = found(weighed, asked=asked)
    return replace(decision, reason=decision.reason + told_of_missing_bias(weighed))


def _judged(weighed: Weighed, *, asked: bool) -> Decision:
    choice, jury = weighed.choice, weighed.jury
    assert choice is not None
    assert jury is not None
    told = (
        f"{choice.gain} on {jury.described}, corrected for label noise; their log loss falls by "
        f"{choice.fall:.3f} ± {choice.error:.3f}{_wrong(weighed.noise)}"
    )
    if choice.verdict == "cut":
        cut = f"{weighed.told(choice.index)}{', as asked for' if asked else ''}"
        return Decision("cut", choice.index, f"{cut}: {told}", choice.gain)
    return Decision("leave", 0, f"no cut gains for sure ({told}); nothing is changed", choice.gain)


def _unjudged(weighed: Weighed, *, asked: bool) -> Decision:
    """Without held-out samples: cut where enough labels are found wrong, as it then pays.

    Where the noise is overestimated the cut changes little: its filter is gentle, and the
    labels inferred are close to those given.
    """
    if asked:
        return Decision("cut", 1, f"{weighed.told(1)}, as asked for: {_UNCHECKED}", None)
    reading = weighed.suspicion
    if reading is None:
        return Decision("unknown", 0, f"nobody can judge a cut; {_BRING}", None)
    if not reading.informed:
        doubt = "the features tell too little of the training labels to judge a cut by them"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    if reading.noise.rate < NOISY and not weighed.groundwork.tells_noise:
        doubt = "how many labels are wrong cannot be told where the network remembers them so well"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    if reading.noise.rate < NOISY:
        doubt = f"{_found(reading)}, too few to cut without held-out labels to judge by"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    told = f"{weighed.told(1)}: {_UNCHECKED}; {_found(reading)}"
    return Decision("cut", 1, told, None)


def _wrong(noise: Noise | None) -> str:
    return "" if noise is None else f", {100 * noise.rate:.0f} % of them look wrong"


def _found(reading: Reading) -> str:
    return f"{100 * reading.noise.rate:.0f} % of the training labels look wrong"
