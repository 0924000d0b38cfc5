"""Data Docs that need no network: Great Expectations' pages without what they fetch, and an index of ours.

As they are built they load styles, scripts and a picture (which carries an id of the installation) from other hosts
each time somebody looks; a hospital's network lets none of them through, and its index is empty then.
"""

from __future__ import annotations

import json
import os
import re
from html import escape
from pathlib import Path
from typing import Any

STYLES = Path(__file__).parent / "pages.css"
FETCHED = re.compile(
    r"<script\b[^>]*\bsrc=\"https?://[^>]*>\s*</script>"
    r"|<link\b[^>]*\bhref=\"https?://[^>]*>"
    r"|<img\b[^>]*\bsrc=\"https?://[^>]*>"
    r"|<footer\b.*?</footer>",
    re.DOTALL,
)
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Data Docs</title><link rel="stylesheet" href="static/pages.css"></head>
<body><main><h1>Data Docs</h1>
<p>What was checked when each table was last gated, by Great Expectations. A check that failed says how many values did,
and never which; rows that were kept back stand in <code>cohortlake quarantine</code>.</p>
<table class="table"><thead><tr><th>Scope</th><th>Table</th><th>Run</th><th class="number">Checks</th>
<th class="number">Failed</th><th></th></tr></thead><tbody>
{rows}
</tbody></table></main></body></html>
"""
ROW = (
    '<tr><td>{scope}</td><td><a href="{page}">{table}</a></td><td><code>{run}</code></td>'
    '<td class="number">{checks}</td><td class="number {state}">{failed}</td>'
    '<td><a href="{suite}">the checks</a></td></tr>'
)


def finish(docs: Path, results: Path) -> Path:
    """Make all pages below `docs` stand on their own, and write their index from `results`. Gives the index."""
    (docs / "static").mkdir(parents=True, exist_ok=True)
    (docs / "static/pages.css").write_text(STYLES.read_text(encoding="utf-8"), encoding="utf-8")
    for page in [*docs.glob("validations/**/*.html"), *docs.glob("expectations/**/*.html")]:
        text = page.read_text(encoding="utf-8")
        kept = FETCHED.sub("", text)
        if kept != text:
            styles = f'<link rel="stylesheet" href="{os.path.relpath(docs / "static/pages.css", page.parent)}">'
            page.write_text(kept.replace("</head>", f"{styles}</head>", 1), encoding="utf-8")
    index = docs / "index.html"
    rows = [_row(docs, *judged) for judged in sorted(_judged(docs, results), key=_order)]
    index.write_text(INDEX.format(rows="\n".join(rows)), encoding="utf-8")
    return index


def _judged(docs: Path, results: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Each page with the results that it shows."""
    pages = sorted(docs.glob("validations/**/*.html"))
    found = [(page, results / page.relative_to(docs / "validations").with_suffix(".json")) for page in pages]
    return [(page, json.loads(path.read_text(encoding="utf-8"))) for page, path in found if path.exists()]


def _order(judged: tuple[Path, dict[str, Any]]) -> tuple[bool, str]:
    """What failed stands first."""
    return not judged[1]["statistics"]["unsuccessful_expectations"], str(judged[1]["suite_name"])


def _row(docs: Path, page: Path, result: dict[str, Any]) -> str:
    scope, _, table = str(result["suite_name"]).partition(".")
    failed = int(result["statistics"]["unsuccessful_expectations"])
    return ROW.format(
        scope=escape(scope),
        table=escape(table),
        page=escape(page.relative_to(docs).as_posix()),
        run=escape(page.parts[-3]),
        checks=result["statistics"]["evaluated_expectations"],
        failed=failed,
        state="text-danger" if failed else "",
        suite=escape(f"expectations/{'/'.join(str(result['suite_name']).split('.'))}.html"),
    )
