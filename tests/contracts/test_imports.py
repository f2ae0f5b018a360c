"""What importing and asking for help may load. The time it takes follows from that, and is not tested."""

from __future__ import annotations

import subprocess
import sys

import pytest

from curriculumnet import cli

HEAVY = {
    "PIL", "duckdb", "httpcore2", "httpx2", "jinja2", "matplotlib", "numba", "numpy", "pyarrow", "ray", "scipy",
    "sklearn", "tensorboard", "timm", "torch", "torchvision",
}  # fmt: skip

ROOMS = (
    "collection", "ingestion", "embedding", "curriculum", "training", "evaluation", "prediction", "exporting",
    "reporting", "noising",
)  # fmt: skip


def loaded(code: str) -> set[str]:
    """Return the modules that a fresh Python has loaded after running `code`."""
    code = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def ask_for_help(*words: str) -> str:
    return f"""
from curriculumnet.cli import app
try:
    app({[*words, "--help"]!r})
except SystemExit as ended:
    assert not ended.code
"""


def test_importing_the_package_loads_nothing_but_itself() -> None:
    found = loaded("import curriculumnet")
    assert {name for name in found if name.startswith("curriculumnet")} == {"curriculumnet", "curriculumnet.version"}
    assert not found & (HEAVY | {"typer", "rich", "click", "filelock"})


def test_the_packages_names_are_there_though_nothing_is_loaded() -> None:
    found = loaded("import curriculumnet as cn\nassert {'run', 'train', 'CurriculumClustering'} <= set(dir(cn))")
    assert "curriculumnet.pipeline" not in found


def test_asking_for_help_loads_no_step() -> None:
    found = loaded(ask_for_help())
    assert "typer" in found
    assert not found & HEAVY
    ours = {name for name in found if name.startswith("curriculumnet")}
    assert ours == {"curriculumnet"} | {
        f"curriculumnet.{name}" for name in ("cli", "console", "errors", "flags", "version")
    }


@pytest.mark.parametrize("command", [command.name for command in cli.COMMANDS])
def test_asking_a_command_for_help_loads_nothing_heavy(command: str) -> None:
    assert not loaded(ask_for_help(command)) & HEAVY


@pytest.mark.parametrize("room", ROOMS)
def test_a_step_loads_no_other_step_and_heavy_libraries_only_when_it_works(room: str) -> None:
    found = loaded(f"import curriculumnet.{room}.step")
    assert not found & HEAVY
    assert not found & {f"curriculumnet.{other}" for other in ROOMS if other != room}
