"""The expressions of claims: plain arithmetic over printed values, evaluated without ``eval``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, mul, sub, truediv
from typing import Any

from .intervals import Interval, exact

Lookup = Callable[[str], Interval]
"""Gives the value of a dotted name; raises ``ValueError`` where it is not known."""

_OPERATORS: dict[type, Callable[[Interval, Interval], Interval]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
}


def evaluate(text: str, lookup: Lookup) -> Interval:
    """Evaluate an expression: + - * /, parentheses, numbers, dotted names, and sum, mean, min, max of several.

    Raises:
        ValueError: it is no such expression, a name is not known, or a divisor may be 0.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r} is not an expression") from error
    try:
        return _value(tree.body, lookup)
    except ZeroDivisionError as error:
        raise ValueError(f"{text!r} divides by what may be 0") from error


def _value(node: ast.expr, lookup: Lookup) -> Interval:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return exact(float(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, lookup)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return _OPERATORS[type(operator)](_value(left, lookup), _value(right, lookup))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            return _FUNCTIONS[name]([_value(argument, lookup) for argument in arguments])
        case ast.Name() | ast.Attribute():
            return lookup(ast.unparse(node))
    raise ValueError(f"{ast.unparse(node)!r} is not allowed in an expression")


def _sum(values: Sequence[Interval]) -> Interval:
    return reduce(add, values)


def _mean(values: Sequence[Interval]) -> Interval:
    return _sum(values) / exact(len(values))


def _extreme(choose: Callable[[Sequence[float]], Any]) -> Callable[[Sequence[Interval]], Interval]:
    return lambda values: Interval(
        choose([v.value for v in values]), choose([v.low for v in values]), choose([v.high for v in values])
    )


_FUNCTIONS: dict[str, Callable[[Sequence[Interval]], Interval]] = {
    "sum": _sum,
    "mean": _mean,
    "min": _extreme(min),
    "max": _extreme(max),
}
