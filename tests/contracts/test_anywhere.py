"""prefine runs where Python runs: what one system alone has is guarded, text is always UTF-8.

Each rule is seen to fire on a planted line.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "prefine"
FILES = sorted(SOURCE.rglob("*.py"))

MODULES = {"fcntl", "resource", "termios", "tty", "pwd", "grp", "syslog", "msvcrt", "winreg"}
NAMES = {
    "os": {"fork", "forkpty", "getuid", "geteuid", "getgid", "setsid", "killpg", "getpgid", "nice",
           "getloadavg", "sched_getaffinity", "sched_setaffinity", "mkfifo", "chown", "uname"},
    "signal": {"SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "alarm", "setitimer"},
    "socket": {"AF_UNIX", "SO_REUSEPORT"},
    "multiprocessing": {"get_context"},
}  # fmt: skip
TEXTS = ("/proc/", "/dev/", "/sys/", "/tmp")

REASONS = {
    ("engine/peak_memory.py", "/proc/"): "paths; PeakMemory refuses other systems before it reads",
    ("bench/pace.py", "/proc/"): "the benchmark weighs processes on Linux alone, and says so",
}
"""Uses that no guard is seen around, and why they may stay."""

GUARDS = ("hasattr(", "sys.platform", "platform.system()", "os.name", ".exists()", ".is_file()")
"""What a function asks that behaves elsewhere, too."""


@cache
def findings(source: str) -> list[tuple[str, int]]:
    """Return each use of what one system alone has that stands under no guard, with its line."""
    tree = ast.parse(source)
    uses = [(_only_somewhere(node), node) for node in ast.walk(tree)]
    if not any(name for name, _ in uses):
        return []
    guarded = set(_guarded(tree))
    return [(name, getattr(n, "lineno", 0)) for name, n in uses if name and n not in guarded]


def _only_somewhere(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import):
        return next((a.name for a in node.names if a.name.partition(".")[0] in MODULES), None)
    if isinstance(node, ast.ImportFrom) and node.module in MODULES:
        return node.module
    if isinstance(node, ast.ImportFrom) and node.module in NAMES:
        found = NAMES[node.module] & {alias.name for alias in node.names}
        return f"{node.module}.{min(found)}" if found else None
    if isinstance(node, ast.Attribute):
        owner = getattr(node.value, "id", "")
        return f"{owner}.{node.attr}" if node.attr in NAMES.get(owner, ()) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return next((text for text in TEXTS if node.value.startswith(text)), None)
    return None


def _guarded(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes whose surroundings ask which system this is, or that expect to fail elsewhere."""
    for node in ast.walk(tree):
        is_guarded = (
            (isinstance(node, ast.If | ast.IfExp) and _asks(node.test))
            or (isinstance(node, ast.Try) and _expects(node))
            or (isinstance(node, ast.FunctionDef) and _asks(node))
        )
        if is_guarded:
            yield from ast.walk(node)


def _asks(node: ast.AST) -> bool:
    return any(guard in ast.unparse(node) for guard in GUARDS)


def _expects(node: ast.Try) -> bool:
    caught = " ".join(ast.unparse(h.type) for h in node.handlers if h.type)
    return any(name in caught for name in ("ImportError", "OSError", "AttributeError", "FileNot"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_one_system_alone_has_is_guarded(path: Path) -> None:
    here = path.relative_to(SOURCE).as_posix()
    found = set(findings(path.read_text(encoding="utf-8")))
    assert {(name, line) for name, line in found if (here, name) not in REASONS} == set()


def test_no_reason_is_left_over() -> None:
    used = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in FILES
        for name, _ in findings(path.read_text(encoding="utf-8"))
    }
    assert set(REASONS) - used == set()


@pytest.mark.parametrize(
    "planted",
    [
        "import os\nos.fork()\n",
        "import fcntl\n",
        "from resource import getrusage\n",
        "import signal\nsignal.signal(signal.SIGALRM, None)\n",
        "from signal import SIGKILL\n",
        "from pathlib import Path\nPath('/proc/cpuinfo').read_text(encoding='utf-8')\n",
        "import multiprocessing\nmultiprocessing.get_context('fork')\n",
        "import sys\nif sys.argv:\n    import fcntl\n",
    ],
)
def test_a_planted_use_is_found(planted: str) -> None:
    assert findings(planted)


@pytest.mark.parametrize(
    "guarded",
    [
        "def f():\n    import fcntl\n    return hasattr(fcntl, 'flock')\n",
        "import os\ncores = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else 1\n",
        "import sys\nif sys.platform != 'win32':\n    import fcntl\n",
        "try:\n    import resource\nexcept ImportError:\n    resource = None\n",
    ],
)
def test_a_guarded_use_is_not(guarded: str) -> None:
    assert findings(guarded) == []


# --- Text is UTF-8 -------------------------------------------------------------------------------


def unencoded(source: str) -> Iterator[int]:
    """Yield lines that open text in whatever encoding the machine has."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = (
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        )
        if name not in ("open", "read_text", "write_text", "fdopen", "TextIOWrapper"):
            continue
        if ast.unparse(node.func).startswith(
            ("os.", "tarfile.", "zipfile.", "webbrowser.", "Image.")
        ):
            continue
        told = {keyword.arg for keyword in node.keywords}
        if "resume" in told:  # of a run's folder
            continue
        if (
            "encoding" in told
            or None in told
            or _is_binary(name, node)
            or _is_positional(name, node)
        ):
            continue
        yield node.lineno


def _is_binary(name: str, node: ast.Call) -> bool:
    modes = [a.value for a in [*node.args, *(k.value for k in node.keywords if k.arg == "mode")]
             if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
    return name in ("open", "fdopen") and any("b" in m and len(m) <= 3 for m in modes)


def _is_positional(name: str, node: ast.Call) -> bool:
    """`read_text("utf-8")` names its encoding by position."""
    last = node.args[-1] if node.args else None
    return isinstance(last, ast.Constant) and last.value in ("utf-8", "utf-8-sig")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_text_is_utf_8(path: Path) -> None:
    assert list(unencoded(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("planted", "count"),
    [
        ("open('a')", 1),
        ("open('a', 'w')", 1),
        ("Path('a').read_text()", 1),
        ("Path('a').write_text('x')", 1),
        ("path.open()", 1),
        ("open('a', 'rb')", 0),
        ("open('a', encoding='utf-8')", 0),
        ("path.open('ab')", 0),
        ("path.read_text('utf-8')", 0),
    ],
)
def test_text_in_the_machines_encoding_is_found(planted: str, count: int) -> None:
    assert len(list(unencoded(planted))) == count


# --- Processes that are spawned ------------------------------------------------------------------


def test_importing_everything_starts_nothing() -> None:
    """A spawned process imports its modules anew: no threads, files or processes at import."""
    code = f"""
import importlib, os, sys, threading, multiprocessing
sys.path.insert(0, {str(SOURCE.parent)!r})
before = set(os.listdir("."))
names = {[_module(p) for p in FILES if p.stem not in ("__init__", "__main__")]!r}
import torch, transformers, datasets, scipy.stats, matplotlib.pyplot  # start threads of their own
threads = set(threading.enumerate())
for name in names:
    importlib.import_module(name)
print(sorted(t.name for t in set(threading.enumerate()) - threads))
print(multiprocessing.active_children(), sorted(set(os.listdir(".")) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == ["[]", "[] []"]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
