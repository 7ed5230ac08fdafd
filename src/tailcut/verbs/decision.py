"""The verdict: cut, leave, or unknown with what to bring."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tailcut.numerics.choice import Gain, Verdict
from tailcut.numerics.latent import Reading
from tailcut.verbs.candidates import Weighed
from tailcut.verbs.groundwork import Jury
from tailcut.verbs.missing import told_of_missing_bias

_ENOUGH_NOISE = 0.1
_ENOUGH_READ = 0.12
"""Of the labels found wrong, to cut: by inference alone, and by the jury's own reading."""
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


def decide(weighed: Weighed, *, asked: bool, seed: int) -> Decision:
    """Read the verdict off the candidates.

    Where the held-out labels are too few to be sure of a gain, the training labels decide as
    they do without a holdout: if enough of them look wrong, the cut is made.

    Args:
        weighed: All candidates.
        asked: The caller named both readout and rank: nothing is left to choose but how
            strongly to truncate the layers, and the cut is made whatever it gains.
        seed: Of the halves.
    """
    decision = _as_asked(weighed, seed) if asked else _by_gain(weighed)
    return replace(decision, reason=decision.reason + told_of_missing_bias(weighed))


def _by_gain(weighed: Weighed) -> Decision:
    choice, jury = weighed.choice, weighed.jury
    if choice is None or jury is None:
        return _unjudged(weighed)
    told = _told(choice.gain, jury, weighed.reading)
    if choice.verdict == "cut":
        reason = f"{weighed.told(choice.index)}: {told}"
        return Decision("cut", choice.index, reason, choice.gain)
    suspicious = _suspicious(weighed)
    if choice.gain.mean > 0 and suspicious is not None:
        index = weighed.best_cut()
        reason = f"{weighed.told(index)}: {told}, and {_found(suspicious)}"
        return Decision("cut", index, reason, choice.gain)
    return Decision("leave", 0, f"no cut gains for sure ({told}); nothing is changed", choice.gain)


def _as_asked(weighed: Weighed, seed: int) -> Decision:
    index, gain = weighed.best_cut(), weighed.cross_fitted_gain(seed)
    told = f"{weighed.told(index)}, as asked for"
    if gain is None or weighed.jury is None:
        return Decision("cut", index, f"{told}: {_UNCHECKED}", gain)
    told = f"{told}: {_told(gain, weighed.jury, weighed.reading)}"
    return Decision("cut", index, told, gain)


def _unjudged(weighed: Weighed) -> Decision:
    """Without held-out samples: cut where enough labels are found wrong, as it then pays.

    Where the noise is overestimated the cut changes little: its filter is gentle, and the
    labels inferred are close to those given.
    """
    reading = weighed.suspicion
    if reading is None:
        return Decision("unknown", 0, f"nobody can judge a cut; {_BRING}", None)
    if not reading.informed:
        doubt = "the features tell too little of the training labels to judge a cut by them"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    if reading.noise.rate < _ENOUGH_NOISE and not weighed.groundwork.tells_noise:
        doubt = "how many labels are wrong cannot be told where the network remembers them so well"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    if reading.noise.rate < _ENOUGH_NOISE:
        doubt = f"{_found(reading)}, too few to cut without held-out labels to judge by"
        return Decision("unknown", 0, f"{doubt}; {_BRING}", None)
    told = f"{weighed.told(1)}: {_UNCHECKED}; {_found(reading)}"
    return Decision("cut", 1, told, None)


def _told(gain: Gain, jury: Jury, reading: Reading | None) -> str:
    corrected = "" if reading is None else ", corrected for label noise"
    return f"{gain} on {jury.described}{corrected}"


def _suspicious(weighed: Weighed) -> Reading | None:
    """A reading by which many labels look wrong.

    The jury's own may come from self-training, which takes hard samples for wrong ones.
    """
    for reading, enough in (
        (weighed.suspicion, _ENOUGH_NOISE),
        (weighed.reading, _ENOUGH_READ),
    ):
        if reading is not None and reading.informed and reading.noise.rate >= enough:
            return reading
    return None


def _found(reading: Reading) -> str:
    return f"{100 * reading.noise.rate:.0f} % of the training labels look wrong"
