"""Mixers as dynamical systems: one form for attention, state space models and recurrent networks.

(Sieber, Alonso, Didier, Zeilinger and Orvieto, NeurIPS 2024, arXiv 2405.15731.)
"""

from graphseq.sequence.dynamics.phi import apply_phi as apply_phi
from graphseq.sequence.dynamics.phi import phi as phi
from graphseq.sequence.dynamics.system import DynamicalSystem as DynamicalSystem
from graphseq.sequence.dynamics.to_dynamics import to_dynamics as to_dynamics
