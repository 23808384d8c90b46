import html.parser

import pytest

from prefine.report import (
    Code,
    Facts,
    Figure,
    Formula,
    Gallery,
    Prose,
    Report,
    Response,
    Sample,
    Samples,
    Section,
    SetAside,
    Span,
    Stats,
    render,
)
from prefine.report.figures import bars
from prefine.statistics import Stat, wilson

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!--",
    "javascript:alert(1)",
    "&lt;script&gt;",
]

VOID = {"meta", "br", "img", "link"}


class Elements(html.parser.HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def every_block(text):
    stat = Stat(0.5, 0.4, 0.6, n=9, method=text)
    picture = bars({text: wilson(3, 4)}, xlabel=text, caption=text)
    response = Response(text, [Span(text), Span(text, scored=False)], {text: text})
    return [
        Prose(text),
        Facts({text: text, "nested": {text: [text, {text: text}]}, "none": None, "yes": True}),
        Stats({text: stat}, {text: text}),
        picture,
        Gallery([Figure(picture.svg, text, text)]),
        Samples([Sample(text, [response, Response(text, text)])]),
        SetAside({text: 3}, used=5, what=text),
        Formula(text, {text: text}),
        Code(text, text),
    ]


def page_of(text):
    sections = [Section(text, every_block(text))] * 4
    return render(Report(text, sections, summary=text))


HARMLESS = page_of("harmless")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_text_changes_nothing_but_text(payload):
    harmless, hostile = Elements(HARMLESS), Elements(page_of(payload))
    assert hostile.tags == harmless.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in harmless.attributes]
    assert not hostile.open
    assert "script" not in hostile.tags
    assert not any(name.startswith("on") for name, _ in hostile.attributes)
    assert payload in "".join(hostile.text)


def test_the_page_needs_nothing_from_elsewhere():
    elements = Elements(page_of("text"))
    assert not {"link", "img", "iframe", "object", "script"} & set(elements.tags)
    addresses = [value for name, value in elements.attributes if name in ("src", "href")]
    assert addresses
    assert all(value.startswith("#") for value in addresses)
    policy = next(value for name, value in elements.attributes if value and "default-src" in value)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_characters_that_act_unseen_are_shown():
    page = page_of("a\x1b[31m\u202eb\ud800")
    page.encode("utf-8")
    assert "␛[31m[U+202E]b\ufffd" in page
    assert "\x1b" not in page


def test_the_same_report_gives_the_same_page():
    assert page_of("x") == page_of("x")


def test_dark_paper_and_screen():
    page = page_of("x")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_what_a_reader_sees():
    spans = [Span("s"), Span("u", scored=False)]
    report = Report(
        "Title",
        [
            Section("Numbers", [Stats({"accuracy": wilson(70, 100)}, {"accuracy": "share right"})]),
            Section("Aside", [SetAside({"tie": 1, "empty": 5000}, used=94_999)]),
            Section("Nothing", [SetAside({}, used=0), Stats({})]),
            Section("Mask", [Samples([Sample("p", [Response("r", spans)])])]),
        ],
        summary="It went well.",
    )
    page = render(report)
    for piece in (
        "<h1>Title</h1>",
        "It went well.",
        "share right",
        "0.604 to 0.781",
        "94,999",
        "5.0%",
        "&lt; 0.1%",
        "nothing was measured",
        "<mark>s</mark>",
        '<span class="unscored">u</span>',
    ):
        assert piece in page


def test_a_short_page_has_no_contents():
    assert "<nav" not in render(Report("t", [Section("a", [Prose("one\n\ntwo")])]))
    assert "<p>two</p>" in render(Report("t", [Section("a", [Prose("one\n\ntwo")])]))
