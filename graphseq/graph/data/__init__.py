"""Where graphs come from: datasets, splits, and a user's own files."""

from graphseq.graph.data.digits import digits
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.npz_graphs import amazon, citation_full, coauthor
from graphseq.graph.data.ogb_nodes import ogbn_arxiv
from graphseq.graph.data.own_files import graph_from_files
from graphseq.graph.data.own_graph import graph_from_arrays
from graphseq.graph.data.planetoid import planetoid
from graphseq.graph.data.splits import (
    Split,
    largest_component,
    split_by_fractions,
    split_component,
    split_per_class,
    split_per_class_and_counts,
)

__all__ = [
    "NodeData",
    "Split",
    "amazon",
    "citation_full",
    "coauthor",
    "digits",
    "graph_from_arrays",
    "graph_from_files",
    "largest_component",
    "ogbn_arxiv",
    "planetoid",
    "split_by_fractions",
    "split_component",
    "split_per_class",
    "split_per_class_and_counts",
]
