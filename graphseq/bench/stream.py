"""Milliseconds and memory per token, from the 100th token to the 100,000th.

Every mixer of :mod:`graphseq.sequence.nn` that streams with a constant state, with 64 channels and
otherwise its defaults, and softmax attention with its cache. Each reads every token by ``step``,
one sequence on one thread, without gradients. At each token that is reported all mixers stand side
by side, and a row is the median of a window of steps made in turn. Attention, whose step costs as
much as there is to read, stops at 10,000 tokens; later rows of it are empty.

No speed is reported unless the outputs of the first steps agree with those of the parallel form in
float64.
"""

import copy
import csv
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

import graphseq.sequence.nn as layers
from graphseq.bench.timing import Row, lone_row, max_error, refuse_disagreement
from graphseq.files import atomic_write, atomic_write_text
from graphseq.sequence.nn import Mixer, SoftmaxAttention

WIDTH = 64
TOKENS = (100, 1000, 10_000, 100_000)
FIGURE_TOKENS = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
CACHED_TOKENS = 10_000
"""Where attention stops."""
WINDOW = 100
CHECKED = 64
"""Steps that are compared with the parallel form."""
TOLERANCE = 1e-4  # float32, relative to the largest output
COLUMNS = ("op", "token", "ms", "state_bytes")


def rows(
    case: str | None = None, tokens: Sequence[int] = TOKENS, window: int = WINDOW
) -> list[Row]:
    """Streams one mixer or all of them, up to the last of the tokens.

    Args:
        case: name of a mixer's class.
        tokens: numbers of tokens after which to report, increasing.
        window: number of steps up to a token, this one included, whose median is reported.

    Raises:
        ValueError: if there is no such case, tokens do not increase, or outputs are wrong.
    """
    known = cases()
    if case is not None and case not in known:
        raise ValueError(f"bench stream: no case {case!r}; there are {', '.join(known)}")
    if window < 1 or sorted({0, *tokens}) != [0, *tokens]:
        raise ValueError(
            f"bench stream: tokens are {tuple(tokens)} and window is {window}; pass increasing "
            "numbers of tokens, and a window of 1 or more"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a step is too small to share
    try:
        streams = [_Streamed(kind) for name, kind in known.items() if case in (None, name)]
        found = [row for token in tokens for row in _at(streams, token, window)]
    finally:
        torch.set_num_threads(threads)
    names = list(known)
    return sorted(found, key=lambda row: names.index(row["op"]))  # tokens of one mixer together


def cases() -> dict[str, type[Mixer]]:
    """Name -> class, attention last."""
    kinds = [kind for kind in vars(layers).values() if isinstance(kind, type)]
    found = {k.__name__: k for k in kinds if issubclass(k, Mixer) and k is not Mixer}
    constant = {n: k for n, k in sorted(found.items()) if k.streams and k.constant_state}
    return constant | {SoftmaxAttention.__name__: SoftmaxAttention}


def figure(
    path: str | Path, curve: str | Path | None = None, tokens: Sequence[int] = FIGURE_TOKENS
) -> Path:
    """Streams all mixers and draws time and memory per token against the number of tokens.

    Args:
        path: image file to write.
        curve: CSV file of the same numbers; ``curves/NAME.csv`` beside the image where None.
        tokens: as of :func:`rows`.

    Returns:
        The path of the image.
    """
    path = Path(path)
    table = Path(curve) if curve is not None else path.parent / "curves" / f"{path.stem}.csv"
    measured = [row for row in rows(tokens=tokens) if row["ours_ms"] is not None]
    write_curve(measured, table)
    return draw(table, path)


def write_curve(measured: Sequence[Row], path: Path) -> None:
    """The rows as CSV."""
    lines = [",".join(COLUMNS)]
    lines += [
        f"{row['op']},{row['token']},{row['ours_ms']:.5f},{row['state_bytes']}" for row in measured
    ]
    atomic_write_text(path, "\n".join(lines) + "\n")


def draw(curve: str | Path, path: str | Path) -> Path:
    """Draws the figure from its CSV.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed; run: pip install 'graphseq[plot]'"
        ) from error
    with Path(curve).open(newline="") as file:
        lines = list(csv.DictReader(file))
    image, colors = Figure(figsize=(9, 4), layout="constrained"), colormaps["tab20"]
    FigureCanvasAgg(image)
    axes = image.subplots(1, 2)
    for i, name in enumerate(dict.fromkeys(line["op"] for line in lines)):
        own = [line for line in lines if line["op"] == name]
        style: dict[str, Any] = {"color": colors(i % 20), "marker": "o", "markersize": 3}
        if name == SoftmaxAttention.__name__:
            style |= {"color": "black", "linewidth": 2.5}
        token = [int(line["token"]) for line in own]
        axes[0].plot(token, [float(line["ms"]) for line in own], **style, label=name)
        axes[1].plot(token, [int(line["state_bytes"]) / 1024 for line in own], **style)
    for each, label in zip(axes, ("milliseconds per token", "state in KiB"), strict=True):
        each.set(xscale="log", yscale="log", xlabel="tokens read", ylabel=label)
        each.spines[["top", "right"]].set_visible(False)
    image.legend(loc="outside right center", frameon=False, fontsize="small")
    kind = Path(path).suffix.lstrip(".") or "png"
    atomic_write(Path(path), lambda file: image.savefig(file, format=kind, dpi=150))
    return Path(path)


def _at(streams: Sequence["_Streamed"], token: int, window: int) -> Iterator[Row]:
    """Reads up to a token, the last steps in turn, and reports there."""
    reading = [stream for stream in streams if token <= stream.limit]
    for stream in reading:
        stream.read(token - window)
    left = max((token - stream.count for stream in reading), default=0)
    times: dict[str, list[float]] = {stream.name: [] for stream in reading}
    for _ in range(left):
        for stream in reading:
            start = time.perf_counter()
            stream.advance()
            times[stream.name].append((time.perf_counter() - start) * 1e3)
    for stream in streams:
        case = f"token {token:,}"
        if stream not in reading:
            more = {"token": token, "state_bytes": None}
            yield lone_row(stream.name, f"{case}: stops at {stream.limit:,}", None, None, **more)
            continue
        stream.refuse_infinity()
        more = {"token": token, "state_bytes": stream.state.num_bytes}
        yield lone_row(stream.name, case, median(times[stream.name]), stream.error, **more)


class _Streamed:
    """A mixer with random weights, and what it has read of an endless random sequence."""

    def __init__(self, kind: type[Mixer]) -> None:
        self.name = kind.__name__
        self.limit = math.inf if kind.constant_state else CACHED_TOKENS
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.mixer = kind(WIDTH).eval()
            self.tokens = torch.randn(1024, 1, WIDTH)
        self.error = self.check()
        refuse_disagreement("stream", self.name, self.error, TOLERANCE)
        self.state, self.count, self.last = self.mixer.init_state(1), 0, self.tokens[0]

    @torch.no_grad()
    def check(self) -> float:
        """Disagreement of the first steps with all of them at once in float64."""
        x = self.tokens[:CHECKED]
        exact = copy.deepcopy(self.mixer).double()
        expected, _ = exact(x.transpose(0, 1).double())
        state, outputs = self.mixer.init_state(1), []
        for x_t in x:
            y_t, state = self.mixer.step(x_t, state)
            outputs.append(y_t)
        return max_error(torch.stack(outputs, 1), expected)

    def read(self, count: int) -> None:
        """Reads until it has read so many tokens."""
        while self.count < count:
            self.advance()

    @torch.no_grad()
    def advance(self) -> None:
        """Reads one token."""
        x_t = self.tokens[self.count % len(self.tokens)]  # [1, D]
        self.last, self.state = self.mixer.step(x_t, self.state)
        self.count += 1

    def refuse_infinity(self) -> None:
        """A state that ran away has no speed either.

        Raises:
            ValueError: if the last output is not finite.
        """
        error = 0.0 if bool(self.last.isfinite().all()) else math.inf
        refuse_disagreement("stream", f"{self.name} token {self.count:,}", error, TOLERANCE)
