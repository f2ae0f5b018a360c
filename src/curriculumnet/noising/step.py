"""The step `inject`: from a clean set to a noisy copy of it, of which everything is known."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.console import Grid, Progress, say, warn
from curriculumnet.errors import SourceError, UsageError
from curriculumnet.work.csv_lines import csv_line
from curriculumnet.work.folder import WorkFolder, make_folder, writing

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.noising.draw import Placed
    from curriculumnet.noising.pictures import Picture
    from curriculumnet.sources.kinds import Source
    from curriculumnet.sources.packed import Packed

TRUTH = "truth.csv"
_SETTINGS = "inject.json"

_AT_ONCE, _BATCH = 16, 256
"""Pictures that are copied at once, and that Ctrl-C may have to wait for."""

_SHOWN = 30
"""Categories that the terminal shows."""


@dataclass(frozen=True)
class Injection:
    """What `inject` has made, or had made before.

    Attributes
    ----------
    output : Path
        The folder of the copy.
    crawl : Path
        The noisy pictures: a folder per category.
    clean : dict of str to Path
        The folders of the pictures that stayed clean, `val` and `test`, where the source sets such apart.
    truth : Path
        What each picture of the crawl shows, `truth.csv`.
    counts : dict of str to int
        Pictures of the crawl by kind: `right`, `confused`, `uniform`, `outside`.
    categories : dict of str to dict of str to int
        The same for each label that was given, and the `size` of all together.
    left_out : int
        Files of the sources that are not in the copy: not there, no images by their names, or without a label.
    """

    output: Path
    crawl: Path
    clean: dict[str, Path]
    truth: Path
    counts: dict[str, int]
    categories: dict[str, dict[str, int]]
    left_out: int

    def table(self) -> pa.Table:
        """Return the truth: a row per picture of the crawl, with the columns of `truth.csv`, all text."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        from curriculumnet.miniature import TRUTH_COLUMNS

        return arrow_csv.read_csv(
            self.truth,
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(TRUTH_COLUMNS, pa.string())),
        )

    def summary(self) -> list[str | Grid]:
        """Return the real shares, of all and by category, the noisiest first, and what to type next."""
        size = sum(self.counts.values())
        kinds = [kind for kind in self.counts if kind != "right"]
        wrong = size - self.counts["right"]
        shares = ", ".join(f"{self.counts[kind]:,} {kind}" for kind in kinds)
        shown = sorted(self.categories.items(), key=lambda each: (each[1]["right"] / each[1]["size"], each[0]))[:_SHOWN]
        lines: list[str | Grid] = [
            f"{size:,} pictures in {len(self.categories):,} categories; the label of {wrong:,} is wrong "
            f"({wrong / size:.1%}): {shares}.",
            Grid(
                "Labels as they are given now",
                ("category", "pictures", *self.counts, "wrong"),
                tuple(
                    (
                        category,
                        f"{counts['size']:,}",
                        *(f"{counts[kind]:,}" for kind in self.counts),
                        f"{1 - counts['right'] / counts['size']:.1%}",
                    )
                    for category, counts in shown
                ),
            ),
        ]
        if len(self.categories) > _SHOWN:
            lines.append(f"{len(self.categories) - _SHOWN:,} more categories are less noisy.")
        if self.left_out:
            why = "not there, no images by their names, or without a label"
            lines.append(f"{self.left_out:,} files were left out: {why}.")
        clean = "".join(f" --{split} {path}" for split, path in self.clean.items())
        lines += [f"The truth: {self.truth}", f"Next: curriculumnet ingest {self.crawl}{clean}"]
        return lines


def inject(
    source: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    closed: float = 0.0,
    confuse: Sequence[str] = (),
    outside: str | os.PathLike[str] | None = None,
    outside_share: float | None = None,
    copy: bool = False,
    label_column: str = "label",
    file_column: str = "file_name",
    seed: int = 0,
    quiet: bool = False,
) -> Injection:
    """Make a noisy copy of a clean set, with the truth beside it, for experiments.

    ::

        COPY/crawl/<label>/<name>    links to the source's pictures, in folders of the labels that they are given
        COPY/truth.csv               file_name, label, true_label, kind, copy, copy_of: a row per picture of the crawl
        COPY/val/  COPY/test/        what the source itself sets apart for these, clean

    All shares are of the right pictures of a category. Numbers are exact: in each category the share rounded up or
    down, over all categories the rounded share of all (largest remainders). The total stays as it is, as do the sizes
    of the categories under ``--outside``; otherwise a category loses some pictures and gains others.

    Which pictures change follows from the seed and their names, whatever their order. A larger share changes what a
    smaller one changed as well, but for at most one picture of a category, where rounding takes it.

    Parameters
    ----------
    source : path-like
        A clean set: a folder, .tar, list or table, as of ingest.
    output : path-like
        The folder of the copy, new or empty.
    closed : float
        Share of each category that is given any other label. Symmetric noise: each other label equally often, never the
        right one, as the transition from right to given label in Zhang & Sabuncu 2018 (arXiv:1805.07836).
    confuse : sequence of str
        "cat:dog=0.3" labels 0.3 of the cats dog; or a .csv of such. Asymmetric noise, as in Patrini et al. 2017
        (arXiv:1609.03683). The table has the columns label, confused_with and share: cat, dog, 0.3.
    outside : path-like, optional
        A source of other pictures that replace some of the set's. Its labels, or the name of a source without them,
        become the true label ``outside:<label>``. Sizes stay as they are, as in Jiang et al. 2020 (arXiv:1911.09781),
        where pictures from the web replace some of a clean set. Each picture is taken once.
    outside_share : float, optional
        Share of each category that these replace.
    copy : bool
        Copy the pictures instead of linking to them. Pictures in a tar always are, and all where links are not
        possible.
    label_column : str
        The column of a table that holds the label.
    file_column : str
        The column of a table that holds the file's name.
    seed : int
        Decides which pictures change.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Injection
        How many pictures of which kind each category has; `.table()` is the truth.

    Raises
    ------
    UsageError, UnknownNameError
        A share cannot be, a category is unknown, or the folder of the copy is not empty or lies inside a source.
    SourceError, InputError
        A source is missing or unusable, or has too few pictures from outside; a table of pairs cannot be read.
    MachineError
        The copy cannot be written.

    Examples
    --------
    curriculumnet inject clean/ -o noisy --closed 0.2 --confuse cat:dog=0.3 --outside other/ --outside-share 0.1
    """
    from curriculumnet.noising import pictures
    from curriculumnet.sources.kinds import read_source, source_name
    from curriculumnet.sources.layout import Columns

    _check_settings(closed, outside, outside_share, seed)
    pairs = [confuse] if isinstance(confuse, str) else list(confuse)
    columns = Columns(label=label_column, file=file_column)
    sources = [read_source(given, columns=columns, unpack=_refuse) for given in (source, outside) if given is not None]
    path = _checked(output, sources)
    for read in sources:
        for note in read.listing.notes:
            warn(note)
    if not (closed or pairs or outside_share):
        warn("No noise was asked for, and every label stays: --closed, --confuse or --outside makes some wrong.")
    found, left_out = pictures.find(sources[0], 0)
    strangers: list[Picture] = []
    if outside is not None:
        by_split, more = pictures.find(sources[1], 1, source_name(outside))
        strangers = [picture for split in sorted(by_split) for picture in by_split[split]]
        left_out += more
        _check_strange(sources, found["train"], strangers)
    pictures.check_labels({each.label for split in found.values() for each in split}, sources[0].given)
    placed = _noisy(sources, found["train"], strangers, closed, pairs, outside_share or 0.0, seed)
    for label in sorted({each.label for each in found["train"]} - {row.label for row in placed}):
        warn(f"The category {label} keeps no picture: lower the shares, or leave it out of the validation pictures.")
    files, truth = _files(placed, found, strangers)
    settings = {
        "source": sources[0].place,
        "outside": sources[1].place if outside is not None else None,
        "closed": closed,
        "confuse": pairs,
        "outside-share": outside_share,
        "copy": copy,
        "label-column": label_column,
        "file-column": file_column,
        "seed": seed,
    }
    _write(WorkFolder(path), sources, files, truth, settings, quiet)
    return _result(path, placed, [split for split in ("val", "test") if found.get(split)], left_out)


# -- before anything is written ---------------------------------------------------------------------------------------


def _check_settings(
    closed: float, outside: str | os.PathLike[str] | None, outside_share: float | None, seed: int
) -> None:
    for flag, share in (("closed", closed), ("outside-share", outside_share)):
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"--{flag} is {share:g}: it must be a number from 0 to 1, such as 0.2.")
    if seed < 0:
        raise UsageError(f"--seed is {seed}: it must be 0 or more.")
    if outside is not None and outside_share is None:
        raise UsageError("--outside names pictures, but not how many: say so with --outside-share, such as 0.1.")
    if outside is None and outside_share:
        raise UsageError(f"--outside-share is {outside_share:g}, but no pictures were given: name some with --outside.")


def _refuse(packed: Packed) -> str:
    from curriculumnet.images.archives import split_root

    part = split_root(packed.given)[1] or packed.inner
    raise SourceError(
        f"{packed.given} is {packed.what}, and pictures in it cannot be read in place: `curriculumnet ingest` unpacks "
        f"it into its work folder; give the tar in WORK/unpacked{f', with #{part} behind its name' if part else ''}."
    )


def _checked(output: str | os.PathLike[str], sources: Sequence[Source]) -> Path:
    """Return the folder of the copy if it is new, empty, or a copy that was begun."""
    if not os.fspath(output):
        raise UsageError("-o names no folder: give the name of one.")
    path = Path(output)
    # Of a name that is too long, Path.exists would raise.
    if os.path.exists(path) and not path.is_dir():  # noqa: PTH110
        raise UsageError(f"{path} is a file: give the name of a folder with -o.")
    for source in sources:
        if Path(source.place).is_dir() and path.resolve().is_relative_to(source.place):
            raise UsageError(
                f"The copy {path} would lie inside the pictures' folder {source.given}: give a folder outside it with "
                "-o."
            )
    if os.path.isdir(path) and not (path / _SETTINGS).is_file():  # noqa: PTH112
        others = sorted(each.name for each in path.iterdir() if not _may_be_left(each.name))
        if others:
            raise UsageError(
                f"{path} holds other files ({others[0]}, …): give the name of a new or empty folder with -o."
            )
    return path


def _may_be_left(name: str) -> bool:
    """Say whether a file may be what a call that was killed at its beginning has left."""
    return name in ("lock.json", ".lock") or name.startswith(".writing-")


def _check_strange(sources: Sequence[Source], own: Sequence[Picture], strangers: Sequence[Picture]) -> None:
    """Check that what is to be from outside is."""
    roots = [source.listing.root for source in sources]
    mine = {_place(roots[0], picture) for picture in own}
    shared = next((picture for picture in strangers if _place(roots[1], picture) in mine), None)
    if shared is not None:
        raise UsageError(
            f"{sources[1].given}, given for --outside, holds pictures of {sources[0].given} itself "
            f"({shared.file_name}, …): give other ones."
        )
    labels = {picture.label for picture in own}
    known = sorted(labels & {picture.label for picture in strangers})
    if known:
        raise UsageError(
            f"{sources[1].given}, given for --outside, has categories of {sources[0].given} ({known[0]}, …): leave "
            "them out there, or rename them if they are something else."
        )


def _place(root: str, picture: Picture) -> str:
    return f"{root}/{picture.file_name}".replace("#", "/")


def _noisy(
    sources: Sequence[Source],
    own: Sequence[Picture],
    strangers: Sequence[Picture],
    closed: float,
    confuse: Sequence[str],
    outside_share: float,
    seed: int,
) -> list[Placed]:
    """Return the pictures of the crawl with the labels that they are given."""
    from curriculumnet.noising.chance import digest
    from curriculumnet.noising.confusions import read_confusions
    from curriculumnet.noising.draw import draw
    from curriculumnet.noising.shares import OUTSIDE, check_sums, exact, numbers

    sizes = Counter(picture.label for picture in own)
    if len(sizes) < 2:
        what = f"one category only ({next(iter(sizes))})" if sizes else "no pictures in categories"
        raise SourceError(f"{sources[0].given} has {what}, but a wrong label needs two: give another source.")
    confusions = read_confusions(confuse, sizes.keys())
    shares = exact(closed), confusions, exact(outside_share)
    check_sums(sizes, *shares)
    cells = numbers(sizes, *shares, tie=lambda cell: digest(seed, "tie", cell.category, cell.label))
    wanted = sum(number for cell, number in cells.items() if cell.kind == OUTSIDE)
    if wanted > len(strangers):
        raise SourceError(
            f"--outside-share {outside_share:g} of {len(own):,} pictures needs {wanted:,} from outside, but "
            f"{sources[1].given} has {len(strangers):,}: give more, or a share of at most "
            f"{len(strangers) * 1000 // len(own) / 1000:g}."
        )
    return draw(own, cells, strangers, seed)


# -- the copy ---------------------------------------------------------------------------------------------------------


def _files(
    placed: Sequence[Placed], found: Mapping[str, Sequence[Picture]], strangers: Sequence[Picture]
) -> tuple[dict[str, Picture], bytes]:
    """Return the picture of each file of the copy, and the bytes of truth.csv."""
    from curriculumnet.miniature import TRUTH_COLUMNS
    from curriculumnet.noising.pictures import names_in_copy

    names = names_in_copy([*found["train"], *strangers])
    crawl = {f"crawl/{row.label}/{names[row.picture]}": row for row in placed}
    files = {name: row.picture for name, row in crawl.items()}
    for split in ("val", "test"):
        clean = names_in_copy(found.get(split, ()))
        files |= {f"{split}/{picture.label}/{name}": picture for picture, name in clean.items()}
    rows = ((name, row.label, row.true_label, row.kind, "", "") for name, row in sorted(crawl.items()))
    return files, b"".join(map(csv_line, (TRUTH_COLUMNS, *rows)))


def _write(
    folder: WorkFolder,
    sources: Sequence[Source],
    files: Mapping[str, Picture],
    truth: bytes,
    settings: dict[str, Any],
    quiet: bool,
) -> None:
    """Make what is not there yet, the truth last."""
    make_folder(folder.path)
    made = json.loads(json.dumps({"settings": settings}))
    with folder.lock(lambda message: say(message, quiet=quiet)):
        linked = not settings["copy"] and not _copied_before(folder)
        made |= {"linked": linked, "digest": _digest(sources, files, truth, linked)}
        _check_same(folder, made)
        left = {name: picture for name, picture in files.items() if not os.path.lexists(folder.path / name)}
        if not left and folder.file(TRUTH).is_file() and folder.file(TRUTH).read_bytes() == truth:
            say(f"{folder.path}: the copy is made and up to date; nothing to do.", quiet=quiet)
            return
        if len(left) < len(files):
            say(f"{len(files) - len(left):,} pictures are there; {len(left):,} are to come.", quiet=quiet)
        folder.write_json(_SETTINGS, made)
        _make_folders(folder, {name.rpartition("/")[0] for name in files})
        with Progress("making the copy", len(files), "pictures", done=len(files) - len(left), quiet=quiet) as progress:
            if linked:
                left, refused = _link(folder, sources, left, progress)
                if refused:
                    copied = {"linked": False, "digest": _digest(sources, files, truth, linked=False)}
                    folder.write_json(_SETTINGS, made | copied)
            _copy(folder, sources, left, progress)
        folder.write_bytes(TRUTH, truth)


def _copied_before(folder: WorkFolder) -> bool:
    """Say whether the copy that was begun in the folder holds no links, since none could be made."""
    try:
        return json.loads(folder.file(_SETTINGS).read_text(encoding="utf-8"))["linked"] is False
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _digest(sources: Sequence[Source], files: Mapping[str, Picture], truth: bytes, linked: bool) -> str:
    """Return what changes when other pictures are to be in the copy; a link shows what its picture has become."""
    from curriculumnet.images.stored import UNTOLD

    digest = hashlib.blake2b(truth, digest_size=16)
    for name, picture in sorted(files.items()):
        digest.update(f"{name}\0{picture.source}\0{picture.file_name}".encode())
        source = sources[picture.source]
        if not (linked and _own_file(source, picture).is_file()):
            stamp = source.files.stamp(picture.file_name)
            changed = source.files.version() if stamp.modified == UNTOLD else stamp.modified
            digest.update(f"\0{stamp.size}\0{changed}".encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _own_file(source: Source, picture: Picture) -> Path:
    """Return where a picture lies if it is a file of its own."""
    return Path(source.listing.root, picture.file_name)


def _check_same(folder: WorkFolder, made: dict[str, Any]) -> None:
    """Check that what was begun in the folder is this copy."""
    path = folder.file(_SETTINGS)
    if not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in made["settings"] if before["settings"].get(name) != made["settings"][name]]
        same = before["digest"] == made["digest"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not readable: give the name of a new folder with -o.") from error
    if differing:
        told = "; ".join(
            f"{name if name == 'source' else f'--{name}'} was {_said(before['settings'].get(name))}, now "
            f"{_said(made['settings'][name])}"
            for name in differing
        )
        raise UsageError(
            f"{folder.path} holds a copy that was made otherwise ({told}): give another folder with -o, or delete this "
            "one."
        )
    if not same:
        raise UsageError(
            f"{folder.path} holds a copy that was made before a source, or a table of --confuse, changed: give another "
            "folder with -o, or delete this one."
        )


def _said(value: Any) -> str:
    """Return a setting as a person says it."""
    if isinstance(value, bool):
        return "given" if value else "not given"
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else "none" if value is None else str(value)


def _make_folders(folder: WorkFolder, names: set[str]) -> None:
    """Make the folders of the categories, each of which must be one of its own."""
    with writing(folder.path):
        made: dict[tuple[int, int], str] = {}
        for name in sorted(names):
            path = folder.file(name)
            path.mkdir(parents=True, exist_ok=True)
            found = path.stat()
            twin = made.setdefault((found.st_dev, found.st_ino), name)
            if twin != name:
                raise SourceError(
                    f"The categories {Path(twin).name!r} and {Path(name).name!r} are the same folder on this disk: "
                    "rename one in the source."
                )


def _link(
    folder: WorkFolder, sources: Sequence[Source], files: Mapping[str, Picture], progress: Progress
) -> tuple[dict[str, Picture], bool]:
    """Link to the pictures; return those to which there can be no link, and whether none can be made here."""
    left = dict(files)
    for name, picture in files.items():
        target = _own_file(sources[picture.source], picture)
        if not target.is_file():
            continue
        try:
            folder.file(name).symlink_to(target)
        except (OSError, NotImplementedError) as error:
            warn(f"Links cannot be made in {folder.path} ({error}): the pictures are copied.")
            return left, True
        del left[name]
        progress.advance()
    return left, False


def _copy(folder: WorkFolder, sources: Sequence[Source], files: Mapping[str, Picture], progress: Progress) -> None:
    """Copy pictures, several at once: most of the time the disk is waited for."""

    def copy(name: str) -> None:
        picture = files[name]
        source = sources[picture.source]
        try:
            data = source.files.read(picture.file_name)
        except OSError as error:
            raise SourceError(
                f"{picture.file_name} of {source.given} cannot be copied ({error.strerror}): allow it, or take it out."
            ) from error
        folder.write_bytes(name, data)

    names = list(files)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(names), _BATCH):
            for _ in pool.map(copy, names[start : start + _BATCH]):
                progress.advance()


def _result(path: Path, placed: Sequence[Placed], clean: Sequence[str], left_out: int) -> Injection:
    from curriculumnet.noising.shares import KINDS

    by_label: dict[str, dict[str, int]] = {}
    for row in placed:
        counts = by_label.setdefault(row.label, {"size": 0, **dict.fromkeys(KINDS, 0)})
        counts["size"] += 1
        counts[row.kind] += 1
    kinds = Counter(row.kind for row in placed)
    return Injection(
        output=path,
        crawl=path / "crawl",
        clean={split: path / split for split in clean},
        truth=path / TRUTH,
        counts={kind: kinds[kind] for kind in KINDS},
        categories=dict(sorted(by_label.items())),
        left_out=left_out,
    )
