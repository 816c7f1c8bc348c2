"""Functions on tensors that run along time, each with a naive twin."""

from graphseq.sequence.ops.affine_state import AffineState as AffineState
from graphseq.sequence.ops.affine_state import merge_affine as merge_affine
from graphseq.sequence.ops.gated_scan import gated_scan as gated_scan
from graphseq.sequence.ops.outer_scan import outer_scan as outer_scan
from graphseq.sequence.ops.pointing import pointer_scores as pointer_scores
from graphseq.sequence.ops.prefix_softmax import PrefixState as PrefixState
from graphseq.sequence.ops.prefix_softmax import merge_prefix as merge_prefix
from graphseq.sequence.ops.prefix_softmax import prefix_softmax as prefix_softmax
from graphseq.sequence.ops.selective_scan import selective_scan as selective_scan
