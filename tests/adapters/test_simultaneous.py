"""Words apart from actions, against the plain forward pass, one trajectory at a time."""

import copy
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.adapters.tokenizers_for_tests import TOKENIZERS
from tests.adapters.tokenizers_for_tests import tokenizer as tokenizer_of
from torch import Tensor

from prefine.adapters import CausalLM, SimultaneousLM, bind
from prefine.adapters.simultaneous import StreamingLM, read_id
from prefine.errors import ConfigError, RecordError
from prefine.records import Records
from prefine.records.streams import wait_k
from prefine.records.table import view_schema, write_table
from prefine.sampling import SimultaneousTranslator
from prefine.scores import Needs
from prefine.training.streaming import add_read

ACTIONS = Needs(elements=frozenset({"action_log_prob", "delay"}))


@pytest.fixture
def tokenizer(tiny_tokenizer: Any) -> Any:
    """The tiny tokenizer with READ, id 260."""
    made = copy.deepcopy(tiny_tokenizer)
    add_read(made, "<read>")
    return made


@pytest.fixture
def model(tiny_llama: Callable[..., Any]) -> Any:
    """Weights large enough for probabilities that differ."""
    return tiny_llama(vocab=261, initializer_range=0.4).double().eval()


def trajectory(source: str, target: str, k: int) -> list[dict[str, Any]]:
    path = wait_k([f" {w}" for w in source.split()], [f" {w}" for w in target.split()], k, "<read>")
    return [message.to_json() for message in path]


def text(*said: str) -> list[dict[str, Any]]:
    """Messages of a raw response: what the model writes, what it is given, in turn."""
    return [{"role": ("assistant", "user")[n % 2], "content": one} for n, one in enumerate(said)]


def view(*rows: list[list[dict[str, Any]]], start: str = "go\n") -> Any:
    prompt = json.dumps({"messages": [{"role": "user", "content": start}], "form": "text"})
    made = [
        {
            "record": f"r{n}", "prompts": [prompt], "weight": 1.0, "rater": -1, "principal": -1,
            "responses": [json.dumps(response) for response in responses],
            "items": [
                {"prompt": 0, "response": k, "role": ("chosen", "rejected")[k]}
                for k in range(len(responses))
            ],
        }
        for n, responses in enumerate(rows)
    ]  # fmt: skip
    return SimpleNamespace(kind="pair", rows=write_table(made, view_schema()))


PAIRS = [
    [trajectory("a b c", "A B C", 1), trajectory("a b c", "X", 1)],  # the rest is read at the end
    [trajectory("d e", "D E F G", 2), trajectory("d e", "DE", 2)],
]


def by_hand(model: Any, tokenizer: Any, row: Any, k: int) -> dict[str, Any]:
    """Walk along a trajectory, one decision after the other."""
    read = tokenizer.convert_tokens_to_ids("<read>")
    prompt, response, mask = (row[name][k] for name in ("prompt", "response", "mask"))
    ids = torch.tensor([*prompt, *response]).long()
    log_probs = model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
    total = int((torch.tensor(response) == read).sum())
    words, actions, delays = [], [], []
    reads, expected, waiting = 0, torch.tensor(0.0).double(), torch.tensor(0.0).double()
    for at, (token, scored) in enumerate(zip(response, mask, strict=True)):
        if not scored:
            continue
        here = log_probs[len(prompt) + at - 1]
        chance = here[read].exp()
        if 0 < reads < total:
            expected = expected + chance
        elif reads == 0 and token == read:
            expected = expected + 1
        if token == read:
            reads += 1
            waiting = waiting + here[read]
            continue
        words.append(here[token] - torch.log1p(-chance))
        actions.append(waiting + torch.log1p(-chance))
        delays.append(expected / total)
        waiting = torch.tensor(0.0).double()
    return {
        "words": torch.stack(words),
        "action": torch.stack(actions),
        "delay": torch.stack(delays),
    }


def scored(model: Any, adapter: Any, rows: Any) -> Any:
    return bind(model, adapter)(batch=adapter.collate(rows), draw=None, needs=ACTIONS)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_values_and_gradients_are_those_of_a_walk_by_hand(
    layout: Any, model: Any, tokenizer: Any
) -> None:
    adapter = SimultaneousLM(tokenizer, layout=layout)
    rows = adapter.prepare(view(*PAIRS)).dataset
    found = scored(model, adapter, [rows[0], rows[1]])
    weights = (1.0, 0.3, -0.7)
    ours: Tensor = torch.zeros(())
    theirs: Tensor = torch.zeros(())
    plain = copy.deepcopy(model)
    del plain.forward
    for item, (b, k) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        mask, hand = found.elements["mask"][item], by_hand(plain, tokenizer, rows[b], k)
        action, delay = (found.elements[name][item] for name in ("action_log_prob", "delay"))
        torch.testing.assert_close(found.value[item], hand["words"].sum(), rtol=0, atol=1e-9)
        torch.testing.assert_close(action[mask], hand["action"], rtol=0, atol=1e-9)
        torch.testing.assert_close(delay[mask], hand["delay"], rtol=0, atol=1e-9)
        assert found.length[item] == len(hand["words"])
        assert not action[~mask].any()
        assert not delay[~mask].any()
        for weight, mine, other in zip(
            weights, (found.value[item], action, delay), hand.values(), strict=True
        ):
            ours = ours + weight * (item + 1) * mine.sum()
            theirs = theirs + weight * (item + 1) * other.sum()
    ours.backward()
    theirs.backward()
    for name, parameter in model.named_parameters():
        wanted = dict(plain.named_parameters())[name].grad
        # The model's own norms run in float32, which rounds a packed row differently.
        atol = 1e-9 if layout == "padded" else 1e-5
        torch.testing.assert_close(parameter.grad, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_words_and_actions_together_are_the_whole_trajectory(
    layout: Any, model: Any, tokenizer: Any
) -> None:
    apart = SimultaneousLM(tokenizer, layout=layout)
    rows = apart.prepare(view(*PAIRS)).dataset
    split = scored(model, apart, rows)
    whole = bind(model, CausalLM(tokenizer))(batch=CausalLM(tokenizer).collate(rows), needs=Needs())
    total = split.value + split.elements["action_log_prob"].sum(1)
    torch.testing.assert_close(total, whole.value, rtol=0, atol=1e-9)


def test_one_word_by_hand(tokenizer: Any, model: Any) -> None:
    """Logits that are the same everywhere: q = 1/4, and each of three other tokens 1/4."""
    logits = torch.full((261,), -1e4).double()
    logits[[260, 3, *tokenizer(" A", add_special_tokens=False)["input_ids"]]] = 0.0
    model.lm_head.weight.data.zero_()
    model.lm_head.bias = torch.nn.Parameter(logits)
    adapter = SimultaneousLM(tokenizer)
    found = scored(model, adapter, adapter.prepare(view([trajectory("x y", "A", 1)])).dataset)
    # READ, then " ", "A", READ, EOS: log 1/3 three times; log 1/4 + log 3/4, twice, log 3/4
    assert found.value.exp().item() == pytest.approx((1 / 3) ** 3)
    action = found.elements["action_log_prob"][found.elements["mask"]].exp()
    assert action.tolist() == pytest.approx([3 / 16, 3 / 4, 3 / 16])
    # The first of two is given; then 1/4 at each of three decisions, until all is read.
    delay = found.elements["delay"][found.elements["mask"]]
    assert delay.tolist() == pytest.approx([1.25 / 2, 1.5 / 2, 1.75 / 2])


def test_no_word_sees_what_was_not_read_yet(model: Any, tokenizer: Any) -> None:
    adapter = SimultaneousLM(tokenizer)
    pair = [trajectory("a b c", "A B C", 1), trajectory("a b z", "A B C", 1)]
    found = scored(model, adapter, adapter.prepare(view(pair)).dataset)
    one, other = found.elements["action_log_prob"]
    kept = found.elements["mask"].all(0)
    differs = (one != other)[kept].nonzero()[:, 0].tolist()
    assert differs == list(range(2 * 2, int(kept.sum()))), "two words of two bytes are the same"


def test_a_certain_reader_keeps_finite_words_and_gradients(model: Any, tokenizer: Any) -> None:
    """Where READ is all but certain, 1 - q is below what float32 can tell from 0."""
    bias = torch.zeros(261)
    bias[260] = 60.0
    model.float().lm_head.bias = torch.nn.Parameter(bias)
    adapter = SimultaneousLM(tokenizer)
    found = scored(model, adapter, adapter.prepare(view(*PAIRS)).dataset)
    action = found.elements["action_log_prob"]
    assert action.min() < -50
    (found.value.sum() + action.sum() + found.elements["delay"].sum()).backward()
    assert found.value.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_sum_of_chances_is_the_mean_of_what_is_read(model: Any, tokenizer: Any) -> None:
    """Over trajectories that the model draws: the compensator, and what it compensates."""
    rng = torch.Generator().manual_seed(0)
    letters = tokenizer("abc", add_special_tokens=False)["input_ids"]
    start = [1, *tokenizer("go\n", add_special_tokens=False)["input_ids"]]
    source = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in (" x", " y\n")]
    allowed = torch.tensor([*letters, 260])
    model.lm_head.bias = torch.nn.Parameter(torch.full((261,), -1e4).double())
    model.lm_head.bias.data[allowed] = 0.0
    drawn: list[tuple[Any, Any]] = []
    for _ in range(300):
        ids, mask, reads = [], [], 0
        while reads < 2:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([start + ids])).logits[0, -1]
            token = int(torch.multinomial(logits.softmax(-1), 1, generator=rng)) if ids else 260
            ids.append(token)
            mask.append(True)
            if token == 260:
                ids += source[reads]
                mask += [False] * len(source[reads])
                reads += 1
        drawn.append((ids, mask))
    rows = [
        {"record": f"r{n}", "roles": ["chosen"], "prompt": [start],
         "response": [[*ids, letters[0]]], "mask": [[*mask, True]]}
        for n, (ids, mask) in enumerate(drawn)
    ]  # fmt: skip
    adapter = SimultaneousLM(tokenizer)
    with torch.no_grad():
        found = scored(model, adapter, rows)
    last = found.elements["delay"].max(1).values  # when all is read, which every one does
    assert last.mean().item() == pytest.approx(1.0, abs=3 * last.std().item() / 300**0.5)
    assert last.std() > 0.05


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (text("a b"), "nothing is read"),
        (text("<read>"), "not every reading reveals"),
        (text("<read><read>", " x", " A"), "not every reading reveals"),
        (text("a", " x", " A<read>", " y", "B"), "not every reading reveals"),
        (text("<read>", " x<read>", " A"), "not every reading reveals"),
    ],
)
def test_what_is_no_trajectory_is_set_aside(response: Any, reason: str, tokenizer: Any) -> None:
    good = trajectory("a", "A", 1)
    prepared = SimultaneousLM(tokenizer).prepare(view([good, good], [good, response]))
    assert len(prepared.dataset) == 1
    assert [reason in said for said in prepared.set_aside] == [True]
    with pytest.raises(RecordError, match=reason):
        StreamingLM(tokenizer).prepare(view([response]))


def test_a_prompt_must_stand_there_and_not_ask_to_read(tokenizer: Any) -> None:
    with pytest.raises(RecordError, match="does not ask to read"):
        SimultaneousLM(tokenizer).prepare(view([trajectory("a", "A", 1)], start="<read> a"))


def test_a_tokenizer_without_the_token_says_how_to_add_it(tiny_tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="train sft --set streaming"):
        read_id(tiny_tokenizer, "<read>")


def test_the_token_is_part_of_what_a_score_is(tokenizer: Any) -> None:
    assert SimultaneousLM(tokenizer).fingerprint()["read"] == "<read>"


@pytest.mark.parametrize("name", TOKENIZERS)
def test_any_tokenizer_reads_one_piece_at_a_time(name: str) -> None:
    """Sources and words as they are cut in training are those that a translator is given."""
    spoken = copy.deepcopy(tokenizer_of(name))
    add_read(spoken, "<read>")
    read = read_id(spoken, "<read>")
    path = trajectory("The lazy dog, naïve", "Yes. No. it's", 2)
    (row,) = SimultaneousLM(spoken).prepare(view([path])).dataset
    response, mask = row["response"][0], row["mask"][0]
    assert (response == read).sum() == 4
    translate = SimultaneousTranslator(None, spoken)
    starts = np.flatnonzero(response == read) + 1
    stops = [start + mask[start:].argmax() for start in starts]
    found = [list(response[a:b]) for a, b in zip(starts, stops, strict=True)]
    assert found == [translate._revealed(piece) for piece in revealed_of(path)]


def revealed_of(path: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in path if message["role"] == "user"]


def test_records_of_the_operator_are_trajectories(tokenizer: Any) -> None:
    from prefine.curation import Streams, curate
    from prefine.records import load

    rows = [{"prompt": "x y z", "chosen": "a b c d e", "rejected": "a"}]
    made: Records = curate(load(rows), Streams(wait=2))
    prepared = SimultaneousLM(tokenizer).prepare(made.pairs())
    assert prepared.set_aside == {}
    assert prepared.sample.startswith(
        "chosen: '<|bos|>Translate while you read.\\n⟦<read>⟧ x⟦<read>⟧ y⟦ a<read>⟧ z\\n⟦ b c d e"
    )
