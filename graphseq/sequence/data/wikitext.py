"""WikiText-2, word by word (Merity et al. 2016, arXiv 1609.07843)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from graphseq.files import find
from graphseq.sequence.data.text import encode, read_text
from graphseq.sequence.data.token_stream import TokenStream

URL = "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2"
FILES = {"train": "train.txt", "val": "valid.txt", "test": "test.txt"}
SHA256 = {
    "train": "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
    "val": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
    "test": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
}
END_OF_LINE, UNKNOWN = "<eos>", "<unk>"


def wikitext2(*, root: str | None = None, download: bool = False) -> TokenStream:
    """Articles of Wikipedia: 2,088,628 / 217,646 / 245,569 words of 33,278 kinds.

    Each line of a file is its words, separated by blanks, and one ``<eos>``; the counts include it.
    The vocabulary is that of the training part, frequent words first, as an adaptive softmax needs
    them. A word of the other parts that it has not becomes ``<unk>`` (the published files have
    none).

    Args:
        root: Data folder in place of ``GRAPHSEQ_DATA``; the files are in ``text/wikitext-2``.
        download: Fetch missing files into the cache folder.

    Raises:
        FileNotFoundError: A file is missing and ``download`` is False.
        ValueError: A file is broken.
    """
    paths = {
        split: find(
            f"text/wikitext-2/{file}",
            root=root,
            url=f"{URL}/{file}",
            sha256=SHA256[split],
            download=download,
        )
        for split, file in FILES.items()
    }
    words = {split: _words(path) for split, path in paths.items()}
    # Of equal counts the smaller word first: the order depends on the text alone.
    counts = sorted(Counter(words["train"]).items(), key=lambda item: (-item[1], item[0]))
    token = {word: i for i, (word, _) in enumerate(counts)}
    for split in ("val", "test"):
        words[split] = _known(words[split], token, paths[split])
    return TokenStream(
        **{split: encode(found, token) for split, found in words.items()},
        vocabulary=tuple(token),
        name="wikitext2",
    )


def _words(path: Path) -> list[str]:
    lines = read_text(path).split("\n")
    if not lines[-1]:
        del lines[-1]  # what lies behind the last line's end
    words = [word for line in lines for word in (*line.split(), END_OF_LINE)]
    if len(words) < 2:
        raise ValueError(f"{path} has {len(words)} words; delete it and download it again")
    return words


def _known(words: list[str], token: dict[str, int], path: Path) -> list[str]:
    strange = next((word for word in words if word not in token), None)
    if strange is None:
        return words
    if UNKNOWN not in token:
        raise ValueError(
            f"{path} holds the word {strange!r}, which the training file does not, and that file "
            f"has no {UNKNOWN} to stand for it; put {UNKNOWN} for rare words in all files"
        )
    return [word if word in token else UNKNOWN for word in words]
