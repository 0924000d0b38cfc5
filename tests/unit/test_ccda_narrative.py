"""The narrative block as XHTML and as words."""

# A row of the table is a line.
# ruff: noqa: E501

from __future__ import annotations

import pytest

from cohortlake.core.ccda.narrative import by_id, plain, xhtml
from cohortlake.core.readers.ccda import MAX_DEPTH, Node, parse
from tests.ccda_documents import document


def text(inner: str) -> Node:
    return next(node for node in parse(document(text=inner)).within() if node.name == "text")


@pytest.mark.parametrize(
    ("cda", "expected"),
    [
        ("words &lt;b&gt; &amp; more", "words &lt;b&gt; &amp; more"),
        ("<paragraph>a<br/>b</paragraph>", "<p>a<br/>b</p>"),
        ('<content ID="x1" styleCode="Bold Italics">a</content>', '<span id="x1" style="font-weight:bold;font-style:italic">a</span>'),
        ("<list><caption>c</caption><item>a</item></list>", "<p>c</p><ul><li>a</li></ul>"),
        ('<list listType="ordered"><item>a</item></list>', "<ol><li>a</li></ol>"),
        ('<table border="1"><tbody><tr><td colspan="2">a</td></tr></tbody></table>', '<table border="1"><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
        ('<linkHtml href="https://a.org/?a=1&amp;b=2">a</linkHtml>', '<a href="https://a.org/?a=1&amp;b=2">a</a>'),
        ('<linkHtml href="javascript:alert(1)">a</linkHtml>', "<a>a</a>"),
        ('<renderMultiMedia referencedObject="M1"/>', "[M1]"),
        ("<script>alert(1)</script>", "<span>alert(1)</span>"),
        ('<td onclick="alert(1)" style="x">a</td>', "<td>a</td>"),
    ],
)  # fmt: skip
def test_as_xhtml(cda, expected):
    assert xhtml(text(cda)) == f'<div xmlns="http://www.w3.org/1999/xhtml">{expected}</div>'


def test_an_empty_text_is_none():
    assert xhtml(text("<paragraph/>")) == '<div xmlns="http://www.w3.org/1999/xhtml"><p></p></div>'
    assert xhtml(text(" ")) is None


def test_words_of_blocks_are_told_apart():
    assert plain(text("<table><tr><td>a</td><td>b</td></tr></table><list><item>c</item></list>")) == "a b c"
    assert plain(text("<content>a</content><content>b</content>")) == "ab"


def test_of_two_parts_with_one_id_the_first_is_meant():
    root = parse(document(text='<content ID="x">a</content><content ID="x">b</content>'))
    assert plain(by_id(root)["x"]) == "a"


def test_a_text_as_deep_as_a_document_may_be_is_converted():
    deep = MAX_DEPTH - 10
    inner = f"{'<content>' * deep}a{'</content>' * deep}"
    assert plain(text(inner)) == "a"
    assert (xhtml(text(inner)) or "").count("<span>") == deep
