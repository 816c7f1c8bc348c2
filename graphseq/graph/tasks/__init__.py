"""Objective, optimisers and metric."""

from graphseq.graph.tasks.node_classification import NodeClassification as NodeClassification
