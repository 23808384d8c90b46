"""Counts for `prefine data inspect`."""

from prefine.records import Records
from prefine.records.summary import summarise


def test_counts(make_record, vote, rating):
    records = Records.of(
        [
            make_record(replies=["yes!", "no"], judgments=[vote("c0", count=3), vote("tie")]),
            make_record(replies=["a", "bcd"], judgments=[vote("c0")], row=1, tags={"weight": 2}),
            make_record(replies=["xy", "zw"], judgments=[vote("c1", by="bob")], row=2),
            make_record(replies=["same", "same"], judgments=[vote("c1", by="bob")], row=3),
            make_record(replies=["one"], judgments=[rating({"c0": 3}, aspect="clear")], row=4),
            make_record(replies=[], row=5, tags={"malformed": True}),
        ]
    )
    summary = summarise(records)
    assert summary.pop("fingerprint") == records.fingerprint
    assert summary == {
        "format": "prefine",
        "records": 6,
        "candidates": 9,
        "judgments": 8,  # a vote that counts 3 is three
        "rejects": 0,
        "ties": 1,
        "pairs": 4,
        "identical_pairs": 1,
        "mean_chars": {
            # candidates: (4 + 2 + 1 + 3 + 2 + 2 + 4 + 4 + 3) / 9; chosen: (4 + 1 + 2 + 4) / 4
            "candidates": 2.7778,
            "chosen": 2.75,
            "rejected": 2.75,
        },
        "longer_chosen": 0.5,  # one longer, one shorter, two equal
        "kinds": {"pair": 7, "rate": 1},
        "aspects": {"overall": 7, "clear": 1},
        "rater_types": {"human": 8},
        "raters": 2,
        "roles": {"assistant": 9, "user": 6},
        "tags": {"weight": 1, "malformed": 1},
        "invalid": 0,
        "malformed": 1,
        "licences": {"not stated": 6},
    }


def test_nothing_has_no_mean(make_record):
    summary = summarise(Records.of([make_record(replies=[])]))
    assert summary["longer_chosen"] is None
    assert summary["mean_chars"]["chosen"] is None
