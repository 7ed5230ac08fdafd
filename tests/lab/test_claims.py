"""From records to verdicts: the arithmetic by hand, and a whole small preset on disk."""

import json
import math
import statistics
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from records import epoch_of, in_this_process, record_of
from tailcut.errors import DataError, SpecError
from tailcut.lab.claims import claims
from tailcut.lab.claims import page as claims_page
from tailcut.lab.claims.controls import controls
from tailcut.lab.claims.figures import as_svg, epochs_by_ranks, pictures
from tailcut.lab.claims.findings import Finding, Test, slope, summary
from tailcut.lab.claims.measures import (
    cost_of_epoch,
    cost_of_rank,
    cut_by_holdout,
    share_of,
    still_repeated,
    tail_minus_leading,
)
from tailcut.lab.claims.presets import NAMES, PRESETS, with_claims, with_seeds
from tailcut.lab.claims.record import Record
from tailcut.lab.claims.results import Results
from tailcut.lab.claims.scales import SCALES, preset
from tailcut.lab.claims.study import Study

numbers = st.integers(-1000, 1000).map(lambda number: number / 1000)
many = st.lists(numbers, min_size=2, max_size=8).map(tuple)


# --- tests and findings


@given(many)
def test_the_interval_is_that_of_scipys_t_test(values):
    low, high = Test("any", values).interval
    if len(set(values)) == 1:
        assert (low, high) == pytest.approx((values[0], values[0]))
        return
    mean, error = statistics.fmean(values), stats.sem(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=error)
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(many, numbers)
def test_a_test_holds_where_the_whole_interval_lies_on_its_side(values, threshold):
    above, below = (Test("any", values, threshold, below=side) for side in (False, True))
    mirrored = Test("minus any", tuple(-value for value in values), -threshold)
    low, high = above.interval
    assert above.holds == (low > threshold)
    assert below.holds == (high < threshold) == mirrored.holds
    assert not (above.holds and below.holds)
    assert (above.wanted, below.wanted) == (f"> {threshold:g}", f"< {threshold:g}")


@given(st.lists(many, min_size=1, max_size=4), st.lists(many, max_size=2))
def test_a_verdict_follows_from_the_tests_that_count_alone(counting, told):
    tests = tuple(Test("counts", values) for values in counting)
    also = tuple(Test("told", values, counts=False) for values in told)
    finding = Finding("C0", "any", (*also, *tests))
    held = [test.holds for test in tests]
    expected = {True: "supported", False: "not supported"}
    assert finding.verdict == (expected[held[0]] if len(set(held)) == 1 else "mixed")
    assert finding.verdict == Finding("C0", "any", tests).verdict


@pytest.mark.parametrize("values", [(), (0.5,)])
def test_one_seed_has_no_interval(values):
    with pytest.raises(DataError) as error:
        Test("depth", values)
    assert str(error.value) == (
        f"{len(values)} seeds for the statistic 'depth'; wanted at least 2: an interval needs a "
        "spread. Run more seeds."
    )


def test_a_summary_holds_all_that_the_page_is_made_of():
    finding = Finding(
        "C0", "It is so", (Test("a", (1.0, 1.0), 0.5), Test("b", (0.0, 0.0), below=True))
    )
    assert summary(finding) == {
        "name": "C0",
        "claim": "It is so",
        "verdict": "mixed",
        "tests": [
            {
                "statistic": "a",
                "mean": 1.0,
                "interval": [1.0, 1.0],
                "wanted": "> 0.5",
                "values": [1.0, 1.0],
                "holds": True,
                "counts": True,
            },
            {
                "statistic": "b",
                "mean": 0.0,
                "interval": [0.0, 0.0],
                "wanted": "< 0",
                "values": [0.0, 0.0],
                "holds": False,
                "counts": True,
            },
        ],
    }


@given(numbers, numbers, st.lists(st.integers(-9, 9), min_size=2, max_size=6, unique=True))
def test_the_slope_of_a_line_is_its_own(start, steep, places):
    assert slope(places, [start + steep * p for p in places]) == pytest.approx(steep, abs=1e-9)


# --- statistics of a record


def lerp(a, b, at):
    return a + (b - a) * at


def test_the_cut_is_at_the_rank_of_the_holdout():
    assert cut_by_holdout(record_of()) == 0.7  # the first of two equal ones
    assert still_repeated(record_of()) == 0.4


def test_the_cost_of_a_missed_rank_is_interpolated_over_log_rank():
    down = lerp(0.7, 0.8, math.log(6.4 / 4) / math.log(2))
    up = lerp(0.8, 0.4, math.log(9.6 / 8) / math.log(2))
    assert cost_of_rank(record_of()) == pytest.approx(0.8 - (down + up) / 2)


def test_the_cost_of_a_missed_epoch_is_interpolated_over_log_epoch():
    down = lerp(0.6, 0.9, math.log(2.4 / 2) / math.log(3 / 2))
    up = lerp(0.9, 0.5, math.log(3.6 / 3) / math.log(4 / 3))
    assert cost_of_epoch(record_of()) == pytest.approx(0.9 - (down + up) / 2)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_a_flat_dial_costs_nothing_and_no_dial_gains(accuracies):
    epochs = [epoch_of(1 + at, value) for at, value in enumerate(accuracies)]
    assert cost_of_epoch(record_of(epochs=epochs)) >= -1e-12
    flat = [{**each, "test": 0.5} for each in epochs]
    assert cost_of_epoch(record_of(epochs=flat)) == pytest.approx(0, abs=1e-12)


def test_beyond_the_last_place_nothing_more_is_lost():
    epochs = [epoch_of(1, 0.5), epoch_of(2, 0.9)]
    down = lerp(0.5, 0.9, math.log(1.6) / math.log(2))
    assert cost_of_epoch(record_of(epochs=epochs)) == pytest.approx((0.9 - down) / 2)


def test_a_share_of_a_gap_of_less_than_a_point_is_taken_of_a_point():
    assert share_of(record_of(last=0.4), 0.65, 0.9) == pytest.approx(0.5)
    assert share_of(record_of(last=0.4), 0.405, 0.401) == pytest.approx(0.5)


def test_the_tail_is_compared_with_as_many_leading_directions_as_classes():
    assert tail_minus_leading(record_of()) == pytest.approx(0.6 - 0.15)  # rank 8


# --- the claims, on records with a known answer


def tiny(**changes):
    """The preset of digits, so small that it is settled in seconds."""
    base = Study(network="mlp-32", train=150, epochs=4, probes=3, repair=True)
    chosen = replace(
        PRESETS["digits"],
        base=base,
        seeds=(0, 1),
        systematic=(("pair", 0.4),),
        widths=(("mlp-8", 8), ("mlp-32", 32)),
        constrained=("mlp-32/nested-5",),
        rates=(0.0, 0.1, 0.4),
        small=100,
    )
    return replace(chosen, **changes)


def results_of(chosen, record=record_of, **of_study):
    """The same record for every study, but for those that a test names."""
    found = {study: record() for study in chosen.studies()}
    for name, changes in of_study.items():
        study = getattr(chosen, name)() if name != "base" else chosen.base
        for seed in chosen.seeds:
            found[replace(study, seed=seed)] = record(**changes)
    return Results(chosen, found)


def means(finding):
    return [test.mean for test in finding.tests]


def test_gathering_recovery_outward_and_untrained_read_the_base():
    results = results_of(tiny())
    assert means(claims.gathering(results)) == pytest.approx([0.3, 0.2, 0.45])
    assert claims.gathering(results).verdict == "supported"
    assert means(claims.outward(results)) == pytest.approx([0.3, 0.1])
    assert means(claims.untrained(results)) == pytest.approx([0.125, 0.05, 0.25, 0.0])
    cut, true, best, repaired = means(claims.recovery(results))
    assert cut == pytest.approx(0.3 / 0.5)
    assert true == pytest.approx(0.3 / 0.5)
    assert best == pytest.approx(0.4 / 0.5)
    assert repaired == pytest.approx(0.55 / 0.5)
    assert [test.counts for test in claims.recovery(results).tests] == [True, True, False, False]


def test_systematic_noise_is_compared_seed_by_seed():
    chosen = tiny()
    results = results_of(chosen)
    probe = {**record_of().probes[-1]}
    probe["segregation"] = {**probe["segregation"], "noise_depth": 0.5}
    probe["own"] = {**probe["own"], "flipped given": [0.9] * 5}
    pair = chosen.of_noise("pair", 0.4)
    changed = record_of(probes=[*record_of().probes[:2], probe])
    results.records[replace(pair, seed=1)] = changed
    depth, kept = claims.systematic(results).tests
    assert depth.values == pytest.approx((0.0, 0.3))
    assert kept.values == pytest.approx((0.0, 0.5))


def test_stability_compares_spreads_and_costs():
    chosen = tiny()
    results = results_of(chosen)
    results.records[replace(chosen.base, seed=1)] = record_of(noisy_epoch=0.8)
    spread, cost = claims.stability(results).tests
    assert spread.values == pytest.approx((0.1, 0.1))
    assert cost.mean == pytest.approx(cost_of_epoch(record_of()) - cost_of_rank(record_of()))


def test_capacity_is_the_accuracy_gained_by_each_doubling():
    chosen = tiny()
    results = results_of(chosen)
    for seed in chosen.seeds:
        results.records[replace(chosen.of_network("mlp-8"), seed=seed)] = record_of(last=0.6)
        nested = replace(chosen.of_network("mlp-32/nested-5"), seed=seed)
        results.records[nested] = record_of(last=0.5)
    gained, nested = claims.capacity(results).tests
    assert gained.mean == pytest.approx(-0.2 / 2)  # 8 to 32: two doublings
    assert nested.mean == pytest.approx(0.1)


def test_harm_is_what_noise_of_a_rate_costs():
    chosen = tiny()
    results = results_of(chosen)
    accuracies = {
        chosen.of_rate(0.0): 0.9,
        chosen.of_rate(0.1): 0.89,
        chosen.base: 0.5,
        chosen.of_rate(0.0, train=100): 0.8,
        chosen.of_rate(0.4, train=100): 0.3,
        chosen.of_rate(0.0, network="mlp-8"): 0.7,
        chosen.of_rate(0.4, network="mlp-8"): 0.6,
    }
    for study, last in accuracies.items():
        for seed in chosen.seeds:
            assert replace(study, seed=seed) in results.records
            results.records[replace(study, seed=seed)] = record_of(last=last)
    assert len(results.records) == 22
    assert means(claims.threshold(results)) == pytest.approx([0.01, 0.4, 0.1, 0.3])
    assert claims.threshold(results).verdict == "supported"


def test_every_claim_has_a_name_a_picture_and_a_threshold_of_its_own():
    found = claims.findings(results_of(tiny()))
    assert [each.name for each in found] == [f"C{number}" for number in range(1, 9)]
    assert all(any(test.counts for test in each.tests) for each in found)


# --- presets


@pytest.mark.parametrize("name", PRESETS)
def test_no_study_of_a_preset_is_run_twice(name):
    studies = preset(name).studies()
    assert len(set(studies)) == len(studies)
    assert {study.seed for study in studies} == set(preset(name).seeds)
    assert preset(name).rates[0] == 0


def test_other_seeds_are_the_same_studies():
    chosen = with_seeds(tiny(), range(5, 8))
    assert {study.seed for study in chosen.studies()} == {5, 6, 7}
    assert len(chosen.studies()) == len(tiny().studies()) * 3 / 2


def test_one_seed_is_refused_before_anything_is_run():
    with pytest.raises(SpecError) as error:
        with_seeds(PRESETS["digits"], range(1))
    assert str(error.value) == (
        "1 seeds; wanted at least 2: an interval needs a spread. Choose more seeds."
    )


def test_a_preset_that_does_not_exist_is_named():
    with pytest.raises(SpecError) as error:
        preset("nothing")
    assert str(error.value) == (
        "no preset 'nothing'; wanted one of clutter, digits, cifar, gpu, scale, scale-gpu. Correct "
        "the name."
    )


# --- some claims only


@pytest.mark.parametrize("name", NAMES)
def test_a_named_claim_is_read_off_its_own_studies_and_needs_each(name):
    chosen = with_claims(tiny(), [name])
    results = results_of(chosen)
    (finding,) = claims.findings(results)
    assert finding == claims.CLAIMS[name](results_of(tiny())) or name == "C5"
    assert finding.name == name
    read = set()

    class Noted(dict):
        def __getitem__(self, study):
            read.add(study)
            return super().__getitem__(study)

    claims.CLAIMS[name](Results(chosen, Noted(results.records)))
    base = {replace(chosen.base, seed=seed) for seed in chosen.seeds}
    assert read | base == set(chosen.studies())


def test_claims_of_the_base_alone_train_it_alone_and_nothing_is_repaired_for_nobody():
    chosen = with_claims(tiny(), ["C6", "C1", "C3", "C1"])
    assert chosen.claims == ("C1", "C3", "C6")
    assert chosen.studies() == [replace(tiny().base, seed=seed, repair=False) for seed in (0, 1)]
    assert with_claims(tiny(), ["C5"]).studies() == [replace(tiny().base, seed=s) for s in (0, 1)]
    assert with_claims(tiny(), NAMES) == tiny()
    assert len(tiny().studies()) == 22


def test_without_a_repair_the_recovery_is_told_all_the_same():
    chosen = tiny(base=replace(tiny().base, repair=False))
    whole, bare = (claims.recovery(results_of(each)).tests for each in (tiny(), chosen))
    assert bare == whole[:-1]
    assert "repair" in whole[-1].name


def test_some_claims_have_their_own_pictures_and_the_controls_of_their_studies():
    record = record_of()
    for probe in (record.probes[0], record.probes[-1]):
        probe["given"] = {"leading": {"test": [0.1] * 5}, "tail": {"test": [0.4] * 4}}
    record.probes[-1].update({"permuted": [0.1] * 5, "random subspace": [0.1] * 5})
    results = results_of(with_claims(tiny(), ["C6"]), lambda **_: record)
    assert list(pictures(results)) == ["C6"]
    assert [name.split(":")[0] for name, _, _ in controls(results)] == [
        "permuted labels",
        *["given labels"] * 3,
        "untrained network",
    ]


@pytest.mark.parametrize(("words", "told"), [(["C1", "C9", "c2"], "C9, c2"), ([], "of no name")])
def test_a_claim_that_does_not_exist_is_named(words, told):
    with pytest.raises(SpecError) as error:
        with_claims(PRESETS["digits"], words)
    assert str(error.value) == (
        f"claims {told}; wanted some of {', '.join(NAMES)}. Correct --claims."
    )


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_asks_for_what_its_base_study_tells(name):
    chosen = SCALES[name].preset
    assert set(chosen.studies()) == {replace(chosen.base, seed=seed) for seed in chosen.seeds}
    assert not chosen.base.repair


# --- pictures


def test_a_picture_depends_on_the_numbers_alone():
    def draw(axes):
        axes.plot([1, 2, 3], [3, 1, 2], label="a")
        axes.legend()

    first, again = as_svg(draw), as_svg(draw)
    assert first == again
    assert ET.fromstring(first).tag.endswith("svg")


def test_epochs_by_ranks_takes_probes_of_several_ranks():
    probes = [
        {"epoch": 0, "ranks": [1, 2, 3], "given": {"leading": {"test": [0.1, 0.2, 0.3]}}},
        {"epoch": 5, "ranks": [1, 2], "given": {"leading": {"test": [0.4, 0.5]}}},
    ]
    text = epochs_by_ranks(probes)
    assert "leading directions kept" in text
    ET.fromstring(text)


# --- settled on disk


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Findings, and the directory in which a small preset was settled."""
    directory = tmp_path_factory.mktemp("claims")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims_page, "known_models", short_theory)
        patch.setattr("tailcut.lab.grid.engines.by_pool", in_this_process)
        done = []
        found = claims_page.settle(tiny(), directory, on_done=done.append)
    return found, directory, done


def test_a_page_of_some_claims_has_no_theory_and_no_dead_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("tailcut.lab.grid.engines.by_pool", in_this_process)
    monkeypatch.setattr(claims_page, "known_models", None)  # nobody asks for them
    found = claims_page.settle(with_claims(tiny(), ["C1", "C5"]), tmp_path)
    assert [each.name for each in found] == ["C1", "C5"]
    assert set(bytes_of(tmp_path)) == {
        *("C1.svg", "C5.svg", "epochs-ranks.svg"),
        *("claims.md", "claims.json"),
    }
    page = (tmp_path / "claims.md").read_text()
    assert "seeds 0, 1; 2 trainings." in page
    assert "theory" not in page
    assert all(f"]({name})" in page for name in bytes_of(tmp_path) if name.endswith(".svg"))


def short_theory():
    return [Finding("T1", "Theory holds", (Test("one", (1.0, 1.5)),))]


def bytes_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_every_study_leaves_a_file_and_every_claim_a_picture(settled):
    found, directory, done = settled
    assert len(done) == len(tiny().studies()) == len([*(directory / "studies").iterdir()])
    names = {f"C{number}.svg" for number in range(1, 9)} | {"epochs-ranks.svg"}
    assert set(bytes_of(directory)) == names | {"claims.md", "claims.json"}
    assert [each.name for each in found] == [*(f"C{number}" for number in range(1, 9)), "T1"]


def test_a_claim_settled_again_runs_no_study_and_writes_the_same_bytes(settled, monkeypatch):
    found, directory, _ = settled
    before = bytes_of(directory)
    monkeypatch.setattr(claims_page, "known_models", short_theory)
    monkeypatch.setattr("tailcut.lab.grid.pool._Lane", None)  # no process can be started
    done = []
    studies = directory / "studies"
    again = claims_page.settle(tiny(), directory, studies=studies, on_done=done.append)
    assert done == []
    assert again == found
    assert bytes_of(directory) == before


def test_every_statistic_follows_from_the_files_alone(settled):
    _, directory, _ = settled
    files = [json.loads(path.read_text()) for path in (directory / "studies").iterdir()]
    records = {Study(**each["config"]): Record.from_json(each["result"]) for each in files}
    recomputed = [summary(each) for each in claims.findings(Results(tiny(), records))]
    told = json.loads((directory / "claims.json").read_text())
    assert told["schema"] == 1
    assert told["findings"] == [*recomputed, summary(short_theory()[0])]


def test_the_page_tells_every_statistic_and_verdict(settled):
    found, directory, _ = settled
    page = (directory / "claims.md").read_text()
    for finding in found:
        assert f"| {finding.name} | {finding.claim} | **{finding.verdict}** |" in page
        for test in finding.tests:
            name = test.name if test.counts else f"({test.name})"
            assert f"| {name} | {test.mean:.3f} |" in page
    assert f"seeds 0, 1; {len(tiny().studies())} trainings." in page
    assert all(f"]({name})" in page for name in bytes_of(directory) if name.endswith(".svg"))


def test_the_page_tells_the_controls(settled):
    _, directory, _ = settled
    files = [json.loads(path.read_text()) for path in (directory / "studies").iterdir()]
    records = {Study(**each["config"]): Record.from_json(each["result"]) for each in files}
    page = (directory / "claims.md").read_text()
    rows = controls(Results(tiny(), records))
    assert len(rows) == 9
    for name, mean, deviation in rows:
        assert f"| {name} | {100 * mean:.1f} ± {100 * deviation:.1f} |" in page


def test_controls_look_at_the_rank_next_to_ten_and_at_the_states_that_they_name():
    record = record_of()
    first, last = record.probes[0], record.probes[-1]
    first["given"] = {"leading": {"test": [0.1, 0.35, 0.3, 0.2, 0.2]}}
    last["given"] = {
        "leading": {"test": [0.1, 0.2, 0.3, 0.6, 0.5]},
        "tail": {"test": [0.4, 0.3, 0.2, 0.15]},
    }
    last |= {"permuted": [0.2, 0.1, 0.1, 0.1, 0.12], "random subspace": [0.1, 0.2, 0.3, 0.4, 0.5]}
    found = controls(results_of(tiny(), lambda **_: record))
    expected = [0.7 - 0.4, 0.4, 0.6, 0.12, 0.6, 0.4, 0.15, 0.35, 0.6]
    assert [mean for _, mean, _ in found] == pytest.approx(expected)
    assert all(deviation == 0 for _, _, deviation in found)


def test_pictures_are_xml_and_draw_every_series(settled):
    _, directory, _ = settled
    for path in directory.glob("*.svg"):
        assert ET.fromstring(path.read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    capacity = (directory / "C7.svg").read_text()
    assert all(name in capacity for name in ("mlp-8", "mlp-32", "mlp-32/nested-5"))


def test_a_file_says_which_study_it_is_of(settled):
    _, directory, _ = settled
    files = [json.loads(path.read_text()) for path in (directory / "studies").iterdir()]
    assert {Study(**each["config"]) for each in files} == set(tiny().studies())
