"""Every table of a work folder as data: column, type, range, meaning.

The check on writing and the reference page (`docs/reference/tables.md`) are made from here, so that a column is
described once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.errors import WorkFolderError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column.

    `type` is an Arrow type by name; ``list<float16>`` is a list of one fixed size, the number of categories.
    `values` is a unit, a range or the allowed values.
    """

    name: str
    type: str
    values: str
    meaning: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One table: where it lies in a work folder, what a row is, its columns, and its metadata."""

    name: str
    file: str
    row: str
    columns: tuple[Column, ...]
    metadata: tuple[tuple[str, str], ...] = ()
    open: bool = False
    """Whether further columns may follow, such as a method's own."""


STATES = {
    "missing": "listed but not there, or gone while it was read",
    "broken": "not an image, or one that cannot be decoded to its end",
    "refused": "an image that is too small, too large or too strange; the reason says which",
    "dropped": "set aside by a person",
    "leak": "a training copy of a validation or test image",
    "copy": "the same bytes or pixels as an earlier image of its category",
    "excluded": "its category was left out, or has too few images",
    "used": "takes part",
}
"""The states of an image in their order: an image is in the first one that applies."""

SPLITS = ("train", "val", "test")

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
"""What a reader calls the splits."""

LABEL_NAMES = {"clean": "clean labels", "crawl": "the crawl's own labels"}
"""What a reader calls the labels that a figure was measured on."""

SUBSETS = ("clean", "noisy", "highly noisy")
"""What subsets 0, 1, 2 are called; with another number of subsets they go by their number."""

QUALITY = {
    "dark": (0.3, "nearly black"),
    "bright": (0.1, "nearly white"),
    "blurry": (0.1, "blurred"),
    "low_information": (0.2, "almost empty"),
    "odd_aspect_ratio": (0.3, "very long or very wide"),
    "odd_size": (0.25, "of an odd size"),
    "greyscale": (0.5, "without colour"),
}
"""The scores of picture quality: below which one a picture is worth a look, and what it then is called."""

IMAGES = Table(
    "images",
    "images.parquet",
    "one file seen in a source",
    (
        Column("image_id", "int64", "0 … n-1", "the row's number; a crawl that has changed is numbered anew"),
        Column("source", "string", "crawl, val, test", "which source it came from; project.json holds their paths"),
        Column("file_name", "string", "", "its name within the source, with `/` as the separator"),
        Column("label", "string", "", "the category it was found under, right or wrong"),
        Column("split", "string", "train, val, test", "what it is used for"),
        Column("state", "string", ", ".join(STATES), "the first of these that applies"),
        Column("reason", "string", "", "why the state is not `used`; empty otherwise"),
        Column("label_conflict", "bool", "", "whether the same picture was also found under another category"),
        Column("width", "int32", "pixels", "width as shown, after EXIF rotation", nullable=True),
        Column("height", "int32", "pixels", "height as shown, after EXIF rotation", nullable=True),
        Column("format", "string", "JPEG, PNG, …", "as found in the bytes, whatever the name says", nullable=True),
        Column("bytes", "int64", "bytes", "the file's size", nullable=True),
        Column(
            "offset",
            "int64",
            "bytes",
            "where its bytes begin in the tar that holds it; empty outside one",
            nullable=True,
        ),
        Column("digest", "string", "32 hex digits", "BLAKE2b-128 of the bytes", nullable=True),
        Column("pixel_digest", "string", "32 hex digits", "XXH3-128 of size and decoded pixels", nullable=True),
        Column("phash", "uint64", "", "a perceptual hash of the picture; 0 where it is flat", nullable=True),
        Column("phash_centre", "uint64", "", "the same of its centre", nullable=True),
        Column("copy_of", "int64", "image_id", "the image that it is a copy or leak of", nullable=True),
        Column(
            "near_group",
            "int64",
            "image_id",
            "the representative of those that are all near copies of each other",
            nullable=True,
        ),
        Column("group", "string", "", "the sender, patient or shoot that must not be split, if named", nullable=True),
        Column("rank", "float64", "lower is better", "its place in the source's own order, if named", nullable=True),
        Column("query", "string", "", "the words that it was found by, if the source tells", nullable=True),
        Column("url", "string", "", "where the picture was found, if the source tells", nullable=True),
        Column("licence", "string", "", "the picture's licence, if the source tells", nullable=True),
        Column("dark", "float32", "0 … 1, lower is worse", "luminance that 1 % of its pixels exceed", nullable=True),
        Column("bright", "float32", "0 … 1, lower is worse", "1 - luminance that 5 % stay below", nullable=True),
        Column("blurry", "float32", "0 … 1, lower is worse", "sharpness of its middle", nullable=True),
        Column("low_information", "float32", "0 … 1, lower is worse", "entropy of its luminances", nullable=True),
        Column("odd_aspect_ratio", "float32", "0 … 1, lower is worse", "short side by long side", nullable=True),
        Column("greyscale", "float32", "0 or 1", "0 where it has no colours", nullable=True),
        Column("odd_size", "float32", "0 … 1, lower is worse", "how usual its size is among all files", nullable=True),
    ),
)

MODIFIED = Table(
    "modified",
    "modified.parquet",
    "one file of `images.parquet` whose time is known",
    (
        Column("image_id", "int64", "", "the file's row"),
        Column(
            "modified",
            "int64",
            "ns since 1970",
            "when it was changed: by this and its size it is known again; in a tar to a second, plus its place",
        ),
    ),
)

READ = "images.begun"
"""What an interrupted `ingest` had found, as a Parquet table; gone when it has finished."""

DESIGN_BEGUN = "curricula/NAME.begun"
"""What an interrupted `design` had found; its first line is JSON: settings, inputs and version. Gone when finished."""

CURRICULUM = Table(
    "curriculum",
    "curricula/NAME.parquet",
    "one usable training image",
    (
        Column("image_id", "int64", "", "the image"),
        Column("subset", "int8", "0 … N-1", "0 clean, 1 noisy, 2 highly noisy"),
        Column("cleanliness", "float32", "0 … 1", "higher is cleaner; the metadata say what it means"),
        Column("is_centre", "bool", "", "whether it is its category's centre"),
        Column(
            "right_probability",
            "float32",
            "0 … 1",
            "estimated probability that its label is right, as far as density shows; empty where that cannot be told",
            nullable=True,
        ),
        Column("density", "float32", "images", "ρ: images of its category nearer than d_c", nullable=True),
        Column("delta", "float32", "squared distance", "δ: distance to the nearest denser image", nullable=True),
        Column("distance_to_centre", "float32", "squared distance", "distance to its category's centre", nullable=True),
    ),
    metadata=(
        ("method", "the design's name"),
        ("settings", "its settings, JSON"),
        ("features", "the features' name"),
        ("features_digest", "the features' digest"),
        ("cleanliness", "`rank` (an order only) or `probability`"),
    ),
    open=True,
)

CATEGORIES = Table(
    "categories",
    "curricula/categories-NAME.parquet",
    "one category",
    (
        Column("category", "string", "", "its name"),
        Column("n", "int64", "images", "usable training images"),
        Column("subset_sizes", "list<int64>", "images", "the images in each subset, cleanest first"),
        Column("cutoff", "float64", "squared distance", "d_c", nullable=True),
        Column("centre", "int64", "image_id", "the centre", nullable=True),
        Column(
            "density_error",
            "float64",
            "0 … 0.5",
            "largest standard error of density / n where densities, and d_c, are estimated from landmarks and delta is "
            "the distance to the nearest denser landmark; empty where all is exact",
            nullable=True,
        ),
        Column(
            "noise_rate",
            "float64",
            "0 … 1",
            "estimated share of wrong labels, as far as density shows it; empty where that cannot be told",
            nullable=True,
        ),
        Column("noise_low", "float64", "0 … 1", "its lower bound (95 %)", nullable=True),
        Column("noise_high", "float64", "0 … 1", "its upper bound (95 %)", nullable=True),
    ),
)

HISTORY = Table(
    "history",
    "runs/NAME/history.parquet",
    "one measurement during training",
    (
        Column("step", "int64", "optimiser steps", "how many steps had been taken"),
        Column("stage", "int32", "1 …", "the stage of the curriculum"),
        Column(
            "metric",
            "string",
            "train_loss, train_loss_subset_K, train_accuracy, learning_rate, images_per_second, wait_share, "
            "val_loss, val_top1_error, test_loss, test_top1_error; of courses decided on the way held_out_loss, "
            "held_out_loss_subset_K, share_subset_K, share_taking_part",
            "what was measured",
        ),
        Column("value", "float64", "", "its value; losses in nats, errors and shares in 0 … 1"),
    ),
)

DYNAMICS = Table(
    "dynamics",
    "runs/NAME/dynamics.parquet",
    "one training image, as the network learnt it",
    (
        Column("image_id", "int64", "", "the image"),
        Column("label", "string", "", "the category it was found under"),
        Column("seen", "int64", "views", "how often it was in a batch"),
        Column(
            "loss", "float32", "nats", "mean of its losses, with --mixup of its mixtures; NaN where it was never seen"
        ),
        Column("agreement", "float32", "0 … 1", "how often its label was the most probable category"),
        Column("losses", "list<float16>", "nats", "the same for each fifth of the training; NaN where it was not seen"),
        Column("agreements", "list<float16>", "0 … 1", "likewise"),
    ),
)

PREDICTIONS = Table(
    "predictions",
    "runs/NAME/predictions-SPLIT.parquet, runs/NAME/predictions-SPLIT-10-crops.parquet",
    "one usable image of the split",
    (
        Column("image_id", "int64", "", "the image"),
        Column("label", "string", "", "the category it was found under"),
        Column("probabilities", "list<float16>", "0 … 1", "one per category, in the order of project.json"),
    ),
)

METRICS = Table(
    "metrics",
    "runs/NAME/metrics.json",
    "one figure of one run",
    (
        Column("split", "string", "val, test", "the images it was measured on"),
        Column("labels", "string", "clean, crawl", "whether their labels are clean or the crawl's own"),
        Column("crops", "int64", "1, 10", "crops per image"),
        Column("metric", "string", "top1_error, top5_error", "what was measured"),
        Column("category", "string", "", "of one category, or of all when empty", nullable=True),
        Column("value", "float64", "0 … 1", "the figure, as a share"),
        Column("low", "float64", "0 … 1", "95 % bootstrap interval over images, lower end"),
        Column("high", "float64", "0 … 1", "95 % bootstrap interval over images, upper end"),
        Column("n", "int64", "images", "how many images it rests on"),
    ),
)

COMPARISONS = Table(
    "comparisons",
    "comparisons.json",
    "the paired difference of two runs in one figure",
    (
        Column("run", "string", "", "the run that is compared"),
        Column("baseline", "string", "", "the run it is compared with"),
        Column("split", "string", "val, test", "the images both were measured on"),
        Column("labels", "string", "clean, crawl", "whether their labels are clean or the crawl's own"),
        Column("crops", "int64", "1, 10", "crops per image"),
        Column("metric", "string", "top1_error, top5_error", "what was measured"),
        Column("value", "float64", "-1 … 1", "baseline's error minus the run's: positive means the run is better"),
        Column("low", "float64", "-1 … 1", "95 % paired bootstrap interval, lower end"),
        Column("high", "float64", "-1 … 1", "95 % paired bootstrap interval, upper end"),
        Column("n", "int64", "images", "how many images it rests on"),
        Column("improved", "int64", "categories", "categories whose error is lower in the run"),
        Column("fell", "int64", "categories", "categories whose error is higher in the run"),
        Column("unchanged", "int64", "categories", "categories of equal error"),
    ),
)

TABLES = (IMAGES, MODIFIED, CURRICULUM, CATEGORIES, HISTORY, DYNAMICS, PREDICTIONS, METRICS, COMPARISONS)


def arrow_type(name: str, length: int = -1) -> pa.DataType:
    """Return the Arrow type of that name; a ``list<float16>`` has the fixed size `length`."""
    import pyarrow as pa

    if name.startswith("list<"):
        value = arrow_type(name[5:-1])
        return pa.list_(value, length) if name == "list<float16>" else pa.list_(value)
    return {"bool": pa.bool_(), "float16": pa.float16(), "string": pa.string()}.get(name) or pa.type_for_alias(name)


def schema(table: Table, length: int = -1) -> pa.Schema:
    """Return the Arrow schema of `table`, with ``list<float16>`` columns of fixed size `length`."""
    import pyarrow as pa

    return pa.schema(
        [pa.field(c.name, arrow_type(c.type, length), nullable=c.nullable) for c in table.columns],
    )


def build(table: Table, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> pa.Table:
    """Make an Arrow table from columns (arrays or lists of one length) and check it against its description.

    Nullable columns that are absent become empty. Columns that the description does not name are an error, unless
    the table is open. Raises ValueError: a wrong table is our fault, not the user's.
    """
    import pyarrow as pa

    length = next(
        (columns[c.name].type.list_size for c in table.columns if c.type == "list<float16>"),
        -1,
    )
    known = schema(table, length)
    further = [name for name in columns if name not in known.names]
    if further and not table.open:
        raise ValueError(f"table {table.name} has no column {', '.join(further)}")
    rows = len(next(iter(columns.values())))
    arrays: list[Any] = []
    for field in known:
        if field.name not in columns:
            if not field.nullable:
                raise ValueError(f"table {table.name} lacks its column {field.name}")
            arrays.append(pa.nulls(rows, field.type))
            continue
        given = columns[field.name]
        arrays.append(given if isinstance(given, pa.Array | pa.ChunkedArray) else pa.array(given, field.type))
    made = pa.table(arrays, schema=known)
    for name in further:
        made = made.append_column(name, pa.array(columns[name]))
    for field in known:
        if not field.nullable and made[field.name].null_count:
            raise ValueError(f"table {table.name} has empty values in its column {field.name}")
    return made.replace_schema_metadata(metadata or {})


def check_rows(table: Table, rows: list[dict[str, Any]]) -> None:
    """Check rows that go into a JSON file against their description; ValueError when they do not fit."""
    kinds = {"string": str, "int64": int, "float64": (int, float)}
    names = [column.name for column in table.columns]
    for row in rows:
        if list(row) != names:
            raise ValueError(f"a row of {table.name} has the columns {list(row)}, not {names}")
        for column in table.columns:
            value = row[column.name]
            if not (isinstance(value, kinds[column.type]) or (column.nullable and value is None)):  # type: ignore[arg-type]
                raise ValueError(f"{table.name}.{column.name} is {value!r}, not {column.type}")


def read(path: str | os.PathLike[str], columns: list[str] | None = None, *, memory_map: bool = True) -> pa.Table:
    """Read a Parquet table, memory-mapped unless it will be replaced while it is in use: Windows would not do that."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(Path(path), columns=columns, memory_map=memory_map)
    except pa.ArrowInvalid as error:
        raise WorkFolderError(
            f"{path} is damaged ({error}): delete it, and start the command again that made it."
        ) from error


PLACES = ("source", "file_name", "offset", "bytes", "digest")
"""The columns of the table of images that tell where a picture's bytes lie, and what they must be."""


def read_images(path: str | os.PathLike[str], columns: Sequence[str]) -> pa.Table:
    """Read some columns of the table of images; those that an earlier version did not write are left out."""
    import pyarrow.parquet as pq

    known = set(pq.read_schema(Path(path)).names)
    return read(path, [name for name in dict.fromkeys(columns) if name in known])


def read_parts(path: str | os.PathLike[str], columns: list[str]) -> Iterator[pa.Table]:
    """Read a Parquet table some rows at a time, of which one part is in memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(Path(path)) as file:
        for batch in file.iter_batches(columns=columns):
            yield pa.Table.from_batches([batch])


def reference() -> str:
    """Return the reference page of all tables, as Markdown."""
    parts = [
        "# Tables of a work folder",
        "",
        "Made from `src/curriculumnet/work/tables.py` by `make docs`; do not edit.",
        "",
        "The states of an image, of which the first that applies is taken:",
        "",
        "| state | meaning |",
        "|---|---|",
        *(f"| `{state}` | {meaning} |" for state, meaning in STATES.items()),
    ]
    for table in TABLES:
        more = " Further columns are the method's own." if table.open else ""
        parts += [
            "",
            f"## {table.name}",
            "",
            f"`{table.file}`: a row is {table.row}.{more}",
            "",
            "| column | type | values | meaning |",
            "|---|---|---|---|",
        ]
        for column in table.columns:
            empty = " (may be empty)" if column.nullable else ""
            parts.append(f"| `{column.name}` | {column.type} | {column.values} | {column.meaning}{empty} |")
        if table.metadata:
            parts += ["", "Metadata: " + " · ".join(f"`{key}` {meaning}" for key, meaning in table.metadata) + "."]
    return "\n".join(parts) + "\n"
