"""torch's own fused layers (oneDNN on the CPU, cuDNN on GPUs), fed with a cell's weights.

torch has two bias vectors per gate; the second is 0 but where a cell has two itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from graphseq.sequence.nn.recurrent_loop import Activation


def fused_rnn(
    activation: Activation, x: Tensor, h: Tensor, weights: Sequence[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The simple recurrent network with "tanh" or "relu": ``[T, B, D]`` and the last state."""
    run = torch.rnn_relu if activation == "relu" else torch.rnn_tanh
    return _run_padded(run, x, h, _torch_weights(x, weights), mask)


def fused_gru(
    x: Tensor, h: Tensor, weights: Sequence[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The GRU whose reset gate comes after the product; ``weights`` end with both biases."""
    return _run_padded(torch.gru, x, h, _torch_weights(x, weights), mask)


def fused_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The LSTM of the common form: ``[T, B, D]``, the last h and the last c.

    Only h is an output of every step, so a c in the middle cannot be read off: sequences of
    different length are packed.
    """
    if mask is not None:
        return _packed_lstm(x, h, c, weights, mask)
    y, last_h, last_c = torch.lstm(
        x, (h[None].contiguous(), c[None].contiguous()), _torch_weights(x, weights),
        True, 1, 0.0, torch.is_grad_enabled(), False, False,
    )  # fmt: skip
    return y, last_h[0], last_c[0]


def _run_padded(
    run: Callable[..., Any], x: Tensor, h: Tensor, weights: list[Tensor], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Runs over the padding too, and takes each sequence's state from its last true step."""
    # has_biases, num_layers, dropout, train, bidirectional, batch_first; cuDNN refuses a backward
    # pass where train is false, which has nothing to do with the module's mode here.
    y, last = run(
        x, h[None].contiguous(), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False
    )
    if mask is None:
        return y, last[0]
    lengths = mask.sum(0)  # [B, 1]
    index = (lengths - 1).clamp_min(0).expand(-1, h.shape[1])  # [B, D]
    return y, torch.where(lengths > 0, y.gather(0, index[None])[0], h)


def _packed_lstm(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    lengths = mask.sum((0, 2))
    rows = lengths.nonzero()[:, 0]  # packing refuses empty sequences
    if not len(rows):
        return torch.zeros_like(x), h, c
    packed = pack_padded_sequence(x[:, rows], lengths[rows].cpu(), enforce_sorted=False)
    order = packed.sorted_indices
    assert order is not None
    sorted_rows = rows[order]
    data, last_h, last_c = torch.lstm(
        packed.data, packed.batch_sizes, (h[None, sorted_rows], c[None, sorted_rows]),
        _torch_weights(x, weights), True, 1, 0.0, torch.is_grad_enabled(), False,
    )  # fmt: skip
    padded, _ = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])
    y = torch.zeros_like(x).index_copy(1, rows, padded)
    return y, h.index_copy(0, sorted_rows, last_h[0]), c.index_copy(0, sorted_rows, last_c[0])


def _torch_weights(x: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Input and hidden weight and two biases, on a GPU as views of one buffer.

    cuDNN keeps them in this order in one piece of memory; given that, it takes them as they are.
    """
    parts = list(weights) if len(weights) == 4 else [*weights, torch.zeros_like(weights[-1])]
    if x.device.type != "cuda":
        return parts
    pieces = torch.cat([part.flatten() for part in parts]).split([p.numel() for p in parts])
    return [piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)]
