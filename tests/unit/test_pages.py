"""Data Docs need no network, and their index says what failed first."""

from __future__ import annotations

import json
import re

from expectations.pages import finish

PAGE = """<html><head>
<link rel="stylesheet" type="text/css" href="https://cdn.example/x.css">
<script src="https://cdn.example/x.js" integrity="sha384-x"></script>
</head><body><img
  src="https://assets.example/logo.png?id=7" alt="x"/>
<p>kept</p><script>let kept = 1</script><footer>news <a href="https://news.example">here</a></footer></body></html>"""


def write(docs, results, table: str, failed: int) -> None:
    page = docs / f"validations/site/{table}/run1/time/rows.html"
    page.parent.mkdir(parents=True)
    page.write_text(PAGE)
    result = results / f"site/{table}/run1/time/rows.json"
    result.parent.mkdir(parents=True)
    statistics = {"evaluated_expectations": 5, "unsuccessful_expectations": failed}
    result.write_text(json.dumps({"suite_name": f"site.{table}", "statistics": statistics}))


def test_pages_fetch_nothing_and_keep_what_they_say(tmp_path):
    write(tmp_path / "docs", tmp_path / "results", "Patient", 0)
    finish(tmp_path / "docs", tmp_path / "results")
    page = next((tmp_path / "docs/validations").rglob("*.html"))
    text = page.read_text()
    assert "https://" not in text
    assert "<p>kept</p><script>let kept = 1</script>" in text
    styles = re.search(r'rel="stylesheet" href="([^"]+)"', text).group(1)
    assert (page.parent / styles).resolve().is_file()
    finish(tmp_path / "docs", tmp_path / "results")
    assert page.read_text() == text


def test_the_index_links_every_table_and_begins_with_what_failed(tmp_path):
    for table, failed in (("Claim", 0), ("Encounter", 2), ("Patient", 0)):
        write(tmp_path / "docs", tmp_path / "results", table, failed)
    index = finish(tmp_path / "docs", tmp_path / "results")
    links = re.findall(r'<a href="(validations[^"]+)">(\w+)</a>', index.read_text())
    assert [table for _, table in links] == ["Encounter", "Claim", "Patient"]
    assert all((index.parent / link).is_file() for link, _ in links)
