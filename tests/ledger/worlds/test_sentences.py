import pytest
import torch

from prefine.ledger.worlds.sentences import END, PLACES, WORDS, Sentences, all_sentences


@pytest.fixture(scope="module")
def world() -> Sentences:
    return Sentences.drawn(0)


def test_every_sentence_is_there_once() -> None:
    sentences = all_sentences()
    assert len(sentences) == sum(WORDS**count for count in range(PLACES + 1))
    assert len({tuple(row) for row in sentences.tolist()}) == len(sentences)


def test_probabilities_are_of_all_there_is(world: Sentences) -> None:
    assert float(world.log_prob(world.reference).exp().sum()) == pytest.approx(1)
    shared = world.reference.mean(0, keepdim=True)  # one table for all places
    assert float(world.log_prob(shared).exp().sum()) == pytest.approx(1)


def test_a_probability_is_the_product_along_the_sentence(world: Sentences) -> None:
    at = world.tokens.tolist().index([2, 0, END, -1, -1])
    table = world.reference.log_softmax(-1)
    by_hand = table[0, END, 2] + table[1, 2, 0] + table[2, 0, END]
    torch.testing.assert_close(world.log_prob(world.reference)[at], by_hand)
    assert world.length[at] == 3


def test_quality_is_standardised_under_the_reference() -> None:
    world = Sentences.drawn(3, spread=1.5)
    assert world.expected(world.reference, world.quality) == pytest.approx(0, abs=1e-9)
    assert world.expected(world.reference, world.quality.square()) == pytest.approx(1.5**2)


def test_scores_agree_with_their_tokens(world: Sentences) -> None:
    moved = world.reference + torch.arange(4) / 4
    scores = world.scores(moved, torch.tensor([[5, 300], [0, 363]]))
    torch.testing.assert_close(scores.elements["log_prob"].sum(2), scores.policy)
    assert torch.equal(scores.elements["mask"].sum(2).double(), scores.length)
    assert scores.elements["kl_reference"].min() >= -1e-12
    still = world.scores(world.reference, torch.tensor([[5, 300]]))
    assert float(still.elements["kl_reference"].abs().max()) == pytest.approx(0)
    assert world.divergence(world.reference) == pytest.approx(0)


def test_people_prefer_quality_and_what_is_paid_for(world: Sentences) -> None:
    pairs = world.pairs(4_000, torch.Generator().manual_seed(0))
    better = world.quality[pairs]
    assert float((better[:, 0] - better[:, 1]).mean()) > 0.3
    longer = world.pairs(4_000, torch.Generator().manual_seed(0), paid=2.0)
    assert float(world.length[longer].diff(dim=1).mean()) < -0.5
