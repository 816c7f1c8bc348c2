"""Figures of runs. They need matplotlib: ``pip install graphseq[plot]``."""

import csv
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from graphseq.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR = "#2457a6"
STYLES: list[dict[str, Any]] = [  # told apart without colours too
    {"color": COLOR, "marker": "o"},
    {"color": "#c2571a", "marker": "s", "linestyle": "--"},
    {"color": "#5b8c2a", "marker": "^", "linestyle": ":"},
]
Draw = Callable[["Axes"], None]


def save_figure(draw: Draw, path: str | Path) -> Path:
    """Draws on one pair of axes and writes the image; its suffix chooses the format.

    No window is opened and no global state of matplotlib is touched.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed; run: pip install 'graphseq[plot]'"
        ) from error
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    path = Path(path)
    kind = path.suffix.lstrip(".") or "png"
    atomic_write(path, lambda file: figure.savefig(file, format=kind, dpi=150))
    return path


def learning_curves(
    histories: Sequence[Path], metric: str, path: str | Path, title: str = ""
) -> Path:
    """Draws one metric over the epochs, a line for each seed.

    Args:
        histories: ``history.csv`` files of the seeds.
        metric: a column, such as ``val/acc``.
        path: image file to write.
        title: above the figure.

    Returns:
        The path written.

    Raises:
        ValueError: no history has that column.
    """
    lines = [_column(history, metric) for history in histories]
    if not any(values for _, values in lines):
        raise ValueError(f"learning_curves: no history has values of {metric!r}")

    def draw(axes: "Axes") -> None:
        for epochs, values in lines:
            axes.plot(epochs, values, color=COLOR, alpha=max(0.15, 1 / len(lines)))
        axes.set(xlabel="epoch", ylabel=metric, title=title)

    return save_figure(draw, path)


def sweep(
    values: Mapping[float, Sequence[float]],
    path: str | Path,
    *,
    setting: str,
    metric: str,
    title: str = "",
) -> Path:
    """Draws a metric against a setting, mean and one standard deviation over seeds.

    Args:
        values: value of the setting -> the metric of each seed.
        path: image file to write.
        setting: label of the horizontal axis, which is logarithmic from a factor of 20 on.
        metric: label of the vertical axis.
        title: above the figure.

    Returns:
        The path written.

    Raises:
        ValueError: there is nothing to draw.
    """
    return sweeps({"": values}, path, setting=setting, metric=metric, title=title)


def sweeps(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    path: str | Path,
    *,
    setting: str,
    metric: str,
    title: str = "",
    log: bool = False,
) -> Path:
    """As :func:`sweep`, a line for each name.

    Args:
        series: name -> value of the setting -> the metric of each seed.
        path: image file to write.
        setting: label of the horizontal axis.
        metric: label of the vertical axis.
        title: above the figure.
        log: whether the vertical axis is logarithmic.

    Returns:
        The path written.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not series or not all(series.values()):
        raise ValueError("sweep: no values; pass at least one setting with its metrics")
    settings = sorted({s for values in series.values() for s in values})

    def draw(axes: "Axes") -> None:
        for (name, values), style in zip(series.items(), cycle(STYLES), strict=False):
            own = sorted(values)
            spread = [stdev(values[s]) if len(values[s]) > 1 else 0.0 for s in own]
            means = [mean(values[s]) for s in own]
            axes.errorbar(own, means, spread, **style, ms=4, capsize=3, label=name)
        if settings[0] > 0 and settings[-1] >= 20 * settings[0]:
            axes.set_xscale("log")
            axes.set_xticks(settings, [f"{s:g}" for s in settings])
            axes.minorticks_off()
        if log:
            axes.set_yscale("log")
        if len(series) > 1:
            axes.legend(frameon=False)
        axes.set(xlabel=setting, ylabel=metric, title=title)

    return save_figure(draw, path)


def _column(history: Path, metric: str) -> tuple[list[int], list[float]]:
    """Epochs, counted through all stages, and values of a metric that not every epoch has."""
    with history.open(newline="") as file:
        rows = [row.get(metric) for row in csv.DictReader(file)]
    found = [(epoch, float(value)) for epoch, value in enumerate(rows, start=1) if value]
    return [epoch for epoch, _ in found], [value for _, value in found]
