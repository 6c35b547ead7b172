"""The report in a real browser: without errors, without network, at any width, in both themes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compare_runs import cuda_not_measured, expected, store, summarize
from requirements import unavailable

choreographer = pytest.importorskip("choreographer", reason="needs kaleido: pip install kaleido")

pytestmark = pytest.mark.slow

QUICK = expected("quick")
# Scrolls through the page, as figures are drawn when they come near, and waits for the last.
# The study's nine figures, six more of its numbers, and one of what it could not show.
DRAWN = 17
SCROLL = """(async () => {
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  for (let y = 0; y < document.documentElement.scrollHeight; y += 600) {
    scrollTo({ top: y, behavior: "instant" });
    await wait(60);
  }
  const all = [...document.querySelectorAll(".drawing")];
  for (let tries = 0; tries < 100; tries++) {
    if (all.every((drawing) => drawing.querySelector(".main-svg"))) break;
    await wait(100);
  }
  await wait(500);
})()"""


class Page:
    """A tab without network, and everything that it complains of."""

    def __init__(self, tab: Any):
        self.tab = tab
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def open(self, path: Path, *, width: int, dark: bool, scripts: bool = True) -> None:
        async def request(event: Any) -> None:
            self.requests.append(event["params"]["request"]["url"])

        async def complaint(event: Any) -> None:
            self.complaints.append(str(event["params"]))

        self.tab.subscribe("Network.requestWillBeSent", request)
        for event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.tab.subscribe(event, complaint)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.command(f"{domain}.enable")
        offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.command("Network.emulateNetworkConditions", **offline)
        size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.command("Emulation.setDeviceMetricsOverride", **size)
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.command("Emulation.setEmulatedMedia", features=theme)
        await self.command("Emulation.setScriptExecutionDisabled", value=not scripts)
        await self.go(path.as_uri())

    async def go(self, address: str) -> None:
        loaded = self.tab.subscribe_once("Page.loadEventFired")
        await self.command("Page.navigate", url=address)
        await asyncio.wait_for(loaded, 30)

    async def command(self, name: str, **params: Any) -> dict[str, Any]:
        answer = await self.tab.send_command(name, params)
        assert "error" not in answer, answer
        return answer["result"]

    async def run(self, script: str) -> Any:
        """The value of a script, or of what it promises."""
        answer = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Tab": 9}[key]
        for kind in ("keyDown", "keyUp"):
            await self.command(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )


def browse(visit: Callable[[Page], Awaitable[None]]) -> None:
    """Have a fresh browser `visit` with one page; skip where there is no browser."""

    async def session() -> None:
        try:
            browser = choreographer.Browser(headless=True)
        except choreographer.errors.ChromeNotFoundError:
            unavailable("needs Chrome or Chromium")
        async with browser:
            await visit(Page(await browser.create_tab("about:blank")))

    asyncio.run(session())


def predictions(run_id: str) -> SimpleNamespace:
    label = np.arange(40, dtype=np.uint8) % 10
    predicted = np.where(np.arange(40) < 5, (label + 1) % 10, label).astype(np.uint8)
    return SimpleNamespace(label=label, predicted=predicted, index=np.arange(40))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("a report & more")
    said: list[str] = []
    runs = store([spec for spec in QUICK if spec.device == "cpu"])
    found = summarize(
        runs,
        expected,
        cuda_not_measured(QUICK),
        out,
        predictions=predictions,
        history=lambda run_id, metric: [(1, 0.5), (2, 0.4)],
        pixels=lambda dataset, index: np.zeros((len(index), 28, 28), dtype=np.uint8),
        log=said.append,
        formats=("html", "json", "svg", "png"),
    )
    if said:
        unavailable(said[0])
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_page_is_whole_at_any_width_in_both_themes(report, width, dark):
    async def visit(page):
        await page.open(report.page, width=width, dark=dark)
        await page.run(SCROLL)
        assert await page.run("document.querySelectorAll('.drawing').length") == DRAWN
        assert await page.run("document.querySelectorAll('.drawn .main-svg').length") >= DRAWN
        assert await page.run("document.querySelectorAll('.undrawn').length") == 0
        # Nothing wider than the page: it would scroll sideways.
        assert await page.run("document.documentElement.scrollWidth <= innerWidth")
        # No legend of a figure lies over its panels.
        covered = """[...document.querySelectorAll(".drawn")].filter((drawing) => {
          const legend = drawing.querySelector(".legend .bg");
          const panel = drawing.querySelector(".plotbg, .cartesianlayer .plot");
          return legend && panel
            && legend.getBoundingClientRect().bottom > panel.getBoundingClientRect().top;
        }).length"""
        assert await page.run(covered) == 0
        ink = await page.run(
            "getComputedStyle(document.querySelector('#figure-01 .xtitle')).fill"
            " + getComputedStyle(document.body).backgroundColor"
        )
        assert ("rgb(21, 23, 27)" in ink) == dark
        assert page.complaints == []
        elsewhere = [url for url in page.requests if not url.startswith(("file:", "data:"))]
        assert elsewhere == []
        loaded = [Path(url.partition("report%20")[2]).name for url in page.requests]
        assert loaded.count("plotly.min.js") <= 1

    browse(visit)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_first_screen_has_verdicts(report, width):
    async def visit(page):
        await page.open(report.page, width=width, dark=False)
        # Each with what decided, within the first 844 pixels.
        seen = """[...document.querySelectorAll(".verdicts li")].filter(
          (row) => row.getBoundingClientRect().bottom < innerHeight
            && row.querySelector("small").textContent.trim()).length"""
        assert await page.run(seen) >= (1 if width == 390 else 5)

    browse(visit)


@pytest.mark.parametrize("width", [390, 1440])
def test_links_land_on_their_headings(report, width):
    async def visit(page):
        await page.open(report.page, width=width, dark=False)
        anchors = await page.run("[...document.querySelectorAll('.contents a')].map((a) => a.hash)")
        assert len(anchors) >= 9
        for anchor in anchors[:-2]:
            await page.run(f"document.querySelector('.contents a[href=\"{anchor}\"]').click()")
            # Figures above and below are drawn in the meantime.
            await page.run("new Promise((resolve) => setTimeout(resolve, 700))")
            place = f"document.querySelector('{anchor}').getBoundingClientRect().top"
            assert 0 <= await page.run(place) < 120, anchor
        # A verdict leads to its claim, whose evidence is then open.
        await page.run("document.querySelector('.verdicts a').click()")
        await page.run("new Promise((resolve) => setTimeout(resolve, 300))")
        assert await page.run("document.querySelector('tr:target details').open")

    browse(visit)


@pytest.mark.parametrize("width", [390, 1440])
def test_tables_fit(report, width):
    async def visit(page):
        await page.open(report.page, width=width, dark=False)
        wide = """[...document.querySelectorAll(".cards")].filter(
          (table) => table.parentElement.scrollWidth > table.parentElement.clientWidth + 1
        ).map((table) => table.caption?.textContent)"""
        assert await page.run(wide) == []

    browse(visit)


def test_print_does_not_open_lists_of_runs(report):
    async def visit(page):
        await page.open(report.page, width=1440, dark=False)
        await page.run("dispatchEvent(new Event('beforeprint'))")
        opened = "document.querySelectorAll('details.evidence[open]').length"
        assert await page.run(opened) == len(report.results.findings)
        assert await page.run("document.querySelectorAll('.runs[open], .notes [open]').length") == 0
        await page.run("dispatchEvent(new Event('afterprint'))")
        assert await page.run("document.querySelectorAll('main details[open]').length") == 0

    browse(visit)


def test_tables_sort_by_keyboard_and_filter(report):
    async def visit(page):
        await page.open(report.page, width=1440, dark=False)
        column = """[...document.querySelectorAll('#table-05 tbody tr')]
            .map((row) => row.cells[4].textContent)"""
        await page.run("document.querySelectorAll('#table-05 th button')[4].focus()")
        before = await page.run(column)
        await page.press("Enter")
        rising = await page.run(column)
        heading = "document.activeElement.closest('th').getAttribute('aria-sort')"
        assert await page.run(heading) == "ascending"
        await page.press("Enter")
        assert await page.run(heading) == "descending"
        numbers = [float(text) for text in rising]
        assert numbers == sorted(numbers)
        assert sorted(before) == sorted(rising)
        falling = [float(text) for text in await page.run(column)]
        assert falling == sorted(numbers, reverse=True)

        filtered = """(() => {
          const tools = document.querySelector('[data-of="agreement-table"]');
          const input = tools.querySelector("input");
          input.value = "fashionmnist svm";
          input.dispatchEvent(new Event("input"));
          const rows = [...document.getElementById("agreement-table").tBodies[0].rows];
          const shown = rows.filter((row) => !row.hidden);
          return [rows.length, shown.length, tools.querySelector("output").textContent,
            shown.every((row) => row.textContent.includes("FashionMNIST, SVM"))];
        })()"""
        total, shown, told, right = await page.run(filtered)
        assert total == 160
        assert 0 < shown < total
        assert told == f"{shown} of {total} rows"
        assert right
        assert page.complaints == []

    browse(visit)


def test_theme_is_chosen_and_kept(report):
    async def visit(page):
        await page.open(report.page, width=1440, dark=False)
        await page.run(SCROLL)
        background = "getComputedStyle(document.body).backgroundColor"
        figure = "getComputedStyle(document.querySelector('#figure-01 .main-svg')).background"
        light, light_figure = await page.run(background), await page.run(figure)
        await page.run("document.getElementById('theme').click()")
        await page.run("new Promise((resolve) => setTimeout(resolve, 1500))")
        dark = await page.run(background)
        assert dark == "rgb(21, 23, 27)" != light
        assert await page.run(figure) != light_figure
        await page.go(report.page.as_uri())
        assert await page.run(background) == dark
        pressed = "document.getElementById('theme').getAttribute('aria-pressed')"
        assert await page.run(pressed) == "true"
        assert page.complaints == []

    browse(visit)


def test_the_first_stop_of_the_keyboard_leads_to_the_content(report):
    async def visit(page):
        await page.open(report.page, width=390, dark=False)
        await page.press("Tab")
        assert await page.run("document.activeElement.className") == "skip"
        assert await page.run("document.activeElement.getBoundingClientRect().left >= 0")
        await page.press("Enter")
        assert await page.run("document.activeElement.id") == "content"

    browse(visit)


def test_without_scripts_there_are_pictures(report):
    async def visit(page):
        await page.open(report.page, width=1440, dark=False, scripts=False)
        picture = "document.querySelector('#figure-01 img')"
        assert await page.run(f"getComputedStyle({picture}).display") == "block"
        assert await page.run("document.querySelectorAll('th button').length") == 0
        assert await page.run("document.getElementById('theme').hidden")

    browse(visit)


def test_the_whole_report_is_small(report):
    assert sum(path.stat().st_size for path in report.paths) < 10_000_000


def test_every_figure_stands_on_its_own(report):
    pages = sorted((report.out / "figures").glob("*.html"))
    assert len(pages) == DRAWN

    async def visit(page):
        await page.open(pages[0], width=390, dark=True)
        for path in pages:
            await page.go(path.as_uri())
            await page.run("new Promise((resolve) => setTimeout(resolve, 700))")
            assert await page.run("document.querySelectorAll('.main-svg').length") >= 1, path.name
            assert await page.run("document.documentElement.scrollWidth <= innerWidth"), path.name
        assert page.complaints == []

    browse(visit)
