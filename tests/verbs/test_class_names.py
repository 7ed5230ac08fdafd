"""Class names of network and data are compared where both are there."""

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset
from transformers import BertConfig, BertForSequenceClassification

import tailcut
from tailcut.verbs.class_names import names_of_data, require_same_names

NAMES = ["Cat", "dog", "sea lion"]


def network(names):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return BertForSequenceClassification(
        BertConfig(vocab_size=9, intermediate_size=8, id2label=dict(enumerate(names)), **sizes)
    )


def data(names, attribute="classes"):
    samples = TensorDataset(torch.ones(6, 4).long(), torch.arange(6) % 3)
    setattr(samples, attribute, names)
    return DataLoader(samples, batch_size=3)


def test_another_order_is_refused_and_named():
    with pytest.raises(tailcut.DataError) as error:
        tailcut.repair(network(NAMES), data(["cat", "sea lion", "dog"]), progress=False)
    assert str(error.value) == (
        "class 1 of the data is 'sea lion', which the network has as class 2 (its class 1 is "
        "'dog'); wanted classes in the order of the network's config.id2label. Number the labels "
        "by its label2id (on the command line by --class-map), or correct id2label; force=True "
        "(--force) goes on all the same."
    )


@pytest.mark.parametrize("verb", ["repair", "diagnose", "find_label_issues"])
def test_every_verb_compares_and_every_one_can_be_forced(verb):
    model, loader = network(NAMES), data(["dog", "Cat", "sea lion"])
    with pytest.raises(tailcut.DataError, match="class 0 of the data is 'dog'"):
        getattr(tailcut, verb)(model, loader, progress=False)
    with pytest.raises(tailcut.DataError) as error:  # of the labels, which are no names
        getattr(tailcut, verb)(model, [(torch.ones(6, 4), ["a"] * 6)], force=True, progress=False)
    assert "labels that are not numbers" in str(error.value)


def test_the_holdout_is_compared_too():
    model = network(NAMES)
    with pytest.raises(tailcut.DataError, match="class 0 of the data is 'dog'"):
        tailcut.repair(model, data(NAMES), data(["dog", "Cat", "sea lion"]), progress=False)


@pytest.mark.parametrize(
    "names",
    [
        NAMES,
        ["cat", "DOG", "sea_lion"],  # case and separators do not count
        ["Cat", "dog"],  # classes that the data lacks
        ["n02123045", "n02084071", "n02077923"],  # names of another vocabulary tell nothing
        ["0", "1", "2"],
        [],
    ],
)
def test_names_that_agree_or_tell_nothing_pass(names):
    require_same_names(network(NAMES), data(names))


def test_networks_and_data_without_names_pass():
    require_same_names(network(["LABEL_0", "LABEL_1", "LABEL_2"]), data(NAMES))
    require_same_names(torch.nn.Linear(3, 3), data(NAMES))
    require_same_names(network(NAMES), [(torch.ones(3, 4), torch.arange(3))])


def test_names_are_found_behind_subsets_and_in_class_labels():
    from datasets import ClassLabel, Dataset, Features, Value

    assert names_of_data(DataLoader(Subset(Subset(data(NAMES).dataset, [1, 2]), [0]))) == NAMES
    assert names_of_data(data(tuple(NAMES), "class_names")) == tuple(NAMES)
    columns = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    table = Dataset.from_dict({"text": ["a"], "label": [2]}, features=columns)
    assert names_of_data(DataLoader(table)) == NAMES
