"""Figures of the graph wing. They need matplotlib: ``pip install graphseq[plot]``."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOR = "#2457a6"


def retainment(scores: Tensor, path: str | Path, title: str = "") -> Path:
    """Draws the mean retainment score of each hop, with the middle half of the nodes shaded.

    Args:
        scores: what ``DAGNN(...)(x, graph, return_retainment_scores=True)`` returns second.
        path: image file to write; the suffix chooses the format.
        title: above the figure.

    Shape:
        - scores: ``[N, K + 1]``

    Returns:
        The path written.

    Raises:
        ValueError: if ``scores`` is not a matrix with at least one node and one hop.
    """
    if scores.dim() != 2 or not scores.numel():
        raise ValueError(
            f"retainment: scores must be [N, K + 1] and not empty, got {tuple(scores.shape)}; "
            "pass the second result of DAGNN(..., return_retainment_scores=True)"
        )
    values = scores.detach().cpu().double()
    hops = range(values.shape[1])

    def draw(axes: "Axes") -> None:
        low, high = values.quantile(0.25, dim=0), values.quantile(0.75, dim=0)
        axes.fill_between(hops, low, high, color=COLOR, alpha=0.2, lw=0, label="middle half")
        axes.plot(hops, values.mean(0), color=COLOR, marker="o", ms=4, label="mean over nodes")
        axes.set(xlabel="hop k", ylabel="retainment score", title=title, ylim=(0, 1))
        axes.legend(frameon=False)

    return _figure(draw, path)


def depth(accuracy: Mapping[int, Sequence[float]], path: str | Path, title: str = "") -> Path:
    """Draws test accuracy against the number of hops, mean and one standard deviation over seeds.

    Args:
        accuracy: number of hops -> accuracies of the seeds, as fractions.
        path: image file to write; the suffix chooses the format.
        title: above the figure.

    Returns:
        The path written.

    Raises:
        ValueError: if ``accuracy`` is empty.
    """
    if not accuracy:
        raise ValueError("depth: accuracy is empty; pass at least one number of hops")
    hops = sorted(accuracy)
    means = [100 * mean(accuracy[k]) for k in hops]
    spread = [100 * stdev(accuracy[k]) if len(accuracy[k]) > 1 else 0.0 for k in hops]

    def draw(axes: "Axes") -> None:
        axes.errorbar(hops, means, spread, color=COLOR, marker="o", ms=4, capsize=3)
        axes.set_xscale("log")
        axes.set_xticks(hops, [str(k) for k in hops])
        axes.minorticks_off()
        axes.set(xlabel="number of hops K", ylabel="test accuracy (%)", title=title)

    return _figure(draw, path)


def _figure(draw: Callable[["Axes"], None], path: str | Path) -> Path:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed; run: pip install 'graphseq[plot]'"
        ) from error
    figure = Figure(figsize=(6, 3.6), layout="constrained")  # no pyplot: no global state, no window
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    return path
