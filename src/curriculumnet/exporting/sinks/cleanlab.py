"""cleanlab: a table with the columns in which its Datalab says which labels are wrong, and how right each is."""

from __future__ import annotations

from curriculumnet.exporting.delivery import Staging
from curriculumnet.exporting.options import Options
from curriculumnet.exporting.pictures import COLUMNS, Picture, Selection
from curriculumnet.work.csv_lines import csv_line

TABLE = "labels.csv"

HEADER = ("file_name", "label", "split", "is_label_issue", "label_score", *COLUMNS, "image_id")


def write(selection: Selection, staging: Staging, options: Options) -> None:
    """Write ``labels.csv``: where each picture lies, its label, and cleanlab's two columns.

    `label_score` is the estimated probability that the label is right, else the cleanliness: as in cleanlab, lower is
    worse. `is_label_issue` is true in the last subset. Both are empty where there is no curriculum.

    Parameters
    ----------
    selection : Selection
    staging : Staging
    options : Options
        None is used.

    Raises
    ------
    InputError
        A picture has changed.
    """
    del options
    if staging.has(TABLE):
        return
    with staging.open(TABLE) as file:
        file.write(csv_line(HEADER))
        for part in selection.parts():
            for picture, _ in selection.verified(part.rows):
                said = [picture.columns.get(name) for name in COLUMNS]
                where = selection.location(picture, staging.out)
                judged = _judged(picture, selection.n_subsets)
                file.write(csv_line([where, picture.label, picture.split, *judged, *said, picture.image_id]))


def _judged(picture: Picture, n_subsets: int | None) -> tuple[bool | None, float | None]:
    if picture.subset is None or n_subsets is None:
        return None, None
    score = picture.columns.get("right_probability", picture.columns.get("cleanliness"))
    # With a single subset, none is the doubtful one.
    return picture.subset == n_subsets - 1 > 0, score
