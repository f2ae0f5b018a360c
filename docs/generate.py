"""Write the pages of docs/reference from the code that they describe.

Run by ``make docs``. A contract test holds that the pages on disk are what this makes.
"""

from __future__ import annotations

from pathlib import Path

import curriculumnet
from curriculumnet import cli
from curriculumnet.work import tables

_EXIT_CODES = """\
| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a bug in curriculumnet |
| 2 | the command was used wrongly |
| 3 | what was given is missing, empty or unusable |
| 4 | the machine: the disk is full, memory is out, a device is absent |
| 130 | stopped with Ctrl-C |
| 143 | stopped with SIGTERM |
"""


def pages() -> dict[str, str]:
    """Return each page's text by its path in the repository."""
    return {"docs/reference/commands.md": commands(), "docs/reference/tables.md": tables.reference()}


def commands() -> str:
    """Return the page of all commands, as Markdown."""
    listed = [f"| [`{command.name}`](#{command.name}) | {command.line} |" for command in cli.COMMANDS]
    parts = [
        "# Commands",
        "",
        "Made from the functions' signatures and docstrings by `make docs`; do not edit.",
        "",
        "Each command is a function of the package with the same name: `curriculumnet train WORK --recipe model-d` is",
        '`curriculumnet.train("WORK", recipe="model-d")`. A value followed by … may be given several times, with the',
        "flag before each. Messages go to stderr, results to stdout. `NO_COLOR` is obeyed.",
        "",
        "| command | |",
        "|---|---|",
        *listed,
        "",
        _EXIT_CODES,
        "Every command has these flags:",
        "",
        *_flags(cli.ADDED),
    ]
    for command in cli.COMMANDS:
        found = cli.flags(getattr(curriculumnet, command.name))
        parts += ["", f"## {command.name}", "", command.line, "", "```", command.example, "```", "", *_flags(found)]
    return "\n".join(parts) + "\n"


def _flags(flags: tuple[cli.Flag, ...]) -> list[str]:
    rows = [
        f"| `{_cell(flag.typed)}` | {_cell('required' if flag.required else flag.shown_default)} "
        f"| {_cell(flag.meaning)} |"
        for flag in flags
    ]
    return ["| flag | default | meaning |", "|---|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages."""
    root = Path(__file__).parent.parent
    for name, text in pages().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
