"""The verdict: cut, leave, or unknown with what to bring."""

from __future__ import annotations

from dataclasses import dataclass

from tailcut.numerics.choice import Gain, Verdict
from tailcut.verbs.candidates import Weighed

_BRING = "bring 500 held-out samples, noisy labels will do"


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes:
        verdict: "cut", "leave" or "unknown".
        index: Of the candidate; 0, the untouched network, unless the verdict is "cut".
        reason: Why, in one sentence.
        gain: On the judges' given labels, by samples that did not choose; None without them.
    """

    verdict: Verdict
    index: int
    reason: str
    gain: Gain | None


def decide(weighed: Weighed, *, asked: bool, seed: int) -> Decision:
    """Read the verdict off the candidates.

    Args:
        weighed: All candidates.
        asked: The caller named both readout and rank: nothing is left to choose but how
            strongly to truncate the layers, and the cut is made whatever it gains.
        seed: Of the halves.
    """
    if asked:
        return _as_asked(weighed, seed)
    choice, jury = weighed.choice, weighed.jury
    if choice is None or jury is None:
        return Decision("unknown", 0, _nobody_can_tell(weighed), None)
    if choice.verdict == "cut":
        reason = f"{weighed.candidates[choice.index]}: {choice.gain} on {jury.described}"
        return Decision("cut", choice.index, reason, choice.gain)
    doubt = f"no cut gains for sure on {jury.described} ({choice.gain})"
    if jury.view is None:
        return Decision("leave", 0, f"{doubt}; nothing is changed", choice.gain)
    reason = f"{doubt}, of which some may still be remembered; {_BRING}"
    return Decision("unknown", 0, reason, choice.gain)


def _as_asked(weighed: Weighed, seed: int) -> Decision:
    index, gain = weighed.best_cut(), weighed.cross_fitted_gain(seed)
    told = f"{weighed.candidates[index]}, as asked for"
    if gain is not None and weighed.jury is not None:
        told = f"{told}: {gain} on {weighed.jury.described}"
    return Decision("cut", index, told, gain)


def _nobody_can_tell(weighed: Weighed) -> str:
    screened = weighed.groundwork.screened
    if weighed.groundwork.jury is not None:
        return f"training labels cannot judge a readout fitted on them; {_BRING}"
    if not screened:
        return f"without views the training labels cannot judge a cut; {_BRING}"
    least = min(each.memorisation for each in screened if each.kept)
    return (
        "no view makes the network forget its training labels (memorisation "
        f"{least:.2f} at best), so they cannot judge a cut; {_BRING}"
    )
