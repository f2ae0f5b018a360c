"""A work folder: its names, whole-file writes, the record of what each step has finished, and its lock.

A file appears whole or not at all, and a step's record is written last; so a step that was killed at any moment is
simply done again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from curriculumnet.errors import MachineError, UnknownNameError, UsageError, WorkFolderBusyError, WorkFolderError
from curriculumnet.version import __version__
from curriculumnet.work import tables

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = "project.json"
IMAGES = "images.parquet"
TRAINING_IMAGES = f"{IMAGES}?training"
"""The part of the table of images that a training depends on: it does not when test pictures are added."""
STARTED = "path"
"""The key of project.json for how the whole path was started last, and whether it has ended."""
COMPARISONS = "comparisons.json"
REPORT = "report.html"
UNPACKED = "unpacked"
"""The folder of tars into which sources were unpacked that cannot be read in place."""
INDEXES = "indexes"
"""The folder of what is known of where the members of tars lie."""
_LOCK = "lock.json"
_GUARD = ".lock"
_TEMPORARY = ".writing-"
_LONGEST_NAME = 100
"""Bytes of a name; with what is put before and behind it, file systems take 255."""

_held: dict[Path, int] = {}
"""How many times this process holds the lock of each work folder: `run` holds it while its steps take it too."""
_WITHIN_PATH = 2


@dataclass(frozen=True)
class Record:
    """What a step has finished.

    Attributes
    ----------
    inputs : dict of str to str
        Digest of each file that it read, by its name in the work folder or the source's key; of what it read of a
        file after a ``?``.
    settings : dict
        The settings that decide its result.
    outputs : dict of str to dict
        Per file written: `digest`, `bytes`, `mtime_ns`.
    figures : dict
        Counts and figures that are worth keeping.
    seconds : float
        How long it took.
    finished : str
        When, ISO 8601, UTC.
    """

    inputs: dict[str, str]
    settings: dict[str, Any]
    outputs: dict[str, dict[str, Any]]
    figures: dict[str, Any]
    seconds: float
    finished: str


class WorkFolder:
    """One work folder.

    Parameters
    ----------
    path : path-like
        Where it lies. Use `create` in the step that begins a work folder, `open` in all others.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> WorkFolder:
        """Make the folder if it is absent, or take the one that is there.

        Raises
        ------
        WorkFolderError
            Something is there that is no work folder.
        """
        if not os.fspath(path):
            raise UsageError("-o names no folder: give the name of one.")
        folder = cls(path)
        folder.check_free()
        make_folder(folder.path)
        return folder

    def check_free(self) -> None:
        """Check that there is nothing, or a work folder.

        Raises
        ------
        WorkFolderError
            Something else is there.
        """
        nearest = next((place for place in (self.path, *self.path.parents) if place.exists()), self.path)
        if nearest.exists() and not nearest.is_dir():
            raise WorkFolderError(f"{nearest} is a file: give the name of a folder with -o.")
        if self.path.is_dir() and not self.file(PROJECT).exists():
            strangers = sorted(p.name for p in self.path.iterdir() if not _left_by_us(p.name))
            if strangers:
                raise WorkFolderError(
                    f"{self.path} holds other files ({strangers[0]}, …) and is no work folder: "
                    "give the name of a new folder with -o."
                )

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> WorkFolder:
        """Take the work folder that is there.

        Raises
        ------
        WorkFolderError
            There is none.
        """
        folder = cls(path)
        if not folder.file(PROJECT).is_file():
            if any(folder.file(name).exists() for name in (tables.READ, UNPACKED)):
                raise WorkFolderError(
                    f"{folder.path} is a work folder whose images are not all read yet: start the same `curriculumnet "
                    "ingest` or `run` again, with the same source and -o."
                )
            what = "has no project.json" if folder.path.is_dir() else "is not there"
            if folder.path.is_file():
                what = "is a file"
            # A folder may be called by a name that it has not: `.` or `..`
            named = folder.path if folder.path.name.strip(".") else folder.path.resolve()
            name = named.name or "crawl"
            beside = (folder.path / "work", named.parent / f"{name}-work")
            meant = next((place for place in beside if (place / PROJECT).is_file()), None)
            new = folder.path if what == "is not there" else Path(f"{name}-work")
            mend = f"`curriculumnet ingest SOURCE -o {new}` makes one" if meant is None else f"perhaps {meant} is meant"
            raise WorkFolderError(f"{folder.path} is no work folder (it {what}): {mend}.")
        return folder

    def file(self, name: str) -> Path:
        """Return the path of a file by its name in the work folder, written with `/`; a part is where its file is."""
        return self.path.joinpath(*name.partition("?")[0].split("/"))

    # -- project.json -------------------------------------------------------------------------------------------

    @property
    def project(self) -> dict[str, Any]:
        """project.json as it is now: `sources`, `versions`, `categories`, `account`, `steps`, `path`."""
        path = self.file(PROJECT)
        if not path.exists():
            return {"sources": {}, "categories": [], "account": {}, "versions": {}, "steps": {}}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise WorkFolderError(f"{path} is not readable as JSON ({error}): restore it, or begin anew.") from error
        return dict(found)

    def update_project(self, **values: Any) -> None:
        """Replace top-level values of project.json."""
        self.write_json(PROJECT, self.project | values)

    @property
    def categories(self) -> list[str]:
        """The categories in code-point order; the order of every probability and class index."""
        return list(self.project["categories"])

    # -- records ------------------------------------------------------------------------------------------------

    def record(self, step: str) -> Record | None:
        """Return the record of a step, such as ``ingest`` or ``train:model-d``; None when it has not finished."""
        found = self.project["steps"].get(step)
        return Record(**found) if found else None

    def names(self, kind: str) -> list[str]:
        """Return the names that steps of one kind have finished, oldest first: ``names("train")`` are the runs."""
        steps = self.project["steps"]
        found = [step.split(":", 1)[1] for step in steps if step.startswith(f"{kind}:")]
        return sorted(found, key=lambda name: steps[f"{kind}:{name}"]["finished"])

    def find(self, kind: str, name: str | None, what: str, hint: str) -> str:
        """Return `name` if such a step has finished, or the newest when it is None.

        Parameters
        ----------
        kind : str
            The step: ``embed``, ``design``, ``train``.
        what : str
            The field's word for its result: ``features``, ``curriculum``, ``run``.
        hint : str
            What to type when there is none.

        Raises
        ------
        WorkFolderError, UnknownNameError
        """
        known = self.names(kind)
        if not known:
            raise WorkFolderError(
                f"{self.path} has no {what} yet: {hint} `curriculumnet status {self.path}` says what comes first."
            )
        if name is None:
            return known[-1]
        if name not in known:
            raise UnknownNameError(what, name, known)
        return name

    def finished(self, step: str, inputs: dict[str, str], settings: dict[str, Any]) -> Record | None:
        """Return the step's record if it has finished with the same inputs and settings and its files are there."""
        record = self.record(step)
        if record is None or record.inputs != inputs or record.settings != _plain(settings):
            return None
        for name, known in record.outputs.items():
            if not self.file(name).is_file() or self.digest(name) != known["digest"]:
                return None
        return record

    def stamp(
        self,
        step: str,
        inputs: dict[str, str],
        settings: dict[str, Any],
        outputs: Sequence[str],
        seconds: float,
        figures: dict[str, Any] | None = None,
        **values: Any,
    ) -> Record:
        """Write the record of a finished step, and top-level values of project.json with it; the last thing it does."""
        record = {
            "inputs": inputs,
            "settings": _plain(settings),
            "outputs": {name: _stat(self.file(name)) | {"digest": file_digest(self.file(name))} for name in outputs},
            "figures": _plain(figures or {}),
            "seconds": round(seconds, 3),
            "finished": datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        project = self.project
        project["steps"][step] = record
        if _held.get(self.path.resolve(), 0) < _WITHIN_PATH and not project.get(STARTED, {"ended": True})["ended"]:
            # Whoever goes on by single steps has left the path that was begun.
            del project[STARTED]
        project["versions"] = versions()
        self.write_json(PROJECT, project | values)
        return Record(**record)  # type: ignore[arg-type]

    def digest(self, name: str) -> str:
        """Return the BLAKE2b-128 digest of a file, from its record where size and time show it unchanged.

        Of a part, such as `TRAINING_IMAGES` or `subsets_of` a curriculum, it is that of the values.
        """
        path = self.file(name)
        if part := name.partition("?")[2]:
            stat = path.stat()
            return _part_digest(path, part, stat.st_size, stat.st_mtime_ns)
        for record in self.project["steps"].values():
            known = record["outputs"].get(name)
            if known and path.is_file() and _stat(path) == {k: known[k] for k in ("bytes", "mtime_ns")}:
                return str(known["digest"])
        return file_digest(path)

    def digests(self, *names: str) -> dict[str, str]:
        """Return the digests of several files, as a step's `inputs`."""
        return {name: self.digest(name) for name in names}

    # -- writing ------------------------------------------------------------------------------------------------

    def write_with(self, name: str, write: Callable[[IO[bytes]], None]) -> Path:
        """Replace a file whole: `write` fills a temporary file, which then takes the name.

        Raises
        ------
        MachineError
            The disk is full or does not let us write.
        """
        path = self.file(name)
        temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
        try:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Replace a file whole by these bytes."""
        return self.write_with(name, lambda file: _write_bytes(file, data))

    def write_json(self, name: str, value: Any) -> Path:
        """Replace a JSON file whole."""
        return self.write_bytes(name, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))

    def write_table(self, name: str, table: pa.Table) -> Path:
        """Replace a Parquet table whole."""
        return self.write_parts(name, [table])

    def write_parts(self, name: str, parts: Iterable[pa.Table]) -> Path:
        """Replace a Parquet table whole by its parts, at least one, one after the other."""
        import pyarrow.parquet as pq

        def write(file: IO[bytes]) -> None:
            rest = iter(parts)
            first = next(rest)
            with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
                for part in itertools.chain([first], rest):
                    writer.write_table(part)

        return self.write_with(name, write)

    # -- lock ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def lock(self, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Be the only writer while the block runs; a process that holds the lock already may take it again.

        The operating system frees the lock of a process that died; its name is then taken over, and `say` told.

        Raises
        ------
        WorkFolderBusyError
            Another process writes there, or a process of another host left its name.
        """
        from filelock import FileLock, Timeout

        key = self.path.resolve()
        if key in _held:
            _held[key] += 1
            try:
                yield
            finally:
                _held[key] -= 1
            return
        guard = FileLock(self.file(_GUARD))
        try:
            with writing(self.path):
                guard.acquire(timeout=0)
        except Timeout:
            raise WorkFolderBusyError(
                f"{self.path} is in use by {self._holder()}: wait until it has ended, or work in another folder."
            ) from None
        try:
            self._take_over(say)
            me = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat()}
            self.write_json(_LOCK, me)
            _held[key] = 1
            yield
        finally:
            if _held.pop(key, None):
                self.file(_LOCK).unlink(missing_ok=True)
            guard.release()

    def at_work(self) -> str:
        """Name the process that writes here now; empty when none does."""
        from filelock import FileLock, Timeout

        if not self.file(_LOCK).exists():
            return ""
        try:
            with FileLock(self.file(_GUARD)).acquire(timeout=0):
                return ""
        except (Timeout, OSError):
            return self._holder()

    def _holder(self) -> str:
        try:
            known = json.loads(self.file(_LOCK).read_text(encoding="utf-8"))
            return f"process {known['pid']} on {known['host']}"
        except (OSError, ValueError, KeyError):
            return "another process"

    def _take_over(self, say: Callable[[str], None] | None) -> None:
        """Deal with the name that a dead process left, and with what it was writing."""
        lock = self.file(_LOCK)
        if lock.exists():
            with contextlib.suppress(OSError, ValueError, KeyError):
                host = json.loads(lock.read_text(encoding="utf-8"))["host"]
                if host != socket.gethostname():
                    raise WorkFolderBusyError(
                        f"{self.path} is in use by {self._holder()}, which this host cannot see: "
                        f"if that process has ended, delete {lock} and start again."
                    )
            if say:
                say(f"{self._holder()} ended without finishing; going on from what it had finished.")
        for left in self.path.rglob(f"{_TEMPORARY}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one sentence.

    Raises
    ------
    MachineError
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"The disk is full: {path} could not be written. Free some space and start the same command again; "
                "what had finished is kept."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MachineError(
                f"{path} may not be written ({error.strerror}): choose another folder with -o."
            ) from error
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR):
            raise MachineError(f"{path} cannot be made ({error.strerror}): choose another folder with -o.") from error
        raise


def make_folder(path: Path) -> None:
    """Make the folder that is to be written to, unless it is there.

    Raises
    ------
    MachineError
        It cannot be made.
    """
    try:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"{path} cannot be made ({error.strerror}): choose another folder with -o.") from error


def _left_by_us(name: str) -> bool:
    """Say whether a file may be what a first step left that was killed, or what a desktop leaves anywhere."""
    return name in (
        _LOCK,
        _GUARD,
        IMAGES,
        tables.MODIFIED.file,
        tables.READ,
        UNPACKED,
        INDEXES,
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
    ) or name.startswith(_TEMPORARY)


def checked_name(name: str, what: str) -> str:
    """Return the name of a run, features or a curriculum, once it is sure that it can name a file on any system.

    Raises
    ------
    UsageError
        It cannot.
    """
    if (
        not 0 < len(name.encode("utf-8", "surrogateescape")) <= _LONGEST_NAME
        or not name.isprintable()
        or set(name) & set('/\\:*?"<>|')
        or name.startswith(".")
        or name.endswith((".", " "))
    ):
        raise UsageError(f"{name!r} cannot name {what}: take a short name of letters, digits, - and _.")
    return name


def subsets_of(curriculum: str) -> str:
    """Return the name of the part of a curriculum's table that a training follows."""
    return f"curricula/{curriculum}.parquet?subsets"


def _training_values(path: Path) -> dict[str, list[Any]]:
    import pyarrow.compute as pc

    images = tables.read(path, ["image_id", "source", "file_name", "label", "split", "digest", "state"])
    used = images.filter(pc.and_(pc.equal(images["state"], "used"), pc.not_equal(images["split"], "test")))
    return dict(used.to_pydict())


def _subsets_values(path: Path) -> dict[str, list[Any]]:
    found = tables.read(path, ["image_id", "subset"])
    return found.to_pydict() | {"n_subsets": [json.loads(found.schema.metadata[b"settings"])["n_subsets"]]}


_PARTS = {"training": _training_values, "subsets": _subsets_values}


@lru_cache(maxsize=64)
def _part_digest(path: Path, part: str, size: int, mtime_ns: int) -> str:
    """Return the digest of a part's values; the file's size and time tell its states apart."""
    del size, mtime_ns
    digest = hashlib.blake2b(digest_size=16)
    for name, values in _PARTS[part](path).items():
        digest.update("\0".join([name, *map(str, values)]).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    """Return the BLAKE2b-128 digest of a file's bytes as 32 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of curriculumnet, Python and what the results depend on."""
    found = {"curriculumnet": __version__, "python": platform.python_version()}
    for name in ("torch", "torchvision", "timm", "numpy", "pyarrow", "Pillow"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._start


def _stat(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"bytes": found.st_size, "mtime_ns": found.st_mtime_ns}


def _write_bytes(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON gives them back, so that they compare equal to those of a record."""
    return dict(json.loads(json.dumps(value)))
