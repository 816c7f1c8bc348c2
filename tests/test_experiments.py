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
from graphseq.graph.data import LinkData, NodeData
from graphseq.sequence import data as sequence_data
from graphseq.sequence.data import TokenStream
from graphseq.training.catalog import shipped
from graphseq.training.grid import cells

EXPERIMENTS = shipped()
FEW = {"num_train": 12, "num_val": 6, "num_test": 6}
SEQUENCE_DATA = {  # drawn data, and what makes few and short ones of them
    sequence_data.mqar: {"length": 16, "num_pairs": 2, "num_test": 6, "num_val": 6, "num_train": 9},
    sequence_data.adding_problem: {**FEW, "length": 6},
    sequence_data.copy_memory: {**FEW, "delay": 3, "copy_length": 2},
    sequence_data.parity: {**FEW, "length": 5},
    sequence_data.reversal: {**FEW, "length": 4},
    sequence_data.sequential_digits: {},
}
TEXT_DATA = (sequence_data.tiny_shakespeare, sequence_data.wikitext2)
NODE_DATA = (
    *(graph_data.planetoid, graph_data.amazon, graph_data.coauthor, graph_data.citation_full),
    *(graph_data.digits, graph_data.ogbn_arxiv, graph_data.five_folds),
)
LINK_DATA = (
    *(graph_data.planetoid_links, graph_data.digits_links, graph_data.links_from_files),
    *(graph_data.ogbl_ddi, graph_data.ogbl_collab, graph_data.ogbl_ppa, graph_data.ogbl_citation2),
    *(graph_data.heart_links, graph_data.five_link_splits),
)


def tiny_links(like: str, seed: int) -> LinkData:
    """Sixty nodes with the inputs and the metric that the real loader would give."""
    generator = torch.Generator().manual_seed(seed)

    def pairs(*size: int) -> torch.Tensor:
        return torch.randint(60, (2, *size), generator=generator)

    x: torch.Tensor | CSR | None = torch.rand(60, 9, generator=generator)
    if like in ("planetoid_links", "digits_links", "five_link_splits"):
        x = CSR.from_dense((x < 0.4).float())
    elif like in ("ogbl_ddi", "links_from_files"):
        x = None
    elif like == "ogbl_ppa":
        x = torch.arange(60) % 7
    each = (20, 30) if like in ("ogbl_citation2", "heart_links") else (150,)
    metrics = {"ogbl_ddi": "hits@20", "ogbl_collab": "hits@50"}
    metrics |= {"ogbl_citation2": "mrr", "heart_links": "mrr", "five_link_splits": "auc"}
    return LinkData(
        x=x,
        num_nodes=60,
        train=pairs(200),
        val=pairs(20),
        val_negative=pairs(*each),
        test=pairs(20),
        test_negative=pairs(*each),
        metric=metrics.get(like, "hits@100"),
        train_negative=pairs(200) if like == "five_link_splits" else None,
        name="tiny",
        multigraph=True,  # drawn links repeat
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


def tiny_text(num_tokens: int) -> TokenStream:
    """A vocabulary as large as the real one, of which little is used."""
    tokens = torch.arange(400) * 7 % num_tokens
    words = tuple(str(i) for i in range(num_tokens))
    return TokenStream(train=tokens, val=tokens[:90], test=tokens[:80], vocabulary=words)


def stand_in(data: partial[Any]) -> partial[Any]:
    """Tiny data of the same kind, dense or sparse as the experiment asks."""
    if data.func in SEQUENCE_DATA:
        return partial(data.func, **{**data.keywords, **SEQUENCE_DATA[data.func]})
    if data.func in TEXT_DATA:
        return partial(tiny_text, num_tokens=65 if data.func is TEXT_DATA[0] else 10_100)
    if data.func in LINK_DATA:
        return partial(tiny_links, like=data.func.__name__)
    assert data.func in NODE_DATA, f"no stand-in for {data.func.__name__}"
    sparse = data.func not in (graph_data.digits, graph_data.ogbn_arxiv)
    return partial(tiny_graph, sparse=data.keywords.get("sparse", sparse))


def shortened(experiment: Experiment) -> Experiment:
    budget = dataclasses.replace(experiment.budget, epochs=2, max_steps=1)
    return dataclasses.replace(experiment, budget=budget)


def few_pairs(load: partial[Any]) -> LinkData:
    """The whole graph, but only the first pairs to score: ogbl-ddi's three scorings ask 700,000."""
    data = load()
    pairs = ("val", "val_negative", "test", "test_negative")
    return dataclasses.replace(data, **{name: getattr(data, name)[:, :1000] for name in pairs})


def few_tokens(load: partial[Any]) -> TokenStream:
    """The whole vocabulary, but only the first tokens to score."""
    data = load()
    return dataclasses.replace(data, val=data.val[:3000], test=data.test[:3000])


def with_few_pairs(experiment: Experiment) -> Experiment:
    task = partial(experiment.task.func, **{**experiment.task.keywords, "batch_size": 1024})
    return dataclasses.replace(experiment, data=partial(few_pairs, load=experiment.data), task=task)


def num_stages(experiment: Experiment) -> int:
    """One, or one before it, or one for each layer that is trained by itself."""
    layered = ("ForwardGNN", "LabelAppendingGNN", "VirtualNodeGNN", "ForwardLinkGNN")
    if experiment.model.func.__name__ in layered:
        return experiment.model.keywords["num_layers"]
    return 2 if "pretrain_epochs" in experiment.task.keywords else 1


def check(summary: dict[str, Any], experiment: Experiment) -> None:
    """Two epochs of one step in each stage, and finite numbers for what is claimed."""
    if summary["num_parameters"] == 0:  # a heuristic
        assert summary["epochs"] == [0]
    else:
        assert summary["epochs"] == [2 * num_stages(experiment)]
    main = experiment.claim.metric if experiment.claim else next(iter(summary["metrics"]))
    assert 0 <= summary["metrics"][main]["mean"]
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
    assert claim.std is None or 0 <= claim.std < 0.3
    assert len(claim.source) > 10


def test_the_names_that_scripts_rely_on() -> None:
    graphs = [
        *("cora", "cora_random", "citeseer", "citeseer_random", "pubmed", "pubmed_random"),
        *("cs", "physics", "computers", "photo", "arxiv", "digits"),
    ]
    models = ["dagnn", "mlp", "gcn", "gat", "appnp", "sgc"]
    assert {f"{model}_{graph}" for model in models for graph in graphs} <= set(EXPERIMENTS)
    graphs = ["cora", "citeseer", "pubmed", "collab", "ppa", "citation2", "ddi", "digits"]
    models = ["ncn", "ncnc", "gae", "cn", "aa", "ra"]
    assert {f"{model}_{graph}" for model in models for graph in graphs} <= set(EXPERIMENTS)
    graphs = ["cora_ml", "citeseer_full", "photo"]
    learners = ["sf", "sf_t2i", "sf_t2l", "ff_la", "ff_vn", "link_ce", "link_ff", "link_topdown"]
    models = ["backprop", *(f"forward_{learner}" for learner in learners)]
    assert {f"{model}_{graph}" for model in models for graph in graphs} <= set(EXPERIMENTS)
    graphs = ["cora", "citeseer", "pubmed", "collab", "ppa", "citation2"]
    models = ["ncn", "ncnc", "cn", "aa", "ra"]
    assert {f"{model}_heart_{graph}" for model in models for graph in graphs} <= set(EXPERIMENTS)


def test_the_sequence_names_that_scripts_rely_on() -> None:
    mixers = ("attention", "linear", "s6", "ssd", "qlstm", "aaren", "normalised")
    assert {f"mqar_{m}" for m in (*mixers, "qlstm_reversed", "rglru")} <= set(EXPERIMENTS)
    models = ("aaren", "lstm", "gru", "s6")
    assert {f"{model}_digits" for model in models} <= set(EXPERIMENTS)
    models = ("lstm", "aaren", "attention", "s6")
    texts = ("shakespeare", "wikitext2")
    assert {f"{model}_{text}" for model in models for text in texts} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", [name for name, e in EXPERIMENTS.items() if e.grid])
def test_the_cells_of_a_grid_build(name: str) -> None:
    """The first and the last, whose sizes are the smallest and the largest."""
    whole = cells(EXPERIMENTS[name])
    assert len({one.name for one in whole}) == len(whole)
    for one in (whole[0], whole[-1]):
        small = dataclasses.replace(shortened(one), data=stand_in(one.data))
        check(run(small, [0], progress=False), one)


def on_disk(experiment: Experiment) -> bool:
    """PubMed's features and most of OGB are too large to keep beside the others."""
    data = experiment.data
    absent = ("ogbn_arxiv", "ogbl_collab", "ogbl_ppa", "ogbl_citation2", "heart_links")
    absent += ("links_from_files",)
    return data.func.__name__ not in absent and data.keywords.get("name") not in (
        "PubMed",
        "GitHub",
    )


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
    experiment = shortened(EXPERIMENTS[name])
    if experiment.data.func is graph_data.ogbl_ddi:
        experiment = with_few_pairs(experiment)
    if experiment.data.func in TEXT_DATA:
        experiment = dataclasses.replace(experiment, data=partial(few_tokens, load=experiment.data))
    check(run(experiment, [0], progress=False), EXPERIMENTS[name])
