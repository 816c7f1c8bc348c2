"""The cache of derived arrays: keyed by content, rebuilt when broken, never in the way."""

import numpy as np
import pytest

from graphseq.files import cached_arrays


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPHSEQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "processed"


class Builder:
    def __init__(self, source):
        self.source, self.calls = source, 0

    def __call__(self):
        self.calls += 1
        return {"x": np.array([float(word) for word in self.source.read_text().split()])}


def test_builds_once_per_content(tmp_path, cache):
    source = tmp_path / "numbers"
    source.write_text("1 2 3")
    build = Builder(source)
    for _ in range(3):
        np.testing.assert_array_equal(cached_arrays("a", [source], build)["x"], [1, 2, 3])
    assert build.calls == 1
    source.write_text("4 5")
    np.testing.assert_array_equal(cached_arrays("a", [source], build)["x"], [4, 5])
    assert build.calls == 2
    cached_arrays("b", [source], build)
    assert build.calls == 3
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c[::-1]])
def test_a_broken_entry_is_rebuilt(tmp_path, cache, damage):
    source = tmp_path / "numbers"
    source.write_text("1 2 3")
    build = Builder(source)
    cached_arrays("a", [source], build)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    np.testing.assert_array_equal(cached_arrays("a", [source], build)["x"], [1, 2, 3])
    assert build.calls == 2
    assert entry.read_bytes() == whole


def test_an_unwritable_cache_is_a_warning(tmp_path, cache):
    source = tmp_path / "numbers"
    source.write_text("1 2 3")
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.warns(UserWarning, match="derived again next time: cannot write"):
        arrays = cached_arrays("a", [source], Builder(source))
    np.testing.assert_array_equal(arrays["x"], [1, 2, 3])
