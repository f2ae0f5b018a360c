"""The formats of an export, all behind one signature: what each writes is in a file of its own in `sinks/`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import Selection
from curriculumnet.exporting.sinks import cleanlab, folders, huggingface, lists, webdataset


@dataclass(frozen=True)
class Format:
    """A layout that another tool reads.

    Attributes
    ----------
    description : str
        A line.
    write : callable
        Writes the files of an export.
    uses : frozenset of str
        The names of `Options` that change what it writes.
    points : bool
        Whether what it writes names the source's own files, so that it is another where these lie elsewhere.
    without_pictures : bool
        Whether it names them even where no link can lead to them, as on the network.
    """

    description: str
    write: Callable[[Selection, Staging, Options], None]
    uses: frozenset[str] = frozenset()
    points: bool = False
    without_pictures: bool = False


FORMATS = {
    "webdataset": Format(
        "tars of pictures with .cls and .json, in the curriculum's order",
        webdataset.write,
        frozenset(("shard_size",)),
    ),
    "huggingface": Format("a folder of pictures with metadata for datasets.load_dataset", huggingface.write),
    "folders": Format("class folders of links to the pictures", folders.write, frozenset(("copy",)), points=True),
    "cleanlab": Format(
        "a table with cleanlab's columns; no pictures", cleanlab.write, points=True, without_pictures=True
    ),
    "lists": Format(
        "a list of `path index` for each subset; no pictures", lists.write, points=True, without_pictures=True
    ),
}
"""Every format by its name."""
