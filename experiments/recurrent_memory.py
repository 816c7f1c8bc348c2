"""What classical recurrent networks remember: adding, copying, parity.

Elman and Jordan networks, LSTM with forget gates that start open, and GRU, with about as many
hidden units, on three problems whose answer lies far back.
"""

from functools import partial
from typing import Any

from graphseq import Experiment, Recurrent
from graphseq.sequence.data import adding_problem, copy_memory, parity
from graphseq.sequence.tasks import SequenceLabelling, SequenceRegression

CELLS: tuple[Any, ...] = ("elman", "jordan", "lstm", "gru")
PROBLEMS: dict[str, tuple[Any, Any, Any, dict[str, Any]]] = {
    # data, readout, task, how long
    "adding": (
        partial(adding_problem, length=50, num_train=10_000, num_val=1_000, num_test=1_000),
        "last",
        partial(SequenceRegression, lr=2e-3, batch_size=100),
        {"epochs": 30},
    ),
    "copy_memory": (
        partial(copy_memory, delay=20, num_train=10_000, num_val=1_000, num_test=1_000),
        "all",
        partial(SequenceLabelling, lr=2e-3, batch_size=100, solved=0.999),
        {"epochs": 30},
    ),
    "parity": (
        partial(parity, length=32, num_train=10_000, num_val=1_000, num_test=1_000),
        "all",
        partial(SequenceLabelling, lr=2e-3, batch_size=100, solved=0.999),
        {"epochs": 30},
    ),
}

experiments = [
    Experiment(
        name=f"{problem}_{cell}",
        data=data,
        model=partial(Recurrent, cell=cell, hidden_channels=64, readout=readout),
        task=partial(task.func, **task.keywords, **budget),
        seeds=range(3),
    )
    for problem, (data, readout, task, budget) in PROBLEMS.items()
    for cell in CELLS
]
