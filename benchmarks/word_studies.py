"""Two whole studies of `prefine compare-objectives` on the word world, whose truth is known.

One compares DPO that reads two pairs in ten the wrong way round with DPO that does so with two
others: a winner would be wrong. The other compares DPO with DPO that misreads three in ten: no
winner would be a miss. Policies are judged by the gold reward of what they answer.
"""

import argparse
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from prefine.ledger.answers import ask
from prefine.ledger.base_model import BRIEFLY, BaseSettings, base_model
from prefine.ledger.demo_seed import noisy_pairs
from prefine.ledger.worlds import words
from prefine.recipes import Study, compare_objectives
from prefine.recipes.choice_report import study_report
from prefine.records import Records
from prefine.report import render
from prefine.storage import atomic_text, write_json

PROMPTS, PAIRS, SEED = 1_500, 2, 0
STUDIES = {
    "no difference": ("planted_losses:here", "planted_losses:there"),
    "a planted difference": ("dpo", "planted_losses:misled"),
}


def main() -> None:
    """Run both, or those that are named; a study that was cut off goes on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "word-studies")
    parser.add_argument("--out", type=Path, default=Path("docs/results/word-studies.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    asked = words.prompts(PROMPTS, SEED)
    model = str(base_model(asked, SEED, BaseSettings()))
    data = args.folder / "pairs.jsonl"
    if not data.is_file():
        answers = ask("sft", model, asked, 2 * PAIRS, SEED)
        pairs = noisy_pairs(answers, SEED)
        Records.of(pair.record(row) for row, pair in enumerate(pairs)).save(data)
    told: dict[str, Any] = {
        "command": "make bench-studies",
        "python": platform.python_version(), "torch": torch.__version__,
        "data": f"{PROMPTS} prompts with {PAIRS} pairs each, judged by annotators of whom 2, 10 "
        "and 20 labels in 100 are flipped",
    }  # fmt: skip
    for name, objectives in STUDIES.items():
        out = args.folder / name.replace(" ", "-")
        study = Study(
            data=str(data), model=model, out=out, objectives=objectives, trials=4, seeds=5,
            rates=(1e-4, 1e-3), reward="planted_rewards:gold", samples=200, max_new_tokens=32,
            settings={"training": {**BRIEFLY, "per_device_train_batch_size": 64}},
        )  # fmt: skip
        finding = compare_objectives(
            study,
            resume=out.exists(),
            on_stage=lambda what, done, of: print(f"{done + 1} of {of} {what}", file=sys.stderr),
        )
        with atomic_text(out / "report.html") as handle:
            handle.write(render(study_report(finding)))
        found = finding.to_json()
        kept = {key: found["study"][key] for key in ("objectives", "trials", "seeds", "rates")}
        told[name] = {
            "study": kept, "words": finding.choice.words, "choice": found["choice"],
            "objectives": found["objectives"],
        }  # fmt: skip
        write_json(args.out, told)


if __name__ == "__main__":
    main()
