"""The verdict: cut, leave, or unknown with what to bring."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tailcut.numerics.choice import Choice, Gain, Verdict
from tailcut.verbs.candidates import Candidate
from tailcut.verbs.evaluation import Evaluation
from tailcut.verbs.missing import cost_of_missing_bias
from tailcut.verbs.options import Options
from tailcut.verbs.policy import gains_unseen, verdict_on
from tailcut.verbs.preparation import Holdout

_UNCHECKED = "not checked on held-out labels"
_BRING = "bring 500 held-out samples, noisy labels will do"
_BRING_MORE = "nothing is changed; more held-out samples may tell, noisy labels will do"


@dataclass(frozen=True)
class Decision:
    """What to do.

    Attributes:
        verdict: "cut", "leave" or "unknown".
        chosen: The untouched network unless the verdict is "cut".
        reason: Why, in one sentence.
        gain: On true labels by held-out given ones that did not choose; None without them.
    """

    verdict: Verdict
    chosen: Candidate
    reason: str
    gain: Gain | None = None


def decide(evaluation: Evaluation, options: Options) -> Decision:
    """Read the verdict off the candidates, by the policy.

    A cut whose readout and rank the caller named is made whatever it gains.
    """
    choice, holdout = evaluation.choice, evaluation.holdout
    if choice is None or holdout is None:
        decision = _unseen(evaluation, options)
    else:
        decision = _held_out(evaluation, choice, holdout, options)
    return replace(decision, reason=decision.reason + cost_of_missing_bias(evaluation))


def _held_out(
    evaluation: Evaluation, choice: Choice, holdout: Holdout, options: Options
) -> Decision:
    best, untouched = evaluation.best, evaluation.untouched
    memorisation = evaluation.preparation.survey.memorisation or 0.0
    noise = evaluation.noise
    wrong = "" if noise is None else f", {_percent(noise.rate)} of them look wrong"
    numbers = (
        f"{choice.gain} on {holdout}, corrected for label noise; their log loss falls by "
        f"{choice.fall:.3f} ± {choice.error:.3f}{wrong}"
    )
    if options.asked:
        reason = f"{evaluation.describe(best)}, as asked for: {numbers}"
        return Decision("cut", best, reason, choice.gain)
    verdict: Verdict = "leave"
    if best is not untouched:
        verdict = verdict_on(
            choice.fall,
            choice.error,
            choice.gain.mean,
            wrong=choice.wrong,
            memorisation=memorisation,
        )
    if verdict == "cut":
        return Decision("cut", best, f"{evaluation.describe(best)}: {numbers}", choice.gain)
    doubt = f"no cut gains for sure ({numbers})"
    advice = _BRING_MORE if verdict == "unknown" else "nothing is changed"
    return Decision(verdict, untouched, f"{doubt}; {advice}", choice.gain)


def _unseen(evaluation: Evaluation, options: Options) -> Decision:
    """Without held-out labels."""
    best, described = evaluation.best, evaluation.describe(evaluation.best)
    if options.asked:
        return Decision("cut", best, f"{described}, as asked for: {_UNCHECKED}")
    estimate = evaluation.estimate
    if estimate is None:
        doubt = "without held-out labels nothing shows whether a cut gains"
    elif not estimate.above_chance:
        doubt = "the features say too little about the training labels to cut by them"
    elif gains_unseen(estimate.noise.rate):
        found = f"{_percent(estimate.noise.rate)} of the training labels look wrong"
        return Decision("cut", best, f"{described}: {_UNCHECKED}; {found}")
    elif evaluation.preparation.estimates_noise:
        doubt = (
            f"{_percent(estimate.noise.rate)} of the training labels look wrong by what the "
            "network has forgotten, too few to cut without held-out labels"
        )
    else:
        doubt = "how many labels are wrong is unknown, as the network remembers them so well"
    return Decision("unknown", evaluation.untouched, f"{doubt}; {_BRING}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
