"""Figures that stand in pages of text: blocks of `label: value` lines, and tables with bars.

Whatever is before a label or a bar on its line (a router's prefix, a quotation mark, a comment sign) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_COLON = re.compile(r":(?=[ \t]|$)")
_MODEL = re.compile(r"(?:--model(?:-name(?:-or-path)?|-id)?|--base-model)[ =]+['\"]?([^\s'\",)]{1,300})")
_NAMESPACE = re.compile(r"\bNamespace\(.*\bmodel='([^']{1,300})'")
_HEADING = re.compile(r"[#>\s]{0,20}#{1,6} +(.{1,200}?)[\s#]*$")
_LINK = re.compile(r"\[([^\]|]{1,100})\]\([^)|\s]{1,300}\)")
_RULE = re.compile(r":?-{1,200}:?")
_FAR = 40
"""Lines without a label after which a block has ended."""


@dataclass(slots=True)
class Block:
    """Figures that stand together.

    Attributes:
        line: at which they begin, from 1.
        above: the lines between the block before and this one.
        found: printed values by label.
    """

    line: int
    above: Sequence[str]
    found: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Table:
    """A table with bars.

    Attributes:
        line: of its head, from 1.
        above: the lines between the table before and this one.
        columns: the names in its head.
        rows: each with its line and its cells by column.
    """

    line: int
    above: Sequence[str]
    columns: Sequence[str]
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)


class Labels:
    """Finds a format's labels, each followed by a colon and a value.

    Args:
        names: the labels, as the names of a format's figures.
        family: a pattern of further labels, which a format has many alike of.
    """

    def __init__(self, names: Iterable[str], family: str | None = None) -> None:
        self._known = frozenset(names)
        self._names = tuple(sorted(self._known, key=len, reverse=True))
        self._family = re.compile(rf"(?:{family})\Z") if family else None

    def find(self, line: str) -> tuple[str, str] | None:
        """Return the label of a line and its value."""
        if "*" in line or "`" in line:
            line = line.replace("*", "").replace("`", "")
        end = line.find(":")
        if end < 0:
            return None
        name: str | None = line[:end].strip()
        if name in self._known:
            return name, _value(line, end)
        for colon in _COLON.finditer(line):
            end = len(line[: colon.start()].rstrip())
            name = self._name(line, end)
            if name is not None and not line[end - len(name) - 1 : end - len(name)].isalnum():
                return name, _value(line, colon.start())
        return None

    def _name(self, line: str, end: int) -> str | None:
        if line.endswith(self._names, 0, end):
            return next(name for name in self._names if line.endswith(name, 0, end))
        alike = self._family.search(line, max(0, end - 60), end) if self._family else None
        return alike[0] if alike else None


def _value(line: str, colon: int) -> str:
    return line[colon + 1 : colon + 400].partition("<br")[0].strip().strip("|").strip()


def blocks(lines: Sequence[str], labels: Labels, needs: str, marker: str | None = None) -> list[Block]:
    """Return the blocks of a page; one ends where a label comes again, a marker stands, or labels are far off.

    Args:
        lines: of the page.
        labels: of the format.
        needs: a label without which there is no block.
        marker: what stands on the line that begins one.
    """
    found: list[Block] = []
    block, last, free = None, 0, 0
    for at, line in enumerate(lines):
        is_marked = marker is not None and marker in line
        label = None if is_marked else labels.find(line)
        if not is_marked and label is None:
            continue
        if block is None or is_marked or at - last > _FAR or (label and label[0] in block.found):
            block = Block(at + 1, lines[free:at])
            found.append(block)
        if label:
            block.found[label[0]] = label[1]
        last, free = at, at + 1
    return [block for block in found if needs in block.found]


def tables(lines: Sequence[str], forms: Sequence[Sequence[str]]) -> list[Table]:
    """Return the tables whose head has one of these rows of columns, side by side and in order.

    Rows with more or fewer cells than the head are no rows.
    """
    found: list[Table] = []
    table, place, width, free = None, 0, 0, 0
    for at, line in enumerate(lines):
        if "|" not in line:
            continue
        forms_here = [form for form in forms if form[0] in line and form[-1] in line]
        if not forms_here and table is None:
            continue
        cells = [cell.strip().strip("*` ") for cell in line.split("|")]
        head = next(((start, form) for form in forms_here if (start := _place(cells, form)) is not None), None)
        if head is not None:
            place, width = head[0], len(cells)
            table = Table(at + 1, lines[free:at], head[1])
            found.append(table)
        elif table and len(cells) == width:
            own = cells[place : place + len(table.columns)]
            if not own[0].strip("-: ") and not "".join(own).strip("-: "):
                table = table if not table.rows else None  # the rule below the head of another table
            else:
                table.rows.append((at + 1, dict(zip(table.columns, own, strict=True))))
                free = at + 1
    return [table for table in found if table.rows]


def ruled_tables(lines: Sequence[str]) -> list[Table]:
    """Return every Markdown table of a page, whatever its columns: a head, a rule below it, rows of as many cells.

    Links in cells are the words that they stand behind.
    """
    found: list[Table] = []
    table, place, free = None, 0, 0
    above: list[str] = []
    for at, line in enumerate(lines):
        if "|" not in line:
            table = None if line.strip() else table
            continue
        line = _LINK.sub(r"\1", line) if "](" in line else line
        cells = [cell.strip().strip("*` ") for cell in line.split("|")]
        ruled = [number for number, cell in enumerate(cells) if _RULE.fullmatch(cell)]
        ruled = [number for number in ruled if number < len(above) and not _RULE.fullmatch(above[number])]
        if len(ruled) > 1 and ruled[-1] - ruled[0] + 1 == len(ruled) and len(above) == len(cells):
            if table and table.rows:
                table.rows.pop()  # the head of this one, where what is before lines has bars in it
            free = found[-1].rows[-1][0] if found and found[-1].rows else free
            place = ruled[0]
            table = Table(at, lines[free : at - 1], above[place : ruled[-1] + 1])
            found.append(table)
        elif table and len(cells) == len(above):
            own = cells[place : place + len(table.columns)]
            table.rows.append((at + 1, dict(zip(table.columns, own, strict=True))))
        else:
            table = None
        above = cells
    return [table for table in found if table.rows]


def _place(cells: Sequence[str], columns: Sequence[str]) -> int | None:
    if columns[0] not in cells:
        return None
    start = cells.index(columns[0])
    return start if cells[start : start + len(columns)] == list(columns) else None


def model_above(lines: Sequence[str]) -> str | None:
    """Return the model that commands above a block name; None where they name none, or several."""
    named = {found for line in lines for found in (*_MODEL.findall(line), *_NAMESPACE.findall(line))}
    return named.pop() if len(named) == 1 else None


def place_of(blocks_above: Sequence[str], at: int, count: int) -> dict[str, str | int]:
    """Return what tells a block of a page from the others on it: the nearest heading above it, and which it is.

    Nothing shows that blocks of one page were run alike.
    """
    headings = [found[1] for line in blocks_above if (found := _HEADING.match(line)) and re.search(r"\w", found[1])]
    where: dict[str, str | int] = {"heading": headings[-1]} if headings else {}
    return where | ({"block": at} if count > 1 else {})
