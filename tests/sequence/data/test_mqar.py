"""Multi-query associative recall: the law, against its equations and a second generator."""

import numpy as np
import pytest
import torch
from scipy import stats

from graphseq.sequence.data import draw_mqar, draw_mqar_plain, mqar

pytestmark = pytest.mark.usefixtures("generators_untouched")

ALPHA = 1e-4  # with fixed seeds: a law that is right passes always, a wrong one fails always
SETTINGS = [
    {"length": 64, "num_pairs": 4, "num_tokens": 8192},
    {"length": 512, "num_pairs": 64, "num_tokens": 8192},
    {"length": 256, "num_pairs": 64, "num_tokens": 8192},  # no slot stays free
    {"length": 4, "num_pairs": 1, "num_tokens": 4},  # the smallest
    {"length": 40, "num_pairs": 7, "num_tokens": 16},  # every key, every time
    {"length": 40, "num_pairs": 5, "num_tokens": 17},  # one value more than keys and blank
]


def fast(num, *, seed=0, **law):
    return draw_mqar(num, **law, generator=np.random.default_rng(seed))


def plain(num, *, seed=1, **law):
    return draw_mqar_plain(num, **law, rng=np.random.default_rng(seed))


def parts(tokens, labels, num_pairs):
    """Keys, values and slots of each example ``[n, K]``, slots in the order of the keys."""
    context = 2 * num_pairs
    keys, values = tokens[:, 0:context:2].numpy(), tokens[:, 1:context:2].numpy()
    behind = tokens[:, context::2].numpy()
    slots = (behind[:, None, :] == keys[:, :, None]).argmax(axis=2)
    return keys, values, slots


@pytest.mark.parametrize("law", SETTINGS, ids=str)
@pytest.mark.parametrize("draw", [fast, plain])
def test_every_example_obeys_the_rules(draw, law):
    tokens, labels = draw(50 if law["length"] > 64 else 700, **law)
    num_pairs, half = law["num_pairs"], law["num_tokens"] // 2
    assert tokens.dtype == labels.dtype == torch.int64
    assert tokens.shape == labels.shape == (len(tokens), law["length"])
    keys, values, _ = parts(tokens, labels, num_pairs)
    assert 1 <= keys.min()
    assert keys.max() < half
    assert half <= values.min()
    assert values.max() < law["num_tokens"]
    for row in range(len(tokens)):
        assert len(set(keys[row])) == len(set(values[row])) == num_pairs
        value_of = dict(zip(keys[row].tolist(), values[row].tolist(), strict=True))
        asked = (labels[row] != -100).nonzero()[:, 0]
        assert len(asked) == num_pairs
        assert (asked >= 2 * num_pairs).all()
        assert (asked % 2 == 0).all()
        assert sorted(tokens[row, asked].tolist()) == sorted(value_of)
        for position in asked.tolist():
            assert int(labels[row, position]) == value_of[int(tokens[row, position])]
        behind = tokens[row, 2 * num_pairs :].clone()
        behind[asked - 2 * num_pairs] = 0
        assert not behind.any()


def same_law(first, second):
    """The p-value that two samples of whole numbers have one law; rare ones are put together."""
    high = int(max(first.max(), second.max())) + 1
    table = np.stack([np.bincount(sample.ravel(), minlength=high) for sample in (first, second)])
    often = table.sum(axis=0) >= 10
    table = np.concatenate([table[:, often], table[:, ~often].sum(axis=1, keepdims=True)], axis=1)
    return stats.chi2_contingency(table[:, table.sum(axis=0) > 0]).pvalue


@pytest.mark.parametrize("power", [0.01, 1.0, 2.0])
def test_both_generators_have_one_law(power):
    law = {"length": 64, "num_pairs": 8, "num_tokens": 60, "power": power}
    keys, values, slots = parts(*fast(6000, **law), 8)
    other_keys, other_values, other_slots = parts(*plain(6000, **law), 8)
    for column in (0, 1, 7):
        assert same_law(slots[:, column], other_slots[:, column]) > ALPHA
        assert same_law(keys[:, column], other_keys[:, column]) > ALPHA
        assert same_law(values[:, column], other_values[:, column]) > ALPHA
    assert (
        same_law(slots[:, 0] * 24 + slots[:, 1], other_slots[:, 0] * 24 + other_slots[:, 1]) > ALPHA
    )
    assert same_law(np.sort(slots, axis=1)[:, 3], np.sort(other_slots, axis=1)[:, 3]) > ALPHA


def test_the_comparison_can_fail():
    law = {"length": 64, "num_pairs": 8, "num_tokens": 60}
    slots = parts(*fast(6000, **law), 8)[2]
    other = parts(*plain(6000, **law, power=0.3), 8)[2]
    assert same_law(slots[:, 0], other[:, 0]) < ALPHA
    assert same_law(slots[:, 0], slots[:, 7]) < ALPHA


@pytest.mark.parametrize("draw", [fast, plain])
def test_slots_are_chosen_one_after_the_other(draw):
    """Three slots of four: the frequency of each ordered triple is the product of the equation."""
    law = {"length": 14, "num_pairs": 3, "num_tokens": 8192, "power": 0.3}
    slots = parts(*draw(6000, **law), 3)[2]
    p = np.arange(1, 5) ** (0.3 - 1)
    p /= p.sum()
    triples = [
        (i, j, k) for i in range(4) for j in range(4) for k in range(4) if len({i, j, k}) == 3
    ]
    expected = [p[i] * p[j] / (1 - p[i]) * p[k] / (1 - p[i] - p[j]) for i, j, k in triples]
    counted = [int((slots == triple).all(axis=1).sum()) for triple in triples]
    assert stats.chisquare(counted, np.array(expected) * 6000).pvalue > ALPHA


@pytest.mark.parametrize("num_tokens", [26, 200], ids=["shuffled", "redrawn"])
@pytest.mark.parametrize("draw", [fast, plain])
def test_tuples_of_keys_are_uniform(draw, num_tokens):
    law = {"length": 48, "num_pairs": 10, "num_tokens": num_tokens}
    keys, values, _ = parts(*draw(9000, **law), 10)
    for numbers, size, low in (
        (keys, num_tokens // 2 - 1, 1),
        (values, num_tokens // 2, num_tokens // 2),
    ):
        for column in (0, 9):
            counts = np.bincount(numbers[:, column] - low, minlength=size)
            assert len(counts) == size
            assert stats.chisquare(counts).pvalue > ALPHA
        smaller = np.bincount((numbers[:, :1] > numbers[:, 1:]).sum(axis=1), minlength=10)
        assert stats.chisquare(smaller).pvalue > ALPHA  # the first is of any rank alike


def test_slots_do_not_depend_on_keys():
    keys, _, slots = parts(*fast(20000, length=20, num_pairs=3, num_tokens=16), 3)
    table = np.zeros((7, 7))
    np.add.at(table, (keys[:, 0] - 1, slots[:, 0]), 1)
    assert stats.chi2_contingency(table).pvalue > ALPHA


def test_the_older_numpy_generator_will_do():
    law = {"length": 64, "num_pairs": 8, "num_tokens": 60}
    slots = parts(*draw_mqar_plain(2000, **law, rng=np.random.RandomState(0)), 8)[2]
    assert same_law(slots, parts(*fast(2000, **law), 8)[2]) > ALPHA


def test_dataset():
    data = mqar(num_train=500, num_val=60, num_test=40)
    assert data.kind == "labels"
    assert data.name == "mqar(64, 4)"
    assert data.dims == {"in_channels": None, "num_tokens": 8192, "out_channels": 8192}
    assert [rows.numel() for rows in data.splits.values()] == [500, 60, 40]
    assert data.x.shape == data.y.shape == (600, 64)
    assert ((data.y >= 0).sum(1) == 4).all()
    assert len(torch.unique(data.x, dim=0)) == 600  # no example of one split is in another


def test_a_split_does_not_depend_on_the_others_sizes():
    first = mqar(num_train=500, num_val=60, num_test=40)
    other = mqar(num_train=100, num_val=30, num_test=40)
    assert torch.equal(first.x[first.test], other.x[other.test])
    assert torch.equal(first.y[first.test], other.y[other.test])
    again, seeded = (mqar(num_train=500, num_val=60, num_test=40, seed=seed) for seed in (0, 1))
    assert first.fingerprint == again.fingerprint != seeded.fingerprint


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"length": 63}, ValueError, "length must be even and at least 4 num_pairs = 16, got 63"),
        ({"length": 14}, ValueError, "at least 4 num_pairs = 16, got 14"),
        ({"num_pairs": 0}, ValueError, "num_pairs is 0"),
        ({"num_pairs": 4.0}, TypeError, "num_pairs must be an int"),
        ({"num_tokens": 9}, ValueError, "3 keys for 4 pairs; pass 10 or more"),
        ({"power": float("nan")}, ValueError, "power is nan"),
        ({"power": -1}, ValueError, "power is -1"),
        ({"num_train": 0}, ValueError, "num_train is 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": None}, TypeError, "seed must be an int, got None"),
    ],
)
def test_impossible_arguments(changes, error, words):
    with pytest.raises(error, match=r"^mqar: ") as caught:
        mqar(**changes)
    assert words in str(caught.value)


@pytest.mark.parametrize("draw", [fast, plain])
def test_impossible_draws(draw):
    name = {fast: "draw_mqar", plain: "draw_mqar_plain"}[draw]
    with pytest.raises(ValueError, match=f"^{name}: num is 0"):
        draw(0, length=64, num_pairs=4)
    with pytest.raises(ValueError, match=f"^{name}: length must be even"):
        draw(1, length=10, num_pairs=4)
