"""How deep DAGNN can go: K from 1 to 200 hops on Cora's public split, all else as in the paper."""

from functools import partial

from graphseq import DAGNN, Budget, Experiment
from graphseq.graph.data import planetoid
from graphseq.graph.tasks import NodeClassification
from graphseq.training import WindowMean

HOPS = (1, 2, 5, 10, 20, 50, 100, 200)

experiments = [
    Experiment(
        name=f"dagnn_cora_depth_{hops}",
        data=partial(planetoid, name="Cora", split="public"),
        model=partial(DAGNN, num_hops=hops, dropout=0.8),
        task=partial(NodeClassification, lr=0.01, weight_decay=0.005),
        budget=Budget(epochs=1000, stop=WindowMean(window=100, after=500)),
        seeds=range(10),
        study=True,
    )
    for hops in HOPS
]
