"""The page as text: complete, escaped, self-contained, the same for the same summary."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from tailcut.errors import StoreError
from tailcut.report.page import best_candidates, number, page, percent, points

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>{{ 7 * 7 }}'


class Elements(HTMLParser):
    """Tags, ids and visible text, with every tag closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += " " * (self.open[-1] in {"dt", "dd", "th", "td"}) + data.replace(
                "\N{NO-BREAK SPACE}", " "
            )


def seen(html):
    return " ".join(Elements(html).text.split())


def test_tells_everything_that_is_known(full_page):
    text = seen(full_page)
    for told in (
        "tailcut demo: digits Verdict cut Cutting gains on labels that the network has not seen.",
        "48.0 → 61.0 % as given; gain of cutting, corrected for label noise, +13.0 points",
        "95 % interval +8.0 to +18.0; n = 200",
        "69.0 → 94.0 % n = 497",
        "23 of 512 readout: lda; 7 of 8 layers truncated at strength 300",
        "7 of 8 layers, the head aside, can be filtered; these stay as they are.",
        "stem its weight is computed",
        "Wrong labels, estimated 38.0 %",
        "Training labels memorised 98.0 %",
        "The leading 23 directions hold 92.1 % of the variance.",
        "Marchenko-Pastur 200",
        "0.31, p = 0.05",
        "Most often wrong: 3 given as 5 (30.0 %), 0 given as 1 (4.2 %)",
        "The best 15 of 77 by log loss on the 200 held-out given labels.",
        "lda, rounds 1 (chosen) 23 truncated at strength 300 55.0 % 1.400",
        "shift \N{MINUS SIGN}1.0 %",
        "candidates 3.25 s together 5.06 s",
        "torch 2.8.0",
        "arXiv 2603.02293v1, since withdrawn",
    ):
        assert told in text


def test_all_layers_are_said_to_be_filtered_only_if_all_are(full):
    every = {"filtered": 8, "of": 8, "skipped": {}}
    none = {"filtered": 0, "of": 0, "skipped": {}}
    for layers, told in ((every, "all layers"), (none, "0 of 0 layers"), (None, "layers")):
        text = seen(page({**full, "layers": layers}))
        assert f"readout: lda; {told} truncated at strength 300" in text
        assert "Layers not filtered" not in text


def test_the_same_summary_gives_the_same_small_page(full, full_page):
    assert page(full) == full_page
    assert len(full_page.encode()) < 400_000


def test_is_one_well_formed_page_that_loads_nothing(full_page):
    elements = Elements(full_page)
    assert len(elements.ids) == len(set(elements.ids)) > 20
    assert not {"script", "link", "img", "iframe", "object"} & set(elements.tags)
    assert '<html lang="en">' in full_page
    links = re.findall(r'(?:src|href)="([^"]*)"', full_page)
    assert set(links) == {link for link in links if link.lstrip("#") in elements.ids}
    assert not re.search(r"@import|url\((?!#)", full_page)


def test_headings_go_down_one_step_at_a_time(full_page, bare):
    for html in (full_page, page(bare)):
        levels = [int(tag[1]) for tag in Elements(html).tags if tag in {"h1", "h2", "h3"}]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_header_cell_has_a_scope(full_page):
    heads = re.findall(r"<th\b[^>]*>", full_page)
    assert len(heads) > 20
    assert set(heads) == {'<th scope="col">', '<th scope="row">'}


def test_needs_only_what_is_required(bare):
    html = page(bare)
    assert "tailcut report" in html
    assert "<svg" not in html
    assert page({**bare, "curve": None, "noise": None, "candidates": []}) == html
    text = seen(html)
    assert "the reason says what is known of the gain" in text
    assert "None" not in text
    assert "Undefined" not in text


@pytest.mark.parametrize("verdict", ["leave", "unknown"])
def test_an_untouched_network_shows_no_arrow_and_no_cut(full, verdict):
    html = page({**full, "verdict": verdict, "readout": "own head", "rank": 512, "strength": None})
    text = seen(html)
    assert "→" not in text
    assert "all 512 readout: own head; layers untouched" in text
    assert "cut: rank" not in text
    assert "the network stays as it is" in text


def test_a_denoised_network_says_so(full):
    text = seen(page({**full, "strength": None, "denoising": 2.0}))
    assert "23 of 512 readout: lda; 7 of 8 layers denoised at 2 " in text
    assert "on the features of the truncated network" in text
    both = seen(page({**full, "denoising": 3.0}))
    assert "7 of 8 layers truncated at strength 300 and denoised at 3 " in both


def test_a_cut_that_was_asked_for_is_not_called_a_gain(full):
    full["holdout"]["interval"] = [-0.02, 0.03]
    assert "The network is cut; the held-out labels alone are not sure that this gains." in seen(
        page(full)
    )


def test_parts_may_lack_their_numbers(full):
    full["holdout"] = {"n": 200, "before": 0.48}
    full["clean"] = {"n": 497, "before": 0.69, "after": 0.94}
    full["memorisation"] = {"train": None, "views": {"noise": None}}
    full["noise"] = {"rate": 0.4, "transition": [[1 / 30] * 30] * 30}
    full["spectrum"] = {"shares": None, "segregation": {"index": 0.3, "p_value": math.nan}}
    full["candidates"] = [{"readout": "own head", "strength": None, "chosen": True}]
    text = seen(page(full))
    assert "30 classes; more than 20 are not drawn." in text
    assert "All 1 by log loss" in text
    assert "nan" not in text


def test_texts_are_escaped_wherever_they_stand(full, full_page):
    hostile = {
        **full,
        "title": HOSTILE,
        "reason": HOSTILE,
        "readout": HOSTILE,
        "memorisation": {"train": 1.0, "views": {HOSTILE: 0.5}},
        "baselines": {HOSTILE: 0.5},
        "spectrum": {**full["spectrum"], "references": {HOSTILE: 3}},
        "seconds": {HOSTILE: 1.0},
        "versions": {HOSTILE: HOSTILE},
    }
    html = page(hostile)
    assert set(Elements(html).tags) == set(Elements(full_page).tags)
    assert seen(html).count(HOSTILE) == 9


@pytest.mark.parametrize("missing", [["verdict"], ["reason", "width"]])
def test_what_is_missing_is_named(bare, missing):
    for key in missing:
        bare[key] = None
    with pytest.raises(StoreError) as error:
        page(bare)
    assert str(error.value) == (
        f"a result without {', '.join(missing)}; wanted verdict, reason, readout, width of a "
        "finished run. Run the command again that wrote it."
    )


def test_a_verdict_of_another_word_is_refused(bare):
    with pytest.raises(StoreError) as error:
        page({**bare, "verdict": "perhaps"})
    assert str(error.value) == (
        "a result with the verdict 'perhaps'; wanted one of cut, leave, unknown. "
        "Take result.json as tailcut wrote it."
    )


def test_the_chosen_candidate_is_listed_wherever_it_stands():
    rows = [{"readout": str(place), "log_loss": 1.0 + place} for place in range(30)]
    rows[29]["chosen"] = True
    rows.append({"readout": "unmeasured", "log_loss": None})
    best = best_candidates(rows[::-1])
    assert [row["readout"] for row in best] == [*map(str, range(15)), "29"]


def test_numbers_read_alike():
    assert percent(0.4812) == "48.1\N{NO-BREAK SPACE}%"
    assert points(-0.0312) == "\N{MINUS SIGN}3.1"
    assert points(0.5) == "+50.0"
    assert (number(7), number(7.25), number(1.23456, 3)) == ("7", "7.2", "1.235")
    assert {percent(None), points(math.nan), number(None)} == {"\N{EN DASH}"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_card(bare, scheme):
    blocks = re.findall(r":root \{(.*?)\}", page(bare), flags=re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme == "dark"]))
    for name in ("ink", "muted", "given", "clean", "cut", "leave", "unknown"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name
    assert contrast(colours["plain"], colours["card"]) >= 3


def contrast(one, other):
    """WCAG 2.2, relative luminance of sRGB colours."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_importing_the_page_imports_nothing_heavy():
    program = (
        "import sys, tailcut.report.page; "
        "print(*{'torch', 'matplotlib', 'jinja2', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not done.stdout.strip()
