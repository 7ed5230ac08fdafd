"""MODEL and DATA words on real files and real libraries."""

import io
import json
import sys
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import tailcut
from tailcut.cli import datasets as sources
from tailcut.cli import models
from tailcut.cli.main import main
from tailcut.network.batches import read

CLASSES = 3


def pictures(n, side=40):
    """Images of one colour for each class, with noise."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % CLASSES
    pixels = random.integers(0, 80, (n, side, side, 3))
    pixels[np.arange(n), :, :, labels] += 150
    return [Image.fromarray(each.astype(np.uint8)) for each in pixels], labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    images, labels = pictures(90)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / f"class-{label}").mkdir(exist_ok=True)
        image.save(root / f"class-{label}" / f"{number:03}.png")
    return root


def loaded(word, model="lab:mlp", batch_size=32):
    rows = sources.rows(word)
    return rows, list(read(rows.batches(models.network(model).collate, batch_size)))


def test_an_image_folder_has_one_class_for_each_subfolder(folder):
    rows, batches = loaded(f"imagefolder:{folder}")
    assert rows.labels_N.tolist() == [0] * 30 + [1] * 30 + [2] * 30
    assert batches[0].inputs.shape == (32, 3, 40, 40)
    assert 0 <= float(batches[0].inputs.min()) < float(batches[0].inputs.max()) <= 1
    assert batches[-1].index.tolist() == list(range(64, 90))


def test_a_parquet_file_of_the_hub_is_read(tmp_path):
    images, labels = pictures(9)
    cells = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, "png")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    path = tmp_path / "train.parquet"
    pd.DataFrame({"img": cells, "label": labels}).to_parquet(path)
    rows, batches = loaded(f"parquet:{path}[3:]")
    assert rows.labels_N.tolist() == [0, 1, 2] * 2
    expected = torch.from_numpy(np.array(images[3])).movedim(-1, 0) / 255
    assert torch.equal(batches[0].inputs[0], expected)


def test_a_parquet_file_of_another_form_is_told(tmp_path):
    path = tmp_path / "train.parquet"
    pd.DataFrame({"pixels": [1], "label": [0]}).to_parquet(path)
    with pytest.raises(tailcut.DataError) as error:
        sources.rows(f"parquet:{path}")
    assert str(error.value) == (
        "train.parquet has the columns ['pixels', 'label']; wanted one column of labels (label, "
        "labels, fine_label) and one of items (img, image, text, sentence). Rename the columns, "
        "or choose with --image-column, --text-column, --label-column."
    )


def test_npz_brings_true_labels_along(tmp_path):
    np.savez(
        tmp_path / "a.npz", inputs=np.zeros((4, 5), "float32"), labels=[0, 1, 0, 1], clean=[0] * 4
    )
    rows, batches = loaded(f"npz:{tmp_path}/a.npz[1:3]")
    assert rows.clean_N.tolist() == [0, 0]
    assert batches[0].inputs.shape == (2, 5)


def test_npz_without_labels_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.zeros((4, 5)))
    with pytest.raises(tailcut.SpecError) as error:
        sources.rows(f"npz:{tmp_path}/a.npz")
    assert str(error.value) == (
        f"{tmp_path}/a.npz holds the arrays ['inputs']; wanted inputs and labels, and perhaps "
        "clean. Save it with numpy.savez(path, inputs=..., labels=...)."
    )


def test_labels_in_a_file_are_never_rounded(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.zeros((2, 5)), labels=[0.6, 1.9])
    with pytest.raises(tailcut.DataError, match=r"a\.npz has labels of type torch\.float64"):
        sources.rows(f"npz:{tmp_path}/a.npz")


def test_npz_never_unpickles(tmp_path):
    np.savez(tmp_path / "a.npz", inputs=np.array([print], dtype=object), labels=[0])
    with pytest.raises(tailcut.SpecError, match="allow_pickle=False"):
        sources.rows(f"npz:{tmp_path}/a.npz")


@pytest.mark.parametrize("kind", ["npz", "parquet", "tsv"])
def test_a_damaged_file_is_told(tmp_path, kind):
    (tmp_path / "a").write_bytes(b"PK\x03\x04\xff half a file")
    with pytest.raises(tailcut.SpecError) as error:
        sources.rows(f"{kind}:{tmp_path}/a")
    assert str(error.value).startswith(f"'{kind}:{tmp_path}/a' cannot be read (")
    assert str(error.value).endswith(
        "; wanted whole files of the form that the word names. Check the path and the form; "
        "parquet files and images need tailcut[images]."
    )


def test_an_image_that_is_none_is_told_with_its_row(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a.png").write_bytes(b"no image")
    with pytest.raises(tailcut.DataError, match="row 0 cannot be opened"):
        loaded(f"imagefolder:{tmp_path}")


def test_greyscale_images_keep_their_one_channel(tmp_path):
    (tmp_path / "0").mkdir()
    Image.new("L", (6, 4)).save(tmp_path / "0" / "a.png")
    assert loaded(f"imagefolder:{tmp_path}")[1][0].inputs.shape == (1, 1, 4, 6)


def test_tsv_with_and_without_a_header(tmp_path):
    (tmp_path / "plain.tsv").write_text("good film\t1\nbad\tfilm\t0\n")
    (tmp_path / "glue.tsv").write_text("sentence\tlabel\ngood film\t1\n")
    plain, glue = (
        sources.rows(f"tsv:{tmp_path}/plain.tsv"),
        sources.rows(f"tsv:{tmp_path}/glue.tsv"),
    )
    assert (plain.items, plain.labels_N.tolist()) == (["good film", "bad\tfilm"], [1, 0])
    assert (glue.items, glue.labels_N.tolist()) == (["good film"], [1])


def test_tsv_with_class_names_is_told(tmp_path):
    (tmp_path / "a.tsv").write_text("good\t1\nbad\tnegative\n")
    with pytest.raises(tailcut.SpecError) as error:
        sources.rows(f"tsv:{tmp_path}/a.tsv")
    assert str(error.value) == (
        f"line 2 of {tmp_path}/a.tsv has the label 'negative'; wanted an integer label. Give the "
        "numbers that the network was trained on with --class-map FILE (name and number of each "
        "class)."
    )


def test_images_for_a_text_model_are_refused(folder):
    rows = sources.rows(f"imagefolder:{folder}")
    with pytest.raises(tailcut.SpecError) as error:
        rows.batches({"text": list}, 8)
    assert str(error.value) == (
        "image data for a network that reads text; wanted data of that kind. Check MODEL and "
        "DATA, or pass a factory package.module:function for either."
    )


def test_images_of_several_sizes_are_refused(tmp_path):
    for label, side in enumerate((8, 9)):
        (tmp_path / str(label)).mkdir()
        Image.new("RGB", (side, side)).save(tmp_path / str(label) / "a.png")
    with pytest.raises(tailcut.DataError) as error:
        loaded(f"imagefolder:{tmp_path}")
    assert str(error.value) == (
        "inputs of the shapes (3, 8, 8), (3, 9, 9) in one batch; wanted one shape. Resize the "
        "images, or pass a factory package.module:function."
    )


def test_factories_of_a_package_give_model_and_data(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "parts.py").write_text(
        "import torch\n"
        "def model():\n    torch.manual_seed(0)\n    return torch.nn.Linear(4, 3)\n"
        "def data():\n    torch.manual_seed(0)\n"
        "    return [(torch.randn(30, 4), torch.arange(30) % 3)]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    words = (
        "repair shop.parts:model --data shop.parts:data --readout project --rank 2 --force --quiet"
    )
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["rank"] == 2


@pytest.mark.parametrize(
    "word", ["torchvision:shufflenet_v2_x0_5", "torchvision:mobilenet_v3_small", "timm:lcnet_035"]
)
def test_a_checkpoint_of_an_image_library_is_repaired_from_its_files(folder, tmp_path, word):
    kind, _, name = word.partition(":")
    if kind == "timm":
        import timm

        model = timm.create_model(name, num_classes=CLASSES)
    else:
        from torchvision.models import get_model

        model = get_model(name, num_classes=CLASSES)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    words = f"repair {word} --weights {tmp_path}/w.safetensors --data imagefolder:{folder}"
    words += (
        f" --views none --depth head --readout lda --rank 5 --force --out {tmp_path}/run --quiet"
    )
    assert main(words.split()) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["readout"] == "lda"


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory):
    """A tiny BERT with its tokenizer, as `save_pretrained` leaves them, and texts."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    root = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "plot", "fine"]
    (root / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(root / "vocab.txt")).save_pretrained(root)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    BertForSequenceClassification(config).save_pretrained(root)
    lines = [f"{'good' if n % 2 else 'bad'} {'film plot'[: 4 + n % 6]}\t{n % 2}" for n in range(40)]
    (root / "train.tsv").write_text("\n".join(lines))
    other = [
        f"{'fine' if n % 2 else 'film bad'} {'plot ' * (n % 9)}fine\t{n % 2}" for n in range(20)
    ]
    (root / "other.tsv").write_text("\n".join(other))
    return root


def test_a_text_classifier_needs_no_dials(sentiment, tmp_path, capsys):
    words = f"repair hf:{sentiment} --data tsv:{sentiment}/train.tsv[:20] --out {tmp_path}"
    words += f" --holdout tsv:{sentiment}/other.tsv --force --json"
    assert main(words.split()) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] in {"cut", "leave"}


def test_a_text_classifier_of_a_hub_folder_is_repaired_into_such_a_folder(sentiment, tmp_path):
    from transformers import AutoModelForSequenceClassification

    words = f"repair hf:{sentiment} --data tsv:{sentiment}/train.tsv --views none --depth head"
    words += f" --readout lda --rank 3 --force --out {tmp_path} --quiet"
    assert main(words.split()) == 0
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "repaired")
    before = AutoModelForSequenceClassification.from_pretrained(sentiment)
    assert model.state_dict().keys() == before.state_dict().keys()
    assert not torch.equal(model.classifier.weight, before.classifier.weight)
    back = tailcut.load(tmp_path, before)
    assert torch.equal(back.model.classifier.weight, model.classifier.weight)


def test_a_data_set_of_the_hub_is_read_from_a_local_folder(sentiment, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    table = pd.DataFrame({"text": ["good film", "bad plot"] * 5, "label": [1, 0] * 5})
    (tmp_path / "set").mkdir()
    table.to_csv(tmp_path / "set" / "train.csv", index=False)
    rows, batches = loaded(f"hf:{tmp_path}/set[:6]", model=f"hf:{sentiment}")
    assert rows.labels_N.tolist() == [1, 0] * 3
    assert set(batches[0].inputs) >= {"input_ids", "attention_mask"}


def as_shard(path, texts, labels):
    with tarfile.open(path, "w") as archive:
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            for ending, held in (("txt", text.encode()), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{number:03}.{ending}")
                member.size = len(held)
                archive.addfile(member, io.BytesIO(held))


def test_the_same_texts_in_any_form_give_the_same_repair(sentiment, tmp_path, monkeypatch, capsys):
    """Also as a stream, and as the last rows of a longer file."""
    import datasets

    datasets.disable_progress_bars()
    lines = (sentiment / "train.tsv").read_text().splitlines()
    texts, labels = zip(*[line.split("\t") for line in lines], strict=True)
    frame = pd.DataFrame({"id": range(40), "review": texts, "label": [int(x) for x in labels]})
    frame.to_json(tmp_path / "a.json", orient="records")
    more = pd.concat([frame.tail(3), frame])
    more.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    more.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    datasets.Dataset.from_pandas(frame).save_to_disk(str(tmp_path / "kept"))
    as_shard(tmp_path / "a.tar", texts, labels)
    (tmp_path / "streams_of_texts.py").write_text(
        "import datasets\n"
        "def stream():\n"
        f"    return datasets.load_from_disk({str(tmp_path / 'kept')!r}).to_iterable_dataset()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    options = [
        "--views",
        "none",
        "--depth",
        "head",
        "--readout",
        "lda",
        "--rank",
        "3",
        "--force",
        "--json",
    ]
    found = {}
    for word in (
        f"tsv:{sentiment}/train.tsv",
        *(f"{kind}:{tmp_path}/a.{kind}" for kind in ("json", "parquet")),
        *(f"{kind}:{tmp_path}/a.{kind}[-40:]" for kind in ("jsonl", "csv")),
        f"hf:{tmp_path}/kept",
        f"webdataset:{tmp_path}/a.tar",
        "streams_of_texts:stream",
    ):
        column = [] if word[:3] in {"tsv", "web"} else ["--text-column", "review"]
        words = ["repair", f"hf:{sentiment}", "--data", word, *column, *options]
        assert main([*words, "--out", str(tmp_path / "run")]) == 0
        known = json.loads(capsys.readouterr().out)
        del known["seconds"]
        found[word] = known
    first = next(iter(found.values()))
    assert first["readout"] == "lda"
    assert all(known == first for known in found.values())
    assert "tokenizer.json" in {path.name for path in (tmp_path / "run" / "repaired").iterdir()}
    card = (tmp_path / "run" / "repaired" / "README.md").read_text()
    assert "pipeline_tag: text-classification\n" in card


def test_a_library_that_is_not_there_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(tailcut.SpecError) as error:
        models.network("timm:resnet10t")
    assert str(error.value).endswith(
        "wanted tailcut with the extra 'timm'. Run: pip install 'tailcut[timm]'."
    )


@pytest.mark.parametrize("word", ["torchvision:resnet1", "timm:resnet1"])
def test_a_model_that_a_library_does_not_have_is_told(word):
    library = word.partition(":")[0]
    with pytest.raises(tailcut.SpecError, match=f"{library} has no model 'resnet1'; wanted a name"):
        models.network(word)


def test_a_class_map_and_columns_by_name_reach_the_network_from_the_command_line(
    tmp_path, monkeypatch, capsys
):
    """Names in a csv; a holdout in another order of columns, without one of the classes."""
    (tmp_path / "letters.py").write_text(
        "import torch\n"
        "from tailcut.cli.models import Opened\n"
        "def counts(texts):\n"
        "    return torch.tensor([[float(t.count(c)) for c in 'abc'] for t in texts])\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.head = torch.nn.Linear(3, 3)\n"
        "        self.head.weight.data = torch.eye(3)[[2, 0, 1]]\n"
        "        self.head.bias.data.zero_()\n"
        "    def forward(self, x):\n"
        "        return self.head(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    import letters

    opened = models.Opened({"text": letters.counts}, lambda *_: letters.Net())
    monkeypatch.setattr(models, "network", lambda *_: opened)
    random = np.random.default_rng(0)
    names = np.array(["an a", "a b", "one c"])[np.arange(90) % 3]
    texts = [name[-1] * 5 + "".join(random.choice(list("abc"), 4)) for name in names]
    frame = pd.DataFrame({"what": names, "id": range(90), "words": texts})
    frame[:60].to_csv("train.csv", index=False)
    frame[60:][names[60:] != "a b"][["id", "words", "what"]].to_csv("holdout.csv", index=False)
    (tmp_path / "map.yaml").write_text("one c: 0\nan a: 1\na b: 2\n")
    words = "diagnose any --data csv:train.csv --holdout csv:holdout.csv --class-map map.yaml"
    words += " --text-column=words --label_column what --views none --depth head --json"
    assert main([*words.split(), "--out", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out)["holdout"]["before"] == 1.0
    assert "class_map: map.yaml" in (tmp_path / "run" / "config.yaml").read_text()
    assert main(words.replace(" --class-map map.yaml", "").split()) == 2
    assert capsys.readouterr().err.startswith(
        "tailcut: error: line 2 of train.csv has the label 'an a'; wanted an integer label. Give "
    )
