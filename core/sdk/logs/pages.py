"""Figures that stand in pages of text: blocks of `label: value` lines, and tables with bars.

Whatever is before a label or a bar on its line (a router's prefix, a quotation mark, a comment sign) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .printed import process_of
from .tables import with_points

_COLON = re.compile(r":(?=[ \t]|$)")
_MODEL = re.compile(r"(?:--model(?:-name(?:-or-path)?|-id)?|--base-model)[ =]+['\"]?([^\s'\",)]{1,300})")
_NAMESPACE = re.compile(r"\bNamespace\(.*\bmodel='([^']{1,300})'")
_HEADING = re.compile(r"[#>\s]{0,20}#{1,6} +(.{1,200}?)[\s#]*$|==> (.{1,200}) <==$")  # of Markdown; of `tail *`
_LINK = re.compile(r"\[([^\]|]{1,100})\]\([^)|\s]{1,300}\)")
_RULE = re.compile(r":?-{1,200}:?")
_RULED = re.compile(r"-:?[\s*`]{0,200}\|[\s*`]{0,200}:?-")
"""What a line has that has two cells of a rule side by side."""
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
        family: a pattern of further labels, which a format has many alike of. It is searched fast where each of its
            alternatives begins with a letter of its own, not with a group.
    """

    def __init__(self, names: Iterable[str], family: str | None = None) -> None:
        self._known = frozenset(names)
        self._names = tuple(sorted(self._known, key=len, reverse=True))
        self._family = re.compile(rf"(?:{family})\Z") if family else None
        # Most lines of a log have a colon, and no label before it.
        ends = "|".join(rf"(?<={re.escape(end)}:)" for end in sorted({name[-2:] for name in self._known}))
        self._may_name = re.compile(rf":(?:{ends}|(?<=\s:))").search
        self._may_be_alike = re.compile(rf"(?:{family})\s*:").search if family else None

    def find(self, line: str) -> tuple[str, str] | None:
        """Return the label of a line and its value."""
        if "*" in line or "`" in line:
            line = line.replace("*", "").replace("`", "")
        if not self._may_name(line) and not (self._may_be_alike and self._may_be_alike(line)):
            return None
        first, _, behind = line.partition(":")
        name: str | None = first.strip()
        if name in self._known:
            return name, _value(behind)
        for colon in _COLON.finditer(line):
            end = len(line[: colon.start()].rstrip())
            name = self._name(line, end)
            if name is not None and not line[end - len(name) - 1 : end - len(name)].isalnum():
                return name, _value(line[colon.end() :])
        return None

    def _name(self, line: str, end: int) -> str | None:
        if line.endswith(self._names, 0, end):
            name = next(name for name in self._names if line.endswith(name, 0, end))
            is_phrase = " " not in name and line[: end - len(name)].rstrip()[-1:].isalpha()  # `Attention Backend`
            return None if is_phrase else name
        alike = self._family.search(line, max(0, end - 60), end) if self._family else None
        return alike[0] if alike else None


def _value(text: str) -> str:
    text = text[:399]
    if "<br" in text:
        text = text.partition("<br")[0]
    text = text.strip()
    return text.strip("|").strip() if "|" in text else text


def blocks(lines: Sequence[str], labels: Labels, needs: str, marker: str | None = None) -> Iterator[Block]:
    """Yield the blocks of a page; one ends where a label comes again, a marker stands, or labels are far off.

    Args:
        lines: of the page.
        labels: of the format.
        needs: a label without which there is no block.
        marker: what stands on the line that begins one.
    """
    block, last, free = None, 0, 0
    for at, line in enumerate(lines):
        is_marked = marker is not None and marker in line
        label = labels.find(line) if ":" in line else None
        if not is_marked and label is None:
            continue
        if block is None or is_marked or label is None or at - last > _FAR or label[0] in block.found:
            if block and needs in block.found:
                yield block
            block = Block(at + 1, above_of(lines, free, at))
        if label:
            block.found[label[0]] = label[1]
        last, free = at, at + 1
    if block and needs in block.found:
        yield block


def tables(lines: Sequence[str], forms: Sequence[Sequence[str]]) -> Iterator[Table]:
    """Yield the tables whose head has one of these rows of columns, side by side and in order.

    Rows with more or fewer cells than the head are no rows. Numbers have decimal points, as far as the cells of a table
    show what its commas are.
    """
    for table in _tables(lines, forms):
        if any("," in cell for _, cells in table.rows for cell in cells.values()):
            pointed = iter(with_points([cell for _, cells in table.rows for cell in cells.values()], "|"))
            table.rows[:] = [(line, {name: next(pointed) for name in cells}) for line, cells in table.rows]
        yield table


def _tables(lines: Sequence[str], forms: Sequence[Sequence[str]]) -> Iterator[Table]:
    table, place, width, free, since = None, 0, 0, 0, 0
    last = {form[-1] for form in forms}
    for at, line in enumerate(lines):
        if "|" not in line:
            continue
        is_head = any(name in line for name in last)
        if not is_head and (table is None or line.count("|") + 1 != width):
            continue
        cells = _cells(line)
        head = _head_of(cells, line, forms) if is_head else None
        if head is not None:
            if table and table.rows:
                yield replace(table, above=_above(lines, since, table, place))
            place, width, since = head[0], len(cells), free
            table = Table(at + 1, (), head[1])
        elif table and len(cells) == width:
            own = cells[place : place + len(table.columns)]
            if not own[0].strip("-: ") and not "".join(own).strip("-: "):
                if table.rows:  # the rule below the head of another table
                    yield replace(table, above=_above(lines, since, table, place))
                    table = None
            else:
                table.rows.append((at + 1, dict(zip(table.columns, own, strict=True))))
                free = at + 1
    if table and table.rows:
        yield replace(table, above=_above(lines, since, table, place))


def ruled_tables(lines: Sequence[str]) -> Iterator[Table]:
    """Yield every Markdown table of a page, whatever its columns: a head, a rule below it, rows of as many cells.

    Links in cells are the words that they stand behind. Behind lines of other programs a table goes on with rows that
    begin as its head does, up to one that is a head itself.
    """
    table: Table | None = None
    latest, place, width, free, is_apart = table, 0, 0, 0, False
    above: list[str] = []
    above_at, lead = 0, ""
    for at, line in enumerate(lines):
        if "|" not in line:
            is_apart = is_apart or bool(line.strip())
            continue
        cells = _cells(_LINK.sub(r"\1", line) if "](" in line else line)
        ruled = _rule_of(cells, above) if "-" in line and _RULED.search(line) else None
        if ruled:
            if table and table.rows and table.rows[-1][0] == above_at:
                table.rows.pop()  # the head of this one, where what is before lines has bars in it
            if table and table.rows:
                yield replace(table, above=_above(lines, free, table, place))
            free = latest.rows[-1][0] if latest and latest.rows else free
            place, lead, is_apart = ruled[0], above[0], False
            table = latest = Table(at, (), above[place : ruled[-1] + 1])
            width = len(cells)
        elif table is None or len(cells) != width or (is_apart and cells[0] != lead):
            is_apart = True
        elif is_apart and not any(map(str.isdigit, "".join(cells))):  # a head, of another table
            if table.rows:
                yield replace(table, above=_above(lines, free, table, place))
            table = None
        else:
            own = cells[place : place + len(table.columns)]
            table.rows.append((at + 1, dict(zip(table.columns, own, strict=True))))
            is_apart = False
        above, above_at = cells, at + 1
    if table and table.rows:
        yield replace(table, above=_above(lines, free, table, place))


def _above(lines: Sequence[str], start: int, table: Table, place: int) -> Sequence[str]:
    """Return the lines above the head of a table that has a row: heads without any do not cost all lines above them."""
    head = table.line - 1
    return above_of(lines, start, head) if place else lines[start:head]


def _cells(line: str) -> list[str]:
    if "*" in line or "`" in line:
        return [cell.strip().strip("*` ") for cell in line.split("|")]
    return [cell.strip() for cell in line.split("|")]


def _rule_of(cells: Sequence[str], above: Sequence[str]) -> Sequence[int] | None:
    """Return which cells are a rule, side by side, below cells that are none; None where there are no two."""
    if len(above) != len(cells):
        return None
    ruled = [
        number for number, cell in enumerate(cells) if _RULE.fullmatch(cell) and not _RULE.fullmatch(above[number])
    ]
    return ruled if len(ruled) > 1 and ruled[-1] - ruled[0] + 1 == len(ruled) else None


def _head_of(cells: Sequence[str], line: str, forms: Sequence[Sequence[str]]) -> tuple[int, Sequence[str]] | None:
    """Return where a head begins in a row of cells, and its form."""
    here = (form for form in forms if form[0] in line and form[-1] in line)
    return next(((start, form) for form in here if (start := _place(cells, form)) is not None), None)


def above_of(lines: Sequence[str], start: int, at: int) -> Sequence[str]:
    """Return the lines from one up to another; where programs share the page, those of the other's, and of none."""
    own, _ = process_of(lines[at])
    if not own:
        return lines[start:at]
    told = ((line, process_of(line)) for line in lines[start:at])
    return [line[begin:] for line, (name, begin) in told if name in ("", own)]


def _place(cells: Sequence[str], columns: Sequence[str]) -> int | None:
    if columns[0] not in cells:
        return None
    start = cells.index(columns[0])
    return start if cells[start : start + len(columns)] == list(columns) else None


def model_above(lines: Sequence[str]) -> str | None:
    """Return the model that commands above a block name; None where they name none, or several."""
    named = {found for line in lines if "--" in line for found in _MODEL.findall(line)}
    named |= {found for line in lines if "Namespace(" in line for found in _NAMESPACE.findall(line)}
    return named.pop() if len(named) == 1 else None


def place_of(blocks_above: Sequence[str], at: int, count: int) -> dict[str, str | int]:
    """Return what tells a block of a page from the others on it: the nearest heading above it, and which it is.

    Nothing shows that blocks of one page were run alike.
    """
    nearest = next(filter(None, map(heading_of, reversed(blocks_above))), None)
    where: dict[str, str | int] = {} if nearest is None else {"heading": nearest}
    return where | ({"block": at} if count > 1 else {})


def heading_of(line: str) -> str | None:
    """Return the words of a line that is a heading of Markdown, or of a file among others; None of any other line."""
    found = _HEADING.match(line) if "#" in line or "==>" in line else None
    words = found[1] or found[2] if found else ""
    return words if re.search(r"\w", words) else None
