"""Tables of results on a terminal of any width; knows no part but the shape of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from escalade.cli.output import harmless, result_console

if TYPE_CHECKING:
    from rich.table import Table

    from escalade.simulator.formats import Cell, TextTable

# Of a terminal that every table has room on.
_ANY_WIDTH = 1 << 20
# What rich draws of a table, in characters: a line before the first column; after each of them
# another, and a space on either side.
_AROUND, _BESIDE = 1, 3
_INDENT = "  "


def show_report(lines: Iterable[str], tables: Iterable[TextTable]) -> None:
    """What was found, in sentences and then in tables, on stdout."""
    for line in lines:
        result_console().print(line)
    for table in tables:
        show_table(table)


def show_table(table: TextTable, *, grouped: bool = False) -> None:
    """A table of results on stdout, details beneath their numbers.

    Where a terminal is too narrow rich would cut words, numbers too: there a row is some lines.

    Args:
        table: what is shown.
        grouped: rows of one name are a group, which says it once.
    """
    from rich.table import Table

    shown = Table(title=harmless(table.title), title_justify="left")
    for k, heading in enumerate(table.head):
        shown.add_column(harmless(heading), justify="left" if k == 0 else "right")
    before = None
    for row in table.rows:
        goes_on = grouped and row[0] == before
        if grouped and not goes_on and before is not None:
            shown.add_section()
        before = row[0]
        cells = [row[0]._replace(text="", detail=""), *row[1:]] if goes_on else row
        shown.add_row(
            *(
                Text.assemble(
                    harmless(cell.text),
                    *([("\n" + harmless(cell.detail), "dim")] if cell.detail else []),
                )
                for cell in cells
            )
        )
    console = result_console()
    if _fit(shown, console):
        console.print(shown, soft_wrap=False)
        return
    if table.title:
        console.print(harmless(table.title), style="italic")
    for row in table.rows:
        for line in _told(table.head, row, console):
            console.print(line)


def _told(head: Sequence[str], row: Sequence[Cell], console: Console) -> Iterator[str]:
    """A row as lines: its name, then beneath it as many cells in each as there is room for.

    One that needs more than a line has some of its own, further in from its second one on.
    """
    said = [
        harmless(f"{heading}: {text}" if heading else text)
        for heading, cell in zip(head, row, strict=True)
        for text in [f"{cell.text} ({cell.detail})" if cell.detail else cell.text]
    ]
    width = console.width - len(_INDENT)
    lines = [said[0]]
    for one in said[1:]:
        if len(lines) > 1 and cell_len(f"{lines[-1]}; {one}") < width:
            lines[-1] += f"; {one}"
        else:
            lines.append(one)
    for k, line in enumerate(lines):
        ends = ";" if 0 < k < len(lines) - 1 else ""
        parts = Text(line + ends).wrap(console, max(1, width - len(_INDENT)))
        whole = [Text(line + ends)] if cell_len(line + ends) <= width else parts
        for n, part in enumerate(whole):
            yield _INDENT * ((k > 0) + (n > 0)) + part.plain.rstrip()


def _fit(table: Table, console: Console) -> bool:
    """Give each column room for its longest word, and the rest to the narrowest that lack some.

    Returns:
        False where the console is too narrow for the words. (rich takes from wide columns alone,
        down to where words are cut.)
    """
    from rich.measure import measure_renderables

    options = console.options.update_width(_ANY_WIDTH)
    whole = [
        measure_renderables(console, options, [column.header, *column.cells])
        for column in table.columns
    ]
    bodies = [measure_renderables(console, options, [*column.cells]) for column in table.columns]
    widths = [one.minimum for one in whole]
    room = console.width - _AROUND - _BESIDE * len(widths) - sum(widths)
    # Numbers keep their units beside them before headings are given room.
    for wanted in (bodies, whole):
        lacking = [k for k, one in enumerate(wanted) if one.maximum > widths[k]]
        while lacking and room > 0:
            narrowest = min(lacking, key=lambda k: widths[k])
            widths[narrowest] += 1
            room -= 1
            if widths[narrowest] >= wanted[narrowest].maximum:
                lacking.remove(narrowest)
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    return room >= 0
