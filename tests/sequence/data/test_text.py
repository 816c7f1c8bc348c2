"""The readers of text: what was written comes back, and what is broken is named."""

import pytest
import torch

from graphseq.sequence.data import text, tiny_shakespeare, wikitext2

LINES = {
    "train": " \n = A title = \n \n the cat saw the\u00e9 dog ; the <unk> saw it \n",
    "valid": " the dog saw a dog \n",
    "test": " the\u00e9 cat",  # no line end behind the last line
}


@pytest.fixture
def data_folder(tmp_path):
    """A folder with both texts in the format of the large ones."""
    (tmp_path / "text/wikitext-2").mkdir(parents=True)
    (tmp_path / "text/tinyshakespeare").mkdir()
    for name, lines in LINES.items():
        (tmp_path / f"text/wikitext-2/{name}.txt").write_bytes(lines.encode())
    play = "".join(f"ROMEO:\nO, she doth teach {i}!\r\n" for i in range(10))
    (tmp_path / "text/tinyshakespeare/input.txt").write_bytes(play.encode())
    return tmp_path


def words(data, split):
    return [data.vocabulary[token] for token in data.splits[split].tolist()]


def test_wikitext(data_folder):
    data = wikitext2(root=str(data_folder))
    assert words(data, "train") == (
        "<eos> = A title = <eos> <eos> the cat saw the\u00e9 dog ; the <unk> saw it <eos>".split()
    )
    assert words(data, "val") == ["the", "dog", "saw", "<unk>", "dog", "<eos>"]
    assert words(data, "test") == ["the\u00e9", "cat", "<eos>"]
    assert data.vocabulary[:4] == ("<eos>", "=", "saw", "the")  # frequent first, then by spelling
    counts = torch.bincount(data.train)
    assert (counts[:-1] >= counts[1:]).all()
    assert set(data.vocabulary) == set(LINES["train"].split()) | {"<eos>"}
    assert data.fingerprint == wikitext2(root=str(data_folder)).fingerprint


def test_unknown_words_need_a_symbol(data_folder):
    path = data_folder / "text/wikitext-2/train.txt"
    path.write_text(" the dog saw the cat \n")
    (data_folder / "text/wikitext-2/test.txt").write_text(" the dog \n")
    with pytest.raises(ValueError, match=r"valid\.txt holds the word 'a', which the training file"):
        wikitext2(root=str(data_folder))


def test_shakespeare(data_folder):
    data = tiny_shakespeare(root=str(data_folder))
    whole = (data_folder / "text/tinyshakespeare/input.txt").read_bytes().decode()
    assert "".join("".join(words(data, split)) for split in data.splits) == whole
    assert data.vocabulary == tuple(sorted(set(whole)))
    assert data.train.numel() == len(whole) * 90 // 100
    assert data.train.numel() + data.val.numel() == len(whole) * 95 // 100


@pytest.mark.parametrize(
    ("load", "file"),
    [
        (tiny_shakespeare, "text/tinyshakespeare/input.txt"),
        (wikitext2, "text/wikitext-2/valid.txt"),
    ],
)
class TestBrokenFiles:
    def test_missing(self, data_folder, load, file):
        (data_folder / file).unlink()
        with pytest.raises(FileNotFoundError) as caught:
            load(root=str(data_folder))
        message = str(caught.value)
        assert file in message
        assert str(data_folder) in message
        assert "download=True" in message
        assert "https://" in message

    def test_not_utf8(self, data_folder, load, file):
        (data_folder / file).write_bytes(b" words \xff\xfe words \n" * 20)
        with pytest.raises(ValueError, match=r"txt is not a complete UTF-8 text file") as caught:
            load(root=str(data_folder))
        assert str(data_folder / file) in str(caught.value)

    def test_empty(self, data_folder, load, file):
        (data_folder / file).write_bytes(b"")
        with pytest.raises(ValueError, match=r"txt has 0 (words|characters)"):
            load(root=str(data_folder))

    def test_too_long(self, data_folder, load, file, monkeypatch):
        path = data_folder / file
        monkeypatch.setattr(text, "MAX_BYTES", path.stat().st_size - 1)
        with pytest.raises(ValueError, match=r"is longer than \d+ bytes; is it the right file"):
            load(root=str(data_folder))


@pytest.mark.real_data
def test_real_shakespeare():
    data = tiny_shakespeare()
    assert data.num_tokens == 65
    assert [tokens.numel() for tokens in data.splits.values()] == [1003854, 55770, 55770]


@pytest.mark.real_data
def test_real_wikitext():
    data = wikitext2()
    assert data.num_tokens == 33278
    assert [tokens.numel() for tokens in data.splits.values()] == [2088628, 217646, 245569]
    assert data.vocabulary[0] == "the"
    assert words(data, "val")[:6] == ["<eos>", "=", "Homarus", "gammarus", "=", "<eos>"]
    # without one in the other parts, every word is known
    written = (data.vocabulary.index("<unk>"), data.vocabulary.index("<eos>"))
    assert all((data.val == token).any() for token in written)
