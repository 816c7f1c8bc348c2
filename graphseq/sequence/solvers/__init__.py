"""Exact and reference answers: tours, convex hulls, Delaunay triangulations."""

from graphseq.sequence.solvers.best_tour import best_tour
from graphseq.sequence.solvers.construction import christofides, greedy_edge, nearest_neighbor
from graphseq.sequence.solvers.delaunay import delaunay, delaunays
from graphseq.sequence.solvers.exact_tour import exact_tour
from graphseq.sequence.solvers.held_karp import held_karp
from graphseq.sequence.solvers.heuristics import a1, a2, a3
from graphseq.sequence.solvers.hull import convex_hull, convex_hulls
from graphseq.sequence.solvers.local_search import or_opt, two_opt
from graphseq.sequence.solvers.tour import Tour, Tours, canonical_order, tour_length

__all__ = [
    "Tour",
    "Tours",
    "a1",
    "a2",
    "a3",
    "best_tour",
    "canonical_order",
    "christofides",
    "convex_hull",
    "convex_hulls",
    "delaunay",
    "delaunays",
    "exact_tour",
    "greedy_edge",
    "held_karp",
    "nearest_neighbor",
    "or_opt",
    "tour_length",
    "two_opt",
]
