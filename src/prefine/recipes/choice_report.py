"""A study of objectives for a person: a table for the terminal, a page with pictures."""

from typing import Any

import numpy as np

from prefine.recipes.finding import Finding
from prefine.recipes.policy_numbers import MEANINGS
from prefine.report import Facts, Gallery, Prose, Report, Section, Stats, stat_table
from prefine.report.figures import bars, clouds, curves
from prefine.report.text import number

HOW = """Every objective had {trials} trials, at the same learning rates and at strengths spread
alike over the range that is usual for it. Its best one, by {decides} on {validation} prompts, was
trained again with {seeds} fresh seeds and measured on prompts that chose nothing. Intervals are
over seeds and prompts; a winner is named only where every comparison with it holds after Holm.

"Median of trials" says how much an objective forgives a setting that was not tuned. "At matched
KL" is the best of its trials that went no further from the model than {budget} nats, the median of
all trials."""


def table(finding: Finding) -> Any:
    """Return the table of a study, for a terminal."""
    found = finding.to_json()["objectives"]
    names = list(finding.choice.means)

    def column(key: str) -> dict[str, str]:
        return {name: number(found[name][key]) for name in names}

    return stat_table(
        dict(finding.choice.means),
        f"{finding.study.decides}, over seeds and prompts",
        {
            "median of trials": column("median_of_trials"),
            "at matched KL": column("at_matched_kl"),
            "KL": column("kl"),
            "tokens": column("length"),
            "best setting": {name: setting(finding, name) for name in names},
        },
    )


def setting(finding: Finding, name: str) -> str:
    """Return an objective's best setting in words."""
    trial = finding.best[name].trial
    options = "".join(f", {key} {value:g}" for key, value in trial.options.items())
    return f"rate {trial.rate:g}{options}"


def study_report(finding: Finding) -> Report:
    """Return the page of a study, for `prefine.report.render`."""
    decides, study = finding.study.decides, finding.study
    means = dict(finding.choice.means)
    gaps = {f"{gap.first} − {gap.second}": gap.stat for gap in finding.choice.gaps}
    told = {
        f"{gap.first} − {gap.second}": f"p {gap.p:.3g}, after Holm {gap.p_holm:.3g}"
        + (": differs" if gap.told else "")
        for gap in finding.choice.gaps
    }
    how = HOW.format(
        trials=study.trials, decides=decides, seeds=study.seeds,
        validation=len(finding.tried[0].numbers[decides]), budget=number(finding.budget),
    )  # fmt: skip
    settings = {name: setting(finding, name) for name in means}
    return Report(
        "Which objective?",
        [
            Section("What was found", [Gallery(pictures(finding)), Prose(how)]),
            Section("Final runs", [Stats(means, dict.fromkeys(means, MEANINGS[decides]))]),
            Section("Differences", [Stats(gaps, told)]),
            Section("Best settings", [Facts(settings)]),
            Section("What was asked", [Facts(study.identity())]),
        ],
        finding.choice.words,
    )


def pictures(finding: Finding) -> list[Any]:
    """Draw the final means, how trials spread, and what they cost in KL."""
    decides = finding.study.decides
    names = list(finding.choice.means)
    drawn = [
        bars(
            dict(finding.choice.means), xlabel=decides, mark=None,
            caption="Final runs, 95% intervals over seeds and prompts.",
        )
    ]  # fmt: skip
    if finding.study.trials > 1:
        spread = {
            name: [
                (place + 1, value)
                for place, value in enumerate(
                    sorted((t.mean(decides) for t in finding.of(name)), reverse=True)
                )
            ]
            for name in names
        }
        drawn.append(
            curves(
                spread, xlabel="trial, best first", ylabel=decides, window=1,
                caption="The flatter a line, the less an objective depends on its settings.",
            )
        )  # fmt: skip
    points = {name: [(t.mean("kl"), t.mean(decides)) for t in finding.of(name)] for name in names}
    if np.isfinite([x for each in points.values() for x, _ in each]).all():
        drawn.append(
            clouds(
                points, xlabel="KL to the model, nats", ylabel=decides,
                caption="Each trial: what it gained, and how far it went for it.",
            )
        )  # fmt: skip
    return drawn
