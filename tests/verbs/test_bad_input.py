"""Input that cannot be used: the whole message, and nothing half done."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tailcut
from parts import fitted

INPUTS = torch.randn(60, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3
RECIPE = {"width": 32, "steps": 150, "rate": 0.02}
TWO_CLASSES = [(INPUTS[LABELS < 2], LABELS[LABELS < 2])]


@pytest.fixture(scope="module")
def model():
    return fitted(INPUTS, LABELS, **RECIPE)


def refused(model, train, holdout=None, **dials):
    with pytest.raises(tailcut.TailcutError) as error:
        tailcut.repair(model, train, holdout, progress=False, **dials)
    return str(error.value)


def test_one_class_only(model):
    assert refused(model, [(INPUTS, torch.full((60,), 2))]) == (
        "one class only: all 60 training samples have the label 2; wanted samples of all 3 "
        "classes of the network. Check the labels; from a sorted data set take rows all over it."
    )


def test_a_missing_class(model):
    assert refused(model, TWO_CLASSES) == (
        "label set 'given' has no sample of class 2 among 40 samples; wanted at least one sample "
        "of each of the 3 classes. Bring the missing classes, or use "
        'readout="project", which needs no labels.'
    )


def test_a_missing_class_is_no_hindrance_for_the_own_head(model):
    fix = tailcut.repair(model, TWO_CLASSES, readout="project", rank=2, progress=False)
    assert fix.verdict == "cut"


def test_fewer_samples_than_classes(model):
    assert refused(model, [(INPUTS[:2], LABELS[:2])], force=True) == (
        "2 samples for 3 classes; wanted at least one sample of each class. Bring more samples."
    )


def test_labels_outside_the_classes(model):
    assert refused(model, [(INPUTS, LABELS + 1)]) == (
        "batch 0 has the label 3; wanted integers 0..2. Use the class indices that the network "
        "was trained on; drop unlabelled samples."
    )


def test_float_labels(model):
    assert refused(model, [(INPUTS, LABELS.float())]) == (
        "batch 0 has labels of type torch.float32; wanted integer labels 0..K-1. Convert class "
        "indices with .long(); take the argmax of one-hot or soft labels."
    )


def test_string_labels(model):
    assert refused(model, [(INPUTS, ["cat"] * 60)]) == (
        "batch 0 has labels that are not numbers, such as 'cat'; wanted integer labels 0..K-1. "
        "Map the class names to the integers that the network was trained on."
    )


def test_features_that_are_not_finite(model):
    broken = INPUTS.clone()
    broken[31, 2] = float("nan")
    batches = [(INPUTS[:30], LABELS[:30]), (broken[30:], LABELS[30:])]
    assert refused(model, batches) == (
        "batch 1 has NaN or infinite features in 1 of 30 samples; wanted finite features. Look "
        "for broken inputs in that batch, or for an overflow in half precision."
    )


def test_an_empty_loader(model):
    assert refused(model, []) == (
        "a loader without a single batch; wanted at least one batch (inputs, labels). Check the "
        "data set, and drop_last with fewer samples than a batch."
    )


def test_a_generator_that_can_be_read_only_once(model):
    assert refused(model, ((INPUTS, LABELS) for _ in range(1))) == (
        "an iterator (generator) that can be read only once; wanted an iterable of batches that "
        "can be read several times. Pass a DataLoader, or list(batches)."
    )


def test_a_holdout_that_overlaps_the_training_set(model):
    assert refused(model, [(INPUTS, LABELS)], [(INPUTS[:20], LABELS[:20])]) == (
        "20 of 20 held-out samples are also training samples; wanted a holdout that the network "
        "never trained on. Hold out other samples, or leave the holdout out."
    )


def test_true_labels_of_other_samples(model):
    train = [(INPUTS, LABELS)]
    assert refused(model, train, clean=torch.zeros(59, dtype=torch.long)) == (
        "59 true labels for another number of training samples; wanted one true label for each "
        "training sample, in their order. Check that both come from the same data set."
    )


def test_a_shuffling_loader_without_an_index_cannot_be_audited(model):
    loader = DataLoader(TensorDataset(INPUTS, LABELS), batch_size=20, shuffle=True)
    with pytest.raises(tailcut.DataError) as error:
        tailcut.find_label_issues(model, loader, progress=False)
    assert str(error.value) == (
        "a loader that shuffles without telling which sample is which; wanted batches in a fixed "
        "order, or (inputs, labels, index). Set shuffle=False, or yield each sample's position "
        "as a third item."
    )


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        (
            {"depth": "deep"},
            "depth='deep'; wanted one of auto, head, all. Correct depth.",
        ),
        (
            {"readout": "svm"},
            "readout='svm'; wanted one of auto, project, centroid, ridge, lda. Correct readout.",
        ),
        (
            {"rank": 0},
            'rank=0; wanted "auto" or a whole number of at least 1. Correct the rank.',
        ),
        (
            {"views": ["mirror"]},
            "no view is called 'mirror'; wanted 'auto' or some of flip, shift, flip+shift, rotate, "
            "noise/4, noise/2, noise*3/4, swap/4, swap/2, tokens/4, tokens/2, tokens*3/4, span/2, "
            "embedding, embedding*2, embedding*4, dropout. Correct the name, or pass a callable of "
            "(inputs, generator).",
        ),
    ],
)
def test_dials_that_do_not_exist(model, dial, message):
    assert refused(model, [(INPUTS, LABELS)], **dial) == message


def test_a_head_without_bias_is_cut_without_one():
    model = fitted(INPUTS, LABELS, **RECIPE, bias=False)
    fix = tailcut.repair(
        model, [(INPUTS, LABELS)], readout="project", rank=2, depth="head", progress=False
    )
    assert torch.linalg.matrix_rank(fix.model[2].weight.detach()) == 2
    assert "2.bias" not in fix.model.state_dict()


@pytest.mark.parametrize("readout", ["lda", "ridge", "centroid"])
def test_every_readout_fits_a_head_without_bias(readout):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3, bias=False))
    fix = tailcut.repair(
        model, [(INPUTS, LABELS)], readout=readout, rank=2, force=True, progress=False
    )
    assert (fix.verdict, fix.readout) == ("cut", readout)
    assert list(fix.model.state_dict()) == list(model.state_dict())
    assert torch.linalg.matrix_rank(fix.model[2].weight.detach()) == 2


def test_a_holdout_of_few_distinct_values_may_repeat_what_the_training_data_repeats(model):
    few = torch.randint(0, 2, (60, 8), generator=torch.Generator().manual_seed(1)).float()
    few[:, 3:] = 0
    fix = tailcut.repair(
        model, [(few, LABELS)], [(few[:20], LABELS[:20])], force=True, progress=False
    )
    assert fix.verdict in {"cut", "leave"}


def test_a_single_output_is_no_classifier():
    assert refused(nn.Linear(8, 1), [(INPUTS, LABELS)]) == (
        "Linear has one output; wanted one logit for each class, two for yes and no. Replace the "
        "last layer, of weight w and bias b, by a Linear with two outputs: weight "
        "torch.cat([0 * w, w]), bias torch.cat([0 * b, b])."
    )


@pytest.mark.parametrize(
    ("inputs", "seen"),
    [
        (INPUTS[:20, :7], "inputs of shape (20, 7) and type torch.float32 (RuntimeError: mat1 "),
        (INPUTS[:20, None, None], "inputs of shape (20, 1, 1, 8) and type torch.float32 ("),
    ],
)
def test_a_holdout_of_another_shape_is_named_as_the_holdout(model, inputs, seen):
    message = refused(model, [(INPUTS, LABELS)], [(inputs, LABELS[:20])])
    if inputs.ndim == 2:
        assert message.startswith(f"the held-out samples: Sequential cannot run on {seen}")
    else:
        assert message.startswith(
            "the held-out samples: Sequential returned a Tensor of shape (20, 1, 1, 3)"
        )


def test_labels_of_a_holdout_are_named_as_those_of_the_holdout(model):
    message = refused(model, [(INPUTS, LABELS)], [(INPUTS[:20] + 1, LABELS[:20] + 1)])
    assert message.startswith(
        "the held-out samples: batch 0 has the label 3; wanted integers 0..2. "
    )


def test_clean_batches_of_another_width_are_named_as_the_clean_ones(model):
    clean = [(INPUTS[:20, :7], LABELS[:20])]
    message = refused(model, [(INPUTS, LABELS)], clean=clean)
    assert message.startswith(
        "the samples with true labels: Sequential cannot run on inputs of shape (20, 7)"
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_another_floating_type_gives_the_verdict_of_the_networks_own(model, dtype):
    dials = {"depth": "head", "readout": "lda", "rank": 2, "progress": False, "force": True}
    few = INPUTS.to(dtype).float()  # so that nothing is lost by the rounding itself
    plain = tailcut.repair(model, [(few, LABELS)], [(few[:30] + 1, LABELS[:30])], **dials)
    cast = tailcut.repair(
        model,
        [(few.to(dtype), LABELS)],
        [((few[:30] + 1).to(dtype).float().double(), LABELS[:30])],
        **dials,
    )
    assert cast.model.state_dict().keys() == plain.model.state_dict().keys()
    assert cast.model[2].weight.dtype == torch.float32
    assert cast.predict_proba(INPUTS.to(dtype)).shape == (60, 3)


def test_whole_numbers_for_a_network_without_an_embedding_are_numbers(model):
    counts = (INPUTS * 10).round()
    held = (counts[:20] + 1, LABELS[:20])
    dials = {"views": [], "depth": "head", "readout": "lda", "rank": 2, "force": True}
    plain = tailcut.repair(model, [(counts, LABELS)], [held], **dials)
    whole = tailcut.repair(model, [(counts.long(), LABELS)], [(held[0].short(), held[1])], **dials)
    assert torch.equal(whole.model[2].weight, plain.model[2].weight)
    assert not whole.model._forward_pre_hooks
    assert (whole.predict_proba(counts.int()) == whole.predict_proba(counts)).all()
    features = [whole.features([(inputs, LABELS)]) for inputs in (counts, counts.long())]
    assert torch.equal(*features)
