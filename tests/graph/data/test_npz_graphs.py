"""Amazon, Coauthor and CitationFull: against the arrays in the file, and against PyG."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from graphseq.files import sha256_of
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.data import amazon, citation_full, coauthor, largest_component
from graphseq.graph.data.npz_graphs import AMAZON, COAUTHOR, SHA256, read_npz_graph

pytestmark = pytest.mark.usefixtures("generators_untouched")


def matrix(arrays, kind):
    parts = (arrays[f"{kind}_data"], arrays[f"{kind}_indices"], arrays[f"{kind}_indptr"])
    return csr_matrix(parts, shape=arrays[f"{kind}_shape"]).toarray()


def test_graph_is_undirected_simple_and_binary(npz_graph, tmp_path, dense):
    arrays, write = npz_graph
    write(arrays)
    data = amazon(name="Photo", root=str(tmp_path / "data"), normalize=False)
    expected = (matrix(arrays, "adj") + matrix(arrays, "adj").T) != 0
    np.fill_diagonal(expected, False)
    assert data.adjacency.csr.value is None
    np.testing.assert_array_equal(data.adjacency.csr.to_dense().numpy(), expected)
    np.testing.assert_array_equal(dense(data.x).numpy(), matrix(arrays, "attr") > 0)
    np.testing.assert_array_equal(data.y.numpy(), arrays["labels"])


def test_features_normalised(npz_graph, tmp_path, dense):
    arrays, write = npz_graph
    write(arrays)
    root = str(tmp_path / "data")
    sparse, full = (amazon(name="Photo", root=root, sparse=sparse) for sparse in (True, False))
    assert torch.equal(dense(sparse.x), full.x)
    positive = torch.from_numpy(matrix(arrays, "attr") > 0).float()
    expected = positive / positive.sum(dim=1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(full.x, expected)


@pytest.mark.parametrize("lcc", ["fixed", "paper", None])
def test_splits(npz_graph, tmp_path, lcc):
    arrays, write = npz_graph
    write(arrays)
    data = amazon(name="Photo", root=str(tmp_path / "data"), lcc=lcc)
    component = largest_component(data.adjacency)
    assert component.numel() < data.num_nodes  # or the three would be the same
    counts = torch.bincount(data.y[data.train], minlength=4).tolist()
    everyone = torch.cat([data.train, data.val, data.test]).sort().values
    if lcc == "fixed":
        assert counts == [20] * 4
        assert torch.equal(everyone, component)
    elif lcc == "paper":
        assert counts != [20] * 4
        assert torch.equal(everyone, torch.arange(component.numel()))
    else:
        assert counts == [20] * 4
        assert torch.equal(everyone, torch.arange(data.num_nodes))
    other = amazon(name="Photo", root=str(tmp_path / "data"), lcc=lcc, seed=1)
    assert other.fingerprint != data.fingerprint


def test_damaged_and_incomplete_files_are_named(npz_graph, tmp_path):
    arrays, write = npz_graph
    path = write(arrays)
    root, whole = str(tmp_path / "data"), path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"photo\.npz is not a complete npz file"):
        amazon(name="Photo", root=root)
    write({key: value for key, value in arrays.items() if key != "attr_indptr"})
    with pytest.raises(ValueError, match=r"photo\.npz holds no array 'attr_indptr'"):
        amazon(name="Photo", root=root)
    write({**arrays, "adj_indices": arrays["adj_indices"] + 10_000})
    with pytest.raises(ValueError, match=r"photo\.npz holds a damaged adj matrix"):
        amazon(name="Photo", root=root)
    write({**arrays, "labels": arrays["labels"][:-1]})
    with pytest.raises(ValueError, match=r"photo\.npz holds labels of shape \(699,\)"):
        amazon(name="Photo", root=root)
    write({**arrays, "labels": np.array([{}] * 700, dtype=object)})
    with pytest.raises(ValueError, match=r"photo\.npz"):
        amazon(name="Photo", root=root)
    half = {key: arrays[f"adj_{key[5:]}"] for key in arrays if key.startswith("attr_")}
    write({**arrays, **half, "attr_indptr": half["attr_indptr"][:-9], "attr_shape": [691, 700]})
    with pytest.raises(ValueError, match=r"\(700, 700\) adjacency with \(691, 700\) features"):
        amazon(name="Photo", root=root)


@pytest.mark.parametrize(
    ("call", "relative"),
    [
        (lambda **o: amazon(name="Computers", **o), "amazon_electronics_computers.npz"),
        (lambda **o: coauthor(name="CS", **o), "coauthor/CS/raw/ms_academic_cs.npz"),
        (lambda **o: coauthor(name="Physics", **o), "coauthor/Physics/raw/ms_academic_phy.npz"),
        (lambda **o: citation_full(name="Cora_ML", **o), "citationfull/cora_ml/raw/cora_ml.npz"),
    ],
)
def test_missing_file_says_where_it_belongs(tmp_path, call, relative):
    with pytest.raises(FileNotFoundError) as caught:
        call(root=str(tmp_path))
    assert relative in str(caught.value)
    assert "download=True, on a command line --data.download (https://" in str(caught.value)


def test_download_is_checked_by_its_hash(npz_graph, tmp_path, monkeypatch):
    arrays, write = npz_graph
    served = write(arrays).read_bytes()
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path / "nothing"))
    (tmp_path / "nothing").mkdir()
    monkeypatch.setattr("graphseq.files.download._chunks", lambda *_: [served])
    calls = [(amazon, AMAZON), (coauthor, COAUTHOR), (citation_full, ("Cora_ML", "CiteSeer"))]
    for load, names in calls:
        for name in names:
            with pytest.raises(ValueError, match=r"has sha256 .* nothing was kept"):
                load(name=name, download=True)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    monkeypatch.setitem(SHA256, "amazon_electronics_photo", hashlib.sha256(served).hexdigest())
    assert amazon(name="Photo", download=True).num_nodes == 700


@pytest.mark.real_data
@pytest.mark.parametrize("stem", SHA256)
def test_known_hashes_are_those_of_the_real_files(data_root, stem):
    (path,) = (path for path in data_root.glob(f"*/*/raw/{stem}.npz"))
    assert sha256_of(path) == SHA256[stem]


def test_wrong_choices_are_named(npz_graph, tmp_path):
    with pytest.raises(ValueError, match="amazon: name must be one of Computers, Photo"):
        amazon(name="photo")
    with pytest.raises(ValueError, match="coauthor: name must be one of CS, Physics"):
        coauthor(name="Math")
    with pytest.raises(ValueError, match="citation_full: name must be one of Cora, Cora_ML"):
        citation_full(name="cora_ml")
    arrays, write = npz_graph
    write(arrays)
    with pytest.raises(ValueError, match="lcc must be 'fixed', 'paper' or None, got 'no'"):
        amazon(name="Photo", lcc="no", root=str(tmp_path / "data"))


REAL = [
    # load, folder, file, nodes, edges, features, classes
    (amazon, "Computers", 13752, 491722, 767, 10),
    (amazon, "Photo", 7650, 238162, 745, 8),
    (coauthor, "CS", 18333, 163788, 6805, 15),
    (coauthor, "Physics", 34493, 495924, 8415, 5),
    (citation_full, "Cora_ML", 2995, 16316, 2879, 7),
    (citation_full, "CiteSeer", 4230, 10674, 602, 6),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("load", "name", "nodes", "edges", "features", "classes"), REAL)
def test_published_sizes(load, name, nodes, edges, features, classes):
    data = load(name=name)
    assert (data.num_nodes, data.adjacency.num_edges) == (nodes, edges)
    assert data.dims == {"in_channels": features, "out_channels": classes}
    assert data.adjacency.is_symmetric
    assert not (data.adjacency.edge_index[0] == data.adjacency.edge_index[1]).any()
    assert torch.bincount(data.y[data.train]).tolist() == [20] * classes
    assert torch.bincount(data.y[data.val]).tolist() == [30] * classes
    sums = torch.zeros(nodes, dtype=torch.float64)
    sums.index_add_(0, data.x.row, data.x.value.double())
    assert ((sums - 1).abs() < 1e-6)[sums > 0].all()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["Computers", "Photo"])
def test_paper_masks_differ_on_amazon(name):
    fixed, paper = (amazon(name=name, lcc=lcc) for lcc in ("fixed", "paper"))
    assert fixed.fingerprint != paper.fingerprint
    assert [part.numel() for part in fixed.splits.values()] == [
        part.numel() for part in paper.splits.values()
    ]
    component = largest_component(fixed.adjacency)
    assert component.numel() < fixed.num_nodes
    assert torch.isin(torch.cat(list(fixed.splits.values())), component).all()
    assert not torch.isin(torch.cat(list(paper.splits.values())), component).all()
    assert len(set(torch.bincount(paper.y[paper.train]).tolist())) > 1


@pytest.mark.real_data
@pytest.mark.parametrize("relative", ["CS/raw/ms_academic_cs", "Physics/raw/ms_academic_phy"])
def test_coauthor_graphs_are_connected(data_root, relative):
    _, edge_index, y = read_npz_graph(data_root / "coauthor" / f"{relative}.npz")
    graph = Adjacency.from_edge_index(edge_index, num_nodes=len(y))
    assert largest_component(graph).numel() == len(y)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("relative", "theirs", "name"),
    [
        ("amazon/Computers", "Amazon", "Computers"),
        ("amazon/Photo", "Amazon", "Photo"),
        ("citationfull/cora_ml", "CitationFull", "Cora_ML"),
        ("citationfull/citeseer", "CitationFull", "CiteSeer"),
        pytest.param("coauthor/CS", "Coauthor", "CS", marks=pytest.mark.nightly),
        pytest.param("coauthor/Physics", "Coauthor", "Physics", marks=pytest.mark.nightly),
    ],
)
def test_real_graph_is_the_one_of_pygs_class(tmp_path, data_root, relative, theirs, name):
    import torch_geometric.datasets

    folder = tmp_path / relative.partition("/")[2]
    folder.mkdir()
    (folder / "raw").symlink_to(data_root / relative / "raw")
    (file,) = (data_root / relative / "raw").glob("*.npz")
    features, edge_index, y = read_npz_graph(file)
    expected = getattr(torch_geometric.datasets, theirs)(str(tmp_path), name)[0]
    order = (expected.edge_index[1] * len(y) + expected.edge_index[0]).argsort()
    assert torch.equal(edge_index, expected.edge_index[:, order])
    assert torch.equal(y, expected.y)
    assert torch.equal(torch.from_numpy(features.toarray()).float(), expected.x)
