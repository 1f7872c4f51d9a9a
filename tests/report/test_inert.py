"""Names are shown as they are: in Markdown as another reader of it understands it, in SVG, in HTML."""

import html
import random
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hostile_folder import HOSTILE, records
from markdown_it import MarkdownIt

from xbench.analysis.results import Results
from xbench.report.folder import write_report
from xbench.report.inert import fenced, markdown, one_line
from xbench.report.page.page import Chapter, page

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = [
    "mobilevit_s",
    "_private_",
    "mobilevit_s and efficientnet_b0",
    "a*b*c **d**",
    "[link](javascript:alert(1))",
    "![x](y)",
    "<script>alert(1)</script>",
    "<b>",
    "a|b",
    "a\\|b\\",
    "`code",
    "``",
    "~~gone~~",
    "# heading",
    "1. item",
    "- item",
    "+ item",
    "> quote",
    "&amp; &lt; &#60; AT&T",
    "$x$",
    "a\nb\n\n# c",
    "---",
    "===",
    "x\x1b[31m\x9b\x00y",
    "    indented",
    "[a]: http://b",
    "http://a.b www.c.d @user #12",
]
ALPHABET = [
    "a",
    "b",
    " ",
    "_",
    "*",
    "`",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "|",
    "\\",
    "~",
    "#",
    "&",
    "amp;",
    "!",
    "-",
    "1.",
]
CHANCE = random.Random(0)
MADE = ["".join(CHANCE.choices(ALPHABET, k=CHANCE.randint(1, 12))) for _ in range(400)]


def text_of(rendered: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", rendered)).split())


def tags(rendered: str) -> set[str]:
    return set(re.findall(r"<(\w+)", rendered))


PLACES = [
    ("{}\n", {"p"}),
    ("- {}\n", {"ul", "li", "p"}),
    ("# {}\n", {"h1"}),
    ("| {} |\n| --- |\n", {"table", "thead", "tr", "th"}),
]


@pytest.mark.parametrize(("place", "allowed"), PLACES)
def test_markdown_reads_as_the_text_stands(place, allowed):
    for text in [*NASTY, *MADE]:
        rendered = READER.render(place.format(markdown(text)))
        assert text_of(rendered) == one_line(text), markdown(text)
        assert tags(rendered) <= allowed, markdown(text)


def test_nothing_ends_a_block_of_code():
    rendered = READER.render(fenced("a\n```\n# b\n````\n<b>"))
    assert tags(rendered) == {"pre", "code"}


def test_reports_of_hostile_names_are_valid_and_show_them(tmp_path):
    results = Results(records("r"))
    write_report(results, "Is <b> this _so_?", "xbench compare\n```\n", ["throughput", "speed", "cost"], tmp_path)
    rendered = READER.render((tmp_path / "report.md").read_text())
    assert one_line(HOSTILE) in html.unescape(rendered)
    assert "mobilevit_s" in rendered
    assert (
        not tags(rendered)
        - {"h1", "h2", "p", "ul", "li", "strong", "em", "img", "pre", "code", "details", "summary"}
        - {*("table", "thead", "tbody", "tr", "th", "td")}
    )
    drawings = list(Path(tmp_path, "plots").glob("*.svg"))
    assert len(drawings) == 3
    for drawing in drawings:
        ElementTree.parse(drawing)
    text = page([Chapter("r", "Is <b> this \x1b?", "xbench", results)])
    assert html.escape(one_line(HOSTILE)).replace("&#x27;", "&#39;") in text
    assert not set("\x1b\x9b\x00\u202e") & set(text)
