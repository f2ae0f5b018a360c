"""Arguments of functions as flags: read from a signature and its docstring, and written as a shell takes them."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Flag:
    """An argument of a command: a flag, or a value given by its place.

    Attributes
    ----------
    name : str
        The parameter of the function.
    spellings : tuple of str
        What to type: ``("--output", "-o")``, ``("--ema/--no-ema",)``; of a value given by its place, nothing.
    values : str
        What follows it: ``INT``, ``half|equal|size``, ``FLOAT FLOAT``; of a switch, nothing.
    type : type
        What typer makes of the words.
    default : object
        The default; `inspect.Parameter.empty` where something must be given.
    meaning : str
        What the docstring says about it.
    """

    name: str
    spellings: tuple[str, ...]
    values: str
    type: Any
    default: Any
    meaning: str

    @property
    def required(self) -> bool:
        """Whether something must be given."""
        return self.default is inspect.Parameter.empty

    @property
    def typed(self) -> str:
        """What a person types: ``-o, --output PATH``, ``--[no-]ema``, ``WORK``."""
        if not self.spellings:
            word = self.name.rstrip("_").upper().replace("_", "-")
            word += " …" if self.values.endswith("…") else ""
            return word if self.required else f"[{word}]"
        names = [re.sub(r"^--(.*)/--no-\1$", r"--[no-]\1", spelling) for spelling in self.spellings]
        return " ".join([", ".join(sorted(names, key=len)), self.values]).strip()

    @property
    def help(self) -> str:
        """The first sentence of its meaning."""
        return first_sentence(self.meaning)

    @property
    def shown_default(self) -> str:
        """The default as a person types it; empty where it goes without saying."""
        if self.required or self.default is None or self.default is False or self.default == ():
            return ""
        if self.type is bool:
            return "yes"
        values = self.default if isinstance(self.default, tuple) else (self.default,)
        return " ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)


_SHORT = {"output": "-o"}
"""The only short flag."""


def flags(function: Callable[..., Any]) -> tuple[Flag, ...]:
    """Return the arguments of a function as flags, in its order.

    Positional parameters are given by their place, keyword-only ones by name. A name is the parameter's, with ``-``
    for ``_`` and without a closing ``_``.

    Raises
    ------
    TypeError
        A parameter has a type that cannot be typed on a command line.
    """
    meanings, annotations = meanings_of(function), _annotations(function)
    return tuple(
        _flag(parameter, annotations[parameter.name], meanings.get(parameter.name, ""))
        for parameter in inspect.signature(function).parameters.values()
    )


def typed(function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Return the command that calls a function, as this system's shell wants it typed; arguments as of `words`."""
    found = ["curriculumnet", *words(function, arguments)]
    return subprocess.list2cmdline(found) if os.name == "nt" else shlex.join(found)


def words(function: Callable[..., Any], arguments: Mapping[str, Any]) -> list[str]:
    """Return the words of the command that calls a function with these arguments.

    Parameters
    ----------
    function : callable
        A command's function.
    arguments : mapping of str to object
        Values by the parameters' names; rows as tuples or lists, paths as text. Those that are absent, None or the
        default are left out.
    """
    found = [function.__name__]
    for flag in flags(function):
        value = arguments.get(flag.name)
        values = [_word(each) for each in value] if isinstance(value, tuple | list) else [_word(value)]
        default = list(flag.default) if isinstance(flag.default, tuple) else flag.default
        if value is None or (list(value) if isinstance(value, tuple) else value) == default:
            continue
        spelling = flag.spellings[0] if flag.spellings else ""
        if not spelling:
            found += values
        elif isinstance(value, bool):
            yes, _, no = spelling.partition("/")
            found.append(yes if value else no)
        elif get_origin(flag.type) is list:
            found += [word for each in values for word in (spelling, each)]
        else:
            found += [spelling, *values]
    return found


def _word(value: object) -> str:
    """Return a value as a person types it: 3, not 3.0."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def meanings_of(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a function's docstring says of each parameter, as one line each."""
    from docstring_parser import DocstringStyle, parse

    found = parse(inspect.getdoc(function) or "", DocstringStyle.NUMPYDOC)
    return {
        name.strip(): " ".join((parameter.description or "").split())
        for parameter in found.params
        if parameter.args[0] == "param"
        for name in parameter.arg_name.split(",")
    }


def _flag(parameter: inspect.Parameter, annotation: Any, meaning: str) -> Flag:
    kind, values = _type(annotation)
    name = parameter.name.rstrip("_").replace("_", "-")
    if parameter.kind is not parameter.KEYWORD_ONLY:
        spellings: tuple[str, ...] = ()
    elif not values and parameter.default is not False:
        spellings = (f"--{name}/--no-{name}",)
    else:
        spellings = (f"--{name}", *([_SHORT[name]] if name in _SHORT else []))
    return Flag(parameter.name, spellings, values, kind, parameter.default, meaning)


def _type(annotation: Any) -> tuple[Any, str]:
    """Return an annotation as typer takes it, and as a person reads it.

    Paths are text to typer, and rows of one type are lists.
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in (bool, int, float, str):
        return annotation, {bool: "", int: "INT", float: "FLOAT", str: "TEXT"}[annotation]
    if origin is Literal:
        return annotation, "|".join(str(part) for part in parts)
    if isinstance(origin or annotation, type) and issubclass(origin or annotation, os.PathLike):
        return str, "PATH"
    if origin in (Union, types.UnionType):
        return _union_type(annotation, parts)
    if origin is tuple and ... not in parts:
        # typer reads several words after one flag of a tuple, and repeats a flag of a list.
        inner = [_type(part) for part in parts]
        return tuple[tuple(kind for kind, _ in inner)], " ".join(values for _, values in inner)  # type: ignore[misc]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        kind, values = _type(parts[0])
        return list[kind], f"{values} …"  # type: ignore[valid-type]
    raise TypeError(f"{annotation} cannot be typed on a command line")


def _union_type(annotation: Any, parts: tuple[Any, ...]) -> tuple[Any, str]:
    found = [_type(part) for part in parts if part is not type(None)]
    kinds = {kind for kind, _ in found}
    if len(kinds) > 1:
        raise TypeError(f"{annotation} cannot be typed on a command line: it is not one type")
    kind, values = found[0][0], "PATH" if (str, "PATH") in found else found[0][1]
    return kind | None if len(found) < len(parts) else kind, values


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function's parameters; that of its result need not be known when it runs."""
    written = {name: hint for name, hint in inspect.get_annotations(function).items() if name != "return"}
    return get_type_hints(types.SimpleNamespace(__annotations__=written), vars(sys.modules[function.__module__]))


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, on one line."""
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]
