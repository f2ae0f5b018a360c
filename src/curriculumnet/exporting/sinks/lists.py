"""Lists: a text file for each subset with ``path index`` in each line, as the authors of CurriculumNet gave theirs."""

from __future__ import annotations

from curriculumnet.errors import InputError
from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.lines import names_in_lines
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import Part, Selection

CATEGORIES = "categories.txt"


def write(selection: Selection, staging: Staging, options: Options) -> None:
    """Write ``1.txt`` to ``N.txt`` (``train.txt`` without a curriculum), ``val.txt``, ``test.txt`` and the categories.

    Parameters
    ----------
    selection : Selection
    staging : Staging
    options : Options
        None is used.

    Raises
    ------
    InputError
        A picture has changed, or a name does not fit in a line.
    """
    del options
    staging.write(CATEGORIES, names_in_lines(selection.categories))
    for part in selection.parts():
        if staging.has(_name(part)):
            selection.advance(len(part.rows))
            continue
        with staging.open(_name(part)) as file:
            for picture, _ in selection.verified(part.rows):
                path = selection.location(picture, staging.out)
                if path != path.strip() or len(path.splitlines()) != 1:
                    raise InputError(
                        f"{path!r} has a line break in it, or begins or ends with a space, and cannot stand in a list: "
                        "rename the file and ingest again, or choose another --format."
                    )
                file.write(f"{path} {picture.category}\n".encode())


def _name(part: Part) -> str:
    return f"{part.split if part.subset is None else part.subset + 1}.txt"
