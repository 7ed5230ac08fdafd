"""Networks of transformers: their folders come back complete, adapters are told."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import tailcut
from tailcut.cli.main import main
from tailcut.errors import TailcutWarning
from tailcut.network import pretrained
from verbs.kills import names, same

# of transformers, when peft asks it for what it has renamed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "plot", "fine"]
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "num_labels": 3,
}
DIALS = {"readout": "project", "rank": 2, "depth": "head", "views": [], "progress": False}
DIALS["force"] = True  # nobody has trained these networks


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with a tiny BERT, its tokenizer, a template, code and what is no part of it."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(vocab_size=len(WORDS), **TINY)).save_pretrained(folder)
    for name in ("my_code.py", "optimizer.pt", "trainer_state.json", "data.csv", ".secret.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A folder with a tiny ViT and its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    folder = tmp_path_factory.mktemp("vit")
    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(folder)
    torch.manual_seed(0)
    config = ViTConfig(image_size=8, patch_size=4, num_channels=3, **TINY)
    ViTForImageClassification(config).save_pretrained(folder)
    return folder


def sentences(count=30):
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 10, (count, 6), generator=chance)
    return [{"input_ids": ids, "labels": torch.arange(count) % 3}]


def images(count=30):
    chance = torch.Generator().manual_seed(0)
    pixels = torch.randn(count, 3, 8, 8, generator=chance)
    return [{"pixel_values": pixels, "labels": torch.arange(count) % 3}]


def opened(folder, kind="BertForSequenceClassification"):
    import transformers

    return getattr(transformers, kind).from_pretrained(folder).eval()


def test_a_text_classifier_comes_back_with_its_tokenizer_and_its_code(bert, tmp_path):
    from transformers import AutoTokenizer

    model = opened(bert)
    fix = tailcut.repair(model, sentences(), **DIALS)
    fix.save(tmp_path)
    kept = {path.name for path in (tmp_path / "repaired").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "my_code.py"} <= kept
    assert not kept & {"optimizer.pt", "trainer_state.json", "data.csv", ".secret.json"}
    text = "good film fine"
    before, after = (
        AutoTokenizer.from_pretrained(folder)(text) for folder in (bert, tmp_path / "repaired")
    )
    assert before["input_ids"] == after["input_ids"]
    back = tailcut.load(tmp_path, model)
    assert same(back.model.state_dict(), fix.model.state_dict())
    assert same(back.undo().state_dict(), model.state_dict())


def test_an_image_classifier_comes_back_with_its_processor(vit, tmp_path):
    from transformers import AutoImageProcessor

    model = opened(vit, "ViTForImageClassification")
    tailcut.repair(model, images(), **DIALS).save(tmp_path)
    back = AutoImageProcessor.from_pretrained(tmp_path / "repaired")
    assert back.to_dict() == AutoImageProcessor.from_pretrained(vit).to_dict()


def test_a_repaired_folder_is_a_model_word_again(bert, tmp_path):
    lines = [f"{WORDS[5 + n % 5]} {WORDS[5 + n // 5 % 5]}\t{n % 3}" for n in range(30)]
    (tmp_path / "train.tsv").write_text("\n".join(lines))
    words = f"--data tsv:{tmp_path}/train.tsv --views none --depth head --readout project --rank 2"
    words += " --force"
    for model, out in ((bert, "a"), (tmp_path / "a" / "repaired", "b")):
        line = f"repair hf:{model} {words} --out {tmp_path}/{out} --quiet"
        assert main(line.split()) == 0
    assert names(tmp_path / "a") == names(tmp_path / "b")


def test_a_network_in_half_precision_comes_back_in_it(bert, tmp_path):
    model = opened(bert).bfloat16()
    fix = tailcut.repair(model, sentences(), **DIALS)
    back = tailcut.load(fix.save(tmp_path), opened(bert))
    assert back.model.classifier.weight.dtype == torch.bfloat16
    assert same(back.undo().state_dict(), model.state_dict())


def test_a_network_from_nowhere_has_no_companions(bert, tmp_path):
    model = opened(bert)
    model.config._name_or_path = model.name_or_path = ""
    tailcut.repair(model, sentences(), **DIALS).save(tmp_path)
    assert "tokenizer.json" not in {path.name for path in (tmp_path / "repaired").iterdir()}


@pytest.mark.parametrize("named", ["someone/absent-network", "a folder without"])
def test_a_tokenizer_that_is_not_found_is_told(bert, tmp_path, monkeypatch, named):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    model = opened(bert)
    if "folder" in named:
        model.save_pretrained(tmp_path / named)
    model.config._name_or_path = model.name_or_path = named
    fix = tailcut.repair(model, sentences(), **DIALS)
    with pytest.warns(TailcutWarning) as caught:
        fix.save(tmp_path / "run")
    assert str(caught[0].message) == (
        f"no tokenizer or image processor lies where {named} is on this machine, so the folder "
        "'repaired' has none: save yours into it"
    )


@pytest.mark.parametrize("part", ["classifier.weight", "bert.embeddings.LayerNorm.bias"])
def test_a_folder_that_lacks_weights_is_not_filled_up_at_random(bert, tmp_path, part, capsys):
    shutil.copytree(bert, tmp_path / "bert")
    path = tmp_path / "bert" / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != part}, path, {"format": "pt"})
    (tmp_path / "train.tsv").write_text("good film\t0\nbad film\t1\nfine film\t2")
    assert main(f"repair hf:{tmp_path}/bert --data tsv:{tmp_path}/train.tsv".split()) == 2
    told = (
        f"tailcut: error: {tmp_path}/bert does not load as AutoModelForSequenceClassification (no "
        f"weights for {part}, and 1 lacking in all); wanted the whole folder of a network of that "
        "class. Pass a network of the class that was saved, or save it again.\n"
    )
    assert capsys.readouterr().err.endswith(told)


def test_a_folder_that_is_cut_off_is_told(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "bert")
    path = tmp_path / "bert" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    model = opened(bert)
    with pytest.raises(tailcut.StoreError, match="does not load as BertForSequenceClassification"):
        pretrained.opened(type(model), tmp_path / "bert")


def test_a_folder_with_nan_weights_is_told(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "bert")
    path = tmp_path / "bert" / "model.safetensors"
    weights = load_file(path)
    weights["classifier.weight"][0, 0] = torch.nan
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(tailcut.StoreError, match=r"NaN or infinite values in classifier\.weight"):
        pretrained.opened(type(opened(bert)), tmp_path / "bert")


# --- adapters


def adapted(bert, kind):
    peft = pytest.importorskip("peft")
    config = {
        "LoRA": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"]),
        "IA3": lambda: peft.IA3Config(
            task_type="SEQ_CLS", target_modules=["query"], feedforward_modules=[]
        ),
        "prompts": lambda: peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2),
        "injected": lambda: peft.LoraConfig(target_modules=["query", "value"]),
    }[kind]()
    if kind == "injected":
        return peft.inject_adapter_in_model(config, copy.deepcopy(opened(bert)))
    return peft.get_peft_model(copy.deepcopy(opened(bert)), config)


ADVICE = {
    "LoRA": "Merge the adapters first: model = model.merge_and_unload().",
    "IA3": "Merge the adapters first: model = model.merge_and_unload().",
    "prompts": "Prompts and prefixes are no weights of a layer: there is no way to repair them.",
    "injected": "Save the adapters, and merge them first: model = "
    "PeftModel.from_pretrained(network, folder).merge_and_unload().",
}


@pytest.mark.parametrize("kind", ADVICE)
@pytest.mark.parametrize("verb", [tailcut.repair, tailcut.diagnose])
def test_adapters_are_refused_and_the_way_to_merge_them_is_told(bert, kind, verb):
    model = adapted(bert, kind)
    with pytest.raises(tailcut.DataError) as error:
        verb(model, sentences(), progress=False)
    assert str(error.value) == (
        f"a {type(model).__name__} with adapters of PEFT; wanted a network of plain layers, whose "
        f"weights can be rewritten. {ADVICE[kind]}"
    )


@pytest.mark.parametrize("kind", ["LoRA", "IA3"])
def test_the_advice_works_merged_adapters_are_repaired_and_come_back(bert, tmp_path, kind):
    model = adapted(bert, kind)
    adapter = tmp_path / "adapter"
    model.save_pretrained(adapter)
    import peft

    again = peft.PeftModel.from_pretrained(opened(bert), adapter).merge_and_unload()
    model = model.merge_and_unload()
    assert same(again.state_dict(), model.state_dict())
    fix = tailcut.repair(model, sentences(), **DIALS)
    assert fix.model.state_dict().keys() == opened(bert).state_dict().keys()
    back = tailcut.load(fix.save(tmp_path / "run"), opened(bert))
    assert same(back.model.state_dict(), fix.model.state_dict())
    assert json.loads((tmp_path / "run" / "repaired" / "config.json").read_text())
