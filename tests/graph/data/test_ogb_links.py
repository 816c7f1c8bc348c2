"""OGB's link datasets on small folders in their layout: as written, and as OGB's class reads it."""

import gzip
import os
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from graphseq.graph.data import ogbl_citation2, ogbl_collab, ogbl_ddi, ogbl_ppa
from graphseq.graph.data.ogb import numpy_globals
from graphseq.graph.metrics import hits
from graphseq.graph.ops import count_common

LOADERS = {
    "ogbl-ddi": ogbl_ddi,
    "ogbl-collab": ogbl_collab,
    "ogbl-ppa": ogbl_ppa,
    "ogbl-citation2": ogbl_citation2,
}
SPLITS = {
    "ogbl-ddi": "target",
    "ogbl-collab": "time",
    "ogbl-ppa": "throughput",
    "ogbl-citation2": "time",
}
NUM_NODES, SIZES = 80, {"train": 300, "valid": 40, "test": 30}


class Written:
    """One dataset, written as the ogb package leaves it."""

    def __init__(self, data, name):
        self.data, self.name = data, name
        self.folder = data / "ogb" / name.replace("-", "_")
        self.split_folder = self.folder / "split" / SPLITS[name]
        self.split_folder.mkdir(parents=True)
        dice = np.random.default_rng(0)
        self.split = {part: self._part(dice, part, size) for part, size in SIZES.items()}
        train = self.split["train"]
        edges = train.get(
            "edge",
            np.stack([train.get("source_node"), train.get("target_node")], 1)
            if "source_node" in train
            else None,
        )
        self.write("raw/edge", edges)
        self.write("raw/num-node-list", [[NUM_NODES]])
        self.write("raw/num-edge-list", [[len(edges)]])
        self._write_extras(dice)
        for part in SIZES:
            self.save(part)
        (self.folder / "RELEASE_v1.txt").write_text("v1")

    def _part(self, dice, part, size):
        edges = dice.integers(0, NUM_NODES, (size, 2))
        if self.name == "ogbl-citation2":
            content = {"source_node": edges[:, 0].copy(), "target_node": edges[:, 1].copy()}
            if part != "train":
                content["target_node_neg"] = dice.integers(0, NUM_NODES, (size, 20))
            return content
        content = {"edge": edges}
        if self.name == "ogbl-collab":
            content["edge"][:10] = edges[10:20]  # the same authors in another year
            content |= {
                "weight": dice.integers(1, 5, size),
                "year": dice.integers(1990, 2018, size),
            }
        if part != "train":
            content["edge_neg"] = dice.integers(0, NUM_NODES, (size + 7, 2))
        return content

    def _write_extras(self, dice):
        self.x = dice.standard_normal((NUM_NODES, 6)).astype(np.float32)
        if self.name == "ogbl-ppa":
            self.x = np.eye(58, dtype=np.float32)[dice.integers(0, 50, NUM_NODES)]
        if self.name != "ogbl-ddi":
            self.write("raw/node-feat", self.x)
        if self.name == "ogbl-collab":
            for key in ("weight", "year"):
                self.write(f"raw/edge_{key}", self.split["train"][key][:, None])
        if self.name == "ogbl-citation2":
            self.write("raw/node_year", np.full((NUM_NODES, 1), 2017))

    def write(self, name, table):
        path = self.folder / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt") as file:
            file.writelines(",".join(str(value) for value in row) + "\n" for row in table)

    def save(self, part):
        torch.save(self.split[part], self.split_folder / f"{part}.pt")

    def load(self):
        return LOADERS[self.name](root=str(self.data))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked a question"))
    return lambda name: Written(tmp_path / "data", name)


@pytest.fixture(params=LOADERS)
def written(request, write):
    return write(request.param)


def expected(part):
    """Links and negatives of a written part as LinkData has them."""
    if "edge" in part:
        negative = part.get("edge_neg")
        return part["edge"].T, None if negative is None else negative.T
    links = np.stack([part["source_node"], part["target_node"]])
    if "target_node_neg" not in part:
        return links, None
    targets = part["target_node_neg"]
    return links, np.stack([np.broadcast_to(links[0][:, None], targets.shape), targets])


def test_reads_what_was_written(written):
    data = written.load()
    for ours, theirs in (("train", "train"), ("val", "valid"), ("test", "test")):
        links, negative = expected(written.split[theirs])
        np.testing.assert_array_equal(getattr(data, ours).numpy(), links)
        if negative is not None:
            np.testing.assert_array_equal(getattr(data, f"{ours}_negative").numpy(), negative)
    assert (data.name, data.num_nodes) == (written.name, NUM_NODES)
    assert data.official == written.name
    assert all(part.is_contiguous() for part in data.parts.values())


def test_features_tables_and_metrics(write):
    ddi = write("ogbl-ddi").load()
    assert (ddi.x, ddi.metric) == (None, "hits@20")
    assert ddi.dims == {"in_channels": None, "num_embeddings": NUM_NODES + 1}
    ppa, files = write("ogbl-ppa"), None
    data = ppa.load()
    np.testing.assert_array_equal(data.x.numpy(), ppa.x.argmax(1))
    assert data.metric == "hits@100"
    assert data.dims == {"in_channels": None, "num_embeddings": 58}
    for name, metric in (("ogbl-collab", "hits@50"), ("ogbl-citation2", "mrr")):
        files = write(name)
        data = files.load()
        assert torch.equal(data.x, torch.from_numpy(files.x))
        assert data.metric == metric
        assert data.dims == {"in_channels": 6, "num_embeddings": None}


def test_collab_keeps_years_weights_and_repeated_links(write):
    files = write("ogbl-collab")
    data = files.load()
    np.testing.assert_array_equal(data.train_year.numpy(), files.split["train"]["year"])
    np.testing.assert_array_equal(data.train_weight.numpy(), files.split["train"]["weight"])
    assert torch.equal(data.train[:, :10], data.train[:, 10:20])
    assert data.adjacency.num_edges < 2 * data.train.shape[1]


def test_citations_negatives_are_small(write):
    data = write("ogbl-citation2").load()
    assert data.val_negative.dtype == torch.int32
    assert data.val_negative.shape == (2, 40, 20)


def test_same_as_ogbs_own_class(written, monkeypatch):
    ours = written.load()
    # Without this module, ogb does not start a thread that asks the network for news.
    monkeypatch.setitem(sys.modules, "outdated", None)
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage
    from torch_geometric.utils import coalesce, remove_self_loops, to_undirected

    with (
        warnings.catch_warnings(),
        torch.serialization.safe_globals([DataEdgeAttr, DataTensorAttr, GlobalStorage]),
        numpy_globals(),
    ):
        warnings.simplefilter("ignore")  # pandas and pkg_resources, inside of ogb
        from ogb.linkproppred import PygLinkPropPredDataset

        theirs = PygLinkPropPredDataset(written.name, root=str(written.data / "ogb"))
        split = theirs.get_edge_split()
        graph = theirs[0]
    assert graph.num_nodes == ours.num_nodes
    assert ours.metric == theirs.meta_info["eval metric"]
    if written.name == "ogbl-ppa":
        assert torch.equal(ours.x, graph.x.argmax(1))
    elif ours.x is not None:
        assert torch.equal(ours.x, graph.x)
    simple = coalesce(to_undirected(remove_self_loops(graph.edge_index)[0]))
    edges = ours.adjacency.edge_index
    assert torch.equal(coalesce(edges), simple)
    for part, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        content = {key: np.asarray(value) for key, value in split[name].items()}
        links, negative = expected(content)
        np.testing.assert_array_equal(getattr(ours, part).numpy(), links)
        if negative is not None:
            np.testing.assert_array_equal(getattr(ours, f"{part}_negative").numpy(), negative)
    assert written.load().fingerprint == ours.fingerprint  # what ogb left there does no harm


def test_split_as_one_file(written):
    data = written.load()
    torch.save(written.split, written.split_folder / "split_dict.pt")
    for part in SIZES:
        (written.split_folder / f"{part}.pt").unlink()
    again = written.load()
    assert again.fingerprint == data.fingerprint


def test_second_time_from_the_cache_and_folder_untouched(written, monkeypatch):
    def listing():
        return {path: path.read_bytes() for path in written.data.rglob("*") if path.is_file()}

    before = listing()
    first = written.load()
    read_table = "graphseq.graph.data.ogb_links.read_table"
    if written.name != "ogbl-ddi":  # which has no features to parse
        with monkeypatch.context() as patch:
            patch.setattr(read_table, lambda *_: pytest.fail("parsed again"))
            second = written.load()
        assert torch.equal(first.x, second.x)
    assert listing() == before
    first.train.zero_()  # memory of its own, not the file's
    assert written.load().fingerprint != first.fingerprint


@pytest.mark.parametrize("part", SIZES)
def test_damaged_and_missing_splits_are_named(written, part):
    path = written.split_folder / f"{part}.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{part}\.pt is not a complete file of arrays"):
        written.load()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{part}\.pt"):
        written.load()


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_code_in_a_split_is_not_run(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written.split["valid"]["edge_neg"] = Malicious()
    written.save("valid")
    with pytest.raises(ValueError, match=r"valid\.pt .*asks to run posix\.system"):
        written.load()
    assert not (tmp_path / "executed").exists()


def test_another_version(written):
    (written.folder / "RELEASE_v1.txt").rename(written.folder / "RELEASE_v2.txt")
    with pytest.raises(ValueError, match=rf"is not version 1 of {written.name}.*download=True"):
        written.load()


@pytest.mark.parametrize("name", LOADERS)
def test_missing_dataset(tmp_path, monkeypatch, name):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=rf"{name} is not in .*download=True"):
        LOADERS[name](root=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "part", "change", "words"),
    [
        ("ogbl-ddi", "train", {"edge": None}, "train.pt holds no 2-dimensional whole numbers"),
        ("ogbl-ddi", "valid", {"edge": np.zeros((3, 3), int)}, r"valid.pt: edge must be \[P, 2\]"),
        ("ogbl-ddi", "test", {"edge_neg": np.zeros((3, 2))}, "test.pt holds no 2-dimensional"),
        ("ogbl-collab", "train", {"year": np.zeros(3, int)}, r"train_year must be \[300\]"),
        ("ogbl-citation2", "test", {"source_node": np.zeros(3, int)}, "3 source nodes and 30"),
        ("ogbl-citation2", "valid", {"target_node_neg": np.zeros((3, 2), int)}, "for 3 of 40"),
        ("ogbl-ppa", "test", {"edge": np.full((30, 2), 80)}, "test must hold node ids 0 .. 79"),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit(write, name, part, change, words):
    files = write(name)
    files.split[part] |= change
    files.save(part)
    with pytest.raises(ValueError, match=words):
        files.load()


def test_broken_features(write):
    files = write("ogbl-ppa")
    files.write("raw/node-feat", files.x * 2)
    with pytest.raises(ValueError, match=r"node-feat\.csv\.gz is not one-hot"):
        files.load()
    files = write("ogbl-collab")
    files.write("raw/node-feat", files.x[:70])
    with pytest.raises(ValueError, match=r"must hold node ids 0 \.\. 69"):
        files.load()
    torch.save([1], files.split_folder / "split_dict.pt")
    with pytest.raises(ValueError, match=r"split_dict\.pt holds a list, not a dict"):
        files.load()
    torch.save({"train": [1]}, files.split_folder / "split_dict.pt")
    with pytest.raises(ValueError, match=r"split_dict\.pt holds no dict of arrays 'train'"):
        files.load()


@pytest.mark.real_data
def test_common_neighbours_on_the_whole_of_ogbl_ddi():
    data = ogbl_ddi()
    assert data.summary()["num_edges"] == 1_067_911
    source, target = data.adjacency.edge_index.numpy()
    ones = np.ones(len(source), np.float32)
    matrix = csr_matrix((ones, (source, target)), shape=(data.num_nodes,) * 2).toarray()
    paths = matrix @ matrix  # common neighbours of every two nodes, exact below 2^24
    for part, expected_hits in (("val", 0.0947), ("test", 0.1773)):
        pairs = [data.parts[part], data.parts[f"{part}_negative"]]
        scores = [torch.from_numpy(paths[pair[0].numpy(), pair[1].numpy()]) for pair in pairs]
        assert round(hits(*scores, 20), 4) == expected_hits
        for pair, score in zip(pairs, scores, strict=True):
            assert torch.equal(count_common(data.adjacency.csr, pair).float(), score)
