"""A tree's values are those of the recursion, and its model says what its policy is."""

import torch

from prefine.ledger.worlds.trees import Tree


def test_gains_are_reward_and_value_by_recursion() -> None:
    tree = Tree.drawn(0, prompts=1, tokens=2, length=2)
    beta, table = 0.7, tree.table
    reward, reference = table.reward[0], table.reference[0]
    first = torch.stack([reference[:2].logsumexp(0), reference[2:].logsumexp(0)])
    second = reference - first.repeat_interleave(2)
    # V(s) = beta log sum_a ref(a | s) exp(r / beta), at the two beginnings and at the start
    value = [beta * (second[s] + reward[s] / beta).logsumexp(0) for s in (slice(0, 2), slice(2, 4))]
    start = beta * (first + torch.stack(value) / beta).logsumexp(0)
    expected = [[value[n // 2] - start, reward[n] - value[n // 2]] for n in range(4)]
    torch.testing.assert_close(tree.gains(beta)[0], torch.tensor(expected, dtype=torch.float64))
    ratio = tree.steps(table.optimum(beta)) - tree.steps(table.reference)
    torch.testing.assert_close(beta * ratio, tree.gains(beta))


def test_a_model_gives_the_policys_probabilities() -> None:
    tree = Tree.drawn(1, prompts=2, tokens=3, length=2)
    model = tree.model(tree.table.reference)
    following = model(input_ids=torch.tensor([[4, 2]])).logits[0, -1]  # prompt 1, after token 2
    expected = tree.table.reference[1, 6:].log_softmax(0)
    torch.testing.assert_close(following.log_softmax(0)[:3], expected)
    assert following[3:].isneginf().all()
    assert tree.responses(torch.tensor([[2, 1], [0, 2]])).tolist() == [7, 2]
