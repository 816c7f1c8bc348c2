"""Where sequences come from: data classes, drawn problems, digits and text."""

from graphseq.sequence.data.digits import sequential_digits
from graphseq.sequence.data.mqar import draw_mqar, mqar
from graphseq.sequence.data.mqar_plain import draw_mqar_plain
from graphseq.sequence.data.paired_sequences import PairedSequences
from graphseq.sequence.data.point_sets import PointBatch, PointSets
from graphseq.sequence.data.pointer_files import (
    PointerFile,
    pointer_files,
    read_pointer_file,
    write_pointer_file,
)
from graphseq.sequence.data.points import hulls, tours, triangulations
from graphseq.sequence.data.reversal import reversal
from graphseq.sequence.data.sequence_data import SequenceData
from graphseq.sequence.data.shakespeare import tiny_shakespeare
from graphseq.sequence.data.synthetic import adding_problem, copy_memory, parity
from graphseq.sequence.data.token_stream import TokenStream
from graphseq.sequence.data.tsplib import TsplibInstance, read_tsplib, read_tsplib_tour
from graphseq.sequence.data.wikitext import wikitext2

__all__ = [
    "PairedSequences",
    "PointBatch",
    "PointSets",
    "PointerFile",
    "SequenceData",
    "TokenStream",
    "TsplibInstance",
    "adding_problem",
    "copy_memory",
    "draw_mqar",
    "draw_mqar_plain",
    "hulls",
    "mqar",
    "parity",
    "pointer_files",
    "read_pointer_file",
    "read_tsplib",
    "read_tsplib_tour",
    "reversal",
    "sequential_digits",
    "tiny_shakespeare",
    "tours",
    "triangulations",
    "wikitext2",
    "write_pointer_file",
]
