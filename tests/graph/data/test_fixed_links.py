"""ForwardGNN's link splits: the counts of PyG's transform, no pair in two parts."""

import random

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import RandomLinkSplit

from graphseq.graph.csr import CSR
from graphseq.graph.data import five_folds, five_link_splits, link_splits

pytestmark = pytest.mark.usefixtures("generators_untouched")


def as_set(*parts):
    return {tuple(pair) for part in parts for pair in part.t().tolist()}


def check(data, edge_index):
    """The law of the split, of any size: parts of the links, as many non-links, none twice."""
    num = edge_index.shape[1] // 2
    val, test = int(0.16 * num), int(0.2 * num)
    sizes = {"train": num - val - test, "val": val, "test": test}
    for part, size in sizes.items():
        assert data.parts[part].shape == data.parts[f"{part}_negative"].shape == (2, size)
    links = as_set(*(data.parts[part] for part in sizes))
    negatives = as_set(*(data.parts[f"{part}_negative"] for part in sizes))
    assert (len(links), len(negatives)) == (num, num)
    assert not links & negatives
    assert links == {(a, b) for a, b in edge_index.t().tolist() if a < b}
    assert all(a < b for a, b in negatives)
    assert all(part.dtype == torch.int64 for part in data.parts.values())
    assert data.adjacency.num_edges == 2 * sizes["train"]
    assert data.metric == "auc"


def sizes_of_pyg(edge_index, num_nodes):
    state = random.getstate()  # PyG draws from Python's generator too
    with torch.random.fork_rng():
        split = RandomLinkSplit(num_val=0.16, num_test=0.2, is_undirected=True)
        parts = split(Data(edge_index=edge_index, num_nodes=num_nodes))
    random.setstate(state)
    return [int(part.edge_label.sum()) for part in parts] + [
        int((part.edge_label == 0).sum()) for part in parts
    ]


def sizes_of(data):
    return [
        data.parts[f"{part}{ending}"].shape[1]
        for ending in ("", "_negative")
        for part in ("train", "val", "test")
    ]


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_a_graph_written_by_the_test(npz_graph, tmp_path, dense, seed):
    arrays, write = npz_graph
    write(arrays)
    root = str(tmp_path / "data")
    data = five_link_splits("Photo", seed=seed, root=root)
    nodes = five_folds("Photo", root=root)
    check(data, nodes.adjacency.edge_index)
    assert sizes_of(data) == sizes_of_pyg(nodes.adjacency.edge_index, 700)
    assert isinstance(data.x, CSR)
    assert torch.equal(dense(data.x), dense(nodes.x))
    assert (data.num_nodes, data.name) == (700, "Photo")
    assert data.fingerprint == five_link_splits("Photo", seed=seed, root=root).fingerprint
    other = five_link_splits("Photo", seed=seed + 1, root=root)
    assert other.fingerprint != data.fingerprint
    assert as_set(other.train_negative) != as_set(data.train_negative)
    raw = five_link_splits("Photo", seed=seed, root=root, normalize=False, sparse=False)
    assert isinstance(raw.x, torch.Tensor)
    assert raw.x.max() == 1
    assert raw.fingerprint == data.fingerprint


def test_counts_are_whole_without_help():
    """draw_links rounds up what lies a hair below a whole number; here nothing ever does."""
    hair = link_splits._ROUNDING
    for num in range(1, 300_000, 25):
        for size in range(num, num + 25):
            assert int(0.16 * size) == int(0.16 * size + hair)
            assert int(0.2 * size) == int(0.2 * size + hair)


def test_wrong_choices_and_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="name must be one of Cora_ML"):
        five_link_splits("Cora", root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"github/raw/github\.npz.*download=True"):
        five_link_splits("GitHub", root=str(tmp_path))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_links", "val", "test"),
    [
        ("Cora_ML", 8158, 1305, 1631),
        ("CiteSeer", 5337, 853, 1067),
        ("Photo", 119081, 19052, 23816),
    ],
)
def test_the_real_graphs(name, num_links, val, test):
    data = five_link_splits(name)
    edge_index = five_folds(name).adjacency.edge_index
    assert edge_index.shape[1] == 2 * num_links
    assert sizes_of(data) == 2 * [num_links - val - test, val, test]
    assert sizes_of(data) == sizes_of_pyg(edge_index, data.num_nodes)
    check(data, edge_index)
