"""What docs/hosts.md says is run, on small networks that know wrong labels by heart."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tailcut
from documents import ROOT, blocks, run
from tailcut.lab.data.digits import digits_problem

PAGE = "docs/hosts.md"
TORCHVISION, TIMM = "torchvision.models.get_model", "timm.create_model"
IMAGES, TEXTS = "ImageFolder", "AutoTokenizer"
HUGGING_FACE = "AutoModelForSequenceClassification"
FINE_TUNED = "backbone=before"
PIPELINE, DIRECTIONS, SKORCH = "SpectralTruncationClassifier()", "SpectralTruncation()", "module_"
PROBE = "SpectralProbe"
ALL = {
    TORCHVISION,
    TIMM,
    IMAGES,
    TEXTS,
    HUGGING_FACE,
    FINE_TUNED,
    PIPELINE,
    DIRECTIONS,
    SKORCH,
    PROBE,
}


def test_every_block_is_run():
    told = blocks(PAGE)
    assert len(told) == len(ALL)
    assert all(sum(word in block for block in told) == 1 for word in ALL)


@pytest.fixture(scope="module")
def digits():
    return digits_problem(rate=0.4, seed=0, train=160, holdout=100)


def pictures(samples):
    """In three colours, N x 3 x 8 x 8."""
    return samples.inputs.repeat(1, 3, 1, 1)


def loader(samples):
    return DataLoader(TensorDataset(pictures(samples), samples.given), 64)


@torch.no_grad()
def memorised(model, head, batches, called=lambda model, inputs: model(inputs)):
    """A head that gives every label as it is given: fewer samples than features, least squares."""
    seen, given = [], []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.eval()
    for inputs, labels in batches:
        called(model, inputs)
        given.append(labels)
    hook.remove()
    features_ND, given_N = torch.cat(seen).double(), torch.cat(given)
    features_ND = torch.cat([features_ND, torch.ones(len(given_N), 1)], 1)
    wanted_NK = 10 * nn.functional.one_hot(given_N, head.out_features).double()
    found_DK = torch.linalg.lstsq(features_ND, wanted_NK, driver="gelsd").solution
    head.weight.copy_(found_DK[:-1].T)
    head.bias.copy_(found_DK[-1])
    said_NK = features_ND.float() @ torch.cat([head.weight, head.bias[:, None]], 1).T
    assert (said_NK.argmax(1) == given_N).float().mean() > 0.95
    return model


def test_the_lines_for_torchvision_run(digits, tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor
    from torchvision.utils import save_image

    monkeypatch.chdir(tmp_path)
    for part, samples in {"train": digits.train, "val": digits.holdout}.items():
        for number, (image, given) in enumerate(zip(pictures(samples), samples.given, strict=True)):
            folder = tmp_path / part / str(int(given))
            folder.mkdir(parents=True, exist_ok=True)
            save_image(image, folder / f"{number}.png")
    names = {"DataLoader": DataLoader, "ImageFolder": ImageFolder, "transform": ToTensor()}
    names = run(PAGE, IMAGES, names)
    torch.manual_seed(0)
    model = torchvision.models.get_model("resnet18", num_classes=10)
    torch.save(memorised(model, model.fc, names["train"]).state_dict(), "last.pth")
    names |= {"torchvision": torchvision, "torch": torch, "tailcut": tailcut}
    assert run(PAGE, TORCHVISION, names)["fix"].verdict == "cut"
    model.load_state_dict(torch.load("repaired.pth"), strict=True)


def test_the_lines_for_timm_run(digits, tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    from safetensors.torch import load_file, save_file

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=10)
    train = loader(digits.train)
    save_file(memorised(model, model.get_classifier(), train).state_dict(), "last.safetensors")
    names = {"timm": timm, "tailcut": tailcut, "save_file": save_file}
    names |= {"train": train, "holdout": loader(digits.holdout)}
    assert run(PAGE, TIMM, names)["fix"].verdict == "cut"
    model.load_state_dict(load_file("repaired.safetensors"), strict=True)


def reviews(samples, seed):
    """Texts of which every second word speaks of the digit."""
    draw = np.random.default_rng(seed)
    words = [
        [f"w{true}{draw.integers(3)}" if n % 2 else f"any{draw.integers(20)}" for n in range(8)]
        for true in samples.true_N.tolist()
    ]
    return {"text": [" ".join(each) for each in words], "label": samples.given.tolist()}


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with an untrained BERT and its tokenizer, as the hub has them, and an encoder's."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "me" / "reviews"
    folder.mkdir(parents=True)
    words = [f"w{digit}{n}" for digit in range(10) for n in range(3)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *(f"any{n}" for n in range(20))]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 192, "intermediate_size": 192, "max_position_embeddings": 16}
    depth = {"num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": len(words)}
    config = transformers.BertConfig(num_labels=10, initializer_range=0.1, **sizes, **depth)
    torch.manual_seed(0)
    network = transformers.BertForSequenceClassification(config)
    network.save_pretrained(folder)
    with torch.no_grad():
        for parameter in network.bert.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    network.bert.save_pretrained(tmp_path / "me" / "encoder")
    return folder


def test_the_lines_for_transformers_run(digits, checkpoint, tmp_path, monkeypatch):
    transformers, datasets = (pytest.importorskip(name) for name in ("transformers", "datasets"))

    monkeypatch.chdir(tmp_path)
    parts = {"train": reviews(digits.train, 0), "validation": reviews(digits.holdout, 1)}
    words = ("AutoTokenizer", "DataCollatorWithPadding", "AutoModel", HUGGING_FACE)
    names = {word: getattr(transformers, word) for word in words}
    names |= {"DataLoader": DataLoader, "tailcut": tailcut}
    made = {part: datasets.Dataset.from_dict(texts) for part, texts in parts.items()}
    names = run(PAGE, TEXTS, names | {"texts": datasets.DatasetDict(made)})
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint)
    batches = [
        ({name: each[name] for name in ("input_ids", "attention_mask")}, each["labels"])
        for each in names["train"]
    ]
    memorised(model, model.classifier, batches, lambda model, inputs: model(**inputs))
    model.save_pretrained(checkpoint)
    assert run(PAGE, HUGGING_FACE, names)["fix"].verdict == "cut"
    tuned = run(PAGE, FINE_TUNED, names)["fix"].candidates["fine_tuning"]
    assert set(tuned.dropna()) == {1, 2, 4, 8, 16, 32}
    saved = tmp_path / "runs" / "reviews" / "repaired"
    transformers.AutoModelForSequenceClassification.from_pretrained(saved)
    transformers.AutoTokenizer.from_pretrained(saved)
    assert (saved / "README.md").is_file()


@pytest.fixture(scope="module")
def vectors():
    """More of the digits, as vectors."""
    return digits_problem(rate=0.4, seed=0, train=600, holdout=300)


def rows_of(samples):
    return samples.inputs.flatten(1).numpy(), samples.given.numpy()


def test_the_lines_for_scikit_learn_run(vectors):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tailcut.sklearn import SpectralTruncationClassifier

    features, labels = rows_of(vectors.train)
    names = {"make_pipeline": make_pipeline, "StandardScaler": StandardScaler}
    names |= {"SpectralTruncationClassifier": SpectralTruncationClassifier}
    names = run(PAGE, PIPELINE, names | {"features": features, "labels": labels})
    assert 0.3 < names["classifier"][-1].noise_rate_ < 0.5
    assert (names["said"] == vectors.train.true_N.numpy()).mean() > 0.8


def net_of(width, epochs):
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(0)
    return skorch.NeuralNetClassifier(
        nn.Sequential(nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, 10)),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=epochs,
        batch_size=50,
        train_split=None,
        verbose=0,
    )


def test_the_directions_go_before_a_network_of_skorch(vectors):
    net = net_of(64, 5)
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from tailcut.sklearn import SpectralTruncation

    features, labels = rows_of(vectors.train)
    names = {"make_pipeline": make_pipeline, "FunctionTransformer": FunctionTransformer, "np": np}
    names |= {"SpectralTruncation": SpectralTruncation, "net": net}
    names = run(PAGE, DIRECTIONS, names | {"features": features, "labels": labels})
    held, _ = rows_of(vectors.holdout)
    assert (names["classifier"].predict(held) == vectors.holdout.true_N.numpy()).mean() > 0.7


def test_a_network_of_skorch_is_repaired_as_one_of_torch(vectors):
    features, labels = rows_of(vectors.train)
    names = {"net": net_of(128, 40), "tailcut": tailcut, "features": features, "labels": labels}
    names |= {
        part: DataLoader(TensorDataset(samples.inputs.flatten(1), samples.given), 100)
        for part, samples in {"train": vectors.train, "holdout": vectors.holdout}.items()
    }
    fix = run(PAGE, SKORCH, names)["fix"]
    held, true_N = vectors.holdout.inputs.flatten(1), vectors.holdout.true_N
    before = (names["net"].module_(held).argmax(1) == true_N).float().mean()
    assert fix.verdict == "cut"
    assert (fix.model(held).argmax(1) == true_N).float().mean() > before + 0.1


def test_the_lines_for_a_training_run(vectors, tmp_path, monkeypatch):
    pytest.importorskip("lightning")
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import CSVLogger

    from hosts import QUIET, LightningNetwork
    from tailcut.lightning import SpectralProbe

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    names = {
        part: DataLoader(TensorDataset(samples.inputs.flatten(1), samples.given), 10)
        for part, samples in {"train": vectors.train, "holdout": vectors.holdout}.items()
    }
    names |= {"SpectralProbe": SpectralProbe, "CSVLogger": CSVLogger}
    names |= {"module": LightningNetwork(network), "Trainer": functools.partial(Trainer, **QUIET)}
    probe = run(PAGE, PROBE, names)["probe"]
    assert len(probe.readings) == 3
    assert probe.repair_ is not None
    assert "tailcut/alarm" in (tmp_path / "logs/lightning_logs/version_0/metrics.csv").read_text()


def test_the_readme_leads_to_the_page():
    assert f"]({PAGE})" in (ROOT / "README.md").read_text(encoding="utf-8")
