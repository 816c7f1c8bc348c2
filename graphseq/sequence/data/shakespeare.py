"""Tiny Shakespeare: one megabyte of plays, character by character."""

from __future__ import annotations

from graphseq.files import find
from graphseq.sequence.data.text import encode, read_text
from graphseq.sequence.data.token_stream import TokenStream

FILE = "text/tinyshakespeare/input.txt"
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def tiny_shakespeare(*, root: str | None = None, download: bool = False) -> TokenStream:
    """1,115,394 characters of 65 kinds, to predict one after the other.

    The first 90 percent are to train, the next 5 to validate and the last 5 to test. The vocabulary
    is that of the whole file, in the order of the code points.

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the file is in ``text/tinyshakespeare``.
        download: Fetch a missing file into the cache folder.

    Raises:
        FileNotFoundError: The file is missing and ``download`` is False.
        ValueError: The file is broken.
    """
    path = find(FILE, root=root, url=URL, sha256=SHA256, download=download)
    text = read_text(path)
    vocabulary = tuple(sorted(set(text)))
    tokens = encode(text, {character: i for i, character in enumerate(vocabulary)})
    if len(tokens) < 40:
        raise ValueError(f"{path} has {len(tokens)} characters, too few to split; is it complete?")
    ends = [len(tokens) * percent // 100 for percent in (90, 95)]
    return TokenStream(
        train=tokens[: ends[0]],
        val=tokens[ends[0] : ends[1]],
        test=tokens[ends[1] :],
        vocabulary=vocabulary,
        name="tiny_shakespeare",
    )
