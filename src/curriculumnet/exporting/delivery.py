"""The output folder: filled aside, then moved to its place whole, with a list of what is ours in it.

What is written lies in ``.writing`` inside the output folder until all of it is there. Its list, ``export.json``, then
tells what belongs to it: so that a delivery which was interrupted is brought to its end, and an export that another one
replaces is taken away without touching what is not ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from curriculumnet.errors import UsageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

MANIFEST = "export.json"

_ASIDE = ".writing"
_FILES = "files"
_BEGUN = "begun.json"
_FINISHED = "finished.jsonl"
_LOCK = "lock"
_DESKTOPS = (".DS_Store", "Thumbs.db", "desktop.ini")
"""What a desktop leaves in any folder."""

About = dict[str, Any]
"""What tells one export from another: its `inputs`, `settings` and the version that made it."""


class Noted(NamedTuple):
    """By what a file is known to be unchanged without reading it: size and time, or where it leads if it is a link."""

    digest: str
    bytes: int | None = None
    mtime_ns: int | None = None
    link: str | None = None


class Staging:
    """Where files are written before they are delivered; those that were finished before are not written again.

    Parameters
    ----------
    out : Path
        The output folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._files = out / _ASIDE / _FILES
        self._log_path = out / _ASIDE / _FINISHED
        self._before = {
            name: noted for name, noted in _logged(self._log_path) if _is_as_noted(self._files / name, noted)
        }
        # Anew, since the last line may have been cut off by what ended the process.
        temporary = self._log_path.with_name(f"{_FINISHED}.begun")
        with temporary.open("w", encoding="utf-8") as log:
            log.writelines(_log_line(name, noted) for name, noted in self._before.items())
        temporary.replace(self._log_path)
        self._log = self._log_path.open("a", encoding="utf-8")

    def has(self, name: str) -> bool:
        """Say whether a file was finished before the interruption after which this goes on."""
        return name in self._before

    def finished(self) -> Iterator[tuple[str, Noted]]:
        """Give the files that are finished, in the order in which they were."""
        yield from _logged(self._log_path)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to be written from its beginning; it is finished at the end of the block, and on the disk."""
        path = self._path(name)
        with path.open("wb") as file:
            hashing = _Hashing(file)
            yield cast(IO[bytes], hashing)
            file.flush()
            os.fsync(file.fileno())
        self._finish(name, path, hashing.digest.hexdigest())

    def write(self, name: str, data: bytes) -> None:
        """Write a file, if it was not finished before."""
        if self.has(name):
            return
        path = self._path(name)
        # Without fsync, which for a million pictures would take hours: one that a power cut emptied has another size.
        path.write_bytes(data)
        self._finish(name, path, hashlib.blake2b(data, digest_size=16).hexdigest())

    def link(self, name: str, target: str, digest: str) -> bool:
        """Make a link, as it will be right in the output folder; False where there can be none."""
        path = self._path(name)
        try:
            path.symlink_to(target)
        except FileExistsError:
            path.unlink()
            return self.link(name, target, digest)
        except (OSError, NotImplementedError):
            return False
        self._finish(name, path, digest)
        return True

    def make_folder(self, name: str) -> bool:
        """Make a folder; False if the disk takes its name for that of another, such as one in capitals."""
        path = self._path(name)
        try:
            path.mkdir()
        except FileExistsError:
            return path.name in (each.name for each in path.parent.iterdir())
        return True

    def close(self) -> None:
        """Close what is open."""
        self._log.close()

    def _path(self, name: str) -> Path:
        path = self._files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _finish(self, name: str, path: Path, digest: str) -> None:
        self._log.write(_log_line(name, _noted(path, digest)))
        self._log.flush()


class Delivery:
    """An output folder.

    Parameters
    ----------
    out : Path
        Where it lies, or will.

    Raises
    ------
    UsageError
        Something is there that is not ours, or was changed since we wrote it.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._aside = out / _ASIDE
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file: give the name of a folder with -o.")
        self._check_ours()

    @property
    def about(self) -> About | None:
        """What the export that is there is about; None when there is none."""
        return self._manifest(self.out)

    @property
    def interrupted(self) -> bool:
        """Whether something was begun here and not brought to its end."""
        return self._aside.exists()

    def holds(self, about: About) -> bool:
        """Say whether this export is there, whole."""
        found = self.about
        return (
            found is not None
            and not (self._aside / MANIFEST).exists()
            and {key: found.get(key) for key in about} == about
            and all(_is_as_noted(self.out / name, noted) for name, noted in found["files"].items())
        )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one that writes here while the block runs, and leave no empty folders behind.

        Raises
        ------
        UsageError
            Another process writes here.
        """
        guard = self._locked()
        try:
            yield
        finally:
            self._unlock(guard)

    def _locked(self) -> BaseFileLock:
        """Take the lock, whose file the one before takes away with it."""
        from filelock import FileLock, Timeout

        lock = self._aside / _LOCK
        while True:
            guard = FileLock(lock)
            try:
                self._aside.mkdir(parents=True, exist_ok=True)
                # What is open is no other file under the same number: so it is known whether the lock's is still there.
                with lock.open("ab") as known:
                    guard.acquire(timeout=0)
                    if os.path.samestat(os.fstat(known.fileno()), lock.stat()):
                        return guard
            except FileNotFoundError:
                pass
            except Timeout:
                raise UsageError(
                    f"Another process is exporting to {self.out}: wait until it has ended, or give another folder with "
                    "-o."
                ) from None
            guard.release()

    def _unlock(self, guard: BaseFileLock) -> None:
        """Free the lock; where nothing is begun, its file and what are then empty folders go."""
        lock = self._aside / _LOCK
        empty = not [path for path in self._aside.iterdir() if path.name != _LOCK]
        gone = empty and _is_removed(lock)
        guard.release()
        if empty and not gone:
            # Windows keeps a file that is open: ours until now, another's if that has the lock already.
            _is_removed(lock)
        if empty:
            with contextlib.suppress(OSError):
                self._aside.rmdir()
                self.out.rmdir()

    def begin(self, about: About) -> Staging:
        """Return where to write: what an interrupted export of the same kind had finished is there, no other."""
        begun = self._aside / _BEGUN
        try:
            same = json.loads(begun.read_text(encoding="utf-8")) == about
        except (OSError, ValueError):
            same = False
        if not same:
            self.give_up()
            begun.write_text(json.dumps(about), encoding="utf-8")
        return Staging(self.out)

    def give_up(self) -> None:
        """Take away what was begun."""
        for path in self._aside.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def deliver(self, staging: Staging, about: About) -> None:
        """Put an export in its place, instead of one that was there."""
        temporary = self._aside / f"{MANIFEST}.begun"
        with temporary.open("wb") as file:
            # A line for each file as it comes: in memory, those of a million pictures would take a gigabyte.
            file.write(json.dumps(about | {"files": {}}, indent=1, ensure_ascii=False)[: -len("}\n}")].encode("utf-8"))
            for number, (name, noted) in enumerate(staging.finished()):
                line = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(_known(noted), ensure_ascii=False)}"
                file.write(f"{',' if number else ''}\n  {line}".encode())
            file.write(b"\n }\n}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._aside / MANIFEST)
        self.settle()

    def settle(self) -> None:
        """Bring a delivery to its end, if one was begun.

        First what was there goes, and its list last of it; then what is new comes, and its list last. So it is known
        at each moment whether a file is an old or a new one.
        """
        if not (self._aside / MANIFEST).exists():
            return
        before = self._manifest(self.out)
        if before is not None:
            self._take_away(before["files"])
            (self.out / MANIFEST).unlink()
        files = self._aside / _FILES
        for path in sorted(files.iterdir()) if files.is_dir() else ():
            self._put(path, self.out / path.name)
        self._put(self._aside / MANIFEST, self.out / MANIFEST)
        self.give_up()

    def _take_away(self, files: dict[str, Noted]) -> None:
        """Remove files of ours that are as we wrote them, and folders in which nothing is left."""
        for name, noted in files.items():
            path = self.out / name
            if os.path.lexists(path):
                if not path.parent.resolve().is_relative_to(self.out.resolve()):
                    raise UsageError(f"{path} leads out of {self.out}: give another folder with -o.")
                self._check_unchanged(path, noted)
                path.unlink()
        holding = {PurePosixPath(name.rpartition("/")[0]) for name in files}
        folders = holding.union(*(each.parents for each in holding)) - {PurePosixPath()}
        for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
            _remove_if_empty(self.out / folder)

    def _put(self, path: Path, place: Path) -> None:
        """Move a file or folder to its place; one whose place has become another's is not put there."""
        if path.is_dir() and not path.is_symlink() and place.is_dir() and not place.is_symlink():
            for each in sorted(path.iterdir()):
                self._put(each, place / each.name)
        elif os.path.lexists(place):
            raise UsageError(f"{place} came there while it was exported: take it elsewhere, and start again.")
        else:
            path.rename(place)

    def _manifest(self, folder: Path) -> About | None:
        path = folder / MANIFEST
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text(encoding="utf-8"), object_hook=_as_noted)
            files = found["files"].items()
            # An export that somebody else made may name any file of this machine as its own.
            ours = "settings" in found and all(isinstance(noted, Noted) and _is_inside(name) for name, noted in files)
            return dict(found) if ours else None
        except (ValueError, TypeError, LookupError, AttributeError):
            return None

    def _check_ours(self) -> None:
        """Refuse a folder with files that are not ours, or that were changed since."""
        if (self.out / MANIFEST).is_dir():
            raise UsageError(f"{self.out / MANIFEST} is a folder: give the name of a new folder with -o.")
        ours = (self._manifest(self._aside) or {"files": {}})["files"] | (self.about or {"files": {}})["files"]
        for path in _below(self.out):
            name = path.relative_to(self.out).as_posix()
            if name in ours:
                self._check_unchanged(path, ours[name])
            elif name != MANIFEST or self.about is None:
                raise UsageError(f"{self.out} holds other files ({name}, …): give the name of a new folder with -o.")

    @staticmethod
    def _check_unchanged(path: Path, noted: Noted) -> None:
        if not _is_as_noted(path, noted):
            raise UsageError(
                f"{path} was changed since it was exported: take it elsewhere, or give another folder with -o."
            )


class _Hashing(io.RawIOBase):
    """A file to write to, whose digest is known at its end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.blake2b(digest_size=16)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()


def _below(folder: Path) -> Iterator[Path]:
    """Give the files below an output folder, but not what is written aside, nor what desktops leave."""
    for here, folders, files in os.walk(folder):
        if Path(here) == folder and _ASIDE in folders:
            folders.remove(_ASIDE)
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        for name in sorted([*files, *links]):
            if name not in _DESKTOPS:
                yield Path(here) / name


def _is_inside(name: str) -> bool:
    """Say whether a name in a list of files is that of a file below its folder, on every system."""
    parts = name.split("/")
    return "\\" not in name and ":" not in parts[0] and not {"", ".", ".."} & set(parts)


def _is_removed(path: Path) -> bool:
    """Remove a file; say whether that could be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder if it holds nothing, or nothing but what desktops leave."""
    if not folder.is_dir() or folder.is_symlink():
        return
    left = list(folder.iterdir())
    if all(path.name in _DESKTOPS and not path.is_dir() for path in left):
        for path in left:
            path.unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()


def _noted(path: Path, digest: str) -> Noted:
    if path.is_symlink():
        return Noted(digest, link=os.fspath(path.readlink()))
    found = path.stat()
    return Noted(digest, found.st_size, found.st_mtime_ns)


def _known(noted: Noted) -> dict[str, Any]:
    return {key: value for key, value in noted._asdict().items() if value is not None}


def _is_as_noted(path: Path, noted: Noted) -> bool:
    """Say whether a file is what it was; read only where its time is another, as after copying."""
    try:
        now = _noted(path, noted.digest)
    except OSError:
        return False
    if now == noted:
        return True
    if now.bytes is None or now.bytes != noted.bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest() == noted.digest


def _log_line(name: str, noted: Noted) -> str:
    return json.dumps([name, _known(noted)], ensure_ascii=False) + "\n"


def _logged(log: Path) -> Iterator[tuple[str, Noted]]:
    if not log.is_file():
        return
    with log.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                name, known = json.loads(line)
                yield name, Noted(**known)


def _as_noted(found: dict[str, Any]) -> Any:
    """Return what is known of a file, of all objects in a list of files, as it takes the least memory."""
    return Noted(**found) if "digest" in found and found.keys() <= set(Noted._fields) else found
