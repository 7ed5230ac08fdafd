"""Views are measured on a network of which it is known what it remembers and what it sees."""

import pytest
import torch
from torch import nn

from tailcut.network.views import View
from tailcut.verbs.screening import labels_of, predicted, screen
from tailcut.verbs.survey import memorisation, survey

CLASSES, N, NAMES = 4, 400, 200


class Rememberer(nn.Module):
    """Reads the class off the first features, and what it learned by heart off the others."""

    def __init__(self, memory: float) -> None:
        super().__init__()
        self.head = nn.Linear(CLASSES + CLASSES, CLASSES)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([torch.eye(CLASSES), memory * torch.eye(CLASSES)], 1))
            self.head.bias.zero_()

    def forward(self, inputs):
        return self.head(inputs)


def samples(seed, *, remembered):
    """Inputs that show the true class; training inputs also the given one, as a network has it."""
    generator = torch.Generator().manual_seed(seed)
    true_N = torch.randint(CLASSES, (N,), generator=generator)
    wrong_N = torch.rand(N, generator=generator) < 0.4
    given_N = torch.where(wrong_N, (true_N + 1) % CLASSES, true_N)
    one_hot = nn.functional.one_hot
    memory = one_hot(given_N, CLASSES) if remembered else torch.zeros(N, CLASSES)
    inputs = torch.cat([one_hot(true_N, CLASSES), memory], 1).float()
    return inputs + 0.01 * torch.rand(inputs.shape, generator=generator), given_N


def forgetful(inputs, _):
    return torch.cat([inputs[:, :CLASSES], torch.zeros_like(inputs[:, CLASSES:])], 1)


def as_it_is(inputs, _):
    return inputs


def blind(inputs, _):
    return torch.zeros_like(inputs)


VIEWS = [View(each.__name__, each) for each in (as_it_is, forgetful, blind)]


def screened(*, holdout, choose=True):
    found = survey(
        Rememberer(3.0),
        [samples(0, remembered=True)],
        [samples(1, remembered=False)] if holdout else None,
        device=None,
        seed=0,
        step=lambda _: None,
    )
    return screen(found, Rememberer(0.0), VIEWS, seed=0, choose=choose)


@pytest.mark.parametrize("holdout", [True, False])
def test_a_view_that_takes_the_memory_and_leaves_the_content_is_kept_alone(holdout):
    plain, taken, nothing = screened(holdout=holdout)
    assert plain.memorisation == pytest.approx(1, abs=0.02)
    assert abs(taken.memorisation) < 0.15
    assert (plain.content, taken.content) == (1, 1)
    assert nothing.content < 0.5
    assert [plain.kept, taken.kept, nothing.kept] == [False, True, False]
    assert [each.name for each in (plain, taken, nothing)] == ["as_it_is", "forgetful", "blind"]


def test_the_caller_s_own_views_are_all_kept():
    assert all(each.kept for each in screened(holdout=True, choose=False))


@pytest.mark.parametrize(
    ("agreement", "unseen", "m"), [(1.0, 0.6, 1.0), (0.6, 0.6, 0.0), (0.8, 0.6, 0.5), (1, 1, 0)]
)
def test_memorisation_is_what_agreement_gains_on_samples_that_were_seen(agreement, unseen, m):
    assert memorisation(agreement, unseen) == pytest.approx(m)


def test_labels_and_predictions_of_no_batches():
    assert labels_of([]).tolist() == []
    assert predicted(Rememberer(1.0), survey_sample()).shape == (N,)


def survey_sample():
    from tailcut.network.batches import read

    return list(read([samples(0, remembered=True)]))


def test_a_thousand_held_out_samples_are_enough_to_look_at_a_view():
    seen = []

    def counted(inputs, _):
        seen.append(len(inputs))
        return inputs

    inputs, labels = samples(1, remembered=False)
    found = survey(
        Rememberer(3.0),
        [samples(0, remembered=True)],
        [(inputs, labels)] * 6,
        device=None,
        seed=0,
        step=lambda _: None,
    )
    screen(found, Rememberer(0.0), [View("counted", counted)], seed=0, choose=True)
    assert sum(seen) == N + 1024 + N  # by the reference, of the held-out ones, and by the network
