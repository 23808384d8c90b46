"""Views: what becomes a row, in which order, and what is set aside and why."""

import json
from dataclasses import replace

import pytest

from prefine.errors import ConfigError
from prefine.records import Judgment, Message, Principal, Rater, Records
from prefine.records.views import candidates_view

COLUMNS = [
    "record",
    "cluster",
    "prompts",
    "responses",
    "items",
    "utility",
    "label",
    "prob",
    "tie",
    "margin",
    "weight",
    "aspect",
    "rater",
    "principal",
    "tags",
]


def texts(row) -> list[str]:
    """The responses of a row, in the order of its items."""
    return [json.loads(row["responses"][i["response"]])[0]["content"] for i in row["items"]]


def pairs_of(record, **options):
    return Records.of([record]).pairs(**options)


# --- The row ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pairs", "lists", "points", "candidates"])
def test_every_column_is_always_there(make_record, vote, rating, kind):
    judged = [rating({"c0": 1, "c1": 0}, scale=(0, 1)), vote("c0")]
    for records in (Records.of([make_record(judgments=judged)]), Records.of([])):
        made = candidates_view(records) if kind == "candidates" else getattr(records, kind)()
        assert made.rows.column_names == COLUMNS


def test_a_pair_row(make_record, vote):
    record = make_record(
        judgments=[vote("c1", strength=2.0)],
        tags={"weight": 0.5, "form": "text"},
        tools=({"name": "search"},),
        principal=Principal("kim"),
    )
    view = pairs_of(record)
    assert view.kind == "pair"
    assert view.raters == ("ann",)
    assert view.principals == ("kim",)
    assert view.rows[0] == {
        "record": record.id,
        "cluster": record.cluster,
        "prompts": [
            '{"messages":[{"role":"user","content":"Is it?"}],"tools":[{"name":"search"}],'
            '"form":"text"}'
        ],
        "responses": [
            '[{"role":"assistant","content":"no"}]',
            '[{"role":"assistant","content":"yes"}]',
        ],
        "items": [
            {"prompt": 0, "response": 0, "role": "chosen"},
            {"prompt": 0, "response": 1, "role": "rejected"},
        ],
        "utility": [None, None],
        "label": [None, None],
        "prob": None,
        "tie": False,
        "margin": 2.0,
        "weight": 0.5,
        "aspect": "overall",
        "rater": 0,
        "principal": 0,
        "tags": '{"weight":0.5,"form":"text"}',
    }


def test_recipe_repeats_the_arguments(make_record, vote):
    view = pairs_of(make_record(judgments=[vote("c0")]), how="all", votes="soft", seed=3)
    assert json.loads(json.dumps(dict(view.recipe))) == {
        "kind": "pair",
        "how": "all",
        "votes": "soft",
        "ties": "drop",
        "min_gap": 0.0,
        "seed": 3,
        "aspect": "overall",
        "rater_types": None,
    }


def test_same_prompt_is_one_cluster(make_record, vote):
    records = Records.of([make_record(judgments=[vote("c0")], row=row) for row in range(3)])
    rows = records.pairs().rows
    assert len(set(rows["cluster"])) == 1
    assert len(set(rows["record"])) == 3


# --- Votes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winners", "expected"),
    [
        # two of three
        (["c0", "c1", "c0"], ["yes", "no"]),
        (["c1"], ["no", "yes"]),
        # 2 against 2: no majority
        (["c0", "c1", "c0", "c1"], "tie"),
        # more ties than votes for either side
        (["c0", "c0", "c1", "tie", "tie", "tie"], "tie"),
        # as many ties as votes for the leader is no majority either
        (["c0", "c0", "c1", "tie", "tie"], "tie"),
        (["c0", "c0", "tie"], ["yes", "no"]),
        (["tie"], "tie"),
        # "both bad" and "skip" are not ties
        (["both_bad", "both_bad", "c0"], "both bad"),
        (["skip"], "skip"),
    ],
)
def test_majority(make_record, vote, winners, expected):
    view = pairs_of(make_record(judgments=[vote(winner) for winner in winners]))
    if isinstance(expected, str):
        assert len(view) == 0
        assert view.set_aside == {expected: 1}
    else:
        assert texts(view.rows[0]) == expected
        assert view.rows[0]["prob"] is None


def test_order_shown_does_not_turn_the_winner(make_record, vote):
    swapped = vote("c0", shown=("c1", "c0"))
    view = pairs_of(make_record(judgments=[vote("c0"), swapped]))
    assert texts(view.rows[0]) == ["yes", "no"]
    assert len(view) == 1


@pytest.mark.parametrize(
    ("winners", "chosen", "prob"),
    [
        (["c0", "c1", "c0"], "yes", 2 / 3),
        (["c1", "c1", "c1", "c0"], "no", 3 / 4),
        # ties are left out of the share: 1 of 1
        (["c0", "tie", "tie"], "yes", 1.0),
        # even votes are not a tie: a soft label of one half, in the record's order
        (["c1", "c0"], "yes", 0.5),
    ],
)
def test_soft_votes(make_record, vote, winners, chosen, prob):
    view = pairs_of(make_record(judgments=[vote(w) for w in winners]), votes="soft")
    row = view.rows[0]
    assert texts(row)[0] == chosen
    assert row["prob"] == pytest.approx(prob)
    assert (row["tie"], row["weight"]) == (False, 1.0)


def test_soft_votes_read_given_probabilities(make_record, vote):
    """0.9 for the first shown, then 0.6 for the other one: (0.9 + 0.4) / 2."""
    judged = [vote("c0", prob=0.9), vote("c1", prob=0.6, shown=("c1", "c0"))]
    row = pairs_of(make_record(judgments=judged), votes="soft").rows[0]
    assert row["prob"] == pytest.approx(0.65)


def test_count_multiplies_votes(make_record, vote):
    judged = [vote("c0", count=2), vote("c1", count=5)]
    soft = pairs_of(make_record(judgments=judged), votes="soft").rows[0]
    assert (texts(soft)[0], soft["prob"]) == ("no", pytest.approx(5 / 7))
    each = pairs_of(make_record(judgments=judged), votes="each").rows
    assert list(each["weight"]) == [2.0, 5.0]


def test_each_vote_is_a_row_with_its_rater(make_record, vote):
    judged = [vote("c0", by="ann"), vote("c1", by="bob"), vote("tie", by="cyd"), vote("skip")]
    view = pairs_of(make_record(judgments=judged), votes="each")
    assert [texts(row) for row in view.rows] == [["yes", "no"], ["no", "yes"]]
    assert [view.raters[at] for at in view.rows["rater"]] == ["ann", "bob"]
    assert view.set_aside == {"tie": 1, "skip": 1}


def test_an_unknown_rater_has_no_number(make_record):
    unknown = Judgment("j", "pair", ("c0", "c1"), Rater("?", "unknown"), winner="c0")
    view = pairs_of(make_record(judgments=[unknown]))
    assert (view.rows[0]["rater"], view.raters) == (-1, ())


def test_several_raters_have_no_number(make_record, vote):
    judged = [vote("c0", by="ann"), vote("c0", by="bob")]
    assert pairs_of(make_record(judgments=judged)).rows[0]["rater"] == -1


def test_margin_is_the_mean_strength_of_the_winning_side(make_record, vote):
    judged = [vote("c0", strength=1), vote("c0", strength=3, count=3), vote("c1", strength=9)]
    # (1 * 1 + 3 * 3) / 4
    assert pairs_of(make_record(judgments=judged)).rows[0]["margin"] == pytest.approx(2.5)


def test_kept_ties_say_so(make_record, vote):
    view = pairs_of(make_record(judgments=[vote("tie", shown=("c1", "c0"))]), ties="keep")
    row = view.rows[0]
    assert (texts(row), row["tie"], row["prob"]) == (["yes", "no"], True, None)


def test_several_compared_pairs_are_several_rows(make_record, vote):
    judged = [vote("c0"), vote("c2", shown=("c1", "c2")), vote("c0", shown=("c2", "c0"))]
    view = pairs_of(make_record(replies=["a", "b", "c"], judgments=judged))
    assert [texts(row) for row in view.rows] == [["a", "b"], ["c", "b"], ["a", "c"]]


# --- What is set aside --------------------------------------------------------------------------


def test_identical_responses(make_record, vote):
    view = pairs_of(make_record(replies=["same", "same"], judgments=[vote("c0")]))
    assert (len(view), view.set_aside) == (0, {"identical responses": 1})


def test_unreadable_verdicts_are_no_ties(make_record, vote):
    broken = replace(vote("c0"), winner=None, valid=False, raw="Both!")
    view = pairs_of(make_record(judgments=[broken, broken.__class__(**_fields(broken, id="x"))]))
    assert view.set_aside == {"invalid verdict": 2}


def _fields(judgment: Judgment, **changes: object) -> dict:
    return {name: getattr(judgment, name) for name in judgment.__slots__} | changes


def test_no_judgment(make_record):
    assert pairs_of(make_record()).set_aside == {"no judgment": 1}


def test_malformed_records_give_no_row(make_record, vote):
    record = make_record(judgments=[vote("c0")], tags={"malformed": True})
    records = Records.of([record])
    for view in (records.pairs(), records.lists(), records.points()):
        assert (len(view), view.set_aside) == (0, {"malformed": 1})
    assert len(candidates_view(records)) == 1


def test_aspects_do_not_mix(make_record, vote):
    record = make_record(judgments=[vote("c0"), vote("c1", aspect="safe")])
    assert texts(pairs_of(record).rows[0]) == ["yes", "no"]
    assert texts(pairs_of(record, aspect="safe").rows[0]) == ["no", "yes"]
    every = pairs_of(record, aspect=None).rows
    assert list(every["aspect"]) == ["overall", "safe"]
    assert pairs_of(record, aspect="funny").set_aside == {"no judgment": 1}


def test_whose_judgments_count(make_record, vote):
    judge = Judgment("j", "pair", ("c0", "c1"), Rater("gpt", "model"), winner="c1")
    record = make_record(judgments=[vote("c0"), judge])
    assert texts(pairs_of(record, rater_types=["model"]).rows[0]) == ["no", "yes"]
    assert pairs_of(record).set_aside == {"tie": 1}
    with pytest.raises(ConfigError, match="`rater_types` must be of human"):
        pairs_of(record, rater_types=["robot"])


# --- Pairs from an order ------------------------------------------------------------------------


@pytest.fixture
def rated(make_record, rating):
    """Four responses, best first b(5) a(4) c(4) d(1)."""
    scores = {"c0": 4, "c1": 5, "c2": 4, "c3": 1}
    return make_record(replies=["a", "b", "c", "d"], judgments=[rating(scores)])


@pytest.mark.parametrize(
    ("how", "min_gap", "expected", "aside"),
    [
        ("best_vs_worst", 0, ["bd"], {}),
        ("adjacent", 0, ["ba", "cd"], {"tie": 1}),
        ("all", 0, ["ba", "bc", "bd", "ad", "cd"], {"tie": 1}),
        ("gap", 3, ["bd", "ad", "cd"], {"gap below min_gap": 3}),
        ("all", 4, ["bd"], {"gap below min_gap": 4, "tie": 1}),
        ("best_vs_worst", 4.5, [], {"gap below min_gap": 1}),
    ],
)
def test_pairs_from_ratings(rated, how, min_gap, expected, aside):
    view = pairs_of(rated, how=how, min_gap=min_gap)
    assert ["".join(texts(row)) for row in view.rows] == expected
    assert view.set_aside == aside


def test_ratings_beside_a_vote_are_its_utility_and_do_not_outvote_it(make_record, vote, rating):
    judged = [rating({"c0": 2, "c1": 4}), vote("c0"), rating({"c0": 3, "c1": 5})]
    row = pairs_of(make_record(judgments=judged)).rows[0]
    assert row["utility"] == [2.5, 4.5]
    assert len(pairs_of(make_record(judgments=judged))) == 1


def test_ratings_on_two_scales_are_no_utility(make_record, vote, rating):
    judged = [rating({"c0": 2}, scale=(1, 5)), rating({"c0": 1}, scale=(0, 1)), vote("c0")]
    assert pairs_of(make_record(judgments=judged)).rows[0]["utility"] == [None, None]


def test_utility_goes_with_its_item(rated):
    row = pairs_of(rated).rows[0]
    assert (row["utility"], row["margin"]) == ([5.0, 1.0], None)


def test_best_vs_random(rated):
    drawn = {
        "".join(texts(pairs_of(rated, how="best_vs_random", seed=s).rows[0])) for s in range(30)
    }
    assert drawn == {"ba", "bc", "bd"}
    again = [pairs_of(rated, how="best_vs_random", seed=7).rows[0] for _ in range(2)]
    assert again[0] == again[1]


def test_ranks_order_and_ties(make_record, ranking):
    record = make_record(
        replies=["a", "b", "c", "d"], judgments=[ranking({"c0": 2, "c1": 1, "c2": 2})]
    )
    view = pairs_of(record, how="all")
    assert ["".join(texts(row)) for row in view.rows] == ["ba", "bc"]
    assert view.set_aside == {"tie": 1}  # d was not ranked, so it is in no pair


def test_votes_of_several_rankings(make_record, ranking):
    judged = [ranking({"c0": 1, "c1": 2}), ranking({"c0": 1, "c1": 2}), ranking({"c0": 2, "c1": 1})]
    record = make_record(judgments=judged)
    soft = pairs_of(record, votes="soft").rows[0]
    assert (texts(soft), soft["prob"]) == (["yes", "no"], pytest.approx(2 / 3))
    assert [texts(row)[0] for row in pairs_of(record, votes="each").rows] == ["yes", "yes", "no"]


def test_direct_comparisons_come_before_ratings(make_record, vote, rating):
    record = make_record(judgments=[rating({"c0": 1, "c1": 5}), vote("c0")])
    view = pairs_of(record, how="all")
    assert [texts(row) for row in view.rows] == [["yes", "no"]]


def test_scales_do_not_mix(make_record, rating):
    judged = [rating({"c0": 1, "c1": 5}), rating({"c0": 9, "c1": 2}, scale=(1, 10))]
    record = make_record(judgments=judged)
    assert pairs_of(record).set_aside == {"ratings on different scales": 1}
    assert Records.of([record]).lists().set_aside == {"ratings on different scales": 1}


def test_one_rated_response_is_no_pair(make_record, rating):
    record = make_record(judgments=[rating({"c0": 1, "c1": None})])
    assert pairs_of(record).set_aside == {"fewer than two rated": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"how": "best"}, "`how` must be one of best_vs_worst, best_vs_random, adjacent, all, gap"),
        ({"votes": "mean"}, "`votes` must be one of majority, soft, each, got 'mean'"),
        ({"ties": "half"}, "`ties` must be one of drop, keep, got 'half'"),
        ({"min_gap": -1}, "`min_gap` must be at least 0, got -1"),
        ({"how": "gap"}, "`how=gap` needs `min_gap` > 0"),
    ],
)
def test_options_are_checked(rated, options, said):
    with pytest.raises(ConfigError) as caught:
        pairs_of(rated, **options)
    assert str(caught.value).startswith(said)


# --- Lists --------------------------------------------------------------------------------------


def test_lists_are_best_first(rated):
    view = Records.of([rated]).lists()
    row = view.rows[0]
    assert (view.kind, texts(row)) == ("list", ["b", "a", "c", "d"])
    assert row["utility"] == [5.0, 4.0, 4.0, 1.0]
    assert [item["role"] for item in row["items"]] == [f"response_{k}" for k in range(4)]


def test_lists_average_raters(make_record, rating):
    judged = [rating({"c0": 5, "c1": 1}), rating({"c0": 1, "c1": 3}, count=3)]
    row = Records.of([make_record(judgments=judged)]).lists().rows[0]
    # c0: (5 + 3 * 1) / 4 = 2, c1: (1 + 3 * 3) / 4 = 2.5
    assert (texts(row), row["utility"]) == (["no", "yes"], [2.5, 2.0])


def test_a_list_of_equals_has_no_order(make_record, ranking, vote):
    view = Records.of([make_record(judgments=[ranking({"c0": 1, "c1": 1})])]).lists()
    assert view.set_aside == {"tie": 1}
    assert Records.of([make_record(judgments=[vote("c0")])]).lists().set_aside == {"no judgment": 1}


# --- Points -------------------------------------------------------------------------------------


def labels(view) -> list[tuple[str, bool | None]]:
    return [(texts(row)[0], row["label"][0]) for row in view.rows]


def points_of(record, **options):
    return Records.of([record]).points(**options)


def test_thumbs(make_record, rating):
    judged = [rating({"c0": 1, "c1": 0}, scale=(0, 1))]
    view = points_of(make_record(judgments=judged))
    assert (view.kind, labels(view)) == ("point", [("yes", True), ("no", False)])
    assert view.rows[0]["items"] == [{"prompt": 0, "response": 0, "role": "response"}]


def test_split_thumbs_are_a_tie(make_record, rating):
    judged = [rating({"c0": 1}, scale=(0, 1)), rating({"c0": 0}, scale=(0, 1))]
    assert points_of(make_record(judgments=judged)).set_aside == {"tie": 1}


def test_other_scales_need_a_threshold(make_record, rating):
    record = make_record(judgments=[rating({"c0": 3, "c1": 4})])
    assert labels(points_of(record, threshold=4)) == [("no", True), ("yes", False)]
    with pytest.raises(ConfigError, match=r"rated on the scale \[1, 5\].*Give `threshold`"):
        points_of(record)


def test_pairs_become_a_desirable_and_an_undesirable_point(make_record, vote):
    view = points_of(make_record(judgments=[vote("c1")]))
    assert labels(view) == [("no", True), ("yes", False)]


def test_who_won_and_lost_is_neither(make_record, vote):
    judged = [vote("c0"), vote("c1", shown=("c1", "c2"))]
    view = points_of(make_record(replies=["a", "b", "c"], judgments=judged))
    assert labels(view) == [("a", True), ("c", False)]
    assert view.set_aside == {"won and lost": 1}


def test_signals_follow_their_polarity(make_record):
    def signal(name: str, target: str, polarity: int) -> Judgment:
        rater = Rater("kim", "user")
        return Judgment(name, "signal", (), rater, target=target, polarity=polarity)

    judged = [signal("a", "c0", -1), signal("b", "c1", 1), signal("c", "c1", 1)]
    assert labels(points_of(make_record(judgments=judged))) == [("yes", False), ("no", True)]
    even = make_record(judgments=[signal("a", "c0", 1), signal("b", "c0", -1)])
    assert points_of(even).set_aside == {"tie": 1}


def test_unjudged_responses_are_demonstrations(make_record):
    view = points_of(make_record(replies=["hello"]))
    assert (labels(view), view.rows[0]["aspect"]) == ([("hello", None)], "demonstration")


def test_keep_desirable(make_record, vote):
    records = Records.of([make_record(judgments=[vote("c0")]), make_record(row=1, replies=["hi"])])
    view = records.points(keep="desirable")
    assert labels(view) == [("yes", True), ("hi", None)]
    assert view.set_aside == {"undesirable": 1}
    with pytest.raises(ConfigError, match="`keep` must be all or desirable"):
        records.points(keep="good")


def test_a_bare_prompt_is_no_point(make_record):
    assert points_of(make_record(replies=[])).set_aside == {"no response": 1}


# --- Candidates ---------------------------------------------------------------------------------


def test_candidates_keep_the_order_of_the_record(rated, make_record):
    view = candidates_view(Records.of([rated, make_record(replies=[], row=1)]))
    assert texts(view.rows[0]) == ["a", "b", "c", "d"]
    assert view.set_aside == {"no response": 1}


def test_several_messages_stay_together(make_record, vote):
    turns = (Message("assistant", "Wait."), Message("user", "Well?"), Message("assistant", "Yes."))
    record = make_record(judgments=[vote("c0")])
    record = replace(
        record, candidates=(replace(record.candidates[0], messages=turns), record.candidates[1])
    )
    assert len(json.loads(pairs_of(record).rows[0]["responses"][0])) == 3
