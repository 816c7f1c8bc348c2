"""Scores of predictions on graphs."""

from graphseq.graph.metrics.classification import accuracy
from graphseq.graph.metrics.ranking import auc, hits, mrr, ranking_metric, ranking_metrics

__all__ = ["accuracy", "auc", "hits", "mrr", "ranking_metric", "ranking_metrics"]
