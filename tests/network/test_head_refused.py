"""Networks without a head that could be cut: what each of them is told, in full."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from network_reference import images, seeded
from tailcut.errors import DataError, HeadError
from tailcut.network.head import find_head

K = 3
INPUTS = torch.randn(5, 4, generator=seeded())


class Tail(nn.Module):
    """A linear layer and something behind it."""

    def __init__(self, behind, width=4):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.behind = nn.Linear(width, K), behind

    def forward(self, inputs):
        return self.behind(self.fc(inputs))


def told(model, inputs=INPUTS, error=HeadError):
    with pytest.raises(error) as caught:
        find_head(model.eval(), inputs)
    return str(caught.value)


def test_no_linear_layer():
    assert told(nn.Sequential(nn.Flatten(), nn.ReLU())) == (
        "no linear layer runs in Sequential; wanted a network whose logits come from a Linear "
        "(or a 1x1 convolution). Pass the classifier itself rather than its backbone."
    )


def test_no_linear_layer_with_as_many_outputs_as_logits():
    assert told(nn.Sequential(nn.Linear(4, 6), nn.GLU())) == (
        "no linear layer of Sequential has 3 outputs, the number of its logits; wanted a network "
        "whose logits come from a Linear (or a 1x1 convolution). Pass a classifier whose last "
        "step is linear."
    )


@pytest.mark.parametrize(
    ("behind", "cause"),
    [
        (
            nn.Softmax(1),
            "its outputs sum to 1, so it ends in a softmax: return the logits before it",
        ),
        (
            nn.LogSoftmax(1),
            "its outputs are log-probabilities: return the logits before the log-softmax",
        ),
        (
            nn.ReLU(),
            "no output is negative, as after a ReLU or a sigmoid: return what comes before it",
        ),
        (nn.Tanh(), "the last step must be linear"),
    ],
)
def test_something_behind_the_linear_layer(behind, cause):
    model = Tail(behind)
    difference = (model(INPUTS) - model.fc(INPUTS)).abs().max().item()
    assert told(model) == (
        "the logits of Tail do not come from its linear layers: those recomputed from the "
        f"closest, 'fc', differ by up to {difference:.3g}; wanted logits = W h + b, with h what "
        "that layer receives. Wrap the model so that it returns the output of that layer; "
        f"{cause}."
    )


def test_squeezenet_whose_relu_stands_between_head_and_pooling():
    squeezenet = pytest.importorskip("torchvision.models").squeezenet1_1
    torch.manual_seed(0)
    message = told(squeezenet(num_classes=K), images(side=64))
    assert message.startswith("the logits of SqueezeNet do not come from its linear layers: ")
    assert "the closest, 'classifier.1', differ" in message


def test_a_tied_weight():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight = model[1].weight
    assert told(model) == (
        "the weight of the head '1' is shared with 0.weight; wanted a head with a weight of its "
        "own, because the cut rewrites it. Untie the weights (clone the head's) before the repair."
    )


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_a_parametrized_weight(name):
    model = nn.Sequential(nn.Linear(4, K))
    getattr(nn.utils.parametrizations, name)(model[0])
    assert told(model) == (
        "the weight of the head '0' is computed by a parametrization; wanted a head whose weight "
        "is a plain parameter. Call torch.nn.utils.parametrize.remove_parametrizations on it "
        "first."
    )


def test_removing_the_parametrization_is_enough():
    model = nn.Sequential(nn.Linear(4, K))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    assert find_head(model.eval(), INPUTS).name == "0"


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm:FutureWarning")
@pytest.mark.parametrize(
    ("compute", "key", "how", "call", "follow"),
    [
        (
            lambda head: prune.l1_unstructured(head, "weight", 0.5),
            "weight",
            "by pruning",
            'torch.nn.utils.prune.remove(head, "weight")',
            lambda head: prune.remove(head, "weight"),
        ),
        (
            lambda head: prune.l1_unstructured(head, "bias", 0.5),
            "bias",
            "by pruning",
            'torch.nn.utils.prune.remove(head, "bias")',
            lambda head: prune.remove(head, "bias"),
        ),
        (
            nn.utils.weight_norm,
            "weight",
            "by weight_norm",
            'torch.nn.utils.remove_weight_norm(head, "weight")',
            lambda head: nn.utils.remove_weight_norm(head, "weight"),
        ),
        (
            nn.utils.spectral_norm,
            "weight",
            "by spectral_norm",
            'torch.nn.utils.remove_spectral_norm(head, "weight")',
            lambda head: nn.utils.remove_spectral_norm(head, "weight"),
        ),
    ],
)
def test_a_head_with_a_computed_tensor_works_once_the_advice_is_followed(
    compute, key, how, call, follow
):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, K)).eval()
    compute(model[0])
    assert told(model) == (
        f"the {key} of the head '0' is computed {how}; wanted a head whose {key} is a plain "
        f"parameter. Call {call} first."
    )
    before = model(INPUTS)
    follow(model[0])
    assert find_head(model, INPUTS).name == "0"
    torch.testing.assert_close(model(INPUTS), before)


def test_a_weight_that_the_network_sets_itself_is_refused_until_it_is_a_parameter():
    model = Tail(nn.Identity())
    weight = model.fc.weight.detach()
    del model.fc.weight
    model.fc.weight = weight * 2
    assert told(model) == (
        "the weight of the head 'fc' is computed elsewhere; wanted a head whose weight is a plain "
        "parameter. Set head.weight = torch.nn.Parameter(head.weight.detach()) first."
    )
    model.fc.weight = nn.Parameter(model.fc.weight.detach())
    assert find_head(model, INPUTS).name == "fc"


def test_an_untied_weight_is_enough():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval()
    model[0].weight = model[1].weight
    model[1].weight = nn.Parameter(model[1].weight.detach().clone())
    assert find_head(model, INPUTS).name == "1"


def test_the_output_of_the_closest_layer_is_enough():
    model = Tail(nn.Softmax(1)).eval()
    model.behind = nn.Identity()
    assert find_head(model, INPUTS).name == "fc"


def test_two_outputs_of_which_the_first_is_zero_are_enough():
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 1)).eval()
    one, last = model(INPUTS), nn.Linear(6, 2)
    w, b = model[1].weight.detach(), model[1].bias.detach()
    last.weight = nn.Parameter(torch.cat([0 * w, w]))
    last.bias = nn.Parameter(torch.cat([0 * b, b]))
    model[1] = last
    assert find_head(model, INPUTS).name == "1"
    torch.testing.assert_close(model(INPUTS).softmax(1)[:, 1:], one.sigmoid())


def test_two_averaged_heads_of_which_one_alone_has_a_bias():
    class Averaging(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.one = nn.Linear(4, K), nn.Linear(4, K, bias=False), False

        def forward(self, inputs):
            return self.a(inputs) if self.one else (self.a(inputs) + self.b(inputs)) / 2

    model = Averaging()
    assert told(model).startswith("the logits of Averaging do not come from its linear layers: ")
    model.one = True
    assert find_head(model, INPUTS).name == "a"


def test_one_of_two_averaged_heads_with_a_computed_weight_is_named():
    class Averaging(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, K), nn.Linear(4, K)

        def forward(self, inputs):
            return (self.a(inputs) + self.b(inputs)) / 2

    model = Averaging()
    prune.l1_unstructured(model.b, "weight", 0.5)
    assert told(model).startswith("the weight of the head 'b' is computed by pruning; ")


def test_a_head_under_autocast_is_found():
    class Autocast(Tail):
        def forward(self, inputs):
            with torch.autocast("cpu", torch.bfloat16):
                return self.fc(inputs.bfloat16())

    assert find_head(Autocast(None).eval(), INPUTS).name == "fc"


def test_a_head_that_runs_twice():
    class TwoCrops(Tail):
        def forward(self, inputs):
            return (self.fc(inputs) + self.fc(inputs.flip(1))) / 2

    assert told(TwoCrops(None)) == (
        "the head 'fc' ran 2 times in one forward pass; wanted a head that runs once. Fold "
        "several crops or views of a sample into the batch instead."
    )


def test_a_head_that_sees_other_rows_than_samples():
    class Pairs(Tail):
        def forward(self, inputs):
            return self.fc(torch.cat([inputs, inputs[:2]]))[: len(inputs)]

    assert told(Pairs(None)) == (
        "the head 'fc' received inputs of shape (7, 4) for 5 samples; wanted as many positions "
        "for each sample. Wrap the model so that its last step is a linear layer on each sample."
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_nonlinear_network_is_refused_in_half_precision_too(dtype):
    message = told(Tail(nn.Tanh()).to(dtype), INPUTS.to(dtype))
    assert message.startswith("the logits of Tail do not come from its linear layers: ")


def test_logits_that_are_not_finite():
    inputs = INPUTS.clone()
    inputs[1, 0] = torch.nan
    assert told(Tail(nn.Identity()), inputs, DataError) == (
        "Tail gives NaN or infinite logits for 1 of the first 5 samples; wanted finite logits. "
        "Look for broken inputs or weights, or for an overflow in half precision."
    )
