"""Cora, CiteSeer and PubMed with links to find: the protocol's counts, raw features."""

import pytest
import torch

from graphseq.graph.csr import CSR
from graphseq.graph.data import planetoid, planetoid_links

pytestmark = pytest.mark.usefixtures("generators_untouched")


def test_a_folder_written_by_the_test(planetoid_folder, dense, tmp_path):
    root = str(tmp_path / "data")
    data = planetoid_links("CiteSeer", seed=1, root=root)
    nodes = planetoid("CiteSeer", normalize=False, root=root)
    assert isinstance(data.x, CSR)
    assert torch.equal(dense(data.x), dense(nodes.x))
    assert dense(data.x).max() == 1  # not divided by the row's sum
    links = torch.cat([data.train, data.val, data.test], dim=1)
    both = {tuple(pair) for pair in torch.cat([links, links.flip(0)], 1).t().tolist()}
    assert both == {tuple(pair) for pair in nodes.adjacency.edge_index.t().tolist()}
    assert (data.metric, data.name) == ("hits@100", "CiteSeer")
    assert data.fingerprint == planetoid_links("CiteSeer", seed=1, root=root).fingerprint
    assert data.fingerprint != planetoid_links("CiteSeer", seed=2, root=root).fingerprint
    scaled = planetoid_links("CiteSeer", root=root, normalize=True, sparse=False)
    assert isinstance(scaled.x, torch.Tensor)
    assert scaled.x.sum(1).max() == pytest.approx(1)


def test_missing_files(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="download=True"):
        planetoid_links("Cora", root=str(tmp_path))
    with pytest.raises(ValueError, match="name must be"):
        planetoid_links("cora", root=str(tmp_path))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_links", "features"), [("Cora", 5278, 1433), ("CiteSeer", 4552, 3703)]
)
def test_the_real_graphs(name, num_links, features):
    data = planetoid_links(name)
    fifth = num_links // 5
    assert data.test.shape[1] == data.test_negative.shape[1] == data.val_negative.shape[1] == fifth
    assert data.val.shape[1] == num_links // 10
    assert data.train.shape[1] == num_links - num_links // 10 - fifth
    assert data.adjacency.num_edges == 2 * data.train.shape[1]
    assert data.dims == {"in_channels": features, "num_embeddings": None}
