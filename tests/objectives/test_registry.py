import json
import re
import sys
import types

import pytest
import torch

import prefine.objectives
from prefine.errors import ConfigError, ObjectiveError
from prefine.objectives import dpo, robust_em
from prefine.objectives.declare import objective, spec
from prefine.objectives.registry import OTHER_NAMES, build, describe, formula, names
from prefine.scores import Scores


@pytest.fixture
def my_losses(monkeypatch):
    """A module of the user's own."""
    module = types.ModuleType("my_losses")

    @objective("pair", formula="{scale} (l_l - l_w)")
    def my_loss(scores: Scores, *, scale: float = 1.0, heads: int = 1):
        return scale * (scores.policy[:, 1] - scores.policy[:, 0])

    @objective("pair")
    def demanding(scores: Scores, *, heads: int):
        return scores.policy[:, 0]

    module.my_loss, module.demanding, module.plain = my_loss, demanding, len
    module.ready = robust_em(dpo)
    monkeypatch.setitem(sys.modules, "my_losses", module)
    return module


def test_names_are_the_package():
    assert names() == sorted(prefine.objectives.__all__)


def test_build_binds_options(scores_of):
    scores = scores_of([[3.0, -1.0]])
    assert build("dpo", {"beta": 0.5})(scores).equal(dpo(scores, beta=0.5))
    assert build("dpo") is dpo


def test_build_nests():
    loss = build("robust_em", {"loss": {"name": "simpo", "beta": 2.5}, "eta": 0.8})
    assert loss.loss.keywords == {"beta": 2.5}
    assert loss.eta[0] == 0.8
    assert build("robust_em", {"loss": "ipo"}).loss.__name__ == "ipo"
    assert build("robust_em", {"loss": {"beta": 0.3}}).loss.keywords == {"beta": 0.3}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sipmo", {}, "There is no objective `sipmo`. Did you mean `simpo`?"),
        ("DPO", {}, "Did you mean `dpo`?"),
        ("cdpo", {}, "it is dpo with `label_noise`"),
        ("RE-PO", {}, "it is robust_em"),
        ("quux", {}, "Known: alpha_dpo, alphapo, aot, "),
        ("dpo", {"betta": 0.1}, "dpo has no option `betta`"),
        ("dpo", {"gamma": 0.1}, "Known: beta, label_noise."),
        ("sft", {"beta": 0.1}, "It has none."),
        ("dpo", {"beta": -1}, "`beta` must be positive, got -1."),
        ("kto", {"beta": "big"}, "`beta` must be a number, positive, got 'big'."),
        ("bradley_terry", {"ties": "square"}, "needs `tie_weight`"),
        ("robust_em", {"loss": {"name": "dpo", "tau": 1}}, "dpo has no option `tau`"),
        ("robust_em", {"loss": 3}, "An inner objective must be a name"),
        ("robust_em", {"loss": "kto"}, "would not see its statistic"),
        ("no_such_module:loss", {}, "No module named 'no_such_module'"),
        ("my_losses:my_los", {}, "my_losses has no `my_los`. Did you mean `my_loss`?"),
        ("my_losses:plain", {}, "does not say what it consumes"),
        ("my_losses:demanding", {}, "needs a value for `heads`"),
    ],
)
def test_build_says_what_is_wrong(my_losses, name, options, message):
    with pytest.raises((ConfigError, ObjectiveError), match=re.escape(message)):
        build(name, options)


def test_a_loss_of_ones_own(my_losses, rewards_of):
    loss = build("my_losses:my_loss", {"scale": 2.0})
    assert loss(rewards_of([[3.0, 1.0]])).tolist() == [-4.0]
    assert formula(loss).startswith("2 (l_l - l_w); mean over rows; l = log pi(y|x)")
    assert build("my_losses:ready") is my_losses.ready
    assert describe("my_losses:my_loss")["defaults"] == {"scale": 1.0, "heads": 1}


def test_a_loss_without_a_formula_is_named_with_its_options(my_losses):
    assert formula(build("my_losses:demanding", {"heads": 2})).startswith("demanding(heads=2)")


def test_every_other_name_leads_to_one_that_exists():
    for target in OTHER_NAMES.values():
        assert re.match(r"\w+", target).group() in {*names(), "length_normalised", "weighted_sum"}


def test_a_name_is_found_in_either_spelling():
    assert build("length-normalised-dpo") is build("length_normalised_dpo")
    assert describe("info-nca")["name"] == "info_nca"
    assert "rdpo" in describe("robust_dpo")["other_names"]
    assert "rdpo" not in describe("dpo")["other_names"]


def test_formula_explains_its_letters():
    text = formula(build("ipo", {"tau": 0.7}))
    assert text == (
        "p (d - t)^2 + (1 - p) (d + t)^2, d = h_w / n_w - h_l / n_l, t = 1 / (2 * 0.7); "
        "mean over rows; h = log pi(y|x) - log ref(y|x), n = scored units of y, "
        "p = the row's soft label, 1 where it has none"
    )
    assert "over all scored units" in formula(build("sft"))


def test_formula_follows_the_branch_taken():
    assert "/ n_w" not in formula(build("ipo", {"average": False}))
    assert "1 - sigma(d - 0.5)" in formula(
        build("bradley_terry", {"ties": "rao_kupper", "tie_width": 0.5})
    )


@pytest.mark.parametrize("name", names())
def test_describe_is_json_and_complete(name):
    entry = json.loads(json.dumps(describe(name)))
    for key in (
        "name",
        "summary",
        "data",
        "kind",
        "formula",
        "math",
        "source",
        "curves",
        "pitfalls",
    ):
        assert entry[key], key
    assert all(option["text"] for option in entry["options"].values())
    assert entry["data"] == spec(build(name)).data


def test_describe_kinds():
    kinds = {name: describe(name)["kind"] for name in ("dpo", "kto", "aot", "robust_em")}
    assert kinds == {
        "dpo": "row-wise",
        "kto": "stateful",
        "aot": "coupled",
        "robust_em": "stateful",
    }
    assert describe("robust_em")["defaults"]["loss"] == "dpo"
    assert describe("dpo")["beta_range"] == [0.01, 0.5]
    assert describe("sft")["beta_range"] is None


def test_the_mathematics_imports_torch_and_nothing_else_of_the_stack():
    import subprocess

    code = (
        "import sys, prefine.objectives.registry;"
        "print([m for m in ('transformers', 'datasets', 'accelerate', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert torch.__name__ == "torch"
