"""Text files, read whole, with a limit, and never as anything but text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphseq.files import reading

MAX_BYTES = 1 << 28


def read_text(path: Path) -> str:
    """The content of a UTF-8 file, line ends as they are.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is longer than ``MAX_BYTES``, or is not UTF-8.
    """
    with reading(path, "UTF-8 text file"), open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"{path} is longer than {MAX_BYTES} bytes; is it the right file?")
        return content.decode("utf-8")


def encode(symbols: Iterable[str], token: Mapping[str, int]) -> Tensor:
    """The token of each symbol, ``[L]`` int64.

    Raises:
        KeyError: A symbol has no token.
    """
    return torch.from_numpy(np.fromiter(map(token.__getitem__, symbols), np.int64))
