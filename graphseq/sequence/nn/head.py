"""From hidden states to scores, or straight to the likelihood of known targets."""

import torch.nn.functional as F
from torch import Tensor, nn

from graphseq.sequence.nn.mixer import at_least_float32, no_autocast


class Head(nn.Module):
    """A linear layer, one tied to the embedding, or an adaptive softmax.

    Args:
        channels: D.
        out_channels: C.
        tied: the embedding whose weights ``[C, D]`` it uses, without a bias.
        cutoffs: an adaptive softmax (Grave et al. 2017) with these cutoffs: frequent classes first,
            in full width, each further part with a quarter of the width of the one before.

    Raises:
        ValueError: if it shall be tied and adaptive at once.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        tied: nn.Module | None = None,
        cutoffs: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if tied is not None and cutoffs is not None:
            raise ValueError("Head: got tied weights and cutoffs; an adaptive softmax has its own")
        self.linear: nn.Linear | None = None
        self.adaptive: nn.AdaptiveLogSoftmaxWithLoss | None = None
        if cutoffs is not None:
            self.adaptive = nn.AdaptiveLogSoftmaxWithLoss(channels, out_channels, list(cutoffs))
        else:
            self.linear = nn.Linear(channels, out_channels, bias=tied is None)
            if tied is not None:
                self.linear.weight = tied.weight  # type: ignore[assignment]

    def forward(self, hidden: Tensor, targets: Tensor | None = None) -> Tensor:
        """Scores, or negative log likelihoods.

        Shape:
            ``[..., D] -> [..., C]``: logits, of an adaptive softmax log-probabilities; with targets
            ``[...]`` their negative log likelihood ``[...]``.
        """
        if targets is not None:
            flat, wanted = hidden.flatten(0, -2), targets.flatten()
            if self.adaptive is not None:
                with no_autocast(flat):
                    return -self.adaptive(at_least_float32(flat), wanted).output.view(targets.shape)
            assert self.linear is not None
            losses = F.cross_entropy(self.linear(flat), wanted, reduction="none")
            return losses.view(targets.shape)
        if self.adaptive is not None:
            flat = hidden.flatten(0, -2)
            with no_autocast(flat):
                scores = self.adaptive.log_prob(at_least_float32(flat))
            return scores.view(*hidden.shape[:-1], self.adaptive.n_classes)
        assert self.linear is not None
        return self.linear(hidden)
