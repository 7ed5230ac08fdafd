"""`--backbone MODEL` of audit, repair and diagnose."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cli.test_audit_run import pictures
from parts import COLOURS
from tailcut.cli.main import main
from tailcut.network.pooled import MeanPooled

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "fine", "bad", "dull"]
SIZE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def test_a_factory_makes_the_backbone_and_the_run_says_so(tmp_path, monkeypatch, capsys):
    pictures(tmp_path / "set", 240, set(range(0, 240, 10)), seed=0)
    (tmp_path / "colours.py").write_text(COLOURS)
    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = "audit colours:model --data imagefolder:set --backbone colours:model --out run"
    assert main(words.split()) == 0
    assert "labels look wrong, by the features of the backbone (estimated " in (
        capsys.readouterr().out
    )
    known = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert known["backbone"] == "Colours"
    low, high = known["noise_interval"]
    assert low < 0.1 < high


@pytest.fixture(scope="module")
def berts(tmp_path_factory):
    """Folders of a tiny classifier of texts and of an encoder without a classifier."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

    place = tmp_path_factory.mktemp("berts")
    (place / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(0)
    for name, kind in (("classifier", BertForSequenceClassification), ("encoder", BertModel)):
        kind(BertConfig(**SIZE)).save_pretrained(place / name)
        BertTokenizerFast(str(place / "vocab.txt")).save_pretrained(place / name)
    return place


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_an_encoder_of_transformers_needs_no_head(berts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    true, wrong = np.arange(200) % 2, random.random(200) < 0.2
    texts = [" ".join(random.choice(WORDS[5 + 2 * z : 7 + 2 * z], 5)) for z in true]
    labels = np.where(wrong, 1 - true, true)
    lines = [f"{text}\t{label}" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "texts.tsv").write_text("\n".join(lines))
    words = f"audit hf:{berts}/classifier --data tsv:texts.tsv --backbone hf:{berts}/encoder"
    assert main(f"{words} --force --quiet --out run".split()) == 0
    known = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert known["backbone"] == "MeanPooled"
    scores = np.genfromtxt(tmp_path / "run" / "issues.csv", delimiter=",", names=True)["p_wrong"]
    assert roc_auc_score(wrong, scores) > 0.95


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_an_encoder_says_what_fine_tuning_changed(berts, tmp_path, monkeypatch):
    """Its names begin otherwise than those of the classifier that was made of it."""
    from transformers import BertForSequenceClassification

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    classes = np.arange(300) % 2
    texts = [" ".join(random.choice(WORDS[5 + 2 * z : 7 + 2 * z], 14)) for z in classes]
    lines = [f"{text}\t{label}" for text, label in zip(texts, classes, strict=True)]
    for name, rows in (("train", lines[:200]), ("holdout", lines[200:])):
        (tmp_path / f"{name}.tsv").write_text("\n".join(rows))
    torch.manual_seed(1)
    tuned = BertForSequenceClassification.from_pretrained(berts / "encoder")
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    tuned.save_pretrained("tuned")
    (tmp_path / "tuned" / "tokenizer.json").write_bytes(
        (berts / "encoder" / "tokenizer.json").read_bytes()
    )
    words = "diagnose hf:tuned --data tsv:train.tsv --holdout tsv:holdout.tsv --force --quiet"
    assert main(f"{words} --backbone hf:{berts}/encoder --out run".split()) == 0
    candidates = json.loads((tmp_path / "run" / "result.json").read_text())["candidates"]
    assert {each["fine_tuning"] for each in candidates} >= {None, 1, 2, 4, 8, 16, 32}


def test_padding_has_no_part_in_the_mean(berts):
    from transformers import BertModel

    model = MeanPooled(BertModel.from_pretrained(berts / "encoder"), 16).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    padded = torch.cat([ids, torch.zeros(1, 3, dtype=torch.long)], 1)
    with torch.no_grad():
        plain = model(ids)
        named = model(input_ids=padded, attention_mask=(padded > 0).long())
    torch.testing.assert_close(plain, named)


def test_a_backbone_that_is_no_word(tmp_path, monkeypatch, capsys):
    pictures(tmp_path / "set", 30, set(), seed=0)
    (tmp_path / "colours.py").write_text(COLOURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = "audit colours:model --data imagefolder:set --backbone"
    assert main([*words.split(), "resnet18"]) == 2
    assert "error: --backbone: no model called 'resnet18'" in capsys.readouterr().err
