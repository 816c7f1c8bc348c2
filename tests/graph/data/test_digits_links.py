"""The digits graph with links to find."""

import pytest
import torch

from graphseq.graph.data import digits, digits_links

pytestmark = pytest.mark.usefixtures("generators_untouched")


def test_same_graph_as_for_nodes():
    data, nodes = digits_links(), digits()
    links = torch.cat([data.train, data.val, data.test], dim=1)
    both = {tuple(pair) for pair in torch.cat([links, links.flip(0)], 1).t().tolist()}
    assert both == {tuple(pair) for pair in nodes.adjacency.edge_index.t().tolist()}
    assert torch.equal(data.x, nodes.x)
    assert (data.metric, data.name) == ("hits@20", "digits")
    assert min(data.val_negative.shape[1], data.test_negative.shape[1]) > 100


def test_arguments_are_passed_on():
    assert digits_links(seed=1).fingerprint != digits_links().fingerprint
    assert digits_links(neighbors=5).train.shape[1] > digits_links().train.shape[1]
    with pytest.raises(ValueError, match="neighbors must be in"):
        digits_links(neighbors=0)
