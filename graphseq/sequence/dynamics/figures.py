"""Figures of mixers as dynamical systems. They need matplotlib: ``pip install graphseq[plot]``."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from graphseq.sequence.dynamics import measures
from graphseq.sequence.dynamics.to_dynamics import to_dynamics
from graphseq.sequence.nn import Mixer
from graphseq.training.figures import COLOR, STYLES, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES: list[dict[str, Any]] = [  # further lines, told apart without colours as well
    *STYLES,
    {"color": "#7a4fa3", "marker": "D", "linestyle": "-."},
    {"color": "#b3294a", "marker": "v"},
    {"color": "#4a4a4a", "marker": "x", "linestyle": "--"},
    {"color": "#0f8a8a", "marker": "P", "linestyle": ":"},
]
_LINES = 40  # eigenvalues that a panel shows; more would be one dark area
_FLOOR = 1e-4  # below it the axis of a memory ends: what is next to nothing would take all of it
_GRAY: dict[str, Any] = {"color": "#999999", "lw": 0.8}


def eigenvalues(
    mixers: Mapping[str, Mixer], u: Tensor, path: str | Path, *, title: str = ""
) -> Path:
    """Draws the moduli of the eigenvalues of Lambda_i along the first sequence, one panel a mixer.

    Each line is an eigenvalue; of more than 40 every second, third, ... is drawn. Step 0 is left
    out, where Lambda meets no state. The axis is logarithmic, since what is left of a state is a
    product; a gray line marks 1.

    Args:
        mixers: name -> mixer.
        u: inputs ``[B, T, D]``.
        path: image file to write; the suffix chooses the format.
        title: above the figure.

    Returns:
        The path written.

    Raises:
        ValueError: there is no mixer, fewer than two steps, or :func:`to_dynamics` refuses.
        ImportError: matplotlib is not installed.
    """
    _check("eigenvalues", mixers, u)
    with torch.no_grad():
        curves = {
            name: measures.eigenvalues(to_dynamics(mixer, u[:1]))[0, 1:].cpu()
            for name, mixer in mixers.items()
        }
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)

    def draw(axes: "Axes") -> None:
        figure = axes.get_figure(root=True)
        assert figure is not None
        axes.remove()
        figure.set_size_inches(2.3 * columns + 0.4, 1.7 * rows + 0.5)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for panel, (name, moduli) in zip(panels.flat, curves.items(), strict=False):
            panel.spines[["top", "right"]].set_visible(False)
            shown = moduli[:, :: -(-moduli.shape[1] // _LINES)]
            alpha = max(0.3, 1 / shown.shape[1])
            panel.axhline(1.0, **_GRAY)
            panel.plot(range(1, len(shown) + 1), shown, color=COLOR, alpha=alpha, lw=1)
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")
            panel.set_title(name, fontsize=9)
        for panel in list(panels.flat)[len(curves) :]:
            panel.set_visible(False)
        figure.supxlabel("step i", fontsize=9)
        figure.supylabel("moduli of the eigenvalues of $\\Lambda_i$", fontsize=9)
        if title:
            figure.suptitle(title, fontsize=10)

    return save_figure(draw, path)


def memory(mixers: Mapping[str, Mixer], u: Tensor, path: str | Path, *, title: str = "") -> Path:
    """Draws how much later outputs have of the first input.

    That is the norm of ``Phi_{t,0}`` in units of that of ``Phi_{1,0}``, both the root mean square
    over the batch, against t. Both axes are logarithmic and the vertical one ends at 1e-4. A gray
    line is the same of a mean of all steps, of which the first one is 1 / (t + 1).

    Args:
        mixers: name -> mixer.
        u: inputs ``[B, T, D]``.
        path: image file to write; the suffix chooses the format.
        title: above the figure.

    Returns:
        The path written.

    Raises:
        ValueError: there is no mixer, fewer than two steps, or :func:`to_dynamics` refuses.
        ImportError: matplotlib is not installed.
    """
    _check("memory", mixers, u)
    curves = {}
    for name, mixer in mixers.items():
        with torch.no_grad():
            norms = measures.memory(to_dynamics(mixer, u)).square().mean(0).sqrt()[1:].cpu()
        curves[name] = norms / norms[0]

    def draw(axes: "Axes") -> None:
        time = max(map(len, curves.values()))
        mean = [2 / (t + 1) for t in range(1, time + 1)]
        axes.plot(range(1, time + 1), mean, **_GRAY, label="mean of all steps")
        for (name, curve), style in zip(curves.items(), cycle(_STYLES), strict=False):
            steps, marks = range(1, len(curve) + 1), _sparse(len(curve))
            axes.plot(steps, curve, **style, lw=1.2, ms=4, markevery=marks, label=name)
        low, high = min(map(_smallest, curves.values())), max(map(_largest, curves.values()))
        axes.set(xscale="log", yscale="log", xlabel="step t", title=title)
        axes.set_ylim(0.7 * max(low, _FLOOR), 1.5 * high)
        axes.set_ylabel("$\\|\\Phi_{t,0}\\| \\ / \\ \\|\\Phi_{1,0}\\|$")
        ticks = [2**k for k in range(time.bit_length())]
        axes.set_xticks(ticks, [str(t) for t in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))

    return save_figure(draw, path)


def _smallest(curve: Tensor) -> float:
    return curve.min().item()


def _largest(curve: Tensor) -> float:
    return curve.max().item()


def _sparse(count: int) -> list[int]:
    """Places of markers that are about even on a logarithmic axis."""
    places = torch.logspace(0, torch.tensor(float(count)).log10().item(), 10).round().long()
    return sorted({int(p) - 1 for p in places})


def _check(where: str, mixers: Mapping[str, Mixer], u: Tensor) -> None:
    if not mixers or u.dim() != 3 or u.shape[0] < 1 or u.shape[1] < 2:
        raise ValueError(
            f"{where}: got {len(mixers)} mixers and u of shape {tuple(u.shape)}; pass one mixer or "
            "more, and [B, T, D] with a sequence and two steps or more"
        )
