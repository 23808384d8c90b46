"""Records: a lazy collection over a memory-mapped table."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefine.errors import ConfigError
from prefine.records import points, splits, views
from prefine.records.schema import Record
from prefine.records.stored import COLUMNS, from_row, to_row
from prefine.records.table import Dataset, text_schema, write_table
from prefine.records.views import View, Who
from prefine.records.votes import How, PairRule, Ties, Votes
from prefine.storage import content_hash

if TYPE_CHECKING:
    from prefine.records.save import Exported

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Rejects:
    """Rows that could not be read.

    Attributes:
        count: How many.
        path: The file that holds them with their reasons, or None if there are none.
        reasons: Reason -> how many.
    """

    count: int = 0
    path: Path | None = None
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])


class Records:
    """Records on disk, read one at a time.

    Attributes:
        rejects: Rows that were not understood when the records were loaded.
        source: Where they were loaded from.
        format: Name of the format they were read from.
        set_aside: Reason -> how many records `filter` left out.

    Example:
        >>> from prefine.records import Candidate, Message, Record, Records
        >>> hello = Candidate("c0", (Message("assistant", "Hello!"),))
        >>> records = Records.of([Record(context=(Message("user", "Hi"),), candidates=(hello,))])
        >>> len(records), records[0].candidates[0].text
        (1, 'Hello!')
    """

    def __init__(
        self,
        table: Dataset,
        *,
        rejects: Rejects | None = None,
        source: str = "memory",
        format: str = "prefine",
        set_aside: Mapping[str, int] | None = None,
    ) -> None:
        self._table = table
        self.rejects = rejects or Rejects()
        self.source = source
        self.format = format
        self.set_aside: Mapping[str, int] = set_aside or {}
        self._fingerprint: str | None = None

    @classmethod
    def of(
        cls,
        records: Iterable[Record],
        *,
        rejects: Callable[[], Rejects] | None = None,
        source: str = "memory",
        format: str = "prefine",
        set_aside: Mapping[str, int] | None = None,
    ) -> "Records":
        """Store records; consumed once, in constant memory.

        Args:
            records: Any iterable of records.
            rejects: Called when all are stored, for what could not be read.
            source: Where they come from.
            format: Name of the format they were read from.
            set_aside: Reason -> how many records were left out before.
        """
        table = write_table((to_row(record) for record in records), text_schema(COLUMNS))
        found = rejects() if rejects else None
        return cls(table, rejects=found, source=source, format=format, set_aside=set_aside)

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Record]:
        for row in self.stored():
            yield from_row(row)

    def __getitem__(self, at: int) -> Record:
        return from_row(self._table[at])

    def __repr__(self) -> str:
        return f"Records({len(self)} from {self.source}, format {self.format})"

    @property
    def fingerprint(self) -> str:
        """Hash of the records' content, in their order."""
        if self._fingerprint is None:
            self._fingerprint = content_hash(
                row[name] or "" for row in self.stored() for name in COLUMNS
            )
        return self._fingerprint

    @property
    def licences(self) -> dict[str, int]:
        """Licence of the data -> how many records name it; `not stated` for those that do not."""
        found: Counter[str] = Counter()
        for batch in self._table.select_columns(["source"]).iter(batch_size=1000):
            for text in batch["source"]:
                named = json.loads(text).get("license") if text else None
                found[named or NOT_STATED] += 1
        return dict(found.most_common())

    def map(self, change: Callable[[Record], Record]) -> "Records":
        """Return the records after a change to each; in constant memory."""
        return Records.of((change(record) for record in self), **self._story())

    def filter(
        self, keep: Callable[[Record], bool | str], *, reason: str = "filtered"
    ) -> "Records":
        """Return the records for which `keep` is True, and count the others by reason.

        Args:
            keep: Returns True to keep a record; False, or a reason in words, to leave it out.
            reason: Counted for False.

        Returns:
            Records whose `set_aside` holds the counts, added to those of earlier filters.
        """
        kept: list[int] = []
        aside: Counter[str] = Counter(self.set_aside)
        for at, record in enumerate(self):
            verdict = keep(record)
            if verdict is True:
                kept.append(at)
            else:
                aside[verdict if isinstance(verdict, str) else reason] += 1
        story: dict[str, Any] = {**self._story(), "set_aside": aside}
        return Records(self._table.select(kept), rejects=self.rejects, **story)

    def pairs(
        self,
        how: How = "best_vs_worst",
        votes: Votes = "majority",
        ties: Ties = "drop",
        aspect: str | None = "overall",
        min_gap: float = 0.0,
        seed: int = 0,
        rater_types: Collection[str] | None = None,
    ) -> View:
        """Return a view of pairs: chosen, rejected.

        Candidates that were compared give exactly the pairs that were compared; ranked or rated
        candidates give the pairs that `how` asks for. Identical responses, skipped and unreadable
        verdicts are set aside and counted.

        Args:
            how: From ranks and ratings: best_vs_worst, best_vs_random (a random other one),
                adjacent (neighbours in the order), all, or gap (all that differ by `min_gap`).
            votes: majority: a row per pair, decided where one side has more votes than the other,
                than the ties and than "both bad". soft: a row per pair, `prob` the share of the
                decisive votes (weight untouched). each: a row per vote, with its rater; a vote
                that stands for several (`count`) has that many times the weight.
            ties: drop sets ties aside; keep makes rows with `tie` true, in the record's order.
            aspect: Which aspect; None takes every aspect, each on its own.
            min_gap: Least difference in score (or mean rank) of a pair made from an order.
            seed: For best_vs_random.
            rater_types: Whose judgments count: human, model, rule, user, unknown; None all.

        Raises:
            ConfigError: If an option is not one of those.
        """
        rule = PairRule(how, votes, ties, min_gap, seed)
        return views.make_pairs(self, rule, Who(aspect, rater_types))

    def lists(
        self,
        aspect: str | None = "overall",
        rater_types: Collection[str] | None = None,
    ) -> View:
        """Return a view of lists: all ranked or rated candidates of a record, best first.

        Ratings of several raters are averaged, ranks too where nobody rated. Equals stay in the
        record's order and show in `utility`; a list of equals only is set aside as a tie.

        Args:
            aspect: Which aspect; None takes every aspect, each on its own.
            rater_types: Whose judgments count; None all.
        """
        return views.make_lists(self, Who(aspect, rater_types))

    def points(
        self,
        threshold: float | None = None,
        keep: Literal["all", "desirable"] = "all",
        aspect: str | None = "overall",
        rater_types: Collection[str] | None = None,
    ) -> View:
        """Return a view of single responses, desirable or not.

        Thumbs (ratings on [0, 1]) are desirable above 0.5, other ratings from `threshold` on. A
        signal follows its polarity. Of a comparison the winner is desirable and the loser is not.
        A record that nobody judged is a demonstration: its responses have a null label.

        Args:
            threshold: Least mean score of a desirable response.
            keep: "desirable" sets undesirable responses aside, for supervised fine-tuning.
            aspect: Which aspect; None takes every aspect, each on its own.
            rater_types: Whose judgments count; None all.

        Raises:
            ConfigError: If ratings are not on [0, 1] and no threshold is given.
        """
        return points.make_points(self, threshold, keep, Who(aspect, rater_types))

    def split(
        self,
        by: str = "prompt",
        sizes: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> dict[str, "Records"]:
        """Divide the records so that no cluster stands in two parts.

        A cluster's part depends on its name and the seed alone, so appended data moves nothing
        and sizes are met on average.

        Args:
            by: prompt, principal, source, tag:NAME, or rater_group (which divides the judgments:
                a record stands in each part that has judgments of it).
            sizes: Part -> share; by default train 0.9, test 0.1.
            seed: Another seed, another split.

        Returns:
            Part -> records.

        Raises:
            ConfigError: If `by` or `sizes` make no sense, or a part would be empty.
            RecordError: If a record lacks what `by` names.
        """
        sizes = {"train": 0.9, "test": 0.1} if sizes is None else sizes
        part_of = splits.assigner(sizes, seed)
        if by == "rater_group":
            made = {
                name: Records.of(splits.by_rater_group(self, part_of, name), **self._story())
                for name in sizes
            }
        else:
            key = splits.key_of(by)
            at: dict[str, list[int]] = {name: [] for name in sizes}
            for position, record in enumerate(self):
                at[part_of(key(record))].append(position)
            made = {
                name: Records(self._table.select(rows), **self._story())
                for name, rows in at.items()
            }
        if empty := [name for name, records in made.items() if not len(records)]:
            raise ConfigError(
                f"Part `{empty[0]}` of the split by {by} got no records out of {len(self)}: there "
                "are too few clusters for these sizes. Try another seed or larger shares."
            )
        return made

    def save(self, path: Path | str) -> None:
        """Write the records as JSON lines or Parquet, by the name's ending.

        Args:
            path: `.jsonl`, `.jsonl.gz`, `.jsonl.zst` or `.parquet`.

        Raises:
            RecordError: If the name has another ending.
        """
        from prefine.records.save import save

        save(self, Path(path))

    def export(self, format: str, path: Path | str) -> "Exported":
        """Write the records in a public format, and say what it cannot hold.

        Args:
            format: Name of the format.
            path: `.jsonl` (also `.gz`, `.zst`), `.json`, `.csv` or `.tsv`.

        Returns:
            How many rows were written, and for each loss how many records suffer it.

        Raises:
            RecordError: If the format cannot be written, or not to such a file.
        """
        from prefine.records.save import export

        return export(self, format, Path(path))

    def stored(self) -> Iterator[dict[str, str | None]]:
        """Yield the rows as they are stored: column -> text, nested parts as JSON."""
        for batch in self._table.iter(batch_size=256):
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(batch, values, strict=True))

    def head(self, count: int) -> list[Record]:
        """Return the first records."""
        return list(itertools.islice(self, count))

    def _story(self) -> dict[str, Any]:
        return {"source": self.source, "format": self.format, "set_aside": self.set_aside}
