"""JupyterLab in a real Chromium: a server on loopback, a page that may not leave it, and a notebook run to its end."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that JupyterLab shows, with a copy of notebooks/."""
    home = tmp_path_factory.mktemp("lab")
    # the notebooks look for ../sample_dicom, as a user's would
    shutil.copytree(ROOT / "notebooks", home / "notebooks")
    (home / "sample_dicom").symlink_to(ROOT / "sample_dicom")
    return home


@pytest.fixture(scope="session")
def lab(home: Path) -> Iterator[str]:
    """Address of a JupyterLab with settings of its own; its token is in the address' query."""
    environment = dict(os.environ) | {
        name: str(home / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                     "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }  # fmt: skip
    settings = home / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (home / "lab.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser",
         f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=test", f"--notebook-dir={home}"],
        env=environment, stdout=log, stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(f"{address}/api?token=test", server, home / "lab.log")
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _wait_until_up(address: str, server: subprocess.Popen, log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture
def page(lab: str) -> Iterator:
    """A Chromium page; the test fails if it asked for anything off this machine or logged an error."""
    if CHROMIUM is None:
        message = "no Chromium found: install Debian's package `chromium`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    off_site: list[str] = []
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})

        def guard(route):
            url = route.request.url
            if url.startswith((lab, "data:", "blob:", lab.replace("http", "ws", 1))):
                route.continue_()
            else:
                off_site.append(url)
                route.abort()

        page.route("**/*", guard)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    assert not off_site, f"the page asked for {off_site}"
    assert not errors, f"the console shows {errors}"


@pytest.fixture
def run_notebook(lab: str, home: Path, page) -> Callable[..., None]:
    """``run_notebook(name, *cells, given="")`` opens a notebook of notebooks/ and runs some cells; fails if one raises.

    Each of the cells is named by a text that it alone holds. The code in `given` is run before them, in the place of
    cells that take long. That a notebook runs as a whole, and what it prints, is tested in tests/notebooks.
    """

    def run(name: str, *cells: str, given: str = "") -> None:
        notebook = home / "notebooks" / name
        content = json.loads(notebook.read_text())
        kept = [_cell_with(text, content["cells"]) for text in cells]
        first = dict(kept[0], id="given", source=given, outputs=[])
        content["cells"] = [first, *kept]
        name = f"app_{name}"
        notebook.with_name(name).write_text(json.dumps(content))
        page.goto(f"{lab}/lab/tree/notebooks/{name}?token=test&reset", wait_until="domcontentloaded")
        page.wait_for_function("() => window.jupyterapp", timeout=60_000)
        ran = page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                await app.restored;
                let widget = null;
                while (!(widget && widget.context)) {
                    widget = app.shell.currentWidget;
                    await new Promise(done => setTimeout(done, 100));
                }
                await widget.context.ready;
                await widget.sessionContext.ready;
                return await app.commands.execute("notebook:run-all-cells");
            }"""
        )
        assert ran, f"a cell of {name} raised"

    return run


def _cell_with(text: str, cells: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (cell for cell in cells if cell["cell_type"] == "code" and text in "".join(cell["source"]))
    return found
