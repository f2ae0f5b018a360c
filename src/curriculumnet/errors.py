"""The family of errors, each with its exit code.

::

    CurriculumNetError
    ├── UsageError              2   the command was used wrongly
    │   ├── UnknownNameError        a name that is not one of a known few; the nearest are given
    │   ├── WorkFolderError         not a work folder, or one of another source, or a step is missing
    │   └── WorkFolderBusyError     another process is writing there
    ├── InputError              3   what was given is missing, empty or unusable
    │   ├── SourceError             a source of images
    │   ├── FeaturesError           a matrix of features
    │   └── WeightsError            pretrained weights that are not on this machine
    └── MachineError            4   the disk is full, memory is out, a device is absent

Every message is one sentence or two: what is wrong, where, and how to mend it. Anything else that is raised is our
fault: exit code 1. Ctrl-C is 130, SIGTERM 143.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class CurriculumNetError(Exception):
    """The root of the family; never raised itself."""

    exit_code: ClassVar[int] = 1


class UsageError(CurriculumNetError):
    """The command was used wrongly."""

    exit_code: ClassVar[int] = 2


class UnknownNameError(UsageError):
    """A name that is not one of a known few.

    Parameters
    ----------
    kind : str
        What the name should have named, such as ``"recipe"``.
    name : str
        The name that was given.
    known : iterable of str
        The names that exist. Up to eight are listed; of more, only the nearest.
    hint : str
        A sentence that ends the message: what to type next.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=5, cutoff=0.5)
        if len(names) <= 8:
            allowed = f"it must be one of {', '.join(names)}" if names else f"there is no {kind} yet"
        elif near:
            allowed = f"the nearest {'name is' if len(near) == 1 else 'names are'} {', '.join(near)}"
        else:
            allowed = f"none of the {len(names)} known names is near it"
        message = f"There is no {kind} {name!r}: {allowed}."
        super().__init__(f"{message} {hint}".strip())
        self._given = (kind, name, names, hint)

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str], str]]:
        # An error crosses from a worker process by what it was made of, not by its message.
        return UnknownNameError, self._given


class WorkFolderError(UsageError):
    """Not a work folder, a work folder of another source, or one in which an earlier step is missing."""


class WorkFolderBusyError(UsageError):
    """Another process is writing in the work folder."""


class InputError(CurriculumNetError):
    """What was given is missing, empty or unusable."""

    exit_code: ClassVar[int] = 3


class SourceError(InputError):
    """A source of images is missing, empty or unusable."""


class FeaturesError(InputError):
    """A matrix of features does not fit the images."""


class WeightsError(InputError):
    """Pretrained weights that are not on this machine and cannot be had."""


class MachineError(CurriculumNetError):
    """The disk is full, memory is out, or a device is absent."""

    exit_code: ClassVar[int] = 4
