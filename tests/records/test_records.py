"""The collection: lazy access, map, filter and what they carry along."""

import subprocess
import sys
from dataclasses import replace

from prefine.records import Records, load


def test_indexing_and_iteration(make_record):
    records = Records.of(make_record(row=row) for row in range(5))
    assert [record.source.row for record in records] == list(range(5))
    assert records[-1] == list(records)[-1]
    assert records.head(2) == list(records)[:2]
    assert str(records) == "Records(5 from memory, format prefine)"


def test_map(make_record):
    records = Records.of(make_record(row=row) for row in range(3))
    tagged = records.map(lambda record: replace(record, tags={"row": record.source.row}))
    assert [record.tags["row"] for record in tagged] == [0, 1, 2]
    assert [record.tags for record in records] == [{}, {}, {}]


def test_filter_counts_reasons(make_record):
    records = Records.of(make_record(row=row) for row in range(10))
    kept = records.filter(lambda r: r.source.row > 2 or "too early", reason="never")
    kept = kept.filter(lambda r: r.source.row % 2 == 0, reason="odd")
    assert [record.source.row for record in kept] == [4, 6, 8]
    assert kept.set_aside == {"too early": 3, "odd": 4}
    assert records.set_aside == {}


def test_licences_are_counted(make_record):
    def licensed(record):
        named = "cc-by-4.0" if record.source.row else None
        return replace(record, source=replace(record.source, license=named))

    records = Records.of(make_record(row=row) for row in range(3)).map(licensed)
    assert records.licences == {"cc-by-4.0": 2, "not stated": 1}


def test_derived_records_remember_where_they_come_from():
    records = load([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    for derived in (records.map(lambda r: r), records.filter(lambda r: True)):
        assert (derived.source, derived.format) == ("memory", "trl_preference")


def test_importing_records_is_light():
    """`prefine data --help` must not wait for libraries that only loading needs."""
    code = (
        "import sys, prefine.records, prefine.cli.data\n"
        "print({'torch', 'datasets', 'pyarrow', 'pandas', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_scratch_files_go_with_the_process():
    code = (
        "from prefine.records import load\n"
        "r = load([{'prompt': 'a', 'chosen': 'b', 'rejected': 'c'}])\n"
        "print(r._table.cache_files[0]['filename'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    from pathlib import Path

    assert not Path(done.stdout.strip()).parent.exists()
