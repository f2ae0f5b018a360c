"""The house: no drawers, and every room has its tests."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "curriculumnet"

DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common", "core", "manager", "base", "tools"}


def test_no_file_is_a_drawer() -> None:
    found = [path.relative_to(ROOT) for folder in (SOURCE, ROOT / "tests") for path in folder.rglob("*.py")]
    assert len(found) > 50
    assert not [path for path in found if path.stem in DRAWERS or path.parent.name in DRAWERS]


def test_every_room_has_its_tests() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {path.name for path in (ROOT / "tests").iterdir()}


def test_no_assert_stands_for_a_check() -> None:
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
        assert not lines, f"{path.name}, line {lines[0]}: python -O removes an assert, so raise an error instead"
