"""Handwritten digits read as sequences: pixel by pixel (64 steps) and row by row (8 steps).

The 1,797 images come with scikit-learn, so these run without any download.
"""

from functools import partial
from typing import Any

from graphseq import Aaren, Experiment, Recurrent, SequenceModel
from graphseq.sequence.data import sequential_digits
from graphseq.sequence.nn import S6
from graphseq.sequence.tasks import SequenceClassification

# About 75,000 weights each.
MODELS: dict[str, Any] = {
    "aaren": partial(
        Aaren, hidden_channels=64, num_heads=4, ff_channels=128, max_length=64, readout="mean"
    ),
    "lstm": partial(Recurrent, cell="lstm", hidden_channels=96, readout="last"),
    "gru": partial(Recurrent, cell="gru", hidden_channels=112, readout="last"),
    "s6": partial(
        SequenceModel,
        mixer=partial(S6, state_size=16),
        hidden_channels=64,
        num_layers=3,
        ff_channels=128,
        readout="mean",
    ),
}

experiments = [
    Experiment(
        name=f"{name}_digits" + ("" if order == "pixels" else "_rows"),
        data=partial(sequential_digits, order=order),
        model=model,
        task=partial(
            SequenceClassification,
            lr=3e-3,
            weight_decay=0.01,
            schedule="cosine",
            batch_size=64,
            epochs=60,
        ),
        seeds=range(3),
    )
    for order in ("pixels", "rows")
    for name, model in MODELS.items()
]
