"""``graphseq predict``: scores for pairs of nodes, from a trained run or from an edge list."""

import csv
import io
from pathlib import Path

import torch
from torch import Tensor

from graphseq.cli.link_scores import score_pairs
from graphseq.cli.options import Predict
from graphseq.cli.own_run import OwnGraph, is_own, own_folder, places, train
from graphseq.files import atomic_write_text
from graphseq.graph.data.id_tables import read_id_table
from graphseq.graph.data.node_ids import NodeIds
from graphseq.graph.tasks import ForwardLinkLearning, LinkPrediction
from graphseq.training.task import Task

ROWS = 1 << 16
"""Rows turned into text at a time."""


def predict(source: Path, options: Predict, command: str) -> Path:
    """Scores the pairs of a file; returns the file written.

    Everything that can be wrong with the files is found before anything is trained.

    Args:
        source: folder of a finished link prediction run, or a file of edges, on which ``ncn_own``
            is trained first (into ``runs/NAME-HASH``, going on if it was interrupted).
        options: what to score and where to write.
        command: the command line, for the record of a training.

    Raises:
        FileNotFoundError: ``source`` or the file of pairs is missing.
        ValueError: the run is not one of link prediction, a file is broken, or a pair has an id
            that is no node.
    """
    pairs_file = Path(options.pairs)
    if not pairs_file.is_file():
        raise FileNotFoundError(f"predict: --pairs names {pairs_file}, which is no file")
    if not source.exists():
        raise FileNotFoundError(
            f"predict: there is neither a file nor a folder {source}; give an edge list, two ids "
            "per line, or the folder of a finished run"
        )
    if options.out.is_dir():
        raise ValueError(f"predict: --out {options.out} is a folder; name a file")
    table = read_id_table(pairs_file)
    folder = source
    if source.is_file():
        graph = OwnGraph(source, options.features)
        graph.nodes.numbers(table, str(pairs_file))
        folder = options.run or own_folder(source)
        train(graph, folder, options, command)
    task = _restored(folder, options)
    nodes = _nodes_of(folder, task.data.num_nodes)
    pairs = torch.from_numpy(nodes.numbers(table, str(pairs_file)))
    scores, known = score_pairs(task, pairs, options.device)
    _write(options.out, nodes, pairs, scores, known)
    return options.out


def _restored(folder: Path, options: Predict) -> LinkPrediction | ForwardLinkLearning:
    """The trained task, with the folder's own links where it has some."""
    from graphseq.training.replay import experiment_of, finished_seeds, restore

    experiment = experiment_of(folder, options.experiment)
    seed = min(finished_seeds(folder)) if options.seed is None else options.seed
    task: Task = restore(folder, experiment, seed, places(folder, options.features)).eval()
    if not isinstance(task, LinkPrediction | ForwardLinkLearning):
        raise ValueError(
            f"predict: {folder} is a run of {type(task).__name__}; pairs are scored by runs of "
            "link prediction, such as ncn_cora or forward_link_ce_cora_ml"
        )
    return task


def _nodes_of(folder: Path, num_nodes: int) -> NodeIds:
    """The user's ids; 0 .. N-1 where the run was not made from an edge list by this command."""
    if is_own(folder):
        return NodeIds.load(folder / "nodes.csv")
    return NodeIds([str(number) for number in range(num_nodes)])


def _write(path: Path, nodes: NodeIds, pairs: Tensor, scores: Tensor, known: Tensor) -> None:
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
        writer.writerows(
            [nodes.ids[i], nodes.ids[j], f"{score:.6g}", int(link)] for i, j, score, link in rows
        )
    atomic_write_text(path, text.getvalue())
