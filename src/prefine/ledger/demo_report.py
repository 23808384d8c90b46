"""The page that the demo writes: pictures, numbers, answers side by side, the control."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefine.report import Facts, Figure, Prose, Report, Response, Sample, Samples, Section, Stats
from prefine.report import render as render_page
from prefine.report.canvas import INK, SERIES, draw, on_white
from prefine.report.content import Gallery
from prefine.report.figures import bars
from prefine.report.text import as_stats, value_text
from prefine.statistics import Stat
from prefine.storage import atomic_text

Json = dict[str, Any]

WORLD = """
The world is a small grammar with gold rewards that are computed from the text. Someone asks about
two things; an answer is two sentences. The gold reward counts the things asked for that are named,
kind words, and rude words against them, less a little per word. It does not look at grammar, so a
policy that piles up kind words is paid for it: only the check of grammar tells.

A tiny Llama learns to answer from a corpus of mixed tone (SFT). It answers new prompts, and three
annotators, who prefer by Bradley-Terry on the gold reward and flip 2%, 10% and 20% of their labels,
compare the answers. On these pairs a reward model and a DPO policy are trained. Every number below
is measured on prompts that no model was trained on, with answers sampled at temperature 1.
"""

CONTROL = """
The same pairs, the same settings, the same seed: but a coin decides which answer was preferred.
There is nothing to learn, so a method that gains gold here would gain it from something other than
preferences: from drift, from length, from the measurement.
"""

EXAMPLES = "The first answers to the first held-out prompts of the first seed, not chosen by hand."

NUMBERS = {
    "gold reward, SFT": ("gold_reward", "sft"),
    "gold reward, DPO": ("gold_reward", "dpo"),
    "gold reward, DPO minus SFT": ("gold_reward", "difference"),
    "gold reward, shuffled minus SFT": ("gold_reward", "shuffled_difference"),
    "gold per word, DPO minus SFT": ("gold_per_word", "difference"),
    "grammatical, SFT": ("validity", "sft"),
    "grammatical, DPO": ("validity", "dpo"),
    "grammatical, shuffled minus SFT": ("shuffled", "validity"),
    "words, SFT": ("length", "sft"),
    "words, DPO": ("length", "dpo"),
    "words, DPO minus SFT": ("length", "difference"),
    "words, shuffled minus SFT": ("shuffled", "length"),
    "KL to SFT, DPO": ("kl",),
    "KL to SFT, shuffled": ("shuffled", "kl"),
    "reward model, accuracy": ("reward_model", "accuracy"),
    "longer answer, accuracy": ("reward_model", "baseline_longer"),
}
"""Row of the table -> where it stands in `demo.json`."""

MEANINGS = {
    "gold reward, SFT": "mean true reward of the answers before alignment",
    "gold reward, DPO": "the same after alignment",
    "gold reward, DPO minus SFT": "what alignment gained, on the same prompts",
    "gold reward, shuffled minus SFT": "the same for a run on labels by coin: must be nearly 0",
    "gold per word, DPO minus SFT": "the gain that longer answers cannot explain",
    "grammatical, DPO": "the same after alignment",
    "grammatical, shuffled minus SFT": "the same for labels by coin",
    "words, DPO": "the same after alignment",
    "words, DPO minus SFT": "how much longer answers became",
    "words, shuffled minus SFT": "the same for labels by coin",
    "KL to SFT, shuffled": "the same for labels by coin",
    "grammatical, SFT": "share of answers that the grammar derives",
    "words, SFT": "the full stop counts as a word",
    "KL to SFT, DPO": "nats per answer, estimated on the policy's own answers",
    "reward model, accuracy": "share of held-out pairs ordered as the gold reward does",
    "longer answer, accuracy": "the same for preferring the longer answer",
}


def write_report(path: Path, summary: Json, settings: Json, examples: Sequence[Json]) -> None:
    """Write the page.

    Args:
        path: The file.
        summary: What `demo.json` holds.
        settings: What a seed did.
        examples: Answers side by side, as `demo_seed.examples` returns them.
    """
    with atomic_text(path) as handle:
        handle.write(render_page(report(summary, settings, examples)))


def write_picture(path: Path, summary: Json) -> None:
    """Write the picture of the gold reward by itself, on white, for pages of one's own."""
    svg = on_white(gold_figure(_stats(summary)).svg)
    with atomic_text(path) as handle:
        handle.write(svg + "\n")


def report(summary: Json, settings: Json, examples: Sequence[Json]) -> Report:
    """Put the page together."""
    stats = _stats(summary)
    seeds = summary["seeds"]
    return Report(
        "The demo: preferences in, an aligned model and an honest account out",
        summary=_in_words(stats, summary["criteria"], len(seeds)),
        sections=[
            Section("What it must show", [Facts(_criteria(summary["criteria"]))]),
            Section(
                "What came of it",
                [Gallery([gold_figure(stats), trade_figure(stats)]), Stats(stats, MEANINGS)],
            ),
            Section("The world", [Prose(WORLD)]),
            Section("The control", [Prose(CONTROL), _control_figure(stats)]),
            Section("Length", [_length_figure(stats)]),
            Section("Answers side by side", [Prose(EXAMPLES), Samples(_samples(examples))]),
            Section(
                "Settings",
                [
                    Facts(
                        {
                            "seeds": ", ".join(map(str, seeds)),
                            "seconds": f"{summary['seconds']:.0f} in all",
                            **settings,
                        }
                    )
                ],
            ),
        ],
    )


def gold_figure(stats: Mapping[str, Stat]) -> Figure:
    """Draw the gold reward before and after, and what the control did."""
    return bars(
        {
            "SFT": stats["gold reward, SFT"],
            "DPO": stats["gold reward, DPO"],
            "DPO minus SFT": stats["gold reward, DPO minus SFT"],
            "shuffled minus SFT": stats["gold reward, shuffled minus SFT"],
        },
        xlabel="gold reward",
        caption="With 95% intervals. Shuffled labels must change nothing.",
    )


def trade_figure(stats: Mapping[str, Stat]) -> Figure:
    """Draw what each policy gained in gold for the distance it went."""
    policies = {
        "DPO": (stats["KL to SFT, DPO"], stats["gold reward, DPO minus SFT"]),
        "shuffled": (stats["KL to SFT, shuffled"], stats["gold reward, shuffled minus SFT"]),
    }

    def paint(axes: Any) -> None:
        axes.axhline(0, color=INK, linewidth=1)
        axes.plot([0], [0], "o", color=INK, markersize=5)
        axes.annotate("SFT", (0, 0), (5, 5), textcoords="offset points")
        for colour, (name, (kl, gain)) in zip(SERIES, policies.items(), strict=False):
            axes.plot([kl.low, kl.high], [gain.value] * 2, color=colour)
            axes.plot([kl.value] * 2, [gain.low, gain.high], color=colour)
            axes.plot([kl.value], [gain.value], "o", color=colour, markersize=5)
            axes.annotate(name, (kl.value, gain.value), (7, 5), textcoords="offset points")
        axes.margins(0.15)
        axes.set(xlabel="KL to SFT, nats per answer", ylabel="gain in gold reward")

    told = "; ".join(
        f"{name}: {value_text(gain)} at {value_text(kl)} nats"
        for name, (kl, gain) in policies.items()
    )
    return Figure(
        draw(paint),
        f"Gain in gold reward against KL. {told}.",
        "What was gained for the distance gone; lines are 95% intervals.",
    )


def _control_figure(stats: Mapping[str, Stat]) -> Figure:
    gain = stats["gold reward, DPO minus SFT"].value
    control = stats["gold reward, shuffled minus SFT"]
    share = Stat(
        *(100 * value / gain for value in (control.value, control.low, control.high)),
        n=control.n,
        method=control.method,
    )
    return bars(
        {"shuffled labels": share},
        xlabel="gain in gold reward, % of what true labels bring",
        mark=0.0,
        caption="Must stay between -10% and 10%.",
    )


def _length_figure(stats: Mapping[str, Stat]) -> Figure:
    return bars(
        {
            "DPO minus SFT": stats["words, DPO minus SFT"],
            "shuffled minus SFT": stats["words, shuffled minus SFT"],
        },
        xlabel="words per answer",
        caption="A gain in gold that came from length alone would show here and not per word.",
    )


def _in_words(stats: Mapping[str, Stat], criteria: Sequence[Json], seeds: int) -> str:
    failed = [criterion["claim"] for criterion in criteria if not criterion["holds"]]
    verdict = f"Does not hold: {'; '.join(failed)}." if failed else "Everything it must show holds."
    before, after, control = (
        value_text(stats[f"gold reward, {name}"]) for name in ("SFT", "DPO", "shuffled minus SFT")
    )
    over = "one seed" if seeds == 1 else f"{seeds} seeds"
    return (
        f"DPO took the gold reward from {before} to {after} ({over}); on shuffled labels it "
        f"changed by {control}. {verdict}"
    )


def _criteria(criteria: Sequence[Json]) -> dict[str, str]:
    return {
        criterion["claim"]: f"{'holds' if criterion['holds'] else 'DOES NOT HOLD'}: "
        f"{criterion['measured']:.3f} against {criterion['bound']:.3f}"
        for criterion in criteria
    }


def _samples(examples: Sequence[Json]) -> list[Sample]:
    return [
        Sample(
            example["prompt"],
            [
                Response(
                    name,
                    answer["text"],
                    {"gold": answer["gold"], "grammatical": answer["valid"]},
                )
                for name, answer in example["answers"].items()
            ],
        )
        for example in examples
    ]


def _stats(summary: Json) -> dict[str, Stat]:
    return dict(as_stats({name: _at(summary, place) for name, place in NUMBERS.items()}))


def _at(summary: Json, place: Sequence[str]) -> Json:
    for key in place:
        summary = summary[key]
    return summary
