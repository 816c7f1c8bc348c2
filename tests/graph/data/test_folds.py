"""Five folds: against scikit-learn, and over the seeds a partition of the nodes."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import KFold, train_test_split
from torch_geometric.transforms import NormalizeFeatures

from graphseq.graph.csr import CSR
from graphseq.graph.data import amazon, citation_full, five_folds, split_by_fold

pytestmark = pytest.mark.usefixtures("generators_untouched")


def test_parts_are_those_of_scikit_learn():
    y = torch.arange(1003) % 4
    folds = KFold(n_splits=5, shuffle=True, random_state=101).split(np.zeros(1003))
    for fold, (others, test) in enumerate(folds):
        train, val = train_test_split(others, test_size=0.2, random_state=127 * fold)
        split = split_by_fold(y, fold=fold)
        for part, expected in zip(split, (train, val, test), strict=True):
            assert part.dtype == torch.int64
            assert part.tolist() == sorted(expected)


@pytest.mark.parametrize("num_folds", [2, 5, 8])
def test_folds_partition_the_labelled_nodes(num_folds):
    y = torch.arange(400) % 3
    y[torch.tensor([0, 7, 250])] = -1
    splits = [split_by_fold(y, fold=fold, num_folds=num_folds) for fold in range(num_folds)]
    labelled = (y >= 0).nonzero()[:, 0]
    for split in splits:
        assert torch.equal(torch.cat(split).sort().values, labelled)  # disjoint, and all
    tested = torch.cat([split.test for split in splits])
    assert torch.equal(tested.sort().values, labelled)
    again = split_by_fold(y, fold=1, num_folds=num_folds)
    assert all(torch.equal(a, b) for a, b in zip(again, splits[1], strict=True))


@pytest.mark.parametrize("num_nodes", [10, 100, 5000])
def test_sizes(num_nodes):
    split = split_by_fold(torch.zeros(num_nodes, dtype=torch.int64), fold=3)
    sizes = [part.numel() / num_nodes for part in split]
    assert sizes == pytest.approx([0.64, 0.16, 0.2], abs=0.6 / num_nodes)


@pytest.mark.parametrize("num_nodes", range(4, 14))
def test_no_part_is_ever_empty(num_nodes):
    y = torch.zeros(num_nodes, dtype=torch.int64)
    for num_folds in range(2, num_nodes // 2 + 1):
        for fold in range(num_folds):
            split = split_by_fold(y, fold=fold, num_folds=num_folds)
            assert min(part.numel() for part in split) > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fold": 5}, "fold must be in 0 .. 4, got 5"),
        ({"fold": -1}, "fold must be in 0 .. 4, got -1"),
        ({"fold": 0, "num_folds": 1}, "num_folds must be in 2 .. 10, two of the 20 labelled nodes"),
        ({"fold": 0, "num_folds": 11}, "num_folds must be in 2 .. 10"),
    ],
)
def test_impossible_folds_say_why(options, words):
    y = torch.zeros(22, dtype=torch.int64)
    y[:2] = -1
    with pytest.raises(ValueError, match=r"^split_by_fold: ") as caught:
        split_by_fold(y, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_graph_written_by_the_test(npz_graph, tmp_path, dense):
    arrays, write = npz_graph
    write(arrays)
    root = str(tmp_path / "data")
    data = [five_folds("Photo", seed=seed, root=root) for seed in range(5)]
    theirs = amazon("Photo", root=root)
    tested = torch.cat([fold.test for fold in data])
    assert torch.equal(tested.sort().values, torch.arange(700))
    for seed, fold in enumerate(data):
        assert isinstance(fold.x, CSR)
        assert torch.equal(dense(fold.x), dense(theirs.x))
        assert torch.equal(fold.adjacency.edge_index, theirs.adjacency.edge_index)
        assert torch.equal(fold.y, theirs.y)
        assert (fold.num_classes, fold.name) == (4, "Photo")
        expected = split_by_fold(theirs.y, fold=seed)
        assert all(torch.equal(fold.splits[k], v) for k, v in expected._asdict().items())
    assert len({fold.fingerprint for fold in data}) == 5
    assert data[2].fingerprint == five_folds("Photo", seed=2, root=root).fingerprint
    raw = five_folds("Photo", root=root, normalize=False, sparse=False)
    assert isinstance(raw.x, torch.Tensor)
    torch.testing.assert_close(dense(data[0].x), NormalizeFeatures()(raw.to_pyg()).x)


def test_a_class_may_be_smaller_than_other_splits_need(npz_graph, tmp_path):
    arrays, write = npz_graph
    few = np.where(np.arange(700) < 3, 0, 1)
    write({**arrays, "labels": few})
    root = str(tmp_path / "data")
    assert five_folds("Photo", root=root).num_classes == 2
    with pytest.raises(ValueError, match="class 0 has"):
        amazon("Photo", root=root)


def test_wrong_choices_and_missing_files_are_named(tmp_path):
    root = str(tmp_path)
    with pytest.raises(ValueError, match=r"five_folds: name must be one of Cora_ML.* got 'Cora'"):
        five_folds("Cora", root=root)
    for seed in (-1, 5):
        with pytest.raises(ValueError, match=rf"five_folds: seed must be in 0 \.\. 4.* got {seed}"):
            five_folds("Photo", seed=seed, root=root)
    places = {
        "PubMed": "citationfull/pubmed/raw/pubmed.npz",
        "Photo": "amazon/Photo/raw/amazon_electronics_photo.npz",
        "GitHub": "github/raw/github.npz",
    }
    for name, place in places.items():
        with pytest.raises(FileNotFoundError, match=f"{place}.*download=True"):
            five_folds(name, root=root)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "nodes", "edges", "features", "classes", "load"),
    [
        ("Cora_ML", 2995, 16316, 2879, 7, citation_full),
        ("CiteSeer", 4230, 10674, 602, 6, citation_full),
        ("Photo", 7650, 238162, 745, 8, amazon),
    ],
)
def test_the_real_graphs(name, nodes, edges, features, classes, load):
    data = [five_folds(name, seed=seed) for seed in range(5)]
    for fold in data:
        assert (fold.num_nodes, fold.adjacency.num_edges) == (nodes, edges)
        assert fold.dims == {"in_channels": features, "out_channels": classes}
        assert torch.cat(list(fold.splits.values())).numel() == nodes
        assert abs(fold.val.numel() / nodes - 0.16) < 1e-3
        assert abs(fold.test.numel() / nodes - 0.2) < 1e-3
    tested = torch.cat([fold.test for fold in data])
    assert torch.equal(tested.sort().values, torch.arange(nodes))
    theirs = load(name)
    assert torch.equal(data[0].x.value, theirs.x.value)
    assert torch.equal(data[0].x.col, theirs.x.col)
    assert torch.equal(data[0].y, theirs.y)
