"""Where graphs come from: datasets, splits, and a user's own files."""

from graphseq.graph.data.digits import digits
from graphseq.graph.data.digits_links import digits_links
from graphseq.graph.data.fixed_links import five_link_splits
from graphseq.graph.data.folds import five_folds, split_by_fold
from graphseq.graph.data.github import github
from graphseq.graph.data.heart import heart_links
from graphseq.graph.data.link_data import LinkData
from graphseq.graph.data.link_splits import draw_links, draw_non_links
from graphseq.graph.data.node_data import NodeData
from graphseq.graph.data.npz_graphs import amazon, citation_full, coauthor
from graphseq.graph.data.ogb_links import ogbl_citation2, ogbl_collab, ogbl_ddi, ogbl_ppa
from graphseq.graph.data.ogb_nodes import ogbn_arxiv
from graphseq.graph.data.own_files import graph_from_files
from graphseq.graph.data.own_graph import graph_from_arrays
from graphseq.graph.data.own_link_files import links_from_files
from graphseq.graph.data.own_links import links_from_arrays
from graphseq.graph.data.planetoid import planetoid
from graphseq.graph.data.planetoid_links import planetoid_links
from graphseq.graph.data.splits import (
    Split,
    largest_component,
    split_by_fractions,
    split_component,
    split_per_class,
    split_per_class_and_counts,
)

__all__ = [
    "LinkData",
    "NodeData",
    "Split",
    "amazon",
    "citation_full",
    "coauthor",
    "digits",
    "digits_links",
    "draw_links",
    "draw_non_links",
    "five_folds",
    "five_link_splits",
    "github",
    "graph_from_arrays",
    "graph_from_files",
    "heart_links",
    "largest_component",
    "links_from_arrays",
    "links_from_files",
    "ogbl_citation2",
    "ogbl_collab",
    "ogbl_ddi",
    "ogbl_ppa",
    "ogbn_arxiv",
    "planetoid",
    "planetoid_links",
    "split_by_fold",
    "split_by_fractions",
    "split_component",
    "split_per_class",
    "split_per_class_and_counts",
]
