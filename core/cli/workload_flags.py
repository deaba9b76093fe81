"""Flags of the workload's settings, made from ``Workload``: name, type, limits, default and help."""

from __future__ import annotations

import tomllib
import types
from typing import Annotated, Any, Union, get_args, get_origin

import click
from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from ..records.workload import Setting, Workload
from .guidance.completion import Names, complete
from .guidance.sections import section
from .output import Decorator, options


def workload_options(*only: str) -> Decorator:
    """Return a decorator that adds the flags of settings to a command, in the order of the fields.

    Args:
        only: these settings; none: all that have a flag.
    """
    return options(
        *(
            _option(name, Workload.model_fields[name], setting)
            for name, setting in Workload.settings().items()
            if setting.flag is not None and (name in only or not only)
        )
    )


_COMPLETED: dict[str, Names] = {"task": "tasks"}


class Numbers(click.ParamType[Any]):
    """A number, several with commas between them, or a range; limits are the field's own."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the number, the numbers or the range that the text has."""
        text = str(value).strip()
        try:
            if text.startswith("{"):
                return tomllib.loads(f"range = {text}")["range"]
            found = [self._number(part) for part in text.split(",")]
        except ValueError:  # as errors of TOML are
            self.fail(
                f"{value!r} is not a number; write e.g. 512, 64,512,2048 or {{from=64,to=2048,factor=2}}", param, ctx
            )
        return found if len(found) > 1 else found[0]

    @staticmethod
    def _number(text: str) -> int | float:
        return int(text) if text.strip().isdecimal() else float(text)


def is_mapping(name: str) -> bool:
    """Whether a setting has values by name, which its flag takes as ``NAME=V1,V2``."""
    if name not in Workload.model_fields or Workload.settings()[name].is_text:
        return False
    return get_origin(_kind(Workload.model_fields[name])) is dict


def flag_of(name: str) -> str:
    """Return a setting's long flag."""
    return Workload.settings()[name].flag or f"--{name.replace('_', '-')}"


def _option(name: str, field: FieldInfo, setting: Setting) -> Decorator:
    kind, text = _kind(field), field.description or name
    about = text[0].upper() + text[1:]
    given: dict[str, Any] = {}
    if setting.is_axis:
        given = {"type": Numbers(), "metavar": setting.metavar, "default": field.default}
        about += "; several values give one cell each"
    elif setting.is_swept:
        given = {"type": Numbers(), "metavar": setting.metavar}
    elif setting.is_text:
        given = {"metavar": setting.metavar or "TEXT"}
    elif kind is bool:
        given = {"is_flag": True}
    elif kind is str:
        given = {"metavar": setting.metavar or "TEXT"}
    elif kind in (int, float):
        metavar = setting.metavar or ("N" if kind is int else "NUMBER")
        given = {"type": _range(kind, field), "default": field.default, "metavar": metavar}
    else:
        given = {"metavar": setting.metavar or "TEXT", "multiple": True}
        about += "; repeatable"
    if name in _COMPLETED:
        given["shell_complete"] = complete(_COMPLETED[name])
    return section(setting.section, click.option(flag_of(name), name, help=f"{about}.", **given))


def _kind(field: FieldInfo) -> Any:  # noqa: ANN401 - annotations have no common type
    """Return a field's type without None and what is said of it."""
    kind = field.annotation
    if get_origin(kind) in (types.UnionType, Union):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _range(kind: type[int] | type[float], field: FieldInfo) -> click.IntRange | click.FloatRange:
    limits: dict[str, Any] = {}
    for one in field.metadata:
        match one:
            case Ge(ge):
                limits["min"] = ge
            case Gt(gt):
                limits |= {"min": gt, "min_open": True}
            case Le(le):
                limits["max"] = le
    return click.IntRange(**limits) if kind is int else click.FloatRange(**limits)
