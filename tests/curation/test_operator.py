"""What holds for every operator: it travels, it is named, and records keep their origin."""

import pickle  # noqa: TID251 - what is tested is that another process can have it

import pytest

from prefine.curation import Goals, Operator, curate, options_of
from prefine.curation.catalogue import OPERATORS, build, describe
from prefine.errors import ConfigError
from prefine.records import Records, load


@pytest.fixture
def scored(make_record, rating) -> Records:
    return Records.of(make_record(judgments=[rating(9, 2)], row=n) for n in range(3))


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_travels_and_explains_itself(name: str):
    operator = build(name)
    assert isinstance(operator, Operator)
    assert pickle.loads(pickle.dumps(operator)) == operator
    said = describe(name)
    assert said["source"]
    own = [option for option in said["options"] if "." not in option]
    assert own == list(options_of(operator)), "a writer's options stand behind its name"
    assert all(option["text"] for option in said["options"].values()), "an option says what it is"


def test_a_record_names_what_it_was_made_from(scored: Records):
    first, second = curate(scored, Goals(low=1, high=10)).head(2)
    source = scored[0]
    assert (first.source.name, first.source.license) == ("test", "mit")
    assert (first.source.row, second.source.row) == ("0/goals-0", "0/goals-1")
    (done,) = first.meta["curation"]
    assert (done["operator"], done["record"]) == ("goals", source.id)
    assert done["options"]["high"] == 10
    assert first.cluster == second.cluster == source.cluster
    assert len({source.id, first.id, second.id}) == 3


def test_operators_follow_one_another(scored: Records):
    twice = curate(curate(scored, Goals(how="all")), Goals())
    assert dict(twice.set_aside) == {"no score": 6}, "the scores stand under another aspect"


def test_what_was_set_aside_is_counted_over_all_stages(make_record, rating):
    records = Records.of(
        [make_record(judgments=[rating(9, 2)]), make_record(judgments=[rating(3, 3)], row=1)]
    ).filter(lambda record: record.source.row == 1, reason="elsewhere")
    assert dict(curate(records, Goals()).set_aside) == {"elsewhere": 1, "tie": 1}


def test_made_records_are_read_again(scored: Records, tmp_path):
    made = curate(scored, Goals())
    made.save(tmp_path / "made.jsonl")
    assert list(load(tmp_path / "made.jsonl")) == list(made)


def test_errors_of_the_catalogue():
    with pytest.raises(ConfigError, match="Did you mean `goals`"):
        build("goal")
    with pytest.raises(ConfigError, match=r"goals has no option `lo`\. Did you mean `low`"):
        build("goals", {"lo": 1})
    with pytest.raises(ConfigError, match=r"`low` of goals: .* got 'one'"):
        build("goals", {"low": "one"})
