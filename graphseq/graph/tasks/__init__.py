"""Objective, optimisers and metric."""

from graphseq.graph.tasks.link_prediction import LinkPrediction as LinkPrediction
from graphseq.graph.tasks.node_classification import NodeClassification as NodeClassification
