"""Sequence layers: mixers, the blocks around them, and the state that they carry."""

from graphseq.sequence.nn.aaren_attention import AarenAttention as AarenAttention
from graphseq.sequence.nn.bidirectional import Bidirectional as Bidirectional
from graphseq.sequence.nn.block import Block as Block
from graphseq.sequence.nn.elman import Elman as Elman
from graphseq.sequence.nn.gradient_lag import gradient_norms as gradient_norms
from graphseq.sequence.nn.gru import GRU as GRU
from graphseq.sequence.nn.jordan import Jordan as Jordan
from graphseq.sequence.nn.linear_attention import LinearAttention as LinearAttention
from graphseq.sequence.nn.lru import LRU as LRU
from graphseq.sequence.nn.lstm import LSTM as LSTM
from graphseq.sequence.nn.mixer import Mixer as Mixer
from graphseq.sequence.nn.normalized_attention import NormalizedAttention as NormalizedAttention
from graphseq.sequence.nn.pointer_attention import PointerAttention as PointerAttention
from graphseq.sequence.nn.quasi_gru import QuasiGRU as QuasiGRU
from graphseq.sequence.nn.quasi_lstm import QuasiLSTM as QuasiLSTM
from graphseq.sequence.nn.rg_lru import RGLRU as RGLRU
from graphseq.sequence.nn.s4d import S4D as S4D
from graphseq.sequence.nn.s6 import S6 as S6
from graphseq.sequence.nn.softmax_attention import SoftmaxAttention as SoftmaxAttention
from graphseq.sequence.nn.ssd import SSD as SSD
from graphseq.sequence.nn.state import State as State
