"""Objective, optimisers and metric."""

from graphseq.graph.tasks.forward_learning import ForwardLearning as ForwardLearning
from graphseq.graph.tasks.forward_link_learning import ForwardLinkLearning as ForwardLinkLearning
from graphseq.graph.tasks.link_prediction import LinkPrediction as LinkPrediction
from graphseq.graph.tasks.node_classification import NodeClassification as NodeClassification
