"""The run report in a real browser: it is drawn, says nothing on the console, and asks nothing of the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from cohortlake.core.lake import Lake
from cohortlake.report import write
from tests import report_runs as runs

BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # not even the browser's own questions leave the machine
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no `chromium` here: apt-get install chromium")


@dataclass(frozen=True)
class Visit:
    """What a browser made of a page: its DOM, its picture, what it said on the console, what the page asked for."""

    dom: str
    picture: Path
    console: list[str]
    requests: list[str]


def visit(page: Path, folder: Path, *flags: str, size: str = "1280,1600") -> Visit:
    """Open a page in a fresh browser, twice: for its DOM, and for its picture."""
    folder.mkdir(parents=True)
    log, picture = folder / "net.json", folder / "page.png"
    common = [str(BROWSER), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", f"--window-size={size}"]
    shown = [*common, "--enable-logging=stderr", f"--log-net-log={log}", "--dump-dom", page.as_uri()]
    done = subprocess.run(shown, capture_output=True, text=True, timeout=120, check=True)
    drawn = [*common, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(drawn, capture_output=True, timeout=120, check=True)
    console = re.findall(r":CONSOLE:\d+\] (.*)", done.stderr)
    return Visit(done.stdout, picture, console, _requests(log))


def _requests(log: Path) -> list[str]:
    """What the page asked for, leaving out the browser's own questions (no page is their initiator) and itself."""
    kept = json.loads(log.read_text(encoding="utf-8"))
    start = kept["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event.get("params", {}) for event in kept["events"] if event["type"] == start]
    return [params["url"] for params in asked if params.get("initiator", "not an origin") != "not an origin"]


def _ink(picture: Path) -> tuple[int, int]:
    """How bright a picture is (0 to 255), and how many colours it has."""
    from matplotlib.image import imread

    pixels = (imread(picture)[..., :3] * 255).astype("uint8").reshape(-1, 3)
    return int(pixels.mean()), len({bytes(pixel) for pixel in pixels})


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    return write(lake, runs.faulty_run(lake))


def test_this_test_would_notice(tmp_path: Path) -> None:
    """A page with a fault and a foreign picture is found out."""
    wrong = tmp_path / "wrong.html"
    wrong.write_text('<img src="http://example.invalid/x.png"><script>nope()</script>', encoding="utf-8")
    seen = visit(wrong, tmp_path / "visit")
    assert any("nope is not defined" in line for line in seen.console)
    assert seen.requests == ["http://example.invalid/x.png"]


@pytest.mark.parametrize(
    ("name", "size", "flags", "is_dark"),
    [("desktop", "1280,1600", (), False), ("narrow", "420,1600", (), False), ("dark", "1280,1600", (DARK,), True)],
)
def test_the_page_is_drawn_quietly(
    page: Path, tmp_path: Path, name: str, size: str, flags: tuple[str, ...], is_dark: bool
) -> None:
    seen = visit(page, tmp_path / name, *flags, size=size)
    assert seen.console == []
    assert seen.requests == []
    for section in ("flow", "silos", "gates", "quarantine", "gold", "training", "time", "books"):
        assert f'<section id="{section}"' in seen.dom
    assert 'class="flow" role="img"' in seen.dom
    # The script ran: the heads of sortable tables are buttons.
    assert "<button" in seen.dom
    brightness, colours = _ink(seen.picture)
    assert colours > 100
    assert (brightness < 100) == is_dark
