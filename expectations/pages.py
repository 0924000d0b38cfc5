"""Data Docs: pages of Great Expectations' validation results that a person can read, and that need no network.

A page a table says what came of each check, grouped by element, the failing ones first; another says what is expected.
Great Expectations' own pages fetch styles, scripts and a picture (with an id of the installation) from other hosts each
time somebody looks; an exported project (`cohortlake checks export`) can still build them.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

STATES = ("failed", "quarantined", "warning", "passed")
STATE_OF = {"fail": "failed", "quarantine": "quarantined", "warn": "warning"}
STYLES = Path(__file__).parent / "templates/pages.css"
# What the parts of a suite's name after its scope are called.
PARTS = {"rows": "rows", "table": "the table as a whole", "delivery": "the delivery as a whole"}
FACTS = ("table", "delivery")


def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("expectations"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def write(docs: Path, kept: Path) -> Path:
    """Write the page of each result below `kept` that is newer than its page, and the index of all. Gives the index."""
    (docs / "static").mkdir(parents=True, exist_ok=True)
    (docs / "static/pages.css").write_text(STYLES.read_text(encoding="utf-8"), encoding="utf-8")
    templates = _templates()
    scopes: dict[str, list[dict[str, Any]]] = {}
    pages: set[Path] = set()
    for path, result in _results(kept / "results"):
        place = path.relative_to(kept / "results").with_suffix(".html")
        both = docs / "validations" / place, docs / "expectations" / place
        pages.update(both)
        checks = _checks(result)
        for is_suite, page in enumerate(both):
            if not page.exists() or page.stat().st_mtime <= path.stat().st_mtime:
                page.parent.mkdir(parents=True, exist_ok=True)
                other = os.path.relpath(both[1 - is_suite], page.parent)
                told = _page(result, checks, bool(is_suite), other, os.path.relpath(docs, page.parent), path)
                page.write_text(templates.get_template("table.html.j2").render(told), encoding="utf-8")
        scope, _, name = str(result["suite_name"]).partition(".")
        scopes.setdefault(scope, []).append(_line(name, result, checks, [page.relative_to(docs) for page in both]))
    for kind in ("validations", "expectations"):
        for page in set(docs.glob(f"{kind}/**/*.html")) - pages:
            page.unlink()
    listed = [{"name": name, "tables": sorted(of, key=_order)} for name, of in sorted(scopes.items())]
    index = docs / "index.html"
    index.write_text(templates.get_template("index.html.j2").render(scopes=listed), encoding="utf-8")
    return index


def _results(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each kept result; a file whose place is not its suite's name is none of ours."""
    for path in sorted(folder.glob("**/*.json")):
        if len(path.relative_to(folder).parts) <= 3:
            result = json.loads(path.read_text(encoding="utf-8"))
            if path.relative_to(folder).with_suffix("").parts == tuple(str(result.get("suite_name")).split(".")):
                yield path, result


def _checks(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What a page says of each check."""
    return [_check(one) for one in result["results"]]


def _check(one: dict[str, Any]) -> dict[str, Any]:
    config, told = one["expectation_config"], one["result"]
    meta = config["meta"]
    counted = told.get("unexpected_count") is not None
    judged = told["element_count"] - told.get("missing_count", 0) if counted else None
    return {
        "name": meta["check"],
        "words": meta["words"],
        "kind": meta["kind"],
        "severity": meta["severity"],
        "source": meta.get("source", ""),
        "element": meta.get("element", ""),
        "helper": meta.get("helper_column", ""),
        "column": config["kwargs"].get("column", ""),
        "type": config["type"],
        "state": "passed" if one["success"] else STATE_OF[meta["severity"]],
        "judged": f"{judged:,}" if counted else "",
        "failed": f"{told['unexpected_count']:,}" if counted else str(told.get("observed_value", "")),
        "share": _share(told) if counted else "",
    }


def _share(told: dict[str, Any]) -> str:
    """The share of the values judged that failed, never rounded to none or all."""
    if not told["unexpected_count"]:
        return "0 %"
    percent = told.get("unexpected_percent") or 0.0
    return "< 0.1 %" if percent < 0.1 else f"{percent:.1f} %" if percent <= 99.9 or percent == 100 else "> 99.9 %"


def _states(checks: list[dict[str, Any]]) -> dict[str, int]:
    found = Counter(check["state"] for check in checks)
    return {state: found[state] for state in STATES}


def _page(
    result: dict[str, Any], checks: list[dict[str, Any]], is_suite: bool, other: str, top: str, path: Path
) -> dict[str, Any]:
    """What a table's page shows."""
    scope, _, name = str(result["suite_name"]).partition(".")
    meta, rows = result["meta"], [one["result"].get("element_count", 0) for one in result["results"]]
    what = "expectations" if is_suite else "results"
    return {
        "title": f"{scope} · {_titled(name)} · {what}",
        "scope": scope,
        "table": _titled(name),
        "css": f"{top}/static/pages.css",
        "index": f"{top}/index.html",
        "other": other,
        "is_suite": is_suite,
        "is_facts": name.rpartition(".")[2] in FACTS,
        "version": meta["great_expectations_version"],
        "judged_at": str(meta["validation_time"])[:16].replace("T", " ") + " UTC",
        "run": meta["run_id"]["run_name"],
        "result_file": "/".join(path.parts[-4:]),
        "rows": max(rows, default=0),
        "states": _states(checks),
        "checks": checks,
        "groups": _groups(checks, is_suite),
    }


def _titled(name: str) -> str:
    table, _, part = name.partition(".")
    return f"{table}, {PARTS[part]}" if part in PARTS else PARTS.get(table, table)


def _groups(checks: list[dict[str, Any]], is_suite: bool) -> list[dict[str, Any]]:
    """The checks by the element that they are of; before them, on a page of results, those that did not pass."""
    bad = [] if is_suite else [check for check in checks if check["state"] != "passed"]
    bad.sort(key=lambda check: STATES.index(check["state"]))
    groups = [{"name": "Did not pass", "checks": bad}] if bad else []
    by_element: dict[str, list[dict[str, Any]]] = {}
    for check in checks:
        if is_suite or check["state"] == "passed":
            by_element.setdefault(str(check["element"]).partition(".")[0] or "Brought by users", []).append(check)
    return groups + [{"name": name, "checks": of} for name, of in sorted(by_element.items())]


def _line(name: str, result: dict[str, Any], checks: list[dict[str, Any]], pages: list[Path]) -> dict[str, Any]:
    states = _states(checks)
    return {
        "name": _titled(name),
        "page": pages[0].as_posix(),
        "suite": pages[1].as_posix(),
        "run": result["meta"]["run_id"]["run_name"],
        "checks": len(checks),
        "states": states,
        "state": next((state for state in STATES if states[state]), "passed"),
    }


def _order(line: dict[str, Any]) -> tuple[int, str]:
    """What failed stands first."""
    return STATES.index(line["state"]), line["name"]
