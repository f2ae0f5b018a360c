"""The reference pages are what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from curriculumnet import cli, errors
from curriculumnet.work import tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    made: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    pages: dict[str, str] = made["pages"]()
    return pages


@pytest.mark.parametrize("name", ["docs/reference/commands.md", "docs/reference/tables.md"])
def test_a_page_is_what_the_code_says(generated: dict[str, str], name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated[name], f"{name} is out of date: run `make docs`"


def test_no_page_is_forgotten(generated: dict[str, str]) -> None:
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "reference").iterdir()}
    assert found == set(generated)


def test_every_command_and_flag_is_on_the_page(generated: dict[str, str]) -> None:
    import curriculumnet

    page = generated["docs/reference/commands.md"]
    for command in cli.COMMANDS:
        section = page.split(f"\n## {command.name}\n")[1].split("\n## ")[0]
        for flag in cli.flags(getattr(curriculumnet, command.name)):
            assert f"| `{flag.typed.replace('|', chr(92) + '|')}` |" in section


def test_every_table_and_column_is_on_the_page(generated: dict[str, str]) -> None:
    page = generated["docs/reference/tables.md"]
    for table in tables.TABLES:
        section = page.split(f"\n## {table.name}\n")[1].split("\n## ")[0]
        assert table.file in section
        for column in table.columns:
            assert f"| `{column.name}` | {column.type} |" in section
        for key, meaning in table.metadata:
            assert f"`{key}` {meaning}" in section


def test_every_exit_code_is_on_the_page(generated: dict[str, str]) -> None:
    family = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CurriculumNetError)]
    for code in {0, 130, 143} | {error.exit_code for error in family}:
        assert f"\n| {code} | " in generated["docs/reference/commands.md"]
