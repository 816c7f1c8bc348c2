"""The public names. A name appears here when it works; one that leaves breaks somebody's code."""

import importlib
import subprocess
import sys
from types import ModuleType

import pytest

PUBLIC = {
    "graphseq": {
        *("DAGNN", "ForwardGNN", "NCN", "NCNC"),
        *("Task", "Loss", "Stage", "fit", "evaluate", "Experiment", "Budget", "Claim"),
        *("run", "save", "load", "graph", "sequence", "training"),
        *("Aaren", "Recurrent", "SequenceModel"),
    },
    "graphseq.graph": {"data", "models", "nn", "ops", "tasks"},
    "graphseq.graph.models": {
        *("APPNP", "DAGNN", "GAT", "GCN", "MLP", "SGC"),
        *("GAE", "NCN", "NCNC"),
        *("ForwardGNN", "LabelAppendingGNN", "TopToInputGNN", "TopToLossGNN", "VirtualNodeGNN"),
        *("BackpropGNN", "BackpropLinkGNN", "ForwardLinkGNN", "TopDownLinkGNN"),
        *("AdamicAdar", "CommonNeighbors", "Katz", "PersonalizedPageRank", "ResourceAllocation"),
    },
    "graphseq.graph.tasks": {
        *("ForwardLearning", "ForwardLinkLearning", "LinkPrediction", "NodeClassification"),
    },
    "graphseq.sequence": {"data", "dynamics", "models", "nn", "ops", "tasks"},
    "graphseq.sequence.models": {
        *("Aaren", "PointerNetwork", "Recurrent", "Seq2Seq", "SequenceModel"),
    },
    "graphseq.sequence.nn": {
        *("AarenAttention", "LinearAttention", "NormalizedAttention", "SoftmaxAttention"),
        *("LRU", "QuasiGRU", "QuasiLSTM", "RGLRU", "S4D", "S6", "SSD"),
        *("Bidirectional", "Elman", "GRU", "Jordan", "LSTM"),
        *("Block", "Mixer", "PointerAttention", "State", "gradient_norms"),
    },
    "graphseq.sequence.tasks": {
        *("NextTokenPrediction", "SequenceClassification", "SequenceLabelling"),
        *("SequenceRegression", "SequenceToSequence"),
    },
}


def public_names(module: ModuleType) -> set[str]:
    """What a star import would give; submodules count only where the list names them."""
    wanted = PUBLIC[module.__name__]
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (name in wanted or not isinstance(value, ModuleType))
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    assert public_names(importlib.import_module(name)) == PUBLIC[name]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    bare = [n for n in PUBLIC[name] if not (getattr(module, n).__doc__ or "").strip()]
    assert bare == []


def test_one_import_reaches_every_wing() -> None:
    """In a fresh process: here other tests have imported the parts already."""
    names = [
        f"graphseq.{wing}.{part}.__name__"
        for wing in ("graph", "sequence")
        for part in PUBLIC[f"graphseq.{wing}"]
    ]
    script = f"import graphseq; {'; '.join(names)}; graphseq.training.fit"
    subprocess.run([sys.executable, "-c", script], check=True)
