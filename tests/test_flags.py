"""A command that is written out calls its function with the same arguments again."""

import functools
import os
import shlex
import types
import typing

import pytest

import curriculumnet
from curriculumnet import cli
from curriculumnet.flags import flags, typed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="words are split as a POSIX shell does")


VALUES = {int: (7, 8), float: (0.1 + 0.2, 3.0), str: ("it's a $name", "a b")}


def other_than_default(flag):
    """A value that is allowed and is not the default."""
    kind = next(
        (part for part in typing.get_args(flag.type) if types.NoneType in typing.get_args(flag.type)), flag.type
    )
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, tuple):
        return VALUES[parts[0]]
    if origin is typing.Literal:
        return next(value for value in parts if value != flag.default)
    return not flag.default if kind is bool else VALUES[kind][0]


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_what_is_written_is_what_is_called(command, monkeypatch):
    function = getattr(curriculumnet, command.name)
    called = []

    @functools.wraps(function)
    def noted(**arguments):
        called.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(curriculumnet, command.name, noted)
    arguments = {flag.name: other_than_default(flag) for flag in flags(function)}
    _, name, *words = shlex.split(typed(function, arguments))
    with pytest.raises(SystemExit):
        cli.app([name, *words], prog_name="curriculumnet")
    assert called == [arguments]


def test_defaults_and_what_is_not_given_are_left_out():
    assert typed(curriculumnet.report, {"work": "w", "compare": None, "quiet": False}) == "curriculumnet report w"
    assert typed(curriculumnet.train, {"work": "w", "recipe": "model-a", "crop_scale": [0.35, 1.0]}) == (
        "curriculumnet train w --recipe model-a"
    )


def test_whole_numbers_are_written_without_a_point():
    written = typed(curriculumnet.train, {"work": "w", "recipe": "model-a", "epochs": 3.0, "crop_scale": (0.5, 1.0)})
    assert written == "curriculumnet train w --recipe model-a --epochs 3 --crop-scale 0.5 1"
