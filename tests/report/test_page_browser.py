"""The page in a browser: what is drawn, sorted, filtered and said, and that it neither complains nor calls anywhere."""

import shutil
from dataclasses import replace

import pytest
from made_records import CONTROL, LINEAR, QUADRATIC, exact, failed, place, timed
from test_page import EVIL, chapter, evil_records

from xbench.errors import UserError
from xbench.records.ledger import Ledger
from xbench.report.page.index import write_index
from xbench.report.page.page import page

pytestmark = pytest.mark.process

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BARS = ".bars .js-plotly-plot"
CHARTS = ".charts .js-plotly-plot"


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Opened:
    """A page as a reader opens it, with what it complained of and what it asked for."""

    def __init__(self, browser, folder, chapters, **context):
        file = folder / "report.html"
        file.write_text(page(chapters), encoding="utf-8")
        self.complaints, self.requests, self.dialogs = [], [], []
        self.tab = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.tab.goto(file.as_uri())
        self.tab.wait_for_selector(f"{CHARTS} .main-svg")

    def hint(self, curve, point=0):
        """What the first chart says of a point."""
        chart = f"document.querySelector('{CHARTS}')"
        self.tab.evaluate(f"Plotly.Fx.hover({chart}, [{{curveNumber: {curve}, pointNumber: {point}}}])")
        return self.tab.locator(f"{CHARTS} .hoverlayer").first.text_content()

    def search(self, words):
        """Leaves the rows that hold them in the table of figures."""
        self.tab.get_by_placeholder("xfa 1024, oom, …").fill(words)

    def column(self, head):
        """The texts of a column of the table of figures, rows that failed left out."""
        heads = self.tab.locator(".figures thead th").all_inner_texts()
        i = [text.rstrip(" ↑↓") for text in heads].index(head)
        rows = self.tab.locator(".figures tbody tr:not(:has(td.failure))").all()
        return [row.locator("th, td").nth(i).inner_text() for row in rows]


def sweep_records():
    """Two attentions over three sizes with a control; at a fourth one of them fails."""
    arms = (QUADRATIC, LINEAR, CONTROL)
    records = [r for res in (256, 512, 1024) for arm in arms for r in timed(arm, place(res))]
    records += [r for res in (256, 512, 1024) for arm in arms[:2] for r in exact(arm, place(res))]
    records += failed(QUADRATIC, place(2048), ("params", "latency", "throughput"))
    return records + timed(LINEAR, place(2048)) + exact(LINEAR, place(2048))


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    return Opened(browser, tmp_path_factory.mktemp("page"), [chapter(sweep_records())])


def test_it_is_drawn_without_complaint_and_calls_nowhere(opened):
    tab = opened.tab
    tab.locator(".bars .card").first.scroll_into_view_if_needed()
    tab.wait_for_selector(f"{BARS} .main-svg")
    assert tab.locator(f"{CHARTS} .scatterlayer .trace").count() >= 3, "a line per arm, and the control"
    assert tab.locator(f"{BARS} .bars .point").count() == 6, "six components of the arm that did not fail there"
    tab.locator(".bars .card").get_by_label("input").select_option(label="1024 px")
    assert tab.locator(f"{BARS} .bars .point").count() == 12, "and of both where both ran"
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1, "one file"


def test_a_point_tells_its_figure_and_interval(opened):
    opened.tab.evaluate(
        "Plotly.Fx.hover(document.querySelector('.charts .js-plotly-plot'), [{curveNumber: 1, pointNumber: 0}])"
    )
    text = opened.tab.locator(f"{CHARTS} .hoverlayer").first.text_content()
    assert "xfa" in text
    assert "256 px" in text
    assert "img/s, 6 launches" in text
    assert "× mhsa" in text


def test_a_mouse_over_a_point_does_the_same(opened):
    tab = opened.tab
    tab.locator(CHARTS).first.scroll_into_view_if_needed()
    point = tab.locator(f"{CHARTS} .scatterlayer .points path").first
    box = point.bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_selector(f"{CHARTS} .hoverlayer .hovertext")


def test_another_metric_axis_and_scale_can_be_chosen(opened):
    card = opened.tab.locator(".charts .card").first
    card.get_by_label("show", exact=True).select_option(label="latency at batch 1")
    card.get_by_label("as", exact=True).select_option(label="measured")
    assert "latency at batch 1 [ms]" in card.locator(".ytitle").text_content()
    assert card.locator(".scatterlayer .trace").count() == 2
    card.get_by_label("against", exact=True).select_option(label="tokens N")
    assert "tokens N" in card.locator(".xtitle").text_content()
    axis = "document.querySelector('.charts .js-plotly-plot').layout.yaxis.type"
    assert opened.tab.evaluate(axis) == "log"
    card.get_by_label("log y").uncheck()
    assert opened.tab.evaluate(axis) == "linear"
    card.get_by_label("against", exact=True).select_option(label="arms (bars)")
    assert card.locator(".bars .point").count() == 1, "at 2048 px one arm has a figure"
    assert "mhsa, 2048 px" in card.locator(".notes").inner_text()
    assert "oom: allocating 16 GiB" in card.locator(".notes").inner_text()


def test_the_table_sorts_by_value_and_filters_by_words(opened):
    head = opened.tab.locator(".figures thead button", has_text="MACs")
    head.click()
    first = opened.column("MACs")
    head.click()
    down = opened.column("MACs")
    known = [text for text in first if text]
    assert known != sorted(known), "not by letters"
    assert [text for text in down if text] == known[::-1]
    assert down[-1] == "", "what is missing stays last"
    opened.search("xfa 512")
    assert opened.column("arm") == ["xfa"]
    opened.search("oom")
    assert opened.tab.locator(".figures td.failure").inner_text() == "oom: allocating 16 GiB"
    opened.search("")


def test_arms_are_filtered_everywhere(opened):
    button = opened.tab.locator(".filter").get_by_role("button", name="xfa", exact=True)
    button.click()
    assert "xfa" not in opened.column("arm")
    assert not opened.tab.locator('tr[data-arm="xfa"]').first.is_visible()
    button.click()
    assert "xfa" in opened.column("arm")


def test_an_arm_can_be_singled_out_beside_the_reference(browser, tmp_path):
    third = replace(LINEAR, label="separable", attn="separable", cost=2e-6)
    records = [r for arm in (QUADRATIC, LINEAR, third) for r in timed(arm, place(1024)) + exact(arm, place(1024))]
    opened = Opened(browser, tmp_path, [chapter(records)])
    opened.tab.locator(".filter").get_by_role("button", name="xfa", exact=True).click(modifiers=["Shift"])
    assert sorted(opened.column("arm")) == ["mhsa", "xfa"]
    opened.tab.locator(".filter").get_by_role("button", name="all").click()
    opened.tab.locator(".filter").get_by_role("button", name="separable", exact=True).dblclick()
    assert sorted(opened.column("arm")) == ["mhsa", "separable"]
    opened.tab.locator(".filter").get_by_role("button", name="all").click()

    output = opened.tab.locator(".budget output")
    assert output.inner_text().startswith("3 of 3 arms fit; the best of them in time is separable, ")
    opened.tab.get_by_role("slider", name="peak memory").fill("0")
    assert output.inner_text().startswith("2 of 3 arms fit")
    assert sorted(opened.column("arm")) == ["separable", "xfa"]
    opened.tab.get_by_role("slider", name="time").fill("0")
    assert output.inner_text().startswith("1 of 3 arms fit")
    assert opened.complaints == []


def test_a_link_lands_below_the_bar_that_stays(opened):
    opened.tab.get_by_role("link", name="Figures", exact=True).click()
    opened.tab.wait_for_timeout(900)
    head = opened.tab.locator("[id$=-figures] h2").first.bounding_box()
    bar = opened.tab.locator(".filter").first.bounding_box()
    assert head["y"] >= bar["y"] + bar["height"]


def test_a_row_has_its_command(opened):
    opened.search("xfa 512")
    opened.tab.locator(".figures").get_by_role("button", name="command", exact=True).first.click()
    assert (
        opened.tab.locator(".figures .command pre").inner_text().startswith("xbench compare --attn mhsa xfa --res 512")
    )
    opened.search("")


def test_dark_is_dark_in_charts_too(opened):
    ink = f"document.querySelector('{CHARTS}').layout.font.color"
    paper = "getComputedStyle(document.body).backgroundColor"
    light = [opened.tab.evaluate(colour) for colour in (ink, paper)]
    opened.tab.locator("#theme").click()
    assert all(opened.tab.evaluate(colour) != now for colour, now in zip((ink, paper), light, strict=True))
    opened.tab.locator("#theme").click()


def test_nothing_is_wider_than_a_phone(browser, tmp_path):
    opened = Opened(browser, tmp_path, [chapter(sweep_records())], color_scheme="dark")
    opened.tab.set_viewport_size({"width": 390, "height": 844})
    opened.tab.wait_for_timeout(300)
    assert opened.tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.complaints == []


def test_names_stay_text_in_the_browser(browser, tmp_path):
    opened = Opened(browser, tmp_path, [chapter(evil_records(), question=EVIL)])
    tab = opened.tab
    assert tab.locator("h1").inner_text() == EVIL
    assert EVIL in tab.locator(".charts").first.inner_text(), "on the axis"
    tab.evaluate(
        "Plotly.Fx.hover(document.querySelector('.charts .js-plotly-plot'), [{curveNumber: 0, pointNumber: 0}])"
    )
    assert "<script>alert(1)</script>" in tab.locator(f"{CHARTS} .hoverlayer").first.text_content()
    assert tab.locator("b", has_text="alert").count() == 0
    assert opened.dialogs == []
    assert opened.complaints == []


def test_ten_thousand_records_draw_only_what_is_seen(browser, tmp_path):
    arms = [replace(LINEAR, label=f"xfa:rank={i}", cost=6e-6 * i) for i in range(1, 13)]
    places = [place(32 * n, patch_size=patch) for n in range(2, 107) for patch in (1, 2)]
    records = [r for where in places for arm in arms for r in exact(arm, where)]
    assert len(records) > 10_000
    opened = Opened(browser, tmp_path, [chapter(records)])
    assert opened.tab.locator(".figures tbody tr").count() == 100
    opened.search("rank=12")
    opened.tab.locator(".figures").get_by_label("input").select_option(label="3392 px")
    opened.tab.locator(".figures").get_by_label("patch").select_option(label="patch 2")
    assert opened.column("arm") == ["xfa:rank=12"]
    assert opened.complaints == []


def test_all_runs_stand_on_one_page_with_what_each_found(browser, tmp_path):
    for name, arms in (
        ("first", (QUADRATIC, LINEAR)),
        ("second", (LINEAR, QUADRATIC)),
        (EVIL.replace("/", "_")[:60], (LINEAR,)),
    ):
        ledger = Ledger(tmp_path / "runs" / name / "records.jsonl")
        records = [r for arm in arms for r in timed(arm, place(1024)) + exact(arm, place(1024))]
        ledger.append([replace(record, run=name) for record in records])
    assert write_index([tmp_path / "runs"], tmp_path / "index.html") == 3
    tab = browser.new_page()
    complaints, asked = [], []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto((tmp_path / "index.html").as_uri())
    rows = tab.locator("table.index tbody tr")
    assert rows.count() == 3
    assert "xfa is the fastest" in tab.locator("table.index").inner_text()
    tab.get_by_placeholder("xfa, EPYC").fill("second")
    assert [row.is_visible() for row in rows.all()].count(True) == 1
    assert tab.locator("figure.picture img").count() > 0, "cases of several runs have a history"
    tab.get_by_role("button", name="run", exact=True).click()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    with pytest.raises(UserError, match="no folder"):
        write_index([tmp_path / "none"], tmp_path / "index.html")
