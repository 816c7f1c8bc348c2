"""``graphseq bench``: op and model timings against the code a person would write otherwise.

Each benchmark is a module of this package with a function ``rows(case=None)`` that returns a list
of rows ``{"op", "case", "ours_ms", "reference", "reference_ms", "ratio", "max_error"}``; a row may
carry further columns, for example peak memory. A benchmark refuses to print a speed while the op
disagrees with its reference.
"""

import json as json_module
from difflib import get_close_matches
from importlib import import_module

from graphseq.bench.timing import Row

BENCHMARKS = (
    "dagnn", "forward", "neighbors", "ncn", "spmm", "reduce", "scan", "mqar", "stream", "loop",
)  # fmt: skip


def run_bench(name: str | None = None, case: str | None = None, json: bool = False) -> list[Row]:
    """Runs one benchmark or all of them and prints each row as it lands.

    Args:
        name: one of :data:`BENCHMARKS`; all of them when omitted.
        case: one case of it; all cases when omitted.
        json: print one JSON list instead of a table.

    Raises:
        ValueError: if ``name`` is not a benchmark or ``case`` none of its cases.
    """
    if name is not None and name not in BENCHMARKS:
        close = get_close_matches(name, BENCHMARKS, 1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise ValueError(f"bench: no benchmark {name!r}; {hint}there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    for benchmark in BENCHMARKS if name is None else (name,):
        new = import_module(f"graphseq.bench.{benchmark}").rows(case)
        rows += new
        if not json:
            print(_table(new), flush=True)
    if json:
        print(json_module.dumps(rows, indent=2))
    return rows


def _table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return f"{value}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
