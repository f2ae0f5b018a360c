"""From the sections to one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from curriculumnet.console import duration
from curriculumnet.reporting import wording
from curriculumnet.reporting.account import Account, account
from curriculumnet.reporting.categories import Category, categories, noisiest
from curriculumnet.reporting.charts import (
    DecisionGraph,
    LineChart,
    decision_graph,
    learning_charts,
    line_charts,
    teacher_charts,
)
from curriculumnet.reporting.contents import Contents
from curriculumnet.reporting.figures import Cell, Differences, RunTable, differences, mirrored_unawares, run_tables
from curriculumnet.reporting.strips import Strip, by_category, strip
from curriculumnet.reporting.verdict import Verdict
from curriculumnet.reporting.versus import Versus, versus
from curriculumnet.work.tables import LABEL_NAMES, SPLIT_NAMES

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


@dataclass(frozen=True)
class Limits:
    """How much the page may show of a large crawl.

    Attributes
    ----------
    rows : int
        Categories in tables; of more, the noisiest.
    strips : int
        Categories with pictures and a decision graph; of more, the noisiest.
    each : int
        Cleanest and most doubtful pictures of each category.
    dots : int
        Images in one decision graph.
    """

    rows: int = 2000
    strips: int = 100
    each: int = 6
    dots: int = 300

    def smaller(self) -> Limits:
        """Return limits under which the page is shorter: fewer rows first, then less of everything."""
        rows = max(1, self.rows // 2)
        if self.rows > 250:
            return replace(self, rows=rows)
        return Limits(rows, max(1, self.strips // 2), max(1, self.each - 1), max(10, self.dots // 2))


@dataclass(frozen=True)
class Sections:
    """All that the page shows but the thumbnails; a section that has nothing to show is None or empty."""

    verdict: Verdict
    gain: Cell | None
    run_tables: list[RunTable]
    mirrored_unawares: tuple[str, ...]
    differences: Differences | None
    account: Account
    n_categories: int
    n_designed: int
    rows: list[Category]
    strips: list[Strip]
    graphs: list[DecisionGraph]
    curves: list[LineChart]
    versus: Versus | None
    subset_names: tuple[str, ...]


def sections(contents: Contents, verdict: Verdict, pair: tuple[str, str] | None, limits: Limits) -> Sections:
    """Make the page's sections from what the work folder holds."""
    found = categories(contents, verdict.row)
    rows = noisiest(found, limits.rows)
    designed = [category for category in found if sum(category.subset_sizes)]
    chosen = noisiest(designed, limits.strips)
    tables = by_category(contents, chosen)
    names = wording.subset_names(contents.curriculum.n_subsets) if contents.curriculum else ()
    drawn = [category for category in chosen if category.index in tables]
    graphs = [
        decision_graph(category.name, category.index, tables[category.index], limits.dots, len(names))
        for category in drawn
    ]
    paired = differences(contents, pair)
    return Sections(
        verdict=verdict,
        gain=paired.chosen[0].cell if paired and paired.chosen else None,
        run_tables=run_tables(contents, pair),
        mirrored_unawares=mirrored_unawares(contents),
        differences=paired,
        account=account(contents),
        n_categories=len(found),
        n_designed=len(designed),
        rows=rows,
        strips=[strip(contents, category, tables[category.index], limits.each) for category in drawn],
        graphs=[graph for graph in graphs if graph is not None],
        curves=[*line_charts(contents), *teacher_charts(contents), *learning_charts(contents)],
        versus=versus(contents, pair, rows),
        subset_names=names,
    )


def render(contents: Contents, shown: Sections, thumbnails: Mapping[int, str], side: int) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    contents : Contents
    shown : Sections
    thumbnails : mapping of int to str
        Data URI per image id; an image without one gets a grey square that says so.
    side : int
        Height and width of the thumbnails in pixels.
    """
    from markupsafe import Markup

    script = _own_file("page.js")
    return _template().render(
        contents=contents,
        project=contents.project,
        page=shown,
        thumbnails=thumbnails,
        side=side,
        labels=LABEL_NAMES,
        splits=SPLIT_NAMES,
        thin=wording.THIN,
        subset_colours=[_subset_colour(subset, len(shown.subset_names)) for subset in range(len(shown.subset_names))],
        settings=_run_settings(contents),
        design_settings=_design_settings(contents),
        # Our own files, and the digest by which alone the page's script may run.
        css=Markup(_own_file("page.css")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii"),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_printable
    )
    own = {"clip": _clip, "duration": duration, "last_part": _last_part, "prose": _prose}
    environment.filters |= {name: getattr(wording, name) for name in _FILTERS} | own
    return environment.from_string(_own_file("page.html"))


_FILTERS = ("count", "percent", "percent_interval", "plural", "signed")


def _own_file(name: str) -> str:
    return resources.files("curriculumnet.reporting").joinpath(name).read_text(encoding="utf-8")


def _clip(text: str, longest: int) -> str:
    """Return a text without its middle where it is very long."""
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}…{text[-(longest // 3) :]}"


def _last_part(source: str) -> str:
    """Return a source without the folders in which it lies."""
    path, mark, inner = source.partition("#")
    return PurePath(path).name + mark + inner


def _prose(sentence: str) -> Markup:
    """Return a sentence in which short names with hyphens are not broken and what stands in backticks is code."""
    from markupsafe import Markup, escape

    words = []
    for word in sentence.split(" "):
        unbroken = "-" in word and len(word) <= 24 and "`" not in word
        words.append(Markup('<span class="unbroken">{}</span>').format(word) if unbroken else escape(word))
    parts = Markup(" ").join(words).split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))


def _printable(value: Any) -> Any:
    """Replace control characters, which HTML does not know, in names and reasons."""
    if isinstance(value, str) and not value.isprintable() and not hasattr(value, "__html__"):
        return "".join("\N{REPLACEMENT CHARACTER}" if _is_control(letter) else letter for letter in value)
    return value


def _is_control(letter: str) -> bool:
    return ord(letter) < 32 or 127 <= ord(letter) < 160 or 0xD800 <= ord(letter) < 0xE000


def _subset_colour(subset: int, n_subsets: int) -> str:
    """Return a subset's colour in CSS: from clean over noisy to doubtful, evenly."""
    place = 2 * subset / max(1, n_subsets - 1)
    if place <= 1:
        return f"color-mix(in oklab, var(--noisy) {100 * place:.0f}%, var(--clean))"
    return f"color-mix(in oklab, var(--doubtful) {100 * (place - 1):.0f}%, var(--noisy))"


def _run_settings(contents: Contents) -> list[tuple[str, list[str]]]:
    """Return a row for each setting: its name and its value in every run."""
    keys = dict.fromkeys(key for run in contents.runs for key in run.settings if key != "stages")
    return [(key, [_setting(run.settings.get(key)) for run in contents.runs]) for key in keys]


def _design_settings(contents: Contents) -> list[tuple[str, str]]:
    """Return what the curriculum's metadata say: the method's settings, and whatever else they hold."""
    if contents.curriculum is None:
        return []
    metadata = dict(contents.curriculum.metadata)
    settings = json.loads(metadata.pop("settings", "{}"))
    return [(key, _setting(value)) for key, value in (metadata | settings).items()]


def _setting(value: Any) -> str:
    if value is None or value == [] or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(part) for part in value)
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if value.is_integer() else f"{value:.6g}"
