"""JupyterLab in a real browser: page one opens, runs from its Run menu from top to bottom, and its slider answers. Screenshots lie in runs/screens afterwards.

It needs Playwright (`make install-browser`) and Chromium (on Debian: apt-get install chromium; AQUILT_CHROMIUM names another)."""
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("AQUILT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SCREENS = ROOT / "runs" / "screens"
SETTINGS = {"notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page, not those in sight alone
            "apputils-extension/notification": {"fetchNews": "false"}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "The address of a JupyterLab on a copy of the pages."
    folder = tmp_path_factory.mktemp("lab")
    for name in "nbs", "figures": shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "settings.ini", folder)
    for name, setting in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(setting))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", f"--ServerApp.root_dir={folder}",
               "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"]
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTER_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(ROOT),
           "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    with open(folder / "log.txt", "w") as log: server = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/lab"
    try:
        for _ in range(120):
            try: urllib.request.urlopen(f"{address}/tree", timeout=5); break
            except OSError: time.sleep(1)
        else: pytest.fail((folder / "log.txt").read_text()[-2000:])
        yield address
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def browser():
    "Chromium without a window."
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: make install-browser")
    if not CHROMIUM: pytest.skip("no Chromium here: install it, or name it in AQUILT_CHROMIUM")
    with api.sync_playwright() as play:
        yield play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def finished(page):
    "Whether every code cell of the open notebook has a number, and no error."
    return page.evaluate("""() => { const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')];
        return cells.length > 0 && cells.every(cell => /\\[\\d+\\]/.test(cell.textContent)) }""")


def test_page_one_runs_in_jupyterlab_and_its_slider_answers(browser, lab):
    SCREENS.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto(f"{lab}/tree/nbs/10_introduction.ipynb", timeout=120_000)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=120_000)
    page.get_by_text("| Idle").first.wait_for(timeout=120_000)  # the kernel is there
    page.screenshot(path=SCREENS / "page_one.png")
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
    page.locator(".noUi-handle").first.wait_for(timeout=180_000)
    for _ in range(120):
        if finished(page): break
        time.sleep(1)
    assert finished(page) and page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error'], .jp-OutputArea-error").count() == 0
    slider, answer = page.locator(".noUi-handle").first, page.get_by_text("records stay").last
    slider.scroll_into_view_if_needed()
    before = answer.inner_text()
    for _ in range(6): slider.press("ArrowRight")
    page.wait_for_function("before => ![...document.querySelectorAll('.jp-OutputArea-output')].some(o => o.textContent.trim() === before.trim())", arg=before, timeout=60_000)
    page.screenshot(path=SCREENS / "slider.png")
    assert answer.inner_text() != before
