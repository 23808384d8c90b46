"""Stages: one after the other, a checkpoint after each, and no program over another."""

from pathlib import Path

import pytest

from prefine.errors import ConfigError, RunFolderError
from prefine.recipes import Stage, run_stages
from prefine.records import Candidate, Message, Record, Records, Source

START = Records.of(
    Record(
        source=Source("s", row=n), context=(Message("user", f"{n}?"),),
        candidates=(Candidate("c0", (Message("assistant", "yes"),)),),
    )
    for n in range(4)
)  # fmt: skip


def stages(ran: list[str], stop: str = "") -> list[Stage]:
    def halved(name: str):
        def run(records: Records, model: str, folder: Path) -> tuple[Records, str]:
            (folder / "part").write_text("x")
            if name == stop:
                raise KeyboardInterrupt
            ran.append(name)
            return Records.of(list(records)[: len(records) // 2]), f"{model}+{name}"

        return run

    return [Stage(name, halved(name)) for name in ("one", "two")]


def test_each_gets_what_the_last_one_gave(tmp_path: Path) -> None:
    records, model = run_stages(stages([]), START, "m", tmp_path / "out", identity=1)
    assert (len(records), model) == (1, "m+one+two")
    assert (tmp_path / "out" / "1-two" / "records.jsonl").is_file()


def test_a_program_goes_on_after_its_last_whole_stage(tmp_path: Path) -> None:
    out, ran, told = tmp_path / "out", [], []
    with pytest.raises(KeyboardInterrupt):
        run_stages(stages(ran, stop="two"), START, "m", out, identity=1)
    with pytest.raises(RunFolderError, match="Go on with --resume"):
        run_stages(stages(ran), START, "m", out, identity=1)
    with pytest.raises(RunFolderError, match="another program"):
        run_stages(stages(ran), START, "m", out, identity=2, resume=True)
    records, model = run_stages(
        stages(ran), START, "m", out, identity=1, resume=True,
        on_stage=lambda *stage: told.append(stage),
    )  # fmt: skip
    assert ran == ["one", "two"]
    assert told == [("two", 1, 2)]
    assert (len(records), model) == (1, "m+one+two")


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names of their own"):
        run_stages([], START, "m", tmp_path / "out", identity=1)
    with pytest.raises(ConfigError, match="names of their own"):
        run_stages(stages([])[:1] * 2, START, "m", tmp_path / "out", identity=1)
    (tmp_path / "mine").write_text("x")
    with pytest.raises(RunFolderError, match="holds no program"):
        run_stages(stages([]), START, "m", tmp_path, identity=1)
