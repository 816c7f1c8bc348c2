"""How deep: single-forward learning and backpropagation on Cora_ML with 1 to 32 GCN layers.

Layers of forward learning are trained one after the other, so one run of 32 holds all depths.
Backpropagation has rows of length 1 at every layer, as forward learning has, and is stopped by the
validation loss. Gradient checkpointing changes its memory and not its numbers.
"""

from functools import partial

from graphseq import Experiment, ForwardGNN
from graphseq.graph.data import five_folds
from graphseq.graph.models import BackpropGNN
from graphseq.graph.tasks import ForwardLearning

DEPTHS = (8, 16, 32)  # the others are in forward_gnn.py

experiments = [
    Experiment(
        name=f"{method}_cora_ml_depth{depth}",
        data=partial(five_folds, name="Cora_ML"),
        model=partial(model, num_layers=depth),
        task=partial(ForwardLearning),
        seeds=range(5),
        study=True,
    )
    for method, model, depths in (
        ("forward_sf", ForwardGNN, (32,)),
        ("backprop", BackpropGNN, DEPTHS),
    )
    for depth in depths
]
