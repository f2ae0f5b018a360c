"""Examples in docstrings are what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import curriculumnet

HOME = Path(curriculumnet.__file__).parent

MODULES = sorted(
    ".".join(("curriculumnet", *path.relative_to(HOME).with_suffix("").parts))
    for path in HOME.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_what_happens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed
