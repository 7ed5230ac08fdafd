"""Views inside real, tiny networks of transformers: noise on the embedding, their own dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from network_reference import images, same_state, seeded, small_cnn, state_of
from tailcut.errors import DataError
from tailcut.network.head import find_head
from tailcut.network.inputs import mapped
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import logits_of
from tailcut.network.views import VIEWS, auto_views, noise_for

HIDDEN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT = {"vocab_size": 60, "intermediate_size": 32, **HIDDEN}
GPT = {"vocab_size": 60, "n_embd": 16, "n_layer": 2, "n_head": 2, "pad_token_id": 0}
DISTIL = {"vocab_size": 60, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
OPTIONS = {
    "RoFormer": BERT,
    "Bert": BERT,
    "DistilBert": DISTIL,
    "GPT2": GPT,
    "Llama": {**BERT, "pad_token_id": 0},
}
HIDING = ["tokens/4", "tokens/2", "tokens*3/4", "span/2"]
EMBEDDING = ["embedding", "embedding*2", "embedding*4"]


def sentences(seed=0):
    tokens_NT = torch.randint(4, 50, (6, 9), generator=seeded(seed))
    mask_NT = torch.ones_like(tokens_NT)
    tokens_NT[:, 0], tokens_NT[:, 8] = 1, 2
    tokens_NT[2, 5:], mask_NT[2, 5:] = 0, 0
    return {"input_ids": tokens_NT, "attention_mask": mask_NT}


def made(name, **more):
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(library, f"{name}Config")(**OPTIONS[name], num_labels=3, **more)
    return getattr(library, f"{name}ForSequenceClassification")(config).eval()


@pytest.fixture(params=OPTIONS)
def network(request):
    return made(request.param)


def features(view, model, batches, seed=0):
    head = find_head(model, batches[0])
    with view.on(model, seeded(seed)) as see:
        return torch.cat([head.features_and_logits(model, see(each))[0] for each in batches])


def test_texts_have_views_of_their_tokens_their_embedding_and_the_networks_dropout(network):
    names = [view.name for view in auto_views(sentences(), network)]
    dropout = [] if type(network).__name__.startswith("Llama") else ["dropout"]
    assert names == [*HIDING, *EMBEDDING, *dropout]
    assert noise_for(sentences(), network) == VIEWS["embedding*2"]


def test_a_view_is_that_of_its_seed_and_leaves_network_inputs_and_torch(network):
    before, inputs = state_of(network), sentences()
    kept = mapped(torch.clone, inputs)
    hooks = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in network.modules()]
    plain_NK = logits_of(network, inputs)
    batches, state = [inputs, sentences(1)], torch.get_rng_state()
    for view in auto_views(inputs, network):
        one, same, other = (features(view, network, batches, seed) for seed in (0, 0, 1))
        assert torch.equal(one, same), view.name
        assert not torch.equal(one, other), view.name
        assert torch.isfinite(one).all()
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.modules())
    assert same_state(state_of(network), before)
    assert all(torch.equal(inputs[key], kept[key]) for key in kept)
    after = [len(each._forward_hooks) + len(each._forward_pre_hooks) for each in network.modules()]
    assert after == hooks
    assert torch.equal(logits_of(network, inputs), plain_NK)


@pytest.mark.parametrize("name", ["embedding*2", "dropout"])
def test_only_inputs_that_were_seen_under_the_view_are_perturbed(name):
    model, inputs = made("Bert"), sentences()
    plain_NK = logits_of(model, inputs)
    with VIEWS[name].on(model, seeded()) as see:
        seen = see(inputs)
        perturbed_NK = logits_of(model, seen)
        assert torch.equal(logits_of(model, inputs), plain_NK)
        assert not torch.equal(perturbed_NK, plain_NK)
        assert torch.equal(logits_of(model, seen), perturbed_NK)
        assert not torch.equal(logits_of(model, see(inputs)), perturbed_NK)
    assert torch.equal(logits_of(model, seen), plain_NK)


def test_the_noise_is_on_the_embedding_of_the_tokens_and_as_large_as_it_is_called():
    model, inputs = made("Bert"), sentences()
    embeddings, received = model.bert.embeddings, []
    handle = embeddings.LayerNorm.register_forward_pre_hook(
        lambda _, args: received.append(args[0].clone())
    )
    with VIEWS["embedding*2"].on(model, seeded()) as see:
        for each in (inputs, *(see(inputs) for _ in range(50))):
            logits_of(model, each)
    handle.remove()
    plain, *noisy = (each for each in received if len(each) == len(inputs["input_ids"]))
    noise = torch.stack(noisy) - plain
    words_ND = embeddings.word_embeddings.weight.detach()[inputs["input_ids"]]
    spread = float(words_ND[inputs["attention_mask"] > 0].std(correction=0))
    assert float(noise.mean()) == pytest.approx(0, abs=0.02 * spread)
    assert float(noise.std()) == pytest.approx(2 * spread, rel=0.02)


def test_dropout_is_the_networks_own():
    model, inputs = made("Bert", hidden_dropout_prob=0.5), sentences()
    with VIEWS["dropout"].on(model, seeded()) as see:
        ours_NK = logits_of(model, see(inputs))
    seed = int(torch.randint(2**62, (), generator=seeded()))
    dropouts = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    for module in dropouts:
        module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs_NK = logits_of(model, inputs)
    assert torch.equal(ours_NK, theirs_NK)
    with VIEWS["dropout"].on(model, seeded()) as see:
        logits_of(model, see(inputs))
    assert all(module.training for module in dropouts)


def test_a_network_that_fails_under_a_view_is_as_before():
    model, inputs = made("Bert"), sentences()
    state = torch.get_rng_state()
    wrong = {**inputs, "input_ids": inputs["input_ids"] + 100}
    with VIEWS["dropout"].on(model, seeded()) as see, pytest.raises(DataError):
        logits_of(model, see(wrong))
    assert not any(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_layers_are_denoised_by_noise_on_the_embedding(network):
    inputs = sentences()
    noise = noise_for(inputs, network)
    layers = LayerMoments(network, 6, skip=[find_head(network, inputs).name])
    with noise.on(network, seeded()) as see:
        layers.update(inputs, see(inputs))
    assert set(layers.noise_grams) == set(layers.grams)
    assert all(float(each.abs().max()) > 0 for each in layers.noise_grams.values())
    quiet = LayerMoments(network, 6, skip=[find_head(network, inputs).name])
    quiet.update(inputs, inputs)
    assert not any(float(each.abs().max()) for each in quiet.noise_grams.values())


def test_one_tensor_of_integers_is_tokens_only_where_the_network_embeds_it():
    tokens = torch.randint(0, 50, (6, 5), generator=seeded())
    bag = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Dropout(0.3), nn.Linear(8, 3)).eval()
    assert [view.name for view in auto_views(tokens, bag)] == [*EMBEDDING, "dropout"]
    for view in auto_views(tokens, bag):
        assert not torch.equal(features(view, bag, [tokens]), features(view, bag, [tokens], 1))
    counts = nn.Sequential(nn.Linear(5, 3)).eval()
    counts.register_forward_pre_hook(lambda _, args: args[0].float())
    assert auto_views(tokens, counts) == []
    assert noise_for(tokens, counts) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("embedding", "a network that embeds token numbers"),
        ("dropout", "a network with dropout modules that drop something"),
    ],
)
def test_a_network_without_what_is_perturbed_is_refused(name, wanted):
    model = small_cnn()
    with VIEWS[name].on(model, seeded()) as see, pytest.raises(DataError) as caught:
        see(images())
    assert str(caught.value) == (
        f"Sequential for the view '{name}'; wanted {wanted}. "
        "Choose other views, or pass a callable of (inputs, generator)."
    )


def test_an_embedding_of_positions_that_is_called_with_a_shape_is_passed_by():
    model, inputs = made("RoFormer"), sentences()
    assert noise_for(inputs, model) is not None
