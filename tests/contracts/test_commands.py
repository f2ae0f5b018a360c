"""Every command is a function of the package, and its flags are that function's documented arguments."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
import typing
from collections.abc import Callable
from typing import Any

import pytest

import curriculumnet
from curriculumnet import cli
from curriculumnet.flags import meanings_of

COMMANDS = pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)

HELP_LINES = {"train": 58}
"""What one screen of 100 columns holds: 40 lines but for the command that has as many settings as trainings have."""

HELP_LENGTH = 70
"""Characters of a flag's help."""


def function_of(command: cli.Command) -> Callable[..., Any]:
    return typing.cast(Callable[..., Any], getattr(curriculumnet, command.name))


def help_of(command: cli.Command, capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        cli.app([command.name, "--help"], prog_name="curriculumnet")
    assert ended.value.code == 0
    return capsys.readouterr().out.rstrip("\n").split("\n")


def test_the_commands_are_the_functions_that_the_package_offers() -> None:
    offered = {name for name in curriculumnet.__all__ if name.islower() and not name.startswith("_")}
    assert {command.name for command in cli.COMMANDS} == offered


@COMMANDS
def test_every_argument_is_documented_and_nothing_else_is(command: cli.Command) -> None:
    function = function_of(command)
    assert list(meanings_of(function)) == list(inspect.signature(function).parameters)


@COMMANDS
def test_every_argument_is_a_flag_of_its_name(command: cli.Command) -> None:
    parameters = inspect.signature(function_of(command)).parameters
    flags = {flag.name: flag for flag in cli.flags(function_of(command))}
    assert list(flags) == list(parameters)
    assert not set(flags) & {flag.name for flag in cli.ADDED}
    for name, parameter in parameters.items():
        assert flags[name].default is parameter.default
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert flags[name].spellings[0].split("/")[0] == "--" + name.strip("_").replace("_", "-")


@COMMANDS
def test_the_first_sentence_on_a_flag_is_short_and_plain(command: cli.Command) -> None:
    for flag in cli.flags(function_of(command)):
        assert flag.help.endswith("."), f"--{flag.name}: {flag.help!r} is no sentence"
        assert len(flag.help) <= HELP_LENGTH, f"--{flag.name}: {flag.help!r} is too long for one line of help"
        assert "`" not in flag.help, f"--{flag.name}: {flag.help!r} has markup, which a terminal shows as it is"


@COMMANDS
def test_help_fits_one_screen_and_names_every_flag(command: cli.Command, capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(command, capsys)
    assert len(lines) <= HELP_LINES.get(command.name, 40)
    starts = [line.split("  ")[0] for line in lines]
    for flag in (*cli.flags(function_of(command)), *cli.ADDED):
        assert flag.typed in starts
    assert lines[-1] == f"Example: {command.example}"


@COMMANDS
def test_its_example_can_be_typed(command: cli.Command) -> None:
    program, name, *words = shlex.split(command.example)
    assert (program, name) == ("curriculumnet", command.name)
    flags = cli.flags(function_of(command))
    known = {spelling for flag in flags for spellings in flag.spellings for spelling in spellings.split("/")}
    assert {word for word in words if word.startswith("-")} <= known
    for flag in flags:
        if flag.required and flag.spellings:
            assert flag.spellings[0] in words


@COMMANDS
def test_a_command_gives_a_frozen_dataclass_that_says_what_it_found(command: cli.Command) -> None:
    function = function_of(command)
    result = inspect.getmodule(function).__dict__[function.__annotations__["return"]]
    assert dataclasses.is_dataclass(result)
    assert result.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert callable(result.summary)  # type: ignore[attr-defined]


@COMMANDS
def test_the_flags_that_mean_the_same_are_called_the_same(command: cli.Command) -> None:
    for flag in cli.flags(function_of(command)):
        if flag.name == "seed":
            assert (flag.typed, flag.default) == ("--seed INT", 0)
        elif flag.name == "device":
            assert (flag.typed, flag.default) == ("--device TEXT", "auto")
        elif flag.name == "workers":
            assert (flag.typed, flag.default) == ("--workers INT", None)
        elif flag.name == "quiet":
            assert (flag.typed, flag.default) == ("--quiet", False)
