from __future__ import annotations

from html import unescape

from report_samples import HOSTILE

from edgepipe.report.markup import Html, el, join


def test_strings_are_escaped_and_markup_is_not() -> None:
    inner = el("b", "<i>", 3, 2.5, None, [Html("<br>"), ("x", "&")])
    assert inner == "<b>&lt;i&gt;32.5<br>x&amp;</b>"
    assert el("p", inner) == f"<p>{inner}</p>"
    assert join("<", inner) == f"&lt;{inner}"


def test_attributes() -> None:
    made = el("input", class_="a b", data_tip='"<', x=1.04, y=2.0, hidden=True, id=None, on=False)
    assert made == '<input class="a b" data-tip="&quot;&lt;" x="1" y="2" hidden>'


def test_an_attack_stays_text() -> None:
    made = el("a", HOSTILE, title=HOSTILE)
    assert made.count("<") == 2
    attribute, _, child = made.removeprefix('<a title="').partition('">')
    assert '"' not in attribute
    assert unescape(attribute) == unescape(child.removesuffix("</a>")) == HOSTILE


def test_control_characters_and_lone_surrogates_become_visible() -> None:
    made = el("p", "\x00\x1b\ud800\u202e\nnext")
    assert made == "<p>\\x00\\x1b\\ud800\\u202e\nnext</p>"
    made.encode()
