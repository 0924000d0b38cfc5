"""The report as one HTML page: style, script and pictures inside, nothing fetched, nothing that a name could inject."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cohortlake.core.lake import Lake
from cohortlake.report import checks, draw, headline, words
from cohortlake.report.flow import make_flow
from cohortlake.report.flow_picture import picture
from cohortlake.report.records import MISSING
from cohortlake.report.report import Report

TEMPLATES = "templates"
POLICY = "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'"
DATA_DOCS = "index.html"


def slug(name: str) -> str:
    """A name as an anchor."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "-"


@cache
def _environment() -> Environment:
    loader = PackageLoader("cohortlake.report", TEMPLATES)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {
        "count": words.count,
        "duration": words.duration,
        "moment": words.moment,
        "size": words.size,
        "clip": words.clip,
        "slug": slug,
        "plural": words.plural,
    }
    made.globals |= {
        "bar": draw.bar,
        "interval": draw.interval,
        "histogram": draw.histogram,
        "percent": words.percent,
        "share": words.share,
        "sentence": words.sentence,
        "MISSING": MISSING,
        "KINDS": checks.KINDS,
        "SEVERITIES": checks.SEVERITIES,
    }
    return made


def _inline(name: str) -> tuple[str, str]:
    """A file of the page, and its hash as a Content-Security-Policy wants it."""
    text = files("cohortlake.report").joinpath(TEMPLATES, name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"'sha256-{digest}'"


def commands(report: Report) -> dict[str, str]:
    """What to type next, with this lake's folder."""
    lake = f"--lake {shlex.quote(str(report.run.lake.root))}"
    tables = list(report.published_tables) or [table.name for table in report.tables]
    chosen = "patients" if "patients" in tables else (tables or ["patients"])[0]
    silo = shlex.quote(next((group.silo for group in report.quarantine.groups if group.open), "SILO"))
    question = shlex.quote(f"SELECT * FROM {chosen} LIMIT 10")  # noqa: S608 (shown to the reader, not run)
    return {
        "sql": f"cohortlake sql {question} {lake}",
        "tables": f"cohortlake tables {lake}",
        "held": f"cohortlake quarantine {lake}",
        "list": f"cohortlake quarantine list --silo {silo} {lake}",
        "show": f"cohortlake quarantine show ID {lake}",
        "replay": f"cohortlake quarantine replay --silo {silo} {lake} && cohortlake run {lake}",
        "review": f"cohortlake person review {lake}",
        "codes": f"cohortlake codes {lake}",
        "training": f"cohortlake training list {lake}",
        "completeness": f"cohortlake completeness {lake}",
    }


def _link(target: Path, page: Path) -> str:
    """A link from the page to a file beside it, or empty where there is no such file."""
    return Path(os.path.relpath(target, page.parent)).as_posix() if target.exists() else ""


def _links(lake: Lake, page: Path, report: Report) -> dict[str, Any]:
    releases = {c.name: _link(lake.releases(c.name) / c.version, page) for c in report.cohorts if c.version}
    return {"docs": _link(lake.docs / DATA_DOCS, page), "releases": releases}


def render(report: Report, page: Path) -> str:
    """The page's HTML, to stand at `page`: its links are relative."""
    style, style_hash = _inline("style.css")
    script, script_hash = _inline("page.js")
    run = report.run
    template = _environment().get_template("report.html.j2")
    return template.render(
        report=report,
        run=run,
        status=headline.status(report),
        figures=headline.figures(report),
        attention=headline.attention(report),
        flow=picture(make_flow(report)),
        commands=commands(report),
        links=_links(run.lake, page, report),
        style=style,
        script=script,
        policy=POLICY.format(style_hash, script_hash),
    )
