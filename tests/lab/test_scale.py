"""The claims along sizes and widths: what changes, what was not run, and a page on disk."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from records import in_this_process, record_of
from tailcut.errors import SpecError
from tailcut.lab.claims import claims, scale
from tailcut.lab.claims.presets import PRESETS, with_claims
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.scales import SCALES, Scale
from tailcut.lab.claims.study import Study
from tailcut.lab.grid import runs as grid


def tiny(**changes):
    """Digits, so few that all is trained in a second."""
    base = Study(network="mlp-32", train=150, epochs=3, probes=3)
    preset = replace(PRESETS["digits"], base=base, seeds=(0, 1), claims=("C1", "C3", "C5", "C6"))
    widths = (("mlp-8", 8), ("mlp-32", 32))
    return replace(Scale(preset, (100, 150, 200), widths), **changes)


def records_of(chosen, changed=()):
    """The same record for every study, but for those that are named."""
    records = {study: record_of() for study in chosen.studies(chosen.sizes)}
    for study, record in changed:
        records.update({replace(study, seed=seed): record for seed in chosen.preset.seeds})
    return records


def later(**segregation):
    """A record whose last probe has other figures."""
    first, second, last = record_of().probes
    last = {**last, "segregation": {**last["segregation"], **segregation}}
    return record_of(probes=[first, second, last])


# --- what is run


def test_a_size_that_several_ask_for_is_run_once():
    chosen = tiny()
    studies = chosen.studies([150, 100])
    assert [(study.train, study.network, study.seed) for study in studies] == [
        *((100, "mlp-32", seed) for seed in (0, 1)),
        *((150, "mlp-32", seed) for seed in (0, 1)),
        *((150, "mlp-8", seed) for seed in (0, 1)),
    ]


def test_widths_are_run_on_the_images_of_the_base_alone():
    assert {study.network for study in tiny().studies([100, 200])} == {"mlp-32"}


def test_sizes_that_are_none_of_the_scales_are_named():
    with pytest.raises(SpecError) as error:
        tiny().studies([100, 7, 5])
    assert str(error.value) == "sizes 5, 7; wanted some of 100, 150, 200. Correct --sizes."


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_holds_its_base_on_both_axes(name):
    chosen = SCALES[name]
    base = chosen.preset.base
    assert base.train in chosen.sizes
    assert base.network in dict(chosen.widths)
    assert list(chosen.sizes) == sorted(chosen.sizes)
    assert base.probed_epochs()[:2] == [0, 1]  # C3 begins at the first trained epoch
    for study in chosen.studies(chosen.sizes):
        assert study.recipe.epochs == base.epochs


# --- what is told


def test_every_point_is_the_claims_of_its_own_study():
    chosen = tiny()
    few = chosen.of_size(100)
    records = records_of(chosen, [(few, later(index=0.25, null=0.125))])
    images, width = scale.measured(chosen, records)
    preset = replace(chosen.preset, base=few)
    assert list(images.points[0].found) == claims.findings(Results(preset, records))
    assert images.points[0].found[0].tests[0].mean == 0.25
    assert images.points[1].found == width.points[1].found  # the base, which is on both axes
    assert [point.label for point in (*images.points, *width.points)] == [
        *("100", "150", "200"),
        *("mlp-8", "mlp-32"),
    ]


def test_a_change_of_verdict_is_one_sentence_with_its_sizes():
    chosen = tiny()
    worse = later(noise_depth=0.6)  # further in than after the first epoch
    images, width = scale.measured(chosen, records_of(chosen, [(chosen.of_size(200), worse)]))
    assert scale.changes(images) == [
        "The verdict on C3 changes with the number of training images (mlp-32): supported at 100, "
        "150; mixed at 200."
    ]
    assert scale.changes(width) == [
        "No verdict changes with the width of the network (150 training images), from mlp-8 to "
        "mlp-32."
    ]


def test_a_verdict_that_comes_back_is_told_as_often_as_it_turns():
    chosen = tiny()
    changed = [(chosen.of_size(150), later(noise_depth=0.6))]
    images, _ = scale.measured(chosen, records_of(chosen, changed))
    told = "supported at 100; mixed at 150; supported at 200."
    assert scale.changes(images)[0].endswith(told)


def test_one_finished_seed_is_not_a_point_and_two_of_three_are():
    chosen = tiny()
    chosen = replace(chosen, preset=replace(chosen.preset, seeds=(0, 1, 2)))
    records = records_of(chosen)
    del records[replace(chosen.of_size(100), seed=2)]
    for seed in (0, 2):
        del records[replace(chosen.of_size(200), seed=seed)]
    images, _ = scale.measured(chosen, records)
    assert [(point.seeds, bool(point.found)) for point in images.points] == [
        ((0, 1), True),
        ((0, 1, 2), True),
        ((1,), False),
    ]
    assert scale.verdicts(chosen, images)[2:] == [
        "| C1 | **supported** | **supported** | not run |",
        "| C3 | **supported** | **supported** | not run |",
        "| C5 | **supported** | **supported** | not run |",
        "| C6 | **mixed** | **mixed** | not run |",
        "| seeds | 2 | 3 |  |",
    ]


def test_where_nothing_was_run_nothing_is_said():
    images, width = scale.measured(tiny(), {})
    assert images.run == width.run == []
    assert scale.changes(images) == [
        "Over the number of training images (mlp-32) fewer than two points are run: nothing is "
        "said of a change."
    ]
    assert "not run" in scale.page(tiny(), [images, width])


# --- settled on disk


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """The axes, and the directory in which two of three sizes were settled."""
    directory = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tailcut.lab.grid.engines.by_pool", in_this_process)
        return scale.settle(tiny(), directory, sizes=[100, 150]), directory


def test_a_page_holds_every_statistic_and_every_picture(settled):
    axes, directory = settled
    page = (directory / "scale.md").read_text()
    assert page.splitlines()[2] == f"- {scale.changes(axes[0])[0]}"
    for axis in axes:
        for point in axis.run:
            for test in (test for finding in point.found for test in finding.tests):
                low, high = test.interval
                assert f"{test.mean:.3f} ({low:.3f} to {high:.3f})" in page
    pictures = {path.name for path in directory.glob("*.svg")}
    assert len(pictures) == 4 * 2 + 2 + 2
    assert all(f"]({name})" in page for name in pictures)
    assert page.count("](") == len(pictures)
    assert page.count("not run") == 4 + 1


def test_a_curve_names_the_statistics_that_count(settled):
    _, directory = settled
    text = (directory / "C5-images.svg").read_text()
    ET.fromstring(text)
    assert "noisy holdout" in text
    assert "which nobody knows" not in text


def test_another_size_is_added_to_what_is_there(settled, monkeypatch):
    before, directory = settled
    monkeypatch.setattr("tailcut.lab.grid.engines.by_pool", in_this_process)
    done = []
    after = scale.settle(tiny(), directory, sizes=[200], on_done=done.append)
    assert [each["config"]["train"] for each in done] == [200, 200]
    assert after[0].points[:2] == before[0].points[:2]
    assert after[1] == before[1]
    assert "not run" not in "\n".join(scale.verdicts(tiny(), after[0]))
    told = json.loads((directory / "scale.json").read_text())
    assert [point["seeds"] for point in told["images"]] == [[0, 1]] * 3


def test_some_claims_of_a_scale(settled):
    _, directory = settled
    chosen = tiny()
    chosen = replace(chosen, preset=with_claims(chosen.preset, ["C6"]))
    contents = grid.finished(chosen.studies([100, 150]), directory / "studies")
    records = {study: Record.from_json(content["result"]) for study, content in contents.items()}
    images, _ = scale.measured(chosen, records)
    assert [len(point.found) for point in images.run] == [1] * len(images.run)
    assert "## C1" not in scale.page(chosen, [images])
