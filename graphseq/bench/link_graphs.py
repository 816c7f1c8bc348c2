"""The link prediction problems that benchmarks run on: real, or random ones of the same shape."""

import torch
from torch import Tensor

from graphseq.bench.graphs import SHAPES
from graphseq.graph.csr import CSR
from graphseq.graph.data import LinkData, ogbl_ddi, planetoid_links

DDI = (4_267, 1_334_889)  # nodes, undirected edges of all splits


def links(name: str) -> LinkData:
    """Cora ("cora") or ogbl-ddi ("ddi"), or without its files a stand-in that is named so."""
    try:
        return planetoid_links(name="Cora") if name == "cora" else ogbl_ddi()
    except FileNotFoundError:
        return _random(name)


def _random(name: str) -> LinkData:
    generator = torch.Generator().manual_seed(0)
    num_nodes, num_edges = SHAPES["cora"][:2] if name == "cora" else DDI

    def pairs(number: int) -> Tensor:
        source = torch.randint(num_nodes, (number,), generator=generator)
        step = torch.randint(1, num_nodes, (number,), generator=generator)
        return torch.stack([source, (source + step) % num_nodes])  # never a node with itself

    x = None
    if name == "cora":
        _, _, num_features, stored, _ = SHAPES["cora"]
        assert stored is not None
        row = torch.randint(num_nodes, (stored,), generator=generator)
        col = torch.randint(num_features, (stored,), generator=generator)
        x = CSR.from_coo(row, col, shape=(num_nodes, num_features))
    train, val = (0.7, 0.1) if name == "cora" else (0.8, 0.1)
    parts = [round(part * num_edges) for part in (train, val, 1 - train - val)]
    return LinkData(
        x=x,
        num_nodes=num_nodes,
        train=pairs(parts[0]),
        val=pairs(parts[1]),
        val_negative=pairs(parts[1]),
        test=pairs(parts[2]),
        test_negative=pairs(parts[2]),
        name=f"random {name} shape",
        multigraph=True,
    )
