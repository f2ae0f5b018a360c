"""What holds for all tests: no network, few threads; and a browser for those that look at a page."""

import os
import runpy
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

OFFLINE = Path(__file__).parent / "contracts" / "offline"

os.environ["SOCKETS"] = "loopback only"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
# Several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Help and tables are fitted to the terminal's width.
os.environ["COLUMNS"] = "100"

# How fast a machine is decides no test.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A runner that was started in the background has Ctrl-C switched off, and so has all that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "sitecustomize" not in sys.modules or not hasattr(sys.modules["sitecustomize"], "deny"):
    runpy.run_path(str(OFFLINE / "sitecustomize.py"))

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_BROWSERS = ("Google Chrome", "Chromium")


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Write a file below tmp_path, folders and all."""

    def write_file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write_file


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium, for playwright's `executable_path`; without one the test fails and says how to get it."""
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    found += [
        str(path) for name in MAC_BROWSERS if (path := Path(f"/Applications/{name}.app/Contents/MacOS/{name}")).exists()
    ]
    if not found:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            found = [path for path in [playwright.chromium.executable_path] if Path(path).exists()]
    if not found:
        pytest.fail(
            "There is no Chromium for the tests of the page: install one with `apt-get install chromium`, "
            "`brew install --cask chromium` or `.venv/bin/playwright install chromium`."
        )
    return found[0]
