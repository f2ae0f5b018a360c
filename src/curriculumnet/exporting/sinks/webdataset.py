"""WebDataset: tars in which a picture and what is said of it lie beside each other, in the curriculum's order."""

from __future__ import annotations

import io
import json
import tarfile

from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.lines import names_in_lines
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import Part, Picture, Selection

CATEGORIES = "categories.txt"


def write(selection: Selection, staging: Staging, options: Options) -> None:
    """Write ``train-SUBSET-NNNNNN.tar``, ``val-NNNNNN.tar`` and ``test-NNNNNN.tar``, and the categories' names.

    The same pictures give the same bytes: no time, no owner.

    Parameters
    ----------
    selection : Selection
    staging : Staging
    options : Options
        `shard_size` is used.

    Raises
    ------
    InputError
        A picture has changed, or a category's name has more than one line.
    """
    staging.write(CATEGORIES, names_in_lines(selection.categories))
    for part in selection.parts():
        for number, start in enumerate(range(part.start, part.stop, options.shard_size)):
            rows = range(start, min(start + options.shard_size, part.stop))
            _write_shard(selection, staging, _name(part, number), rows)


def _name(part: Part, number: int) -> str:
    subset = "" if part.subset is None else f"-{part.subset}"
    return f"{part.split}{subset}-{number:06d}.tar"


def _write_shard(selection: Selection, staging: Staging, name: str, rows: range) -> None:
    if staging.has(name):
        selection.advance(len(rows))
        return
    with (
        staging.open(name) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for picture, data in selection.verified(rows):
            _add(tar, f"{picture.key}{picture.ending}", data or b"")
            _add(tar, f"{picture.key}.cls", str(picture.category).encode())
            _add(tar, f"{picture.key}.json", json.dumps(_said(picture), ensure_ascii=False).encode("utf-8"))
            # The list of all members, which tarfile keeps, would grow with the tar.
            tar.members = []  # type: ignore[attr-defined]


def _said(picture: Picture) -> dict[str, object]:
    return {"file_name": picture.file_name, "label": picture.label, "split": picture.split, **picture.columns}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # Of a TarInfo, time and owner are 0 unless told otherwise.
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
