"""The page in headless Chromium, as an observer uses it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Served, serving, wait_until
from tiny_model import write_fits_spectrum

from specinfer.models import MODEL_DIR_VARIABLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
if CHROMIUM is None or DRIVER is None:
    pytest.skip(
        "Chromium is not here (Debian: apt-get install chromium chromium-driver)",
        allow_module_level=True,
    )
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

TOKEN = "a-secret-of-many-letters"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", "--window-size=1100,1700"),
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def guarded(tiny_root: Path) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MODEL_DIR_VARIABLE, str(tiny_root))
        with serving(token=TOKEN, timeout=120.0) as running:
            yield running


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text(browser: Any, selector: str) -> str:
    return str(find(browser, selector).text)


def open_page(browser: Any, served: Served) -> None:
    browser.get(served.url + "/")
    wait_until(lambda: "Version" in text(browser, "#about"))
    browser.get_log("browser")


def shoot(browser: Any, name: str) -> None:
    """Keep a picture of the page, if SPECINFER_SCREENSHOTS names a folder for it."""
    if folder := os.environ.get("SPECINFER_SCREENSHOTS"):
        height = browser.execute_script("return document.documentElement.scrollHeight")
        browser.set_window_size(1100, max(700, height + 20))
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def test_file_in_picture_and_table_out(
    tiny: Path, served: Served, browser: Any, tmp_path: Path
) -> None:
    open_page(browser, served)
    path = write_fits_spectrum(tmp_path / "spec_SIM.fits", 1)
    find(browser, "#file").send_keys(str(path))
    wait_until(lambda: "answered in" in text(browser, "#status"), 120.0)
    wanted = served.client.post("/classify", files={"file": (path.name, path.read_bytes())})
    result = wanted.json()["results"][0]
    assert text(browser, "article h2").startswith(result["class"])
    facts = text(browser, "article table")
    assert f"{result['redshift']:.4f}" in facts
    assert result["model"] in facts
    # Loaded, not only there.
    script = "return document.querySelector('article img').naturalWidth"
    wait_until(lambda: browser.execute_script(script) > 500)
    assert text(browser, "#error") == ""
    assert browser.get_log("browser") == [], "the page has errors, or breaks its own policy"
    shoot(browser, "page")


def test_known_redshift(tiny: Path, served: Served, browser: Any, tmp_path: Path) -> None:
    open_page(browser, served)
    find(browser, "#redshift").send_keys("0.05")
    find(browser, "#file").send_keys(str(write_fits_spectrum(tmp_path / "spec.fits", 2)))
    wait_until(lambda: "answered in" in text(browser, "#status"), 120.0)
    assert "0.0500" in text(browser, "article table")
    assert "Z_GIVEN" in text(browser, "article table")


def test_file_dropped_on_the_page(tiny: Path, served: Served, browser: Any) -> None:
    open_page(browser, served)
    browser.execute_script(
        """
        const transfer = new DataTransfer();
        transfer.items.add(new File(["no spectrum at all"], "<b>note</b>.txt"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true}));
        """
    )
    wait_until(lambda: text(browser, "#error"), 60.0)
    message = text(browser, "#error")
    # The name as it is: nothing of a file becomes part of the page.
    assert message.startswith("<b>note</b>.txt: ")
    assert browser.execute_script("return document.querySelectorAll('#error b').length") == 0
    assert text(browser, "#results") == ""
    shoot(browser, "error")


def test_page_asks_for_the_token(tiny: Path, guarded: Served, browser: Any, tmp_path: Path) -> None:
    open_page(browser, guarded)
    assert find(browser, "#token").is_displayed()
    find(browser, "#file").send_keys(str(write_fits_spectrum(tmp_path / "spec.fits", 3)))
    wait_until(lambda: "token" in text(browser, "#error"), 60.0)
    find(browser, "#token").send_keys(TOKEN)
    find(browser, "#again").click()
    wait_until(lambda: "answered in" in text(browser, "#status"), 120.0)


def test_every_control_has_a_name_and_nothing_comes_from_elsewhere(
    served: Served, browser: Any
) -> None:
    open_page(browser, served)
    script = """
        return [...document.querySelectorAll("input, select, button")].filter((one) =>
            !one.textContent.trim() && !(one.labels && one.labels.length)).map((one) => one.id)
    """
    assert browser.execute_script(script) == []
    assert browser.execute_script("return document.documentElement.lang") == "en"
    script = "return performance.getEntriesByType('resource').map((one) => one.name)"
    names = browser.execute_script(script)
    assert len(names) >= 3
    assert all(name.startswith((served.url, "data:")) for name in names)
