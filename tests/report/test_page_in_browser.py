"""The page in a real browser: nothing fetched, nothing cut off, everything named."""

from __future__ import annotations

import re
import shutil

import pandas as pd
import pytest
import torch

from tailcut.report.gallery import gallery, suspect
from tailcut.report.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONG = "w" * 300

OVERFLOWING = """() => {
    const width = document.documentElement.clientWidth;
    return [...document.querySelectorAll("main *")]
        .filter(element => element.getBoundingClientRect().right > width + 0.5)
        .map(element => element.outerHTML.slice(0, 80));
}"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_reads_well_narrow_and_wide_light_and_dark(browser, full_page, tmp_path):
    check(browser, tmp_path, full_page, figures=4)


def test_hostile_texts_run_nothing_and_overflow_nothing(browser, full, tmp_path):
    text = f"<script>throw 1</script><img src=x onerror='throw 2'> {LONG}"
    full |= {"title": text, "reason": text, "versions": {text: text}, "baselines": {text: 0.5}}
    full["memorisation"]["views"] = {text: 0.1}
    full["candidates"][0] |= {"readout": text, "log_loss": 0.1, "strength": 10_000.0}
    check(browser, tmp_path, page(full), figures=4)


def test_the_gallery_of_an_audit_fits_and_filters_by_pair_without_a_script(browser, tmp_path):
    names = [("cat", "dog"), ("cat", LONG), ("dog", "cat")] * 4
    rows = [dict(zip(("given_name", "suggested_name"), each, strict=True)) for each in names]
    issues = pd.DataFrame(rows).assign(is_label_issue=True)
    shown = [
        suspect({**row, "key": f"{LONG}/{n}", "p_wrong": 0.9}, torch.rand(3, 8, 8))
        for n, row in enumerate(rows)
    ]
    file = tmp_path / "report.html"
    file.write_text(gallery({"title": LONG, "samples": 12}, issues, shown), encoding="utf-8")
    for scheme in ("light", "dark"):
        opened = browser.new_page(color_scheme=scheme)
        requests = []
        opened.on("request", lambda request, into=requests: into.append(request.url))
        opened.goto(file.as_uri())
        for width in (320, 1400):
            opened.set_viewport_size({"width": width, "height": 900})
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            assert not opened.evaluate(OVERFLOWING)
        pictures = opened.locator("figure")
        assert sum(each.is_visible() for each in pictures.all()) == 12
        opened.locator("label", has_text="dog \u2192 cat").click()
        assert sum(each.is_visible() for each in pictures.all()) == 4
        opened.locator("label[for=every]").click()
        assert sum(each.is_visible() for each in pictures.all()) == 12
        assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
        opened.close()


def check(browser, folder, html, *, figures):
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    for scheme in ("light", "dark"):
        opened = browser.new_page(color_scheme=scheme)
        troubles, requests = [], []
        opened.on("console", lambda message, into=troubles: into.append(message.text))
        opened.on("pageerror", lambda error, into=troubles: into.append(str(error)))
        opened.on("request", lambda request, into=requests: into.append(request.url))
        opened.goto(file.as_uri())
        for width in (320, 360, 1400):
            opened.set_viewport_size({"width": width, "height": 900})
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
            assert not opened.evaluate(OVERFLOWING)
        assert opened.get_by_text("cut", exact=True).first.is_visible()
        assert all(figure.is_visible() for figure in opened.locator("svg").all())
        named = opened.get_by_role("img", name=re.compile(r"\w{4}"))
        assert named.count() == opened.locator("svg, img").count() == figures
        assert not troubles
        assert requests == [file.as_uri()]
        opened.close()
