"""Problems and networks; trainings that go on where they stopped."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from tailcut.errors import DataError, SpecError, StoreError
from tailcut.files.store import load_tensors, read_json
from tailcut.lab.data.cifar10 import cifar10_problem, parquet
from tailcut.lab.data.digits import digits, digits_problem
from tailcut.lab.data.problems import Problem
from tailcut.lab.noise.kinds import noise_of
from tailcut.lab.samples import Samples
from tailcut.lab.training.augmentation import flipped_and_cropped
from tailcut.lab.training.experiment import STATES, conduct, save
from tailcut.lab.training.networks import Attention, build
from tailcut.lab.training.recipe import OPTIMISERS, SCHEDULES, Recipe
from tailcut.lab.training.sgd import train
from tailcut.network.head import find_head
from tailcut.network.layer_moments import LayerMoments
from tailcut.network.stream import accuracy


def test_a_problem_shares_no_sample_between_its_parts():
    problem = digits_problem(rate=0.4, seed=3)
    parts = (problem.train, problem.holdout, problem.test)
    assert [len(part) for part in parts] == [1100, 200, 497]
    rows = torch.cat([part.inputs for part in parts]).flatten(1)
    assert len(rows.unique(dim=0)) == len(digits().inputs.flatten(1).unique(dim=0))
    wrong = (problem.train.given != problem.train.clean).double().mean()
    assert abs(wrong - 0.4) < 0.05
    assert problem.test.clean is None or torch.equal(problem.test.given, problem.test.clean)


def test_a_pool_that_is_too_small_is_refused():
    noise = noise_of("symmetric", 0.4)
    with pytest.raises(DataError) as error:
        Problem.of(digits(), digits(), train=1700, holdout=200, noise=noise, seed=0)
    assert str(error.value) == (
        "1700 training and 200 held-out samples from a pool of 1797; wanted at most 1797 "
        "together. Lower one of them."
    )


def test_a_loader_shuffles_anew_for_every_seed_and_tells_the_rows():
    samples = digits()
    _, labels, rows = next(iter(samples.loader(100, shuffle=True, seed=1)))
    assert torch.equal(samples.given[rows], labels)
    assert not torch.equal(rows, next(iter(samples.loader(100, shuffle=True, seed=2)))[2])


def test_pixels_become_floats_from_0_to_1():
    samples = Samples(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.tensor([0]))
    assert samples[[0]][0].flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "features"),
    [("mlp", 512), ("mlp-64", 64), ("cnn-4", 64), ("resnet-4", 32), ("vit", 64), ("vit-18", 18)],
)
def test_every_network_has_a_head_of_the_width_that_was_dialled(name, features):
    model = build(name, (3, 32, 32), 7).eval()
    head = find_head(model, torch.rand(4, 3, 32, 32))
    assert (head.width, head.classes) == (features, 7)


def test_a_network_that_does_not_exist_is_named():
    with pytest.raises(SpecError) as error:
        build("vgg", (3, 32, 32), 10)
    assert str(error.value) == (
        "no lab network 'vgg'; wanted one of cnn, linear, maxcnn, mlp, resnet, vit, with a "
        "width if you like: resnet-16. Correct the name."
    )


def test_a_vision_transformer_has_no_batchnorm_and_only_layers_that_can_be_truncated():
    model = build("vit", (1, 8, 8), 10).eval()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert 100_000 < sum(parameter.numel() for parameter in model.parameters()) < 300_000
    layers = LayerMoments(model, 4).update(torch.rand(4, 1, 8, 8)).grams
    weights = {name for name, tensor in model.named_parameters() if tensor.ndim > 1}
    assert {f"{name}.weight" for name in layers} == weights - {"1.position"}


def test_attention_of_the_lab_is_that_of_torch():
    torch.manual_seed(0)
    ours, theirs = Attention(8), nn.MultiheadAttention(8, 4, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.weight, theirs.out_proj.bias = ours.proj.weight, ours.proj.bias
    inputs = torch.randn(3, 5, 8)
    torch.testing.assert_close(ours(inputs), theirs(inputs, inputs, inputs)[0])


class StopError(Exception):
    """A power cut."""


@pytest.mark.parametrize(
    "recipe", [Recipe(epochs=5), Recipe(epochs=5, schedule="one-cycle", optimiser="adamw")]
)
def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path, recipe):
    problem = digits_problem(rate=0.4, seed=0, train=300)

    def network():
        torch.manual_seed(0)
        return build("cnn-4", (1, 8, 8), 10)

    def stop(epoch):
        if epoch.epoch == 3:
            raise StopError

    whole = train(network(), problem, recipe)
    with pytest.raises(StopError):
        train(network(), problem, recipe, checkpoint=tmp_path / "c.pt", on_epoch=stop)
    seen = []
    again = train(network(), problem, recipe, checkpoint=tmp_path / "c.pt", on_epoch=seen.append)
    assert [epoch.epoch for epoch in seen] == [3, 4, 5]
    for name in STATES:
        a, b = getattr(whole, name), getattr(again, name)
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert [e.loss for e in whole.epochs] == [e.loss for e in again.epochs]


def test_a_damaged_checkpoint_is_told_from_a_missing_one(tmp_path):
    (tmp_path / "c.pt").write_bytes(b"half a file")
    with pytest.raises(StoreError, match=r"c\.pt (cannot be read|holds more)"):
        train(
            build("mlp", (1, 8, 8), 10),
            digits_problem(rate=0.4, seed=0),
            Recipe(epochs=1),
            checkpoint=tmp_path / "c.pt",
        )


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    problem, recipe = digits_problem(rate=0.4, seed=0, train=100), Recipe(epochs=1)
    network, path = build("mlp-8", (1, 8, 8), 10), tmp_path / "c.pt"
    train(network, problem, recipe, seed=1, checkpoint=path)
    with pytest.raises(StoreError) as error:
        train(network, problem, recipe, seed=2, checkpoint=path)
    assert str(error.value).startswith(f"{path} is of another training: {{'epochs'")
    assert str(error.value).endswith("Delete it, or train into another directory.")


def test_a_recipe_with_other_words_is_refused():
    with pytest.raises(SpecError) as error:
        Recipe(schedule="linear", optimiser="adam")
    assert str(error.value) == (
        "the schedule 'linear' and the optimiser 'adam'; wanted cosine or one-cycle, and sgd or "
        "adamw. Correct the recipe."
    )


@pytest.mark.parametrize(("schedule", "largest"), [("cosine", 0), ("one-cycle", 30)])
def test_the_learning_rate_is_largest_where_the_schedule_says(schedule, largest):
    recipe = Recipe(learning_rate=0.2, schedule=schedule)
    optimiser = OPTIMISERS["sgd"]([nn.Parameter(torch.zeros(1))], recipe)
    falling = SCHEDULES[schedule](optimiser, recipe, 100)
    rates = [optimiser.param_groups[0]["lr"]]
    for _ in range(100):
        optimiser.step()
        falling.step()
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[largest] == pytest.approx(0.2, rel=1e-3)
    assert rates[:largest] == sorted(rates[:largest])
    assert rates[largest:] == sorted(rates[largest:], reverse=True)
    assert rates[-1] < 1e-6


@dataclass(frozen=True, eq=False)
class Tokens(Samples):
    def __getitem__(self, rows):
        ids, given, rows = super().__getitem__(rows)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, given, rows


def test_a_network_of_keyword_tensors_is_trained_as_transformers_has_it():
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=20, hidden_size=16, num_labels=2, **sizes)
    ids = torch.randint(2, 20, (200, 6))
    samples = Tokens(ids, (ids[:, 1] > 10).long())
    noise = noise_of("symmetric", 0.0)
    problem = Problem.of(samples, samples, train=150, holdout=50, noise=noise, seed=0)
    recipe = Recipe(epochs=30, batch_size=16, learning_rate=3e-3, optimiser="adamw")
    trained = train(BertForSequenceClassification(config), problem, recipe)
    assert trained.epochs[-1].test > 0.9


def test_a_recipe_of_nothing_is_refused():
    with pytest.raises(DataError) as error:
        Recipe(epochs=0)
    assert str(error.value) == (
        "0 epochs of batches of 64; wanted at least 1 of each. Correct the recipe."
    )


def test_early_stopping_keeps_the_states_of_the_best_epochs(memoriser):
    trained, problem = memoriser.trained, memoriser.problem
    assert trained.oracle_epoch.test == max(epoch.test for epoch in trained.epochs)
    baselines = memoriser.baselines()
    assert baselines["oracle early stopping"] == trained.oracle_epoch.test
    assert baselines["noisy-holdout early stopping"] == trained.noisy_epoch.test
    assert baselines["last epoch"] == trained.epochs[-1].test
    assert accuracy(memoriser.network, problem.test.loader()) == trained.epochs[-1].test


def test_an_experiment_is_saved_as_files_that_repair_can_read(tmp_path):
    problem = digits_problem(rate=0.4, seed=0, train=300)
    done = conduct("mlp-32", problem, Recipe(epochs=2), seed=0)
    save(done, tmp_path, {"network": "mlp-32"})
    assert load_tensors(tmp_path / "last.safetensors").keys() == done.network.state_dict().keys()
    assert read_json(tmp_path / "result.json")["network"] == "mlp-32"
    with np.load(tmp_path / "train.npz") as arrays:
        assert sorted(arrays.files) == ["clean", "inputs", "labels"]
        assert arrays["labels"].tolist() == problem.train.given.tolist()


def test_augmentation_flips_half_and_shifts_by_an_eighth_at_most():
    images = torch.zeros(400, 1, 32, 32)
    images[:, :, 16, 10] = 1
    seen = flipped_and_cropped(images, torch.Generator().manual_seed(0))
    rows_N, columns_N = (seen.amax(axis).argmax(-1).flatten() for axis in (3, 2))
    assert set((rows_N - 16).tolist()) == set(range(-4, 5))
    mirrored_N = columns_N > 15
    assert 0.4 < mirrored_N.double().mean() < 0.6
    assert set((columns_N[~mirrored_N] - 10).tolist()) == set(range(-4, 5))
    assert set((columns_N[mirrored_N] - 21).tolist()) == set(range(-4, 5))


def test_augmented_training_sees_other_images_and_repeats_itself():
    problem, recipe = digits_problem(rate=0.4, seed=0, train=100), Recipe(epochs=2, augment=True)

    def run(recipe):
        torch.manual_seed(0)
        return train(build("cnn-2", (1, 8, 8), 10), problem, recipe).epochs

    assert [e.loss for e in run(recipe)] == [e.loss for e in run(recipe)]
    assert run(recipe)[0].loss != run(Recipe(epochs=2))[0].loss


def test_cifar_comes_out_of_its_parquet_files(cifar10_folder):
    test = parquet(cifar10_folder / "test.parquet")
    assert test.inputs.shape == (10_000, 3, 32, 32)
    assert test.given.bincount().tolist() == [1000] * 10
    problem = cifar10_problem(rate=0.4, seed=0, train=500, holdout=100, folder=cifar10_folder)
    assert [len(part) for part in (problem.train, problem.holdout, problem.test)] == [
        500,
        100,
        10_000,
    ]


def test_a_folder_without_cifar_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError) as error:
        cifar10_problem(rate=0.4, seed=0, folder=tmp_path)
    assert str(error.value) == (
        f"no file at {tmp_path}/train.parquet; wanted a parquet file of images and labels. Check "
        "the path; for CIFAR-10 set TAILCUT_DATA to the folder of cifar10/."
    )
