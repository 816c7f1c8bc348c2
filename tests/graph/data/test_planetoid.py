"""The Planetoid reader: against the graph that was written, and against PyG's reader."""

import os
import pickle

import numpy as np
import pytest
import torch

from graphseq.graph.csr import CSR
from graphseq.graph.data import planetoid

pytestmark = pytest.mark.usefixtures("generators_untouched")


@pytest.mark.parametrize("convert", [lambda content: content, None], ids=["new names", "old names"])
def test_reads_what_was_written(tmp_path, write_planetoid, dense, convert):
    options = {} if convert is None else {"convert": convert}
    written = write_planetoid(tmp_path / "data", **options)
    data = planetoid(name="CiteSeer", root=str(tmp_path / "data"), normalize=False)
    assert isinstance(data.x, CSR)
    np.testing.assert_array_equal(dense(data.x).numpy(), written.x)
    np.testing.assert_array_equal(data.y.numpy(), written.y)
    pairs = {(a, b) for a, b in written.pairs.tolist() if a != b}
    pairs |= {(b, a) for a, b in pairs}
    assert {tuple(pair) for pair in data.adjacency.edge_index.T.tolist()} == pairs
    assert data.adjacency.num_edges == len(pairs)
    assert data.adjacency.is_symmetric
    assert data.train.tolist() == list(range(60))
    assert data.val.tolist() == list(range(60, 560))
    assert data.test.tolist() == sorted(written.test.tolist())
    assert (data.num_classes, data.name) == (3, "CiteSeer")


def test_nodes_without_a_line_have_nothing(planetoid_folder, tmp_path, dense):
    data = planetoid(name="CiteSeer", root=str(tmp_path / "data"))
    lost = torch.tensor(planetoid_folder.unlabelled)
    assert (dense(data.x)[lost] == 0).all()
    assert (data.adjacency.degree[lost] == 0).all()
    assert not torch.isin(lost, torch.cat([data.train, data.val, data.test])).any()


def test_features_dense_sparse_and_normalised(planetoid_folder, tmp_path, dense):
    root = str(tmp_path / "data")
    sparse = planetoid(name="CiteSeer", root=root)
    full = planetoid(name="CiteSeer", root=root, sparse=False)
    assert isinstance(full.x, torch.Tensor)
    assert torch.equal(dense(sparse.x), full.x)
    sums = full.x.sum(dim=1)
    empty = torch.from_numpy(planetoid_folder.x.sum(axis=1) == 0)
    assert empty.sum() >= 4
    assert torch.equal(sums[empty], torch.zeros(int(empty.sum())))
    torch.testing.assert_close(sums[~empty], torch.ones(int((~empty).sum())))


def test_same_as_pyg_reads(planetoid_folder, tmp_path, dense):
    from torch_geometric.io import read_planetoid_data

    theirs = read_planetoid_data(str(planetoid_folder.folder), "citeseer")
    ours = planetoid(name="CiteSeer", root=str(tmp_path / "data"), normalize=False)
    assert_same(ours, theirs, dense)


def assert_same(ours, theirs, dense):
    assert torch.equal(dense(ours.x), theirs.x)
    assert torch.equal(ours.y, theirs.y)
    order = (theirs.edge_index[1] * ours.num_nodes + theirs.edge_index[0]).argsort()
    assert torch.equal(ours.adjacency.edge_index, theirs.edge_index[:, order])
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(ours, split), theirs[f"{split}_mask"].nonzero()[:, 0])


def random_split(write_planetoid, tmp_path, seed):
    return planetoid(name="CiteSeer", split="random", seed=seed, root=str(tmp_path / "data"))


def test_too_small_for_the_random_split(planetoid_folder, write_planetoid, tmp_path):
    with pytest.raises(ValueError, match=r"500 \+ 1000 nodes"):
        random_split(write_planetoid, tmp_path, 0)


@pytest.mark.parametrize("part", ["allx", "tx", "ally", "ty", "y", "graph", "test.index"])
def test_every_missing_file_is_named(planetoid_folder, tmp_path, part):
    planetoid_folder.path(part).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        planetoid(name="CiteSeer", root=str(tmp_path / "data"))
    assert f"planetoid/CiteSeer/raw/ind.citeseer.{part}" in str(caught.value)
    assert "download=True" in str(caught.value)


@pytest.mark.parametrize("part", ["allx", "tx", "ally", "ty", "y", "graph", "test.index"])
@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_every_damaged_file_is_named(planetoid_folder, tmp_path, part, damage):
    path = planetoid_folder.path(part)
    whole = path.read_bytes()
    other = pickle.dumps(17, protocol=2) if part != "test.index" else b"seven\n"
    path.write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": other}[damage])
    with pytest.raises(ValueError, match=r"ind\.citeseer\." + part) as caught:
        planetoid(name="CiteSeer", root=str(tmp_path / "data"))
    assert "download" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together(planetoid_folder, write_planetoid, tmp_path):
    one_hot = np.eye(4, dtype=np.int32)[np.zeros(len(planetoid_folder.test), int)]
    planetoid_folder.path("ty").write_bytes(pickle.dumps(one_hot, protocol=2))
    with pytest.raises(ValueError, match=r"ind\.citeseer\.ty is a \(43, 4\) table"):
        planetoid(name="CiteSeer", root=str(tmp_path / "data"))


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


def test_code_in_a_file_is_refused(planetoid_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planetoid_folder.path("graph").write_bytes(pickle.dumps({0: [Evil()]}, protocol=2))
    with pytest.raises(ValueError, match=r"ind\.citeseer\.graph is refused: .*mkdir"):
        planetoid(name="CiteSeer", root=str(tmp_path / "data"))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    "options", [{"name": "cora"}, {"name": "Cora", "split": "geom"}, {"name": "PubMed "}]
)
def test_wrong_choices_are_named(options):
    with pytest.raises(ValueError, match=r"^planetoid: (name|split) must be") as caught:
        planetoid(**options)
    assert repr(next(reversed(options.values()))) in str(caught.value)


def test_download_fetches_the_seven_files_into_the_cache(tmp_path, monkeypatch, write_planetoid):
    source = write_planetoid(tmp_path / "server")
    asked = {}

    def fake_fetch(url, path, *, sha256=None):
        asked[url] = sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((source.folder / path.name).read_bytes())

    monkeypatch.setattr("graphseq.files.roots.fetch", fake_fetch)
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHSEQ_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    data = planetoid(name="CiteSeer", download=True)
    assert data.num_nodes == source.num_nodes
    assert len(asked) == 7
    base = "https://github.com/kimiyoung/planetoid/raw/master/data/ind.citeseer."
    assert all(url.startswith(base) and len(sha256) == 64 for url, sha256 in asked.items())
    assert list((tmp_path / "data").iterdir()) == []


REAL = [
    # name, nodes, edges, features, non-zeros, classes
    ("Cora", 2708, 10556, 1433, 49216, 7),
    ("CiteSeer", 3327, 9104, 3703, 105165, 6),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "nodes", "edges", "features", "nonzeros", "classes"), REAL)
def test_published_sizes(name, nodes, edges, features, nonzeros, classes):
    data = planetoid(name=name)
    assert (data.num_nodes, data.adjacency.num_edges) == (nodes, edges)
    assert data.dims == {"in_channels": features, "out_channels": classes}
    assert data.x.nnz == nonzeros
    assert data.adjacency.is_symmetric
    assert torch.bincount(data.y[data.train]).tolist() == [20] * classes
    assert (data.val.numel(), data.test.numel()) == (500, 1000)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["Cora", "CiteSeer"])
def test_random_splits_of_the_real_graphs(name):
    first, again, other = (planetoid(name=name, split="random", seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.bincount(first.y[first.train]).tolist() == [20] * first.num_classes
    assert (first.val.numel(), first.test.numel()) == (500, 1000)
    assert planetoid(name=name, seed=1).fingerprint == planetoid(name=name).fingerprint


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["Cora", "CiteSeer"])
def test_real_graph_is_the_one_of_pygs_class(name, tmp_path, data_root, dense):
    from torch_geometric.datasets import Planetoid

    (tmp_path / name).mkdir()
    (tmp_path / name / "raw").symlink_to(data_root / "planetoid" / name / "raw")
    assert_same(planetoid(name=name, normalize=False), Planetoid(str(tmp_path), name)[0], dense)
