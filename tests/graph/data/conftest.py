"""Small datasets in the exact formats of the large ones."""

import pickle
from collections import defaultdict

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, random_array

from graphseq.graph.csr import CSR


@pytest.fixture
def generators_untouched():
    """Fails if the test leaves any global random state changed."""
    import random

    def states():
        return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    yield
    assert states() == before


@pytest.fixture
def dense():
    """The features as a dense tensor, whatever form they have."""
    return lambda x: x.to_dense() if isinstance(x, CSR) else x


def old_names(content: bytes) -> bytes:
    """The module names under which numpy 1 and scipy of 2016 pickled."""
    content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    content = content.replace(b"cscipy.sparse._csr\n", b"cscipy.sparse.csr\n")
    return content


class PlanetoidFolder:
    """A graph of 606 nodes in 3 classes; three of the test nodes have no line in test.index."""

    def __init__(self, folder, *, name="CiteSeer", convert=old_names):
        dice = np.random.default_rng(0)
        self.num_first, self.num_nodes, self.num_classes, self.num_features = 560, 606, 3, 20
        self.unlabelled = [571, 590, 600]
        self.y = dice.integers(0, 3, self.num_nodes)
        self.y[:60] = np.repeat([0, 1, 2], 20)
        self.y[self.unlabelled] = 0
        self.x = (dice.random((self.num_nodes, self.num_features)) < 0.2).astype(np.float32)
        self.x[self.unlabelled] = 0
        self.x[7] = 0
        self.test = np.setdiff1d(np.arange(self.num_first, self.num_nodes), self.unlabelled)
        dice.shuffle(self.test)
        pairs = dice.integers(0, self.num_nodes, (900, 2))
        pairs = pairs[~np.isin(pairs, self.unlabelled).any(axis=1)]
        self.pairs = np.concatenate([pairs, pairs[:20], [[3, 3]]])  # repeated edges, a self loop
        self.folder = folder / "planetoid" / name / "raw"
        self.prefix = f"ind.{name.lower()}."
        self.folder.mkdir(parents=True)
        self._write(convert)

    def path(self, part):
        return self.folder / (self.prefix + part)

    def _write(self, convert):
        one_hot = np.eye(3, dtype=np.int32)[self.y]
        rows = {"": slice(0, 60), "all": slice(0, self.num_first), "t": self.test}
        graph = defaultdict(list, {node: [] for node in range(self.num_nodes)})
        for source, target in self.pairs.tolist():
            graph[source].append(target)
            graph[target].append(source)
        parts = {"graph": graph}
        for prefix, chosen in rows.items():
            parts[f"{prefix}x"] = csr_matrix(self.x[chosen])
            parts[f"{prefix}y"] = one_hot[chosen]
        for part, content in parts.items():
            self.path(part).write_bytes(convert(pickle.dumps(content, protocol=2)))
        lines = "".join(f"{node}\n" for node in self.test)
        self.path("test.index").write_text(lines)


@pytest.fixture
def planetoid_folder(tmp_path):
    return PlanetoidFolder(tmp_path / "data")


@pytest.fixture
def write_planetoid():
    return PlanetoidFolder


def npz_arrays(*, num_nodes=700, num_classes=4, seed=0):
    """A graph of several components, the first node alone, with loops and one-way edges."""
    dice = np.random.default_rng(seed)
    edges = random_array((num_nodes, num_nodes), density=0.004, rng=dice).tolil()
    edges[0, :] = edges[:, 0] = 0
    edges[300:305, :] = edges[:, 300:305] = 0
    edges[300, 301] = edges[5, 5] = 1
    edges = edges.tocsr()
    x = random_array((num_nodes, 30), density=0.2, rng=dice).tocsr()
    x.data = np.round(x.data * 3) - 0.5  # some are not positive
    arrays = {"labels": dice.integers(0, num_classes, num_nodes).astype(np.int32)}
    for kind, matrix in (("adj", edges), ("attr", x)):
        arrays[f"{kind}_data"] = matrix.data.astype(np.float32)
        arrays[f"{kind}_indices"] = matrix.indices.astype(np.int32)
        arrays[f"{kind}_indptr"] = matrix.indptr.astype(np.int32)
        arrays[f"{kind}_shape"] = np.array(matrix.shape)
    return arrays


@pytest.fixture
def npz_graph(tmp_path):
    """The arrays of a small graph, and a function that writes them where amazon() looks."""

    def write(arrays):
        path = tmp_path / "data/amazon/Photo/raw/amazon_electronics_photo.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
        return path

    return npz_arrays(), write
