"""A run's page and its summary, as tests read them."""

from __future__ import annotations

from html.parser import HTMLParser

from rich.console import Console

from cohortlake.core.lake import Lake
from cohortlake.report import summary, write

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A page's elements, its text by section, and what is wrong with its tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.tags, self.links, self.wrong = text, [], [], []
        self.stack: list[tuple[str, str]] = []
        self.text: dict[str, str] = {}
        self.feed(text)
        self.wrong += [tag for tag, _ in self.stack]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        if tag not in VOID:
            self.stack.append((tag, given.get("id") or ""))

    def handle_endtag(self, tag: str) -> None:
        if not self.stack or self.stack.pop()[0] != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        for name in {name for _, name in self.stack if name}:
            self.text[name] = f"{self.text.get(name, '')} {data}"
        if not any(tag in ("script", "style") for tag, _ in self.stack):
            self.text[""] = f"{self.text.get('', '')} {data}"

    def said(self, section: str = "") -> str:
        """The words of a section, or of the whole page, evenly spaced."""
        return " ".join(self.text.get(section, "").split())


def page_of(lake: Lake, run_id: str) -> Page:
    return Page(write(lake, run_id).read_text(encoding="utf-8"))


def told(lake: Lake, run_id: str) -> str:
    """The terminal's summary as plain text."""
    console = Console(width=200, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115
    console.print(summary(lake, run_id))
    return " ".join(console.export_text().split())
