"""Objective, optimisers, batches and metrics of sequence problems."""

from graphseq.sequence.tasks.next_token import NextTokenPrediction as NextTokenPrediction
from graphseq.sequence.tasks.sequence_classification import (
    SequenceClassification as SequenceClassification,
)
from graphseq.sequence.tasks.sequence_labelling import SequenceLabelling as SequenceLabelling
from graphseq.sequence.tasks.sequence_regression import SequenceRegression as SequenceRegression
from graphseq.sequence.tasks.sequence_to_sequence import SequenceToSequence as SequenceToSequence
