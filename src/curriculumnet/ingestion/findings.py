"""What was found in many files, in columns: Python objects for each of a million files would take gigabytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curriculumnet.images.quality import SCORES
from curriculumnet.images.stored import GONE
from curriculumnet.ingestion.scan import Found
from curriculumnet.sources.listing import Listing
from curriculumnet.work import tables

STATES = tuple(tables.STATES)
"""The states; a state's code is its place here."""

_DIGEST = 16
"""Bytes of a digest."""
_NONE = -1
"""What stands for a number that is not known."""


class Texts:
    """Texts of which few are distinct, by their codes 0, 1, … in the order in which they came."""

    def __init__(self, *texts: str) -> None:
        self.known = list(texts)
        self._codes = {text: code for code, text in enumerate(texts)}

    def code(self, text: str) -> int:
        """Return a text's code."""
        code = self._codes.setdefault(text, len(self.known))
        if code == len(self.known):
            self.known.append(text)
        return code

    def column(self, codes: NDArray[np.integer[Any]]) -> pa.Array:
        """Return the texts of many codes as Arrow strings, null for codes below 0."""
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0), pa.array(self.known, pa.string())
        ).dictionary_decode()


class Findings:
    """What was found in each of n files; at first nothing, and all are used.

    Parameters
    ----------
    n : int
        How many there are.

    Attributes
    ----------
    state : ndarray of uint8, shape (n,)
        Codes of `STATES`.
    reason, format : ndarray of int32, shape (n,)
        Codes of `reasons` and `formats`; a reason of 0 is none, a format of -1 is not known.
    reasons, formats : Texts
    width, height : ndarray of int32, shape (n,)
        In pixels; -1 where not known.
    bytes : ndarray of int64, shape (n,)
        The file's size; -1 where not known.
    read, decoded : ndarray of bool, shape (n,)
        Whether there is a digest of its bytes; whether there are a digest of its pixels, hashes and scores.
    digest, pixel_digest : ndarray of uint8, shape (n, 16)
    hashes : ndarray of uint64, shape (n, 2)
        As `images.duplicates.perceptual_hashes` gives them.
    scores : ndarray of float32, shape (n, 6)
        In the order of `images.quality.SCORES`.
    """

    def __init__(self, n: int) -> None:
        self.state = np.full(n, STATES.index("used"), dtype=np.uint8)
        self.reason = np.zeros(n, dtype=np.int32)
        self.format = np.full(n, _NONE, dtype=np.int32)
        self.reasons, self.formats = Texts(""), Texts()
        self.width, self.height = np.full(n, _NONE, dtype=np.int32), np.full(n, _NONE, dtype=np.int32)
        self.bytes = np.full(n, _NONE, dtype=np.int64)
        self.read, self.decoded = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        self.digest = np.zeros((n, _DIGEST), dtype=np.uint8)
        self.pixel_digest = np.zeros((n, _DIGEST), dtype=np.uint8)
        self.hashes = np.zeros((n, 2), dtype=np.uint64)
        self.scores = np.full((n, len(SCORES)), np.nan, dtype=np.float32)

    def __len__(self) -> int:
        """Return how many files there are."""
        return len(self.state)

    def put(self, rows: NDArray[np.int64], found: Sequence[Found]) -> None:
        """Write down what was found in some files, at least one."""
        self.state[rows] = [STATES.index(each.state) for each in found]
        self.reason[rows] = [self.reasons.code(each.reason) for each in found]
        self.format[rows] = [_NONE if each.format is None else self.formats.code(each.format) for each in found]
        for column, values in (
            (self.width, [each.width for each in found]),
            (self.height, [each.height for each in found]),
            (self.bytes, [each.bytes for each in found]),
        ):
            column[rows] = [_NONE if value is None else value for value in values]
        self.read[rows] = [each.digest is not None for each in found]
        self.decoded[rows] = [each.pixel_digest is not None for each in found]
        self.digest[rows] = _from_hex(each.digest for each in found)
        self.pixel_digest[rows] = _from_hex(each.pixel_digest for each in found)
        self.hashes[rows] = [(each.phash or 0, each.phash_centre or 0) for each in found]
        self.scores[rows] = np.array([[getattr(each, name) for name in SCORES] for each in found], dtype=np.float32)

    def put_known(self, rows: NDArray[np.int64], images: pa.Table) -> None:
        """Write down what an earlier reading found in some files.

        Parameters
        ----------
        rows : ndarray of int64, shape (m,)
        images : pyarrow.Table
            Their m rows of the table of images then.
        """
        states, reasons, formats = (images[name].to_pylist() for name in ("state", "reason", "format"))
        # It became a copy, a leak, … by what it was beside.
        itself = [state if state in ("broken", "refused") else "used" for state in states]
        self.state[rows] = [STATES.index(state) for state in itself]
        self.reason[rows] = [
            0 if state == "used" else self.reasons.code(why) for state, why in zip(itself, reasons, strict=True)
        ]
        self.format[rows] = [_NONE if name is None else self.formats.code(name) for name in formats]
        for name in ("width", "height", "bytes"):
            getattr(self, name)[rows] = images[name].fill_null(_NONE).to_numpy()
        self.read[rows] = images["digest"].is_valid().to_numpy()
        self.decoded[rows] = images["pixel_digest"].is_valid().to_numpy()
        self.digest[rows] = _from_hex(images["digest"].to_pylist())
        self.pixel_digest[rows] = _from_hex(images["pixel_digest"].to_pylist())
        for column, name in enumerate(("phash", "phash_centre")):
            self.hashes[rows, column] = images[name].fill_null(0).to_numpy()
        for column, name in enumerate(SCORES):
            self.scores[rows, column] = images[name].to_numpy()

    def columns(self, rows: slice | NDArray[np.int64]) -> dict[str, pa.Array]:
        """Return the columns of the table of images that say what was found, for some rows."""
        read, decoded = self.read[rows], self.decoded[rows]
        known = {name: getattr(self, name)[rows] for name in ("width", "height", "bytes")}
        return {
            **{name: pa.array(values, mask=values < 0) for name, values in known.items()},
            "format": self.formats.column(self.format[rows]),
            "digest": _as_hex(self.digest[rows], read),
            "pixel_digest": _as_hex(self.pixel_digest[rows], decoded),
            "phash": pa.array(np.ascontiguousarray(self.hashes[rows, 0]), mask=~decoded),
            "phash_centre": pa.array(np.ascontiguousarray(self.hashes[rows, 1]), mask=~decoded),
            **{
                name: pa.array(np.ascontiguousarray(self.scores[rows, column]), mask=~decoded)
                for column, name in enumerate(SCORES)
            },
        }


class Known(NamedTuple):
    """What an earlier reading found in n files.

    Attributes
    ----------
    images : pyarrow.Table
        The table of images.
    modified : ndarray of int64, shape (n,)
        When each file had been changed, in ns since 1970; UNTOLD where nothing told.
    roots : dict of str to str
        The root of each source then.
    """

    images: pa.Table
    modified: NDArray[np.int64]
    roots: dict[str, str]

    def same(self, listing: Listing, stamps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places in a listing of files that have the time and the size that they had, and their rows then.

        What was missing or broken is looked at again: rights, memory and what can be decoded differ from day to day.
        """
        keys = pa.array([key for key, place in self.roots.items() if place == listing.root], pa.string())
        here = (self.modified >= 0) & pc.is_in(self.images["source"], keys).to_numpy()
        here &= ~pc.is_in(self.images["state"], pa.array(["missing", "broken"])).to_numpy()
        then = np.flatnonzero(here)
        names = self.images["file_name"].take(then).combine_chunks()
        found = pc.index_in(listing.file_names, value_set=names)
        places = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
        rows = then[found.drop_null().to_numpy()]
        sizes = self.images["bytes"].fill_null(GONE).to_numpy()[rows]
        equal = (stamps[places, 1] == self.modified[rows]) & (stamps[places, 0] == sizes)
        return places[equal], rows[equal]


def _from_hex(digests: Iterable[str | None]) -> NDArray[np.uint8]:
    """Return digests as bytes; zeros where there is none."""
    text = "".join("0" * 2 * _DIGEST if digest is None else digest for digest in digests)
    return np.frombuffer(bytes.fromhex(text), dtype=np.uint8).reshape(-1, _DIGEST)


def _as_hex(digests: NDArray[np.uint8], known: NDArray[np.bool_]) -> pa.Array:
    """Return digests as hex digits; null where there is none."""
    text = np.frombuffer(digests.tobytes().hex().encode("ascii"), dtype=f"S{2 * _DIGEST}")
    return pa.array(text.astype(str), pa.string(), mask=~known)
