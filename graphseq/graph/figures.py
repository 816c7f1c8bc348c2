"""Figures of graph models. They need matplotlib: ``pip install graphseq[plot]``."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from graphseq.training.figures import COLOR, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        ImportError: matplotlib is not installed.
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

    return save_figure(draw, path)
