"""The HTML report in a real browser: phone and desktop, light and dark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablate.report.formats.html import render_html, render_notebook
from tests.helpers import html_studies

LAYOUT = (Path(__file__).parent / "html_layout.js").read_text(encoding="utf-8")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--disable-extensions", "--mute-audio"),
)
STUDIES = (
    *("clear", "two_data_sets", "hostile", "one_seed", "lower_loss"),
    *("transposed", "two_ablations", "exact"),
)
LIGHT, DARK = "rgb(255, 255, 255)", "rgb(18, 22, 28)"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless browser of the system, else skip."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="no selenium: pip install selenium"
    )
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no browser: the system has no chromium with its chromedriver")
    options = Options()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page with made-up studies of every kind."""
    made, whole = html_studies.together(STUDIES)

    def epochs(key: str) -> list[dict[str, float]]:
        return whole(key)[-6:]  # the folded tables of all studies are long enough

    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render_html(made, epochs=epochs), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with one study."""
    made, epochs = html_studies.clear()
    path = tmp_path_factory.mktemp("report") / "one.html"
    path.write_text(render_html(made, epochs=epochs), encoding="utf-8")
    return path


def prefer(browser: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def show(browser: Any, path: Path, width: int, scheme: str) -> None:
    prefer(browser, scheme)
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())


def requests(browser: Any) -> list[str]:
    """Addresses that pages asked for since the last call; not what the browser's own new tab does,
    which may still be loading when the first page is shown."""
    found = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] != "Network.requestWillBeSent":
            continue
        if not message["params"]["documentURL"].startswith("chrome://"):
            found.append(message["params"]["request"]["url"])
    return found


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_nothing_overlaps_is_cut_or_asked_for(browser: Any, everything: Path, width: int) -> None:
    requests(browser)
    show(browser, everything, width, "light")
    found = browser.execute_script(LAYOUT, True)
    assert found["problems"] == []
    assert found["texts"] > 800
    assert found["width"] <= found["innerWidth"] == width
    assert found["page"] == LIGHT
    prefer(browser, "dark")
    found = browser.execute_script(LAYOUT, width == 390)
    assert found["problems"] == []
    assert found["page"] == DARK
    assert browser.get_log("browser") == []
    asked = [url for url in requests(browser) if not url.startswith("data:")]
    assert asked == [everything.as_uri()]


def test_the_check_sees_what_it_is_for(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    bad = """
        <p style="position:absolute;left:20px;top:200px">one text</p>
        <p style="position:absolute;left:30px;top:205px">another text</p>
        <p style="font-size:10px">small</p>
        <p style="color:#bbb">pale</p>
        <svg width="40" height="30"><text x="20" y="15">a long label</text></svg>
        <p style="position:absolute;left:380px;top:300px;white-space:nowrap">far away</p>
    """
    page.write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><body class="ablate">{bad}')
    show(browser, page, 390, "light")
    said = "\n".join(browser.execute_script(LAYOUT, True)["problems"])
    for what in ("overlap: one text / another text", "10 px: small", "contrast 1.92: pale"):
        assert what in said
    assert "cut: a long label" in said
    assert "off the page: far away" in said


def test_what_is_folded_fits_too(browser: Any, everything: Path) -> None:
    show(browser, everything, 390, "light")
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = browser.execute_script(LAYOUT, True)
    assert found["problems"] == []
    assert found["width"] <= 390


def test_the_first_column_stays_while_a_table_scrolls(browser: Any, one: Path) -> None:
    show(browser, one, 390, "light")
    moved = browser.execute_script(
        """
        const frame = [...document.querySelectorAll('.scroll')]
            .find(f => f.scrollWidth > f.clientWidth + 100);
        const cells = frame.querySelector('tbody tr').children;
        const before = [cells[0], cells[1]].map(c => c.getBoundingClientRect().left);
        frame.scrollLeft = 80;
        const after = [cells[0], cells[1]].map(c => c.getBoundingClientRect().left);
        return [after[0] - before[0], after[1] - before[1]];
        """
    )
    assert moved == [0, -80]


def test_strokes_of_curves_do_not_stretch(browser: Any, one: Path) -> None:
    """A panel is a few units wide and a thousand high: strokes are given in px all the same."""
    show(browser, one, 1280, "light")
    effects = browser.execute_script(
        """
        return [...document.querySelectorAll('.store path, .small path')]
            .map(p => getComputedStyle(p).vectorEffect);
        """
    )
    assert len(effects) > 20
    assert set(effects) == {"non-scaling-stroke"}


def test_a_notebook_s_fragment_changes_nothing_around_it(browser: Any, tmp_path: Path) -> None:
    made, _ = html_studies.hostile()
    fragment = render_notebook(made)
    assert "<script" not in fragment
    page = tmp_path / "notebook.html"
    around = '<p id="out">text</p><table id="t"><tr><td>cell</td></tr></table>'
    page.write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>n</title>'
        f'<link rel="icon" href="data:,"><body data-jp-theme-light="false">{around}'
        f"<div>{fragment}</div></body></html>",
        encoding="utf-8",
    )
    plain = tmp_path / "plain.html"
    plain.write_text(
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>n</title>'
        f'<link rel="icon" href="data:,"><body data-jp-theme-light="false">{around}</body></html>',
        encoding="utf-8",
    )
    styles = []
    script = """
        return ['#out', '#t td', 'body'].map(s => {
            const c = getComputedStyle(document.querySelector(s));
            return [c.color, c.fontSize, c.fontFamily, c.backgroundColor, c.padding, c.margin];
        });
    """
    for path in (plain, page):
        show(browser, path, 1000, "light")
        styles.append(browser.execute_script(script))
    assert styles[0] == styles[1]
    # the notebook is dark though the system is light
    colour = "return getComputedStyle(document.querySelector('.ablate')).backgroundColor"
    assert browser.execute_script(colour) == DARK
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1000
