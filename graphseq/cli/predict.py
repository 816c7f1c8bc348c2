"""``graphseq predict``: scores for pairs of nodes, from a trained run or from an edge list."""

import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphseq.cli.options import Predict
from graphseq.files import atomic_write_text
from graphseq.graph.data import LinkData
from graphseq.graph.data.text_tables import line_of_row, read_numbers
from graphseq.graph.ops import LinkRemoval, is_edge
from graphseq.graph.tasks import LinkPrediction

OWN = "ncn_own"
"""The shipped experiment that an edge list is trained with."""

ROWS = 1 << 16
"""Rows turned into text at a time."""


def predict(source: Path, options: Predict, command: str) -> Path:
    """Scores the pairs of a file; returns the file written.

    Args:
        source: folder of a finished link prediction run, or a file of edges, on which
            ``ncn_own`` is trained first (into ``runs/NAME``, going on if it was interrupted).
        options: what to score and where to write.
        command: the command line, for the record of a training.

    Raises:
        FileNotFoundError: ``source`` or the file of pairs is missing.
        ValueError: the run is not one of link prediction, or a pair is out of range.
    """
    from graphseq.training.replay import experiment_of, finished_seeds, restore

    pairs_file = Path(options.pairs)
    if not pairs_file.is_file():
        raise FileNotFoundError(f"predict: --pairs names {pairs_file}, which is no file")
    folder = _trained_on(source, options, command) if source.is_file() else source
    experiment = experiment_of(folder, options.experiment)
    seed = min(finished_seeds(folder)) if options.seed is None else options.seed
    task = restore(folder, experiment, seed).eval()
    if not isinstance(task, LinkPrediction):
        raise ValueError(
            f"predict: {folder} is a run of {type(task).__name__}; pairs are scored by runs of "
            "link prediction, such as ncn_cora"
        )
    pairs = _read_pairs(pairs_file, task.data.num_nodes)
    scores, known = _score(task, pairs, options.device)
    _write(options.out, pairs, scores, known)
    return options.out


def _trained_on(edges: Path, options: Predict, command: str) -> Path:
    """The folder of a run on an edge list, trained if it is not there yet."""
    from graphseq.training.catalog import pick, shipped
    from graphseq.training.run import run
    from graphseq.training.settings import with_leaves

    values: dict[str, object] = {"data.edges": str(edges)}
    if options.features is not None:
        values["data.features"] = str(options.features)
    experiment = with_leaves(pick(shipped(), OWN), values)
    folder = options.run or Path("runs", edges.name.partition(".")[0])
    run(
        experiment,
        [options.seed or 0],
        out=folder,
        device=options.device,
        resume=True,
        command=command,
    )
    return folder


def _read_pairs(path: Path, num_nodes: int) -> Tensor:
    """``[2, B]`` from a table of two columns."""
    table = read_numbers(path, np.int64, columns=2)
    outside = ((table < 0) | (table >= num_nodes)).any(axis=1)
    if outside.any():
        row = int(outside.argmax())
        raise ValueError(
            f"{path}, line {line_of_row(path, row)}: pair {table[row, 0]}, {table[row, 1]}, but "
            f"the graph has nodes 0 to {num_nodes - 1}"
        )
    return torch.from_numpy(table.T.copy())


@torch.no_grad()
def _score(task: LinkPrediction, pairs: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """Probability of each pair, and whether it is a link already, given all links of the data."""
    data: LinkData = task.data.to(device)
    links = torch.cat([data.train, data.val, data.test], dim=1)
    graph = LinkRemoval(links, data.num_nodes).adjacency
    pairs = pairs.to(device)
    logits = task.model.to(device)(data.x, graph, pairs)
    return logits.sigmoid().cpu(), is_edge(graph.csr, pairs).cpu()


def _write(path: Path, pairs: Tensor, scores: Tensor, known: Tensor) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "target", "probability", "known"])
    # A row takes ten times as much memory as numbers of Python than as tensors or as text.
    for columns in zip(
        pairs[0].split(ROWS),
        pairs[1].split(ROWS),
        scores.split(ROWS),
        known.split(ROWS),
        strict=True,
    ):
        rows = zip(*(column.tolist() for column in columns), strict=True)
        writer.writerows([i, j, f"{score:.6g}", int(link)] for i, j, score, link in rows)
    atomic_write_text(path, text.getvalue())
