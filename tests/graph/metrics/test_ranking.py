"""Ranking metrics: by hand, against their definition, OGB's evaluator and scikit-learn."""

import sys
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from graphseq.graph.metrics import auc, hits, mrr, ranking_metric, ranking_metrics

# Few different values, so that ties are the rule.
SCORES = st.lists(st.integers(-3, 3), min_size=1, max_size=12)


def scores(values):
    return torch.tensor(values, dtype=torch.float32)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, 1 / 4),  # above the best negative, 3: only 5
        (2, 2 / 4),  # above 2: 5 and 3
        (3, 2 / 4),  # the third best is 2 again, and the positive 2 ties with it
        (4, 3 / 4),  # above 0: 5, 3 and 2
        (5, 4 / 4),  # fewer than 5 negatives: all
    ],
)
def test_hits_by_hand(k, expected):
    assert hits(scores([5, 3, 2, -1]), scores([2, 0, 3, 2]), k) == expected


def test_ranks_by_hand():
    negative = scores([[3, 1, 0], [2, 2, 2], [9, 9, 2], [4, 5, 6]])
    positive = scores([2, 2, 2, 2])  # ranks 2, 1 + 3/2, 1 + (2 + 3)/2, 4
    ranks = torch.tensor([2, 2.5, 3.5, 4], dtype=torch.float64)
    assert mrr(positive, negative) == pytest.approx(float((1 / ranks).mean()), abs=1e-12)
    assert [hits(positive, negative, k) for k in (1, 2, 3, 4)] == [0, 1 / 4, 1 / 2, 1]
    assert auc(positive, negative) == pytest.approx((2 / 3 + 1 / 2 + 1 / 6 + 0) / 4, abs=1e-12)
    assert mrr(scores([2]), scores([3, 1, 0])) == 1 / 2


@given(SCORES, SCORES, st.integers(1, 14))
def test_shared_negatives_by_definition(positive, negative, k):
    best = sorted(negative, reverse=True)
    hit = [k > len(negative) or s > best[k - 1] for s in positive]
    ranks = [
        1 + (sum(n > s for n in negative) + sum(n >= s for n in negative)) / 2 for s in positive
    ]
    pair = [(s > n) + (s == n) / 2 for s in positive for n in negative]
    p, n = scores(positive), scores(negative)
    assert hits(p, n, k) == sum(hit) / len(hit)
    assert mrr(p, n) == pytest.approx(sum(1 / r for r in ranks) / len(ranks), abs=1e-12)
    assert auc(p, n) == pytest.approx(sum(pair) / len(pair), abs=1e-12)


@given(SCORES, SCORES)
def test_own_negatives_that_are_alike_equal_shared_ones(positive, negative):
    p, n = scores(positive), scores(negative)
    own = n.expand(len(p), -1)
    assert mrr(p, own) == mrr(p, n)
    assert auc(p, own) == pytest.approx(auc(p, n), abs=1e-12)
    assert hits(p, own, 1) == hits(p, n, 1)


def test_order_does_not_matter_and_a_constant_scorer_gains_nothing():
    generator = torch.Generator().manual_seed(0)
    p, n = torch.randn(50, generator=generator), torch.randn(70, generator=generator)
    mixed = p.flip(0), n[torch.randperm(70, generator=generator)]
    for metric in (auc, mrr, ranking_metric("hits@7")):
        assert metric(*mixed) == pytest.approx(metric(p, n), abs=1e-12)
    same = torch.zeros(50), torch.zeros(70)
    assert auc(*same) == 0.5
    assert hits(*same, 20) == 0.0
    assert mrr(*same) == pytest.approx(1 / 36)


@pytest.fixture(scope="module")
def evaluator():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Without this module, ogb does not start a thread that asks the network for news.
        patch.setitem(sys.modules, "outdated", None)
        warnings.simplefilter("ignore")  # pandas and pkg_resources, inside of ogb
        from ogb.linkproppred import Evaluator

        yield Evaluator


@pytest.mark.parametrize(("name", "k"), [("ogbl-ddi", 20), ("ogbl-collab", 50), ("ogbl-ppa", 100)])
@pytest.mark.parametrize("num", [10, 400])
def test_equals_ogbs_hits(evaluator, name, k, num):
    generator = torch.Generator().manual_seed(k)
    positive = torch.randint(60, (301,), generator=generator).float()
    negative = torch.randint(60, (num,), generator=generator).float()
    theirs = evaluator(name).eval({"y_pred_pos": positive, "y_pred_neg": negative})
    assert hits(positive, negative, k) == theirs[f"hits@{k}"]
    assert ranking_metric(f"hits@{k}")(positive, negative) == theirs[f"hits@{k}"]


def test_equals_ogbs_mrr(evaluator):
    generator = torch.Generator().manual_seed(0)
    positive = torch.randint(30, (57,), generator=generator).float()
    negative = torch.randint(30, (57, 40), generator=generator).float()
    theirs = evaluator("ogbl-citation2").eval({"y_pred_pos": positive, "y_pred_neg": negative})
    assert mrr(positive, negative) == pytest.approx(float(theirs["mrr_list"].mean()), abs=1e-7)
    for k in (1, 3, 10):
        assert hits(positive, negative, k) == pytest.approx(float(theirs[f"hits@{k}_list"].mean()))


def test_equals_scikit_learns_auc():
    generator = torch.Generator().manual_seed(0)
    positive = torch.randint(9, (83,), generator=generator)
    negative = torch.randint(8, (57,), generator=generator)
    label = torch.cat([torch.ones(83), torch.zeros(57)])
    theirs = roc_auc_score(label.numpy(), torch.cat([positive, negative]).numpy())
    assert auc(positive, negative) == pytest.approx(theirs, abs=1e-12)


def test_infinite_scores_and_small_types():
    infinite = torch.tensor([float("inf"), -float("inf")])
    assert auc(infinite, infinite) == 0.5
    low = torch.tensor([1.0, 3.0], dtype=torch.bfloat16)
    assert hits(low, torch.tensor([2.0]), 1) == 0.5
    assert mrr(low.requires_grad_(), torch.tensor([2.0])) == 0.75


@pytest.mark.parametrize("metric", [auc, mrr, ranking_metric("hits@3")])
@pytest.mark.parametrize(
    ("positive", "negative", "words"),
    [
        (torch.zeros(0), torch.zeros(3), "at least one positive and one negative"),
        (torch.zeros(3), torch.zeros(0), "at least one positive and one negative"),
        (torch.zeros(3), torch.zeros(4, 2), r"got \(3,\) and \(4, 2\)"),
        (torch.zeros(3, 1), torch.zeros(4), r"got \(3, 1\) and \(4,\)"),
        (torch.tensor([float("nan")]), torch.zeros(4), "positive holds NaN"),
        (torch.zeros(1), torch.full((1, 2), float("nan")), "negative holds NaN"),
    ],
)
def test_what_cannot_be_ranked(metric, positive, negative, words):
    with pytest.raises(ValueError, match=words):
        metric(positive, negative)


def test_names():
    assert ranking_metric("mrr") is mrr
    assert ranking_metric("auc") is auc
    for name in ("hits", "hits@", "hits@0", "hits@x", "mrr@3", "auc@", "map"):
        with pytest.raises(ValueError, match=r"metric must be 'hits@K'"):
            ranking_metric(name)
    with pytest.raises(ValueError, match="k must be at least 1"):
        hits(torch.zeros(1), torch.zeros(1), 0)


@pytest.mark.parametrize("size", [(300,), (40, 25)])
def test_several_metrics_are_each_of_them_from_one_sort(monkeypatch, size):
    generator = torch.Generator().manual_seed(0)
    positive = torch.randint(9, (40,), generator=generator).float()
    negative = torch.randint(9, size, generator=generator).float()
    names = ("hits@1", "hits@20", "hits@50", "mrr", "auc")
    expected = {name: ranking_metric(name)(positive, negative) for name in names}
    sorts, sort = [], torch.Tensor.sort
    monkeypatch.setattr(torch.Tensor, "sort", lambda x: sorts.append(x) or sort(x))
    assert ranking_metrics(names, positive, negative) == expected
    assert len(sorts) == (1 if len(size) == 1 else 0)
    with pytest.raises(ValueError, match="got 'hits@0'"):
        ranking_metrics(["mrr", "hits@0"], positive, negative)
    with pytest.raises(ValueError, match="ranking_metrics: positive holds NaN"):
        ranking_metrics(names, positive * float("nan"), negative)
