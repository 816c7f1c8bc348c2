"""Scores of sequences that no library defines for us."""

from graphseq.sequence.metrics.hull import (
    HullArea,
    hull_accuracy,
    hull_area,
    polygon_areas,
    same_polygons,
    simple_polygons,
)
from graphseq.sequence.metrics.scores import (
    accuracy,
    mean_per_sequence,
    perplexity,
    sequence_accuracy,
    standard_error,
    token_accuracy,
)
from graphseq.sequence.metrics.tour import TourScores, loop_lengths, tour_scores, valid_tours
from graphseq.sequence.metrics.triangulation import (
    TriangleCounts,
    triangle_counts,
    triangle_coverage,
    triangulation_accuracy,
)

__all__ = [
    "HullArea",
    "TourScores",
    "TriangleCounts",
    "accuracy",
    "hull_accuracy",
    "hull_area",
    "loop_lengths",
    "mean_per_sequence",
    "perplexity",
    "polygon_areas",
    "same_polygons",
    "sequence_accuracy",
    "simple_polygons",
    "standard_error",
    "token_accuracy",
    "tour_scores",
    "triangle_counts",
    "triangle_coverage",
    "triangulation_accuracy",
    "valid_tours",
]
