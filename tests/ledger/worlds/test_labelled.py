"""Classes are where they are said to be, and as many labels are wrong as were asked for."""

import pytest
import torch

from prefine.ledger.worlds.labelled import Labelled, Labels


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_points_lie_around_the_centre_of_their_class() -> None:
    world = Labelled.drawn(0, classes=3, size=4, apart=5.0)
    rows = world.rows(30_000, generator())
    for label in range(3):
        points = rows.features[rows.truth == label]
        assert len(points) == pytest.approx(10_000, rel=0.05)
        torch.testing.assert_close(points.mean(0), world.centres[label], rtol=0, atol=0.05)
        torch.testing.assert_close(points.std(0), torch.ones(4).double(), rtol=0, atol=0.05)


def test_a_share_of_the_labels_is_drawn_at_random() -> None:
    world = Labelled.drawn(0)
    assert torch.equal((clean := world.rows(1_000, generator())).label, clean.truth)
    rows = world.rows(50_000, generator(), wrong=0.4)
    # one label in five that is drawn at random is right: 0.4 (1 - 1 / 5)
    assert float((rows.label != rows.truth).double().mean()) == pytest.approx(0.32, abs=0.01)


def test_nobody_knows_better_than_it_does() -> None:
    world = Labelled.drawn(1)
    rows = world.rows(20_000, generator())
    log_prob = world.knows(rows.features)
    torch.testing.assert_close(log_prob.exp().sum(1), torch.ones(len(rows)).double())
    # where it says 80 to 90%, it is right 80 to 90% of the time
    sure = log_prob.exp().max(1).values
    among = (sure > 0.8) & (sure < 0.9)
    right = world.accuracy(log_prob[among], pick(rows, among))
    assert right == pytest.approx(float(sure[among].mean()), abs=0.02)


def pick(rows: Labels, among: torch.Tensor) -> Labels:
    return Labels(rows.features[among], rows.label[among], rows.truth[among])


def test_a_point_between_two_centres_is_either() -> None:
    world = Labelled(torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64))
    knows = world.knows(torch.tensor([[0.0, 3.0], [1.0, 0.0]], dtype=torch.float64))
    # squared distances 0 and 4: log-odds 2
    assert knows[0].exp().tolist() == pytest.approx([0.5, 0.5])
    assert (knows[1, 0] - knows[1, 1]).item() == pytest.approx(2.0)
