"""Run by torchrun: trains NCN and NCNC on several ranks. Usage: link_ranks.py FOLDER."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphseq import NCN, NCNC, Budget, fit
from graphseq.graph.data import links_from_arrays
from graphseq.graph.tasks import LinkPrediction

FREEZE = {"pretrain_epochs": 1, "freeze_encoder": True}
CASES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "ncn": (NCN, {}),
    "ncnc": (NCNC, {}),
    "frozen": (NCNC, FREEZE),
    "constant": (NCNC, {**FREEZE, "remove_targets": False}),
}


def task(kind: type[nn.Module], options: dict[str, Any]) -> LinkPrediction:
    """Fifty nodes, whose links do not divide evenly among batches and ranks; no dropout."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(50, (2, 301), generator=generator)
    x = torch.rand(50, 6, generator=generator)
    data = links_from_arrays(edges[:, edges[0] != edges[1]], x, num_negatives=120)
    torch.manual_seed(1)
    still = {"feature_dropout": 0.0, "dropout": 0.0, "pair_dropout": 0.0}
    model = kind(**data.dims, hidden_channels=8, **still)
    return LinkPrediction(model, data, lr=0.01, batch_size=33, **options)


def train(case: str) -> dict[str, Any]:
    """Weights and metrics after two epochs of each stage in float64."""
    ours = task(*CASES[case])
    result = fit(ours, Budget(epochs=2), precision="64-true", progress=False)
    return {"weights": dict(ours.model.state_dict()), "metrics": result.metrics}


if __name__ == "__main__":
    answers = {name: train(name) for name in CASES}
    torch.save(answers, Path(sys.argv[1]) / f"rank{os.environ['RANK']}.pt")
