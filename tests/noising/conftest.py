"""A clean set of two hundred files in four categories of different sizes, and other pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

SIZES = {"cat": 80, "dog": 57, "emu": 40, "fox": 23}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the set `clean`, the labelled `web` and `cats`, the unlabelled `loose`; only read it."""
    home = tmp_path_factory.mktemp("sets")
    names = [f"clean/{category}/{place:03}.jpg" for category, size in SIZES.items() for place in range(size)]
    names += [f"web/{word}/{word}{place:03}.jpg" for word in ("gnu", "hen") for place in range(60)]
    names += [f"cats/cat/{place}.png" for place in range(20)]
    names += [f"loose/{place}.png" for place in range(50)]
    for name in names:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return home
