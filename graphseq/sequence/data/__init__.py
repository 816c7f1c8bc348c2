"""Where sequences come from: data classes, drawn problems, digits and text."""

from graphseq.sequence.data.digits import sequential_digits
from graphseq.sequence.data.mqar import draw_mqar, mqar
from graphseq.sequence.data.mqar_plain import draw_mqar_plain
from graphseq.sequence.data.paired_sequences import PairedSequences
from graphseq.sequence.data.reversal import reversal
from graphseq.sequence.data.sequence_data import SequenceData
from graphseq.sequence.data.shakespeare import tiny_shakespeare
from graphseq.sequence.data.synthetic import adding_problem, copy_memory, parity
from graphseq.sequence.data.token_stream import TokenStream
from graphseq.sequence.data.wikitext import wikitext2

__all__ = [
    "PairedSequences",
    "SequenceData",
    "TokenStream",
    "adding_problem",
    "copy_memory",
    "draw_mqar",
    "draw_mqar_plain",
    "mqar",
    "parity",
    "reversal",
    "sequential_digits",
    "tiny_shakespeare",
    "wikitext2",
]
