"""One long text as tokens, cut into streams that are read side by side, checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from graphseq.sequence.data.checks import check_integers, check_range, check_size, digest
from graphseq.sequence.data.sequence_data import IGNORED


@dataclass(frozen=True, eq=False)
class TokenStream:
    """A language modelling problem: each token is predicted from all before it.

    Everything is checked at construction.

    Args:
        train: The text to learn from.
        val: The text that chooses the epoch and the hyper-parameters.
        test: The text that is only scored.
        vocabulary: The word or character of each token.
        name: Shown in tables and error messages.

    Shape:
        - train, val, test: ``[number of tokens in the split]``, int64, at least two

    Raises:
        TypeError: An argument has the wrong type or dtype.
        ValueError: A text has less than two tokens or one outside of the vocabulary, or the
            vocabulary repeats a word.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    vocabulary: tuple[str, ...]
    name: str = "text"

    def __post_init__(self) -> None:
        words = self.vocabulary
        if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{self.name}: vocabulary must be a tuple of strings; use tuple(...)")
        if len(set(words)) != len(words):
            raise ValueError(f"{self.name}: vocabulary repeats a word; give each token its own")
        for split, tokens in self.splits.items():
            check_integers(self.name, split, tokens, "[L]")
            if tokens.numel() < 2:
                raise ValueError(
                    f"{self.name}: {split} has one token, and the first is not predicted; give it "
                    "two or more"
                )
            check_range(self.name, split, tokens, 0, self.num_tokens)

    def streams(self, split: str, num_streams: int) -> tuple[Tensor, Tensor]:
        """The text of a split cut into equal parts, one below the other, with their targets.

        The target of a token is the one that follows it in the text, also where that one opens the
        next part: no pair is lost at a cut. If the text has n tokens, these are n - 1 pairs.
        In ``train`` the up to ``num_streams - 1`` pairs that are left over when they are cut into
        equal parts are dropped. In ``val`` and ``test`` none is: the text is padded, so every token
        but the first of the text is scored exactly once, whatever the number of streams.

        A model that carries its state reads each stream from left to right. It then knows the whole
        past with one stream only; with more, each of the parts begins with an empty memory, and the
        perplexity is a little higher.

        Args:
            split: Which text, "train", "val" or "test".
            num_streams: Number of parts S.

        Returns:
            Tokens and targets, ``[S, L]`` each, int64. Padding is token 0 with target -100.

        Raises:
            TypeError: ``num_streams`` is no whole number.
            ValueError: It is not in ``1 .. n - 1``, or there is no such split.
        """
        if split not in self.splits:
            raise ValueError(
                f"{self.name}: streams: split is {split!r}; pass {', '.join(self.splits)}"
            )
        tokens, pairs = self.splits[split], self.splits[split].numel() - 1
        check_size(f"{self.name}: streams", "num_streams", num_streams)
        if num_streams > pairs:
            raise ValueError(
                f"{self.name}: streams: num_streams is {num_streams}, but {split} has {pairs} "
                "tokens to predict; pass fewer"
            )
        dropped = pairs % num_streams if split == "train" else 0
        padded = -(pairs - dropped) % num_streams
        inputs = torch.nn.functional.pad(tokens[: pairs - dropped], (0, padded))
        targets = torch.nn.functional.pad(
            tokens[1 : pairs - dropped + 1], (0, padded), value=IGNORED
        )
        return inputs.reshape(num_streams, -1), targets.reshape(num_streams, -1)

    @property
    def splits(self) -> dict[str, Tensor]:
        """The three texts by name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def num_tokens(self) -> int:
        """Size V of the vocabulary."""
        return len(self.vocabulary)

    @property
    def dims(self) -> dict[str, int | None]:
        """The sizes that a model's constructor needs."""
        return {
            "in_channels": None,
            "num_tokens": self.num_tokens,
            "out_channels": self.num_tokens,
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary and all texts: equal for equal data."""
        return digest(self.vocabulary, self.splits)

    def to(self, device: torch.device | str) -> TokenStream:
        """The same text with every tensor on ``device``; itself where all is there already."""
        moved = {split: tokens.to(device) for split, tokens in self.splits.items()}
        same = all(tokens is self.splits[split] for split, tokens in moved.items())
        return (
            self
            if same
            else replace(self, train=moved["train"], val=moved["val"], test=moved["test"])
        )

    def summary(self) -> dict[str, int | str]:
        """Name, sizes and fingerprint, for tables and for what is written beside a run."""
        return {
            "name": self.name,
            "num_tokens": self.num_tokens,
            **{split: tokens.numel() for split, tokens in self.splits.items()},
            "fingerprint": self.fingerprint,
        }
