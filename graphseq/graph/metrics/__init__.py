"""Scores of predictions on graphs."""

from graphseq.graph.metrics.classification import accuracy
from graphseq.graph.metrics.official import official_accuracy, official_ranking
from graphseq.graph.metrics.ranking import auc, hits, mrr, ranking_metric, ranking_metrics

__all__ = [
    "accuracy",
    "auc",
    "hits",
    "mrr",
    "official_accuracy",
    "official_ranking",
    "ranking_metric",
    "ranking_metrics",
]
