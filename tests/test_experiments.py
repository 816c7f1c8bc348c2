"""Every shipped experiment builds and makes two steps; on the real data where it is at hand."""

import dataclasses
import math
import os
from functools import partial
from typing import Any

import pytest
import torch

from graphseq import Experiment, run
from graphseq.graph import data as graph_data
from graphseq.graph.adjacency import Adjacency
from graphseq.graph.csr import CSR
from graphseq.graph.data import NodeData
from graphseq.training.catalog import shipped

EXPERIMENTS = shipped()
NODE_DATA = (
    *(graph_data.planetoid, graph_data.amazon, graph_data.coauthor, graph_data.citation_full),
    *(graph_data.digits, graph_data.ogbn_arxiv),
)


def tiny_graph(sparse: bool, seed: int) -> NodeData:
    """Forty nodes in four classes, in the form that the real loader would give."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(40, (2, 80), generator=generator)
    x = (torch.rand(40, 9, generator=generator) < 0.4).float()
    nodes = torch.randperm(40, generator=generator)
    return NodeData(
        x=CSR.from_dense(x) if sparse else x,
        adjacency=Adjacency.from_edge_index(torch.cat([half, half.flip(0)], dim=1), num_nodes=40),
        y=torch.arange(40) % 4,
        train=nodes[:12],
        val=nodes[12:20],
        test=nodes[20:],
        num_classes=4,
        name="tiny",
    )


def stand_in(data: partial[Any]) -> partial[Any]:
    """Tiny data of the same kind, dense or sparse as the experiment asks."""
    assert data.func in NODE_DATA, f"no stand-in for {data.func.__name__}"
    sparse = data.func not in (graph_data.digits, graph_data.ogbn_arxiv)
    return partial(tiny_graph, sparse=data.keywords.get("sparse", sparse))


def shortened(experiment: Experiment) -> Experiment:
    budget = dataclasses.replace(experiment.budget, epochs=2, max_steps=1)
    return dataclasses.replace(experiment, budget=budget)


def check(summary: dict[str, Any], experiment: Experiment) -> None:
    """Two epochs of one step, and finite numbers for what is claimed."""
    assert summary["epochs"] == [2]
    assert summary["num_parameters"] > 0
    accuracy = summary["metrics"]["test/acc"]["mean"]
    assert 0 <= accuracy <= 1
    assert all(math.isfinite(metric["mean"]) for metric in summary["metrics"].values())
    if experiment.claim is not None:
        assert experiment.claim.metric in summary["metrics"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_two_steps_on_tiny_data(name: str) -> None:
    experiment = EXPERIMENTS[name]
    small = dataclasses.replace(shortened(experiment), data=stand_in(experiment.data))
    check(run(small, [0], progress=False), experiment)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_claim_is_a_fraction_with_its_source(name: str) -> None:
    claim = EXPERIMENTS[name].claim
    if claim is None:
        return
    assert 0 < claim.tolerance < claim.value < 1
    assert claim.std is None or 0 <= claim.std < 0.25
    assert len(claim.source) > 10


def test_the_names_that_scripts_rely_on() -> None:
    graphs = [
        *("cora", "cora_random", "citeseer", "citeseer_random", "pubmed", "pubmed_random"),
        *("cs", "physics", "computers", "photo", "arxiv", "digits"),
    ]
    models = ["dagnn", "mlp", "gcn", "gat", "appnp", "sgc"]
    assert {f"{model}_{graph}" for model in models for graph in graphs} <= set(EXPERIMENTS)


def on_disk(experiment: Experiment) -> bool:
    """PubMed's features and ogbn-arxiv are too large to keep beside the others."""
    data = experiment.data
    return data.func is not graph_data.ogbn_arxiv and data.keywords.get("name") != "PubMed"


def one_for_each_dataset() -> list[str]:
    """The first experiment on each dataset and split; dense features are the same data, slower."""
    found: dict[str, str] = {}
    for name, experiment in EXPERIMENTS.items():
        arguments = {k: v for k, v in experiment.data.keywords.items() if k != "sparse"}
        if on_disk(experiment):
            found.setdefault(f"{experiment.data.func.__name__}{sorted(arguments.items())}", name)
    return list(found.values())


@pytest.mark.real_data
@pytest.mark.parametrize("name", one_for_each_dataset())
def test_two_steps_on_real_data(name: str) -> None:
    assert os.environ["GRAPHSEQ_DATA"]
    check(run(shortened(EXPERIMENTS[name]), [0], progress=False), EXPERIMENTS[name])
