"""ogbn-arxiv on a small folder in OGB's layout: against what was written, and against OGB."""

import gzip
import sys
import warnings

import numpy as np
import pytest
import torch

from graphseq.graph.data import ogbn_arxiv

SIZES = {"train": 60, "valid": 25, "test": 15}


class Written:
    """A folder of 100 papers, written as OGB does."""

    def __init__(self, data):
        self.data = data
        self.folder = data / "ogb" / "ogbn_arxiv"
        dice = np.random.default_rng(0)
        self.edges = dice.integers(0, 100, (400, 2))
        self.x = dice.standard_normal((100, 6)).astype(np.float32)
        self.y = dice.integers(0, 40, 100)
        order = dice.permutation(100)
        self.split = dict(zip(SIZES, np.split(order, [60, 85]), strict=True))
        self.write("raw/edge", self.edges)
        self.write("raw/node-feat", self.x)
        self.write("raw/node-label", self.y[:, None])
        self.write("raw/node_year", np.full((100, 1), 2017))
        self.write("raw/num-node-list", [[100]])
        self.write("raw/num-edge-list", [[400]])
        for part, nodes in self.split.items():
            self.write(f"split/time/{part}", nodes[:, None])
        (self.folder / "RELEASE_v1.txt").write_text("v1")

    def write(self, name, table):
        path = self.folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt") as file:
            file.writelines(",".join(str(value) for value in row) + "\n" for row in table)


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    return Written(tmp_path / "data")


def test_reads_what_was_written(written):
    data = ogbn_arxiv(root=str(written.data))
    assert data.official == data.name == "ogbn-arxiv"
    np.testing.assert_array_equal(data.x.numpy(), written.x)
    np.testing.assert_array_equal(data.y.numpy(), written.y)
    np.testing.assert_array_equal(data.train.numpy(), written.split["train"])
    np.testing.assert_array_equal(data.val.numpy(), written.split["valid"])
    np.testing.assert_array_equal(data.test.numpy(), written.split["test"])
    pairs = {tuple(pair) for pair in written.edges.tolist()}
    pairs |= {(b, a) for a, b in pairs}
    assert {tuple(pair) for pair in data.adjacency.edge_index.T.tolist()} == pairs
    assert (data.num_classes, data.name) == (40, "ogbn-arxiv")


def test_same_as_ogbs_own_class(written, monkeypatch):
    ours = ogbn_arxiv(root=str(written.data))
    # Without this module, ogb does not start a thread that asks the network for news.
    monkeypatch.setitem(sys.modules, "outdated", None)
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage
    from torch_geometric.utils import to_undirected

    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals([DataEdgeAttr, DataTensorAttr, GlobalStorage]),
    ):
        warnings.simplefilter("ignore")  # pandas and pkg_resources, inside of ogb
        from ogb.nodeproppred import PygNodePropPredDataset

        theirs = PygNodePropPredDataset("ogbn-arxiv", root=str(written.data / "ogb"))
        split = theirs.get_idx_split()
        graph = theirs[0]
    assert torch.equal(ours.x, graph.x)
    assert torch.equal(ours.y, graph.y[:, 0])
    assert ours.num_classes == theirs.num_classes
    both = to_undirected(graph.edge_index)
    assert torch.equal(ours.adjacency.edge_index, both[:, (both[1] * 100 + both[0]).argsort()])
    for part, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert torch.equal(getattr(ours, part), split[name])
    again = ogbn_arxiv(root=str(written.data))  # what ogb left in the folder does no harm
    assert again.fingerprint == ours.fingerprint


def test_split_as_one_file(written):
    from_tables = ogbn_arxiv(root=str(written.data))
    torch.save(written.split, written.folder / "split/time/split_dict.pt")
    for part in SIZES:
        (written.folder / f"split/time/{part}.csv.gz").unlink()
    assert ogbn_arxiv(root=str(written.data)).fingerprint == from_tables.fingerprint


def test_second_time_from_the_cache_and_folder_untouched(written, monkeypatch):
    def listing():
        return {path: path.read_bytes() for path in written.data.rglob("*") if path.is_file()}

    before = listing()
    first = ogbn_arxiv(root=str(written.data))

    def refuse(*_):
        raise AssertionError("parsed again")

    with monkeypatch.context() as patch:
        patch.setattr("graphseq.graph.data.ogb_nodes._parse", refuse)
        second = ogbn_arxiv(root=str(written.data))
    assert torch.equal(first.x, second.x)
    assert first.fingerprint == second.fingerprint
    assert listing() == before
    written.write("raw/node-feat", written.x + 1)
    assert torch.equal(ogbn_arxiv(root=str(written.data)).x, torch.from_numpy(written.x + 1))


@pytest.mark.parametrize(
    "name", ["raw/edge", "raw/node-feat", "raw/node-label", "split/time/valid"]
)
def test_missing_and_damaged_parts_are_named(written, name):
    path = written.folder / f"{name}.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{path.name} is not a complete csv\.gz table"):
        ogbn_arxiv(root=str(written.data))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        ogbn_arxiv(root=str(written.data))


def test_parts_that_do_not_fit(written):
    written.write("raw/edge", [[0, 1], [5, 100]])
    with pytest.raises(ValueError, match="edge number 1 joins 5 and 100"):
        ogbn_arxiv(root=str(written.data))


def test_missing_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"ogbn-arxiv is not in .*download=True"):
        ogbn_arxiv(root=str(tmp_path))
