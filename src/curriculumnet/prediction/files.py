"""The files that a person asks about: found, read and shown to a network's view, each with what went wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from curriculumnet.errors import SourceError
from curriculumnet.images.archives import holder_of, is_url, may_be_image, open_bytes, split_root
from curriculumnet.images.decode import TooLarge, Unreadable
from curriculumnet.images.folder import Folder
from curriculumnet.images.loader import in_workers
from curriculumnet.images.stored import Bytes
from curriculumnet.images.tar import open_tar
from curriculumnet.images.views import View

if TYPE_CHECKING:
    from numpy.typing import NDArray


_LABEL = ".cls"


@dataclass(frozen=True)
class Asked:
    """A file that is asked about.

    Attributes
    ----------
    shown : str
        Its name as the person would type it; inside a tar ``x.tar#name``.
    place : Bytes
        Where it lies.
    name : str
        Its name there.
    """

    shown: str
    place: Bytes
    name: str


@dataclass(frozen=True)
class Trouble:
    """Why a file cannot be answered: a state (`work.tables.STATES`) and a reason."""

    state: str
    reason: str


def find(files: Sequence[str]) -> list[Asked]:
    """Find the files that are asked about, in the order in which they were given.

    Parameters
    ----------
    files : sequence of str
        Files, which need not be there; folders and uncompressed tars, of which all files are taken that could be
        pictures by their names, as `ingest` takes them.

    Raises
    ------
    SourceError
        A folder or tar holds no such file or cannot be read.
    """
    asked: list[Asked] = []
    for given in files:
        path, inner = split_root(given)
        if is_url(path) or _holds_files(Path(path)):
            asked += _inside(given, path, inner)
        else:
            asked.append(Asked(_printable(given), Folder(os.fspath(Path(path).parent)), Path(path).name))
    return asked


def load(
    asked: Sequence[Asked], view: View, *, batch_size: int, workers: int
) -> Iterator[tuple[NDArray[np.uint8] | None, list[Trouble | None]]]:
    """Read files and show them to a view, a batch at a time, in their order.

    Parameters
    ----------
    asked : sequence of Asked
        The files.
    view : View
        What is shown of each picture.
    batch_size : int
        Files at a time.
    workers : int
        Worker processes; none are started for a single batch.

    Yields
    ------
    views : ndarray of uint8, shape (k, 3, S, S), or None
        Of the k files of the batch that could be read.
    troubles : list of (Trouble or None)
        One for each file of the batch; None where it could be read.
    """
    batches = _Batches(asked, view, batch_size)
    for views, troubles in in_workers(batches, 0 if len(batches) == 1 else workers):
        yield None if views is None else np.asarray(views), troubles


class _Batches:
    """Batches by number, as torch's DataLoader wants them; picklable."""

    def __init__(self, asked: Sequence[Asked], view: View, size: int) -> None:
        self._asked, self._view, self._size = asked, view, size

    def __len__(self) -> int:
        return -(-len(self._asked) // self._size)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8] | None, list[Trouble | None]]:
        found = [_seen(file, self._view) for file in self._asked[number * self._size : (number + 1) * self._size]]
        views = [item for item in found if not isinstance(item, Trouble)]
        troubles = [item if isinstance(item, Trouble) else None for item in found]
        return (np.concatenate(views) if views else None), troubles


def _seen(file: Asked, view: View) -> NDArray[np.uint8] | Trouble:
    try:
        return view(file.place.read(file.name), 0)
    except (FileNotFoundError, NotADirectoryError):
        return Trouble("missing", "not there")
    except OSError as error:
        return Trouble("broken", f"cannot be read: {(error.strerror or str(error)).lower()}")
    except TooLarge as error:
        return Trouble("refused", f"too large: {error}")
    except Unreadable as error:
        return Trouble("broken", str(error))


def _holds_files(path: Path) -> bool:
    """Say whether a path is a folder or a tar; a name that no file can have is neither."""
    try:
        return path.is_dir() or (path.is_file() and path.suffix.lower() == ".tar")
    except OSError:
        return False


def _inside(given: str, path: str, inner: str) -> list[Asked]:
    holder, name = holder_of(path)
    if inner and name and (tar := open_tar(holder, name)).index.find(inner) is not None:
        return [Asked(_printable(given), tar, inner)]
    if name and not name.lower().endswith(".tar"):
        return [Asked(_printable(given), holder, name)]
    place = open_bytes(given)
    names = _pictures(place.names())
    if not names:
        raise SourceError(f"{given} holds no picture: give pictures, or folders or tars that hold some.")
    inside_tar = f"{path}#{inner}/" if inner else f"{path}#"
    begin = inside_tar if name else given.rstrip("/\\") + "/"
    return [Asked(_printable(begin + name), place, name) for name in names]


def _pictures(names: Sequence[str]) -> list[str]:
    """Return the names that could be pictures; labels of WebDataset beside them could not."""
    found = [name for name in names if may_be_image(name)]
    others = {name.rpartition(".")[0] for name in found if not name.endswith(_LABEL)}
    return [name for name in found if not (name.endswith(_LABEL) and name.removesuffix(_LABEL) in others)]


def _printable(name: str) -> str:
    r"""Return a file's name as valid text: bytes that are none become ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
