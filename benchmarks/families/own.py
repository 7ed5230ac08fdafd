"""Networks that users write, and what training and serving put around a network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, weight_norm

from families.family import CLASSES, Family, images, noise, tokens

_OWN, _AROUND = "torch", "wrapper"
_WIDTH = 8
_VECTORS, _WORDS = noise(_WIDTH), noise(5, _WIDTH)


def mlp() -> nn.Sequential:
    """Two layers and a head."""
    layers = nn.Linear(_WIDTH, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(8, CLASSES))


def _changed(change: Callable[[nn.Sequential], Any]) -> nn.Module:
    """The network with something done to it, in place."""
    network = mlp()
    change(network)
    return network


def _behind(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, CLASSES))


class Recurrent(nn.Module):
    """The last step of a recurrent network."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.first, self.recurrent = nn.Linear(_WIDTH, 8), kind(8, 8, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.recurrent(self.first(inputs))[0][:, -1])


class Fused(nn.Module):
    """Attention of which three projections are one layer, with a bias of its own for each."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(_WIDTH, 3 * _WIDTH, bias=False), nn.Linear(_WIDTH, _WIDTH)
        self.q_bias, self.v_bias = (nn.Parameter(torch.randn(_WIDTH)) for _ in range(2))
        self.head = nn.Linear(_WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = functional.linear(inputs, self.qkv.weight, bias).chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.head(self.out(mixed).mean(1))


class Across(nn.Module):
    """Torch's attention, between tokens of two widths."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = nn.Linear(_WIDTH, 4)
        self.attend = nn.MultiheadAttention(_WIDTH, 2, kdim=4, vdim=4, batch_first=True)
        self.head = nn.Linear(_WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        others = self.narrow(inputs)
        return self.head(self.attend(inputs, others, others)[0].mean(1))


class Matrices(nn.Module):
    """No layers but a head: matrices that inputs are multiplied by."""

    def __init__(self, product: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.randn(_WIDTH, _WIDTH)) for _ in range(2))
        self.head, self.product = nn.Linear(_WIDTH, CLASSES), product

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        hidden = functional.relu(functional.linear(inputs, self.first))
        return self.head(functional.relu(self.product(hidden, self.second)))


class Shared(nn.Module):
    """One layer that runs three times."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits."""
        for _ in range(3):
            inputs = inputs + functional.gelu(self.step(inputs))
        return self.head(inputs)


class Standardised(nn.Conv2d):
    """Its weight is standardised whenever it is used."""

    def forward(self, inputs: Tensor) -> Tensor:
        """As the base class, with another weight."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = weight / weight.std((1, 2, 3), keepdim=True)
        return self._conv_forward(inputs, weight, self.bias)


class TwoHeads(nn.Module):
    """Two classifiers of the same features."""

    def __init__(self, join: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.body, self.join = nn.Linear(_WIDTH, _WIDTH), join
        self.first, self.second = nn.Linear(_WIDTH, CLASSES), nn.Linear(_WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> Any:
        """Both, or one thing made of both."""
        hidden = functional.relu(self.body(inputs))
        return self.join(self.first(hidden), self.second(hidden))


class Named(nn.Module):
    """Logits among other outputs, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(_WIDTH, _WIDTH), nn.Linear(_WIDTH, CLASSES)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Logits and features."""
        features = functional.relu(self.body(inputs))
        return {"logits": self.head(features), "features": features}


class Reader(nn.Module):
    """A mean of embeddings, or torch's own encoder, of token numbers."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.embed, self.encoder = nn.Embedding(60, _WIDTH), encoder
        self.head = nn.Linear(_WIDTH, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits."""
        mask = attention_mask[..., None]
        return self.head((self.encoder(self.embed(input_ids)) * mask).sum(1) / mask.sum(1))


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(_WIDTH, 2, 16, batch_first=True)
    return Reader(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


def _convolutional(kind: type[nn.Conv2d], **options: Any) -> nn.Module:
    return nn.Sequential(
        kind(3, 8, 3, padding=1, **options), nn.BatchNorm2d(8), nn.ReLU(),
        kind(8, 8, 3, padding=1, **options), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES),
    )  # fmt: skip


def _fully_convolutional() -> nn.Module:
    head = nn.Conv2d(8, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), *head)


def _tied(network: nn.Sequential) -> None:
    network[2] = nn.Linear(12, 12)
    network[0] = nn.Linear(_WIDTH, 12)
    network.insert(3, nn.ReLU())
    network.insert(4, nn.Linear(12, 12))
    network[4].weight = network[2].weight
    network[6] = nn.Linear(12, CLASSES)


_NETWORKS: list[tuple[str, Callable[[], nn.Module], Any]] = [
    ("MLP", mlp, _VECTORS),
    ("MLP in bfloat16", lambda: mlp().bfloat16(), _VECTORS),
    ("MLP in float16", lambda: mlp().half(), _VECTORS),
    ("MLP in float64", lambda: mlp().double(), _VECTORS),
    ("CNN with BatchNorm", partial(_convolutional, nn.Conv2d), images(8)),
    ("CNN in bfloat16", lambda: _convolutional(nn.Conv2d).bfloat16(), images(8)),
    ("grouped convolutions", lambda: _behind(nn.Conv2d(4, 8, 3, groups=2), width=288),
     images(8, 4)),
    ("Conv1d", lambda: _behind(nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, 4, 3), width=32),
     noise(4, 12)),
    ("Conv3d", lambda: _behind(nn.Conv3d(2, 8, 2), nn.ReLU(), width=216), noise(2, 4, 4, 4)),
    ("ConvTranspose2d", lambda: _behind(nn.ConvTranspose2d(3, 4, 2), nn.Conv2d(4, 4, 3),
                                        width=196), images(8)),
    ("1x1 convolution as the head", _fully_convolutional, images(8)),
    ("1x1 Conv1d as the head", lambda: nn.Sequential(
        nn.Conv1d(4, 8, 3), nn.ReLU(), nn.Conv1d(8, CLASSES, 1), nn.AdaptiveAvgPool1d(1),
        nn.Flatten()), noise(4, 12)),
    ("LSTM", partial(Recurrent, nn.LSTM), _WORDS),
    ("GRU", partial(Recurrent, nn.GRU), _WORDS),
    ("mean of embeddings", lambda: Reader(nn.Linear(_WIDTH, _WIDTH)), tokens()),
    ("TransformerEncoder", _encoder, tokens()),
    ("MultiheadAttention of two widths", Across, _WORDS),
    ("fused q, k, v by F.linear", Fused, _WORDS),
    ("own matrices by F.linear and @", partial(Matrices, torch.matmul), _VECTORS),
    ("own matrices by einsum",
     partial(Matrices, lambda a, b: torch.einsum("ni,io->no", a, b)), _VECTORS),
    ("one layer, three calls", Shared, _VECTORS),
    ("two layers, one weight", partial(_changed, _tied), _VECTORS),
    ("weight_norm", partial(_changed, lambda m: parametrizations.weight_norm(m[0])), _VECTORS),
    ("weight_norm by hooks", partial(_changed, lambda m: weight_norm(m[0])), _VECTORS),
    ("spectral_norm", partial(_changed, lambda m: parametrizations.spectral_norm(m[0])),
     _VECTORS),
    ("pruned layer", partial(_changed, lambda m: prune.l1_unstructured(m[0], "weight", 0.3)),
     _VECTORS),
    ("pruned head", partial(_changed, lambda m: prune.l1_unstructured(m[4], "weight", 0.3)),
     _VECTORS),
    ("standardised weights", partial(_convolutional, Standardised), images(8)),
    ("head without bias",
     partial(_changed, lambda m: m.append(nn.Linear(8, CLASSES, bias=False)).pop(4)), _VECTORS),
    ("logits by name", Named, _VECTORS),
    ("two heads, averaged", partial(TwoHeads, lambda a, b: (a + b) / 2), _VECTORS),
    ("two heads, both returned", partial(TwoHeads, lambda a, b: (a, b)), _VECTORS),
    ("softmax at the end", lambda: mlp().append(nn.Softmax(1)), _VECTORS),
    ("one output", partial(_changed, lambda m: m.append(nn.Linear(8, 1)).pop(4)), _VECTORS),
    ("no head", lambda: mlp()[:4], _VECTORS),
]  # fmt: skip


def _lightning() -> nn.Module:
    from hosts import LightningNetwork

    return LightningNetwork(mlp())


def _skorch(*, inside: bool) -> Any:
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(mlp, criterion=nn.CrossEntropyLoss, verbose=0).initialize()
    return net.module_ if inside else net


def _lora(*, merged: bool) -> Any:
    from peft import LoraConfig, get_peft_model

    network = get_peft_model(mlp(), LoraConfig(target_modules=["0", "2"], r=2))
    return network.merge_and_unload() if merged else network


def _quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(mlp(), {nn.Linear})


def _exported() -> Any:
    return torch.export.export(mlp(), (torch.zeros(2, _WIDTH),))


_WRAPPED: list[tuple[str, Callable[[], Any]]] = [
    ("torch.compile", lambda: torch.compile(mlp())),
    ("DataParallel", lambda: nn.DataParallel(mlp())),
    ("AveragedModel", lambda: torch.optim.swa_utils.AveragedModel(mlp())),
    ("fx.GraphModule", lambda: torch.fx.symbolic_trace(mlp())),
    ("torch.jit.script", lambda: torch.jit.script(mlp())),
    ("torch.export", _exported),
    ("quantize_dynamic", _quantised),
    ("on the meta device", lambda: mlp().to("meta")),
    ("a state_dict", lambda: mlp().state_dict()),
    ("LightningModule", _lightning),
    ("skorch, the net", partial(_skorch, inside=False)),
    ("skorch, its module_", partial(_skorch, inside=True)),
    ("PEFT's LoRA", partial(_lora, merged=False)),
    ("PEFT's LoRA, merged", partial(_lora, merged=True)),
]

FAMILIES = [
    *(Family(_OWN, *row) for row in _NETWORKS),
    *(Family(_AROUND, name, make, _VECTORS) for name, make in _WRAPPED),
]
