"""What a work folder holds, as the page's sections read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""A row of metrics.json or comparisons.json, as `work.tables` describes it."""


@dataclass(frozen=True)
class Run:
    """One trained network.

    Attributes
    ----------
    name : str
    settings : dict
        settings.json.
    metrics : list of dict
        metrics.json; empty before this network was evaluated.
    history : pyarrow.Table or None
    dynamics : pyarrow.Table or None
        How each training image was learnt.
    """

    name: str
    settings: dict[str, Any]
    metrics: list[Row]
    history: pa.Table | None
    dynamics: pa.Table | None = None

    @property
    def recipe(self) -> str:
        """How it was trained."""
        return str(self.settings.get("recipe", self.name))

    @property
    def model(self) -> str:
        """The network's name."""
        return str(self.settings.get("model", ""))

    @property
    def follows_curriculum(self) -> bool:
        """Whether it was trained along a curriculum."""
        return bool(self.settings.get("curriculum"))


@dataclass(frozen=True)
class Curriculum:
    """One curriculum: its name, its two tables, and what its metadata say."""

    name: str
    images: pa.Table
    categories: pa.Table
    metadata: dict[str, str]

    @property
    def n_subsets(self) -> int:
        """How many subsets there are."""
        return max((len(sizes) for sizes in self.categories["subset_sizes"].to_pylist()), default=1) or 1


@dataclass(frozen=True)
class Contents:
    """All that is read of a work folder.

    Attributes
    ----------
    project : dict
        project.json without the record of `report` itself.
    images : pyarrow.Table
        The table of images.
    curriculum : Curriculum or None
        The one that the compared run followed; else the newest.
    runs : tuple of Run
        The trained networks, oldest first.
    runs_left_out : int
        How many older runs the page has no room for.
    comparisons : list of dict
        comparisons.json.
    outdated : tuple of str
        Sentences on what is left out because it belongs to an earlier state of the work folder.
    """

    project: dict[str, Any]
    images: pa.Table
    curriculum: Curriculum | None
    runs: tuple[Run, ...]
    runs_left_out: int
    comparisons: list[Row]
    outdated: tuple[str, ...] = ()

    @property
    def categories(self) -> list[str]:
        """The categories in their order."""
        return list(self.project["categories"])

    def run(self, name: str) -> Run:
        """Return the run of that name; KeyError when there is none."""
        return {run.name: run for run in self.runs}[name]
