"""The explorer's page in a real browser: Chromium, without a window, from a file."""

from __future__ import annotations

import importlib.util
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import pages
import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER and importlib.util.find_spec("selenium")),
    reason="needs chromium, chromedriver and selenium",
)
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage
--hide-scrollbars"""
# Keys by the code points that WebDriver gives them.
TAB, ENTER, ESCAPE = "\ue004", "\ue007", "\ue00c"
LEFT, UP, RIGHT, DOWN = "\ue012", "\ue013", "\ue014", "\ue015"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("chromium")
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield Page(driver)
    driver.quit()


class Page:
    """A page being looked at; ``open`` forgets the one before."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: pathlib.Path, width: int = 1280, height: int = 800) -> Page:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(path.as_uri())
        self.frame()
        return self

    def frame(self) -> None:
        """Wait until what was asked for is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(done))"
        )

    def js(self, code: str, *arguments: Any) -> Any:
        result = self.driver.execute_script(code, *arguments)
        self.frame()
        return result

    def find(self, selector: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.frame()

    def click(self, element: Any) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).click(element).perform()
        self.frame()

    def errors(self) -> list[str]:
        return [row["message"] for row in self.driver.get_log("browser")]

    def node(self, op: str) -> int:
        """The number of the last node of an operation that kernels compute."""
        return self.js(
            "const e = explorer; return [...e.data.nodes.keys()].filter(n => e.get(n, 'op') === "
            "arguments[0] && e.get(n, 'phase') !== 'backward' && e.kernelsOf(n).length).pop()",
            op,
        )


@pytest.fixture
def lenet(browser: Page) -> Page:
    return browser.open(pages.page("LeNet"))


SIZES = [(1280, 800), (390, 844)]


@pytest.mark.parametrize("name", ["LeNet", "GPT", "ResNet", "LSTM"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_open_tidy_and_quiet(browser: Page, name: str, size: tuple[int, int]) -> None:
    page = browser.open(pages.page(name), *size)
    assert page.driver.title == "step · graphgrad"
    assert page.js("return explorer.check()") == []
    assert page.js("return explorer.view.layout.boxes.length") > 10
    wide = page.js("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == size[0]
    for selector in ("#search", "#slider", "#heat", "#fit", "#help", "#graph", "#tabs"):
        box = page.find(selector).rect
        assert box["width"] > 20 and box["x"] >= 0 and box["x"] + box["width"] <= size[0]
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1]
    assert page.js("return performance.getEntriesByType('resource').length") == 0
    assert page.errors() == []


@pytest.mark.parametrize("name", ["LeNet", "GPT", "ResNet", "LSTM"])
def test_every_stage_is_tidy_unfolded(browser: Page, name: str) -> None:
    page = browser.open(pages.page(name))
    page.js("explorer.foldAll(false)")
    shown = page.js("return explorer.view.layout.boxes.length")
    assert shown > (1500 if name in ("GPT", "ResNet") else 100)
    for stage in range(len(page.js("return explorer.data.stages"))):
        page.js("explorer.setStage(arguments[0])", stage)
        assert page.js("return explorer.check()") == [], stage
    assert page.errors() == []


def test_search_finds_a_node_and_shows_it(lenet: Page) -> None:
    lenet.keys("/")
    assert lenet.js("return document.activeElement.id") == "search"
    lenet.keys("exp float32")
    hits = lenet.all("#hits [role=option]")
    assert hits and "exp" in hits[0].text
    lenet.keys(DOWN, DOWN)  # down to the second row, or around to the first
    number = lenet.js("return document.querySelector('#hits [aria-selected=true] b').textContent")
    lenet.keys(ENTER)
    assert lenet.find("#content h2").text == number
    chosen = lenet.find(".box.chosen")
    area, box = lenet.find("#canvas").rect, chosen.rect
    assert area["x"] <= box["x"] and box["x"] + box["width"] <= area["x"] + area["width"]
    assert area["y"] <= box["y"] and box["y"] + box["height"] <= area["y"] + area["height"]
    assert not lenet.find("#hits").is_displayed()


def test_what_is_not_there_is_not_found(lenet: Page) -> None:
    lenet.keys("/", "no such thing")
    assert lenet.find("#hits").text == "nothing found"
    lenet.keys(ESCAPE)
    assert lenet.find("#search").get_attribute("value") == ""


def test_modules_fold_and_unfold(lenet: Page) -> None:
    count = "return explorer.view.layout.boxes.length"
    before = lenet.js(count)
    folded = lenet.find(".box.folded.forward")
    key = folded.get_attribute("data-id")[1:]
    lenet.click(folded)
    assert lenet.js(count) > before
    frames = {f.get_attribute("data-key"): f for f in lenet.all(".frame")}
    lenet.js("explorer.toggle(arguments[0])", key)
    assert key in frames
    assert lenet.js(count) == before
    lenet.click(lenet.find("#fold"))
    least = lenet.js(count)
    lenet.click(lenet.find("#unfold"))
    assert least < before < lenet.js(count)
    assert lenet.js("return explorer.check()") == []


def test_a_click_shows_provenance_and_the_source_of_the_kernel(lenet: Page) -> None:
    exp = lenet.node("exp")
    lenet.js("explorer.foldAll(false); explorer.select(arguments[0], true)", exp)
    lenet.js("explorer.select(null, false)")
    lenet.click(lenet.find(f'.box[data-id="n{exp}"]'))
    assert lenet.find("#content h2").text == f"exp #{exp}"
    text = lenet.find("#content").text
    assert "float32[64, 10]" in text and "cross_entropy" in text
    assert "computed in kernel" in text
    lit = [e.text for e in lenet.all("#content .code li.lit")]
    assert any("exp_f32(" in line for line in lit)
    assert lenet.find("#content .code").text.count("def ") == 1
    source = lenet.find("#content .code").rect
    line = lenet.find("#content .code li.lit").rect
    assert source["y"] <= line["y"] <= source["y"] + source["height"]
    assert lenet.errors() == []


def test_forward_and_backward_are_shown_as_a_pair(lenet: Page) -> None:
    lenet.js("explorer.foldAll(false); explorer.select(arguments[0], true)", lenet.node("max"))
    assert "Its gradient" in lenet.find("#content").text
    numbers = lenet.js(
        "return [...explorer.view.layout.boxes].filter(b => !b.group).map(b => b.node)"
    )
    assert len(numbers) > 100
    lenet.js("explorer.view.scale = 0.1; explorer.view.x = explorer.view.y = 0;")
    lenet.js("document.getElementById('fit').click()")
    assert lenet.js("return [...explorer.view.drawn.values()].length") > 0
    partners = lenet.js(
        "explorer.view.scale = 0.05; explorer.view.x = explorer.view.y = 5; "
        "explorer.select(explorer.state.selected, false); return 0"
    )
    assert partners == 0
    paired = lenet.all(".box.pair")
    assert paired and all("backward" in e.get_attribute("class") for e in paired)


def test_the_slider_walks_through_the_passes(lenet: Page) -> None:
    lenet.js("explorer.setStage(0); document.getElementById('slider').focus()")
    assert "traced" in lenet.find("#stage").text
    lenet.keys(RIGHT, RIGHT)
    assert lenet.find("#stage").text.split("\n")[0] == "2 cse"
    gone = lenet.js("return explorer.data.stages[2].gone.length")
    assert f"−{gone}" in lenet.find("#stage").text
    lenet.js("explorer.foldAll(false)")
    assert lenet.js(
        "return explorer.view.layout.boxes.filter(b => b.node !== null && "
        "explorer.data.stages[2].gone.some(row => row[0] === b.node)).length"
    )
    lenet.click(lenet.find("[data-tab=changes]"))
    assert f"{gone} removed" in lenet.find("#content").text
    assert "merged into" in lenet.find("#content").text
    lenet.js("document.getElementById('graph').focus()")
    lenet.keys("]", "]")
    assert lenet.find("#stage").text.split("\n")[0] == "4 simplify"
    lenet.click(lenet.find("[data-tab=changes]"))
    assert "join_movement" in lenet.find("#content").text
    lenet.keys("[")
    assert lenet.find("#stage").text.split("\n")[0] == "3 shorten_scans"
    assert lenet.errors() == []


def test_the_keyboard_is_enough(lenet: Page) -> None:
    order = []
    lenet.js("document.activeElement.blur()")
    for _ in range(12):
        lenet.keys(TAB)
        order.append(lenet.js("return document.activeElement.id"))
        outline = lenet.js("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", order
    wanted = "search back slider heat frames fold unfold fit help graph".split()
    assert [name for name in order if name in wanted] == wanted
    assert lenet.js("return document.activeElement.getAttribute('role')") in ("tab", "tabpanel")
    lenet.js("document.getElementById('graph').focus()")
    seen = set()
    for key in (DOWN, DOWN, RIGHT, UP, LEFT, DOWN):
        lenet.keys(key)
        seen.add(lenet.js("return String(explorer.state.selected)"))
        assert lenet.all(".box.chosen")
    assert len(seen) >= 3
    folded = lenet.js("return explorer.view.layout.boxes.find(b => b.group).group.key")
    before = lenet.js("return explorer.view.layout.boxes.length")
    lenet.js("explorer.select(arguments[0], false)", folded)
    lenet.keys(ENTER)
    assert lenet.js("return explorer.view.layout.boxes.length") != before
    lenet.keys(ESCAPE)
    assert lenet.js("return explorer.state.selected") is None
    assert not lenet.all(".box.chosen")


def test_heat_memory_and_guards(lenet: Page) -> None:
    lenet.js("const s = document.getElementById('heat'); s.value = 'bytes'; s.onchange()")
    fills = {e.get_attribute("style") for e in lenet.all(".box .shape")}
    assert len(fills) > 5 and "MiB" in lenet.find("#legend").text
    assert not lenet.find("#heat option[value=time]").is_enabled()
    lenet.click(lenet.find("[data-tab=memory]"))
    peak = lenet.js("return explorer.data.memory.peak") + 1
    assert f"step {peak}" in lenet.find("#content .chart text").text
    assert len(lenet.all("#content .bar")) == len(lenet.js("return explorer.data.memory.bars"))
    assert lenet.all("#content .bar.atpeak")
    lenet.click(lenet.find("[data-tab=guards]"))
    assert len(lenet.all("#content .guards li")) == len(
        set(lenet.js("return explorer.data.guards"))
    )
    lenet.click(lenet.find("[data-tab=kernels]"))
    assert len(lenet.all("#content tbody tr")) == len(lenet.js("return explorer.data.kernels"))
    lenet.js("const s = document.getElementById('frames'); s.value = 'kernel'; s.onchange()")
    assert lenet.js("return explorer.check()") == []
    assert lenet.errors() == []


def test_names_are_text_and_nothing_else(browser: Page) -> None:
    page = browser.open(pages.page("hostile"))
    page.js("explorer.foldAll(false)")
    assert page.js("return typeof window.hacked") == "undefined"
    labels = page.js("return explorer.view.layout.frames.map(f => f.group.key).join()")
    assert pages.HOSTILE in labels and "a\"quoted'one" in labels and "日本" in labels
    page.js("explorer.select(arguments[0], true)", page.node("exp"))
    assert "</script>" in page.find("#content").text
    assert len(page.all("script")) == 2
    assert page.errors() == []


def test_nothing_to_show_is_a_page_too(browser: Page) -> None:
    page = browser.open(pages.page("empty"))
    assert "0 nodes" in page.find("#content").text or "1 nodes" in page.find("#content").text
    for name in ("kernels", "changes", "memory", "guards"):
        page.click(page.find(f"[data-tab={name}]"))
    page.js("explorer.setStage(0); explorer.foldAll(true); explorer.foldAll(false)")
    assert page.errors() == []


def test_twenty_thousand_nodes(browser: Page) -> None:
    path = pages.page("long")
    assert path.stat().st_size < 3_000_000
    page = browser.open(path)
    assert len(page.js("return explorer.data.nodes")) > 20_000
    assert page.js("return explorer.check()") == []
    took = page.js(
        "const t = performance.now(); explorer.foldAll(false); return performance.now() - t"
    )
    assert took < 10_000
    assert 1500 < page.js("return explorer.view.layout.boxes.length") <= 3000
    page.js("explorer.setStage(0)")
    page.keys("/", "sin #19")
    assert page.errors() == []


def test_dark(browser: Page) -> None:
    page = browser.open(pages.page("LeNet"))
    scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = page.js("return getComputedStyle(document.body).backgroundColor")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    dark = page.js("return getComputedStyle(document.body).backgroundColor")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 29)")
