"""Class folders: a folder for each split, in it one for each category, with links to the pictures."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from curriculumnet.errors import InputError
from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import COLUMNS, Picture, Selection, seen_from
from curriculumnet.images.tar import split_member
from curriculumnet.sources.folders import PICTURE_ENDINGS, unfit
from curriculumnet.work.csv_lines import csv_line

TABLE = "curriculum.csv"

_LONGEST_STEM = 180
"""Bytes of a picture's own name that are kept: with number and ending they stay below the longest."""

_NO_LETTERS = re.compile(r'[\x00-\x1f<>:"/\\|?*]')
"""What names on Windows may not hold."""


def write(selection: Selection, staging: Staging, options: Options) -> None:
    """Write ``SPLIT/CATEGORY/NUMBER-NAME`` for each picture, and a table of all.

    A link leads to a picture's own file, by a relative path where there is one; a picture in an archive is copied, as
    are all where no links can be made.

    Parameters
    ----------
    selection : Selection
    staging : Staging
    options : Options
        `copy` is used.

    Raises
    ------
    InputError
        A picture has changed, or a category's name can name no folder.
    """
    if staging.has(TABLE):
        # It is finished last.
        return
    for name in selection.categories:
        if why := unfit(name):
            raise InputError(
                f"The category {name!r} cannot name a folder, since its name {why}: give it another name by "
                "`curriculumnet ingest --rename TABLE`, or choose another --format."
            )
    made: set[str] = set()
    with staging.open(TABLE) as file:
        file.write(csv_line(["file_name", "label", "split", *COLUMNS, "original", "image_id"]))
        for part in selection.parts():
            for picture, data in selection.verified(part.rows, lambda each: not staging.has(_name(each))):
                _make_folder(staging, picture, made)
                if data is not None and (options.copy or not _link(selection, staging, picture)):
                    staging.write(_name(picture), data)
                said = (picture.columns.get(name) for name in COLUMNS)
                file.write(
                    csv_line([_name(picture), picture.label, picture.split, *said, picture.file_name, picture.image_id])
                )


def _make_folder(staging: Staging, picture: Picture, made: set[str]) -> None:
    folder = f"{picture.split}/{picture.label}"
    if folder in made:
        return
    made.add(folder)
    if not staging.make_folder(folder):
        raise InputError(
            f"The category {picture.label!r} cannot have a folder of its own, since this disk takes its name for "
            "another's: give it another name by `curriculumnet ingest --rename TABLE`, or choose another --format."
        )


def _link(selection: Selection, staging: Staging, picture: Picture) -> bool:
    file = selection.file(picture)
    if file is None:
        return False
    name = _name(picture)
    return staging.link(name, seen_from(staging.out / Path(name).parent, file), picture.digest)


def _name(picture: Picture) -> str:
    """Return the name of a picture: its number, and its own name as far as every system takes it."""
    own = PurePosixPath(split_member(picture.file_name)[1] or picture.file_name).name
    ending = PurePosixPath(own).suffix
    if ending.lower() not in PICTURE_ENDINGS:
        ending = picture.ending
    stem = own.removesuffix(ending).encode("utf-8")[:_LONGEST_STEM].decode("utf-8", "ignore")
    return f"{picture.split}/{picture.label}/{picture.key}-{_NO_LETTERS.sub('_', stem)}{ending}"
