"""Sequence models."""

from graphseq.sequence.models.aaren import Aaren as Aaren
from graphseq.sequence.models.pointer_network import PointerNetwork as PointerNetwork
from graphseq.sequence.models.recurrent import Recurrent as Recurrent
from graphseq.sequence.models.seq2seq import Seq2Seq as Seq2Seq
from graphseq.sequence.models.sequence_model import SequenceModel as SequenceModel
