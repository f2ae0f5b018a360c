"""The page in a real browser: it loads nothing, says no error, sorts, filters, switches pairs, fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from curriculumnet.reporting.step import report

pytestmark = pytest.mark.slow

_SWITCHES = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        found = playwright.chromium.launch(executable_path=path, args=list(_SWITCHES))
        yield found
        found.close()


@dataclass
class Seen:
    """A page that is open, with what it asked for and what it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Seen]]:
    contexts = []

    def open_page(path: Path, width: int = 1280, **more: Any) -> Seen:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **more))
        seen = Seen(contexts[-1].new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.goto(path.as_uri())
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, crawl_in: Callable[..., Any]) -> Path:
    """A page over forty categories and three runs, one category with a hostile name."""
    names = [f"category {n:02d}" for n in range(39)] + ["<img src=x onerror=alert(1)>"]
    return report(crawl_in(tmp_path_factory.mktemp("whole"), names, 14).whole(noise=True).path, quiet=True).path


def column(seen: Seen, table: str, number: int) -> list[str]:
    return [text.strip() for text in seen.page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_loads_alone_and_without_complaint(show: Callable[..., Seen], whole: Path, scheme: str) -> None:
    seen = show(whole, color_scheme=scheme)
    for section in seen.page.locator("section").all():
        section.scroll_into_view_if_needed()
    asked = [url for url in seen.requests if not url.startswith("data:")]
    assert asked == [whole.as_uri()]
    assert seen.complaints == []
    assert seen.page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    brightness = seen.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(brightness) > 600) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_never_scrolls_sideways(show: Callable[..., Seen], whole: Path, width: int) -> None:
    seen = show(whole, width)
    for section in seen.page.locator("section").all():
        section.scroll_into_view_if_needed()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_sorts_by_mouse_and_by_keyboard(show: Callable[..., Seen], whole: Path) -> None:
    seen = show(whole)
    table = "#category-table"
    heading = seen.page.locator(f"{table} th", has_text="wrong labels, rough guess")
    number = 1 + heading.evaluate("(th) => th.cellIndex")

    def shares() -> list[float]:
        return [float(text.split("\u202f")[0]) for text in column(seen, table, number)]

    before = shares()
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert shares() == sorted(before) != before
    heading.locator("button").focus()
    seen.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert shares() == sorted(before, reverse=True)
    name = seen.page.locator(f"{table} th[data-sort=text] button")
    name.focus()
    seen.page.keyboard.press("Space")
    assert seen.page.locator(f"{table} th[aria-sort]").count() == 1
    assert column(seen, table, 1) == ["<img src=x onerror=alert(1)>"] + [f"category {n:02d}" for n in range(39)]


@pytest.mark.parametrize(
    ("box", "items"), [("category-table", "tbody tr"), ("strips", "article"), ("graphs", "figure.graph")]
)
def test_filter_box_finds_by_name(show: Callable[..., Seen], whole: Path, box: str, items: str) -> None:
    seen = show(whole)
    field = seen.page.locator(f"input[data-filters={box}]")
    field.fill("GORY 1")
    shown = seen.page.locator(f"#{box} {items}:visible")
    assert shown.count() == 10
    assert seen.page.locator(".filter", has=field).locator("output").inner_text() == "10 of 40"
    field.fill("")
    assert shown.count() == 40


def test_any_two_runs_are_set_against_each_other(show: Callable[..., Seen], whole: Path) -> None:
    seen = show(whole)
    table = "#versus-table"

    def gains() -> list[float]:
        return [float(text.replace("\u2212", "-")) for text in column(seen, table, 3)]

    def tally() -> list[int]:
        return [int(seen.page.locator(f"#{key}").inner_text()) for key in ("improved", "fell", "unchanged")]

    first, counts = gains(), tally()
    assert first == sorted(first, reverse=True)
    assert counts == [sum(g > 0 for g in first), sum(g < 0 for g in first), sum(g == 0 for g in first)]
    seen.page.select_option("#pair-run", "model-a")
    seen.page.select_option("#pair-baseline", "model-d")
    assert gains() == [-gain for gain in reversed(first)]
    assert tally() == [counts[1], counts[0], counts[2]]
    assert seen.page.locator("#caption-run").inner_text() == "model-a"
    seen.page.select_option("#pair-baseline", "model-a")
    assert gains() == [0.0] * 40
    seen.page.select_option("#pair-run", "model-d")
    shown = column(seen, table, 1), gains()
    assert shown[1] == first
    seen.page.select_option("#pair-set", "1")
    assert gains() != first
    assert seen.complaints == []


def test_decision_graph_grows_by_keyboard(show: Callable[..., Seen], whole: Path) -> None:
    seen = show(whole)
    graph = seen.page.locator(".graph").first
    graph.scroll_into_view_if_needed()
    small = graph.bounding_box()["width"]
    button = graph.locator("button")
    button.focus()
    seen.page.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true"
    assert graph.bounding_box()["width"] > 3 * small


def test_curves_tell_the_values_under_the_pointer(show: Callable[..., Seen], whole: Path) -> None:
    seen = show(whole)
    chart = seen.page.locator(".curve").first
    chart.scroll_into_view_if_needed()
    last = chart.locator(".legend output").all_inner_texts()
    box = chart.locator("svg").bounding_box()
    seen.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    assert chart.locator("figcaption output").inner_text() == "step 150"
    there = chart.locator(".legend output").all_inner_texts()
    assert there != last
    assert all(text.endswith("%") for text in there)
    seen.page.mouse.move(5, 5)
    assert chart.locator(".legend output").all_inner_texts() == last


def test_without_script_all_is_there(show: Callable[..., Seen], whole: Path) -> None:
    seen = show(whole, java_script_enabled=False)
    assert seen.page.locator("#category-table tbody tr").count() == 40
    assert seen.page.locator("#versus-table tbody tr").count() == 40
    assert not seen.page.locator("select, input").first.is_visible()
    assert seen.page.locator("thead button").count() == 0
