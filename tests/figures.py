"""
The architecture in numbers, each with its budget. ``python tests/figures.py`` prints them; tests/test_budgets.py asserts.

Lengths are counted in the source; what a call enters is counted while it runs, by ``sys.setprofile``.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "jitwarmup"
REGION = str(PACKAGE / "engine" / "timed_region.py")

LIMITS: dict[str, float] = {  # figure -> the most that it may be
    "lines of the package": 26_200,  # 21,500 when the tree was redrawn; what issues 14 to 16 added came on top
    "functions, median lines": 9,
    "functions over 60 lines": 0,
    "files over 350 lines": 0,
    "packages over 16 files": 0,
    "modules of a warm call": 15,
    "Python calls of a warm call": 45,
    "functions between timed region and pynvml": 9,
    "functions between the end of a run and the emitter": 3,
    "old words": 0,
    "old names": 0,
    "old class names": 0,
}

# ------------------------------------------------------------------ words that the glossary replaced

WORDS = """
    house wing wings floor law laws ground door doors colour colours pump pumps wish wishes hush unhush heed
    patiently offloop seat seats lane lanes crowd inbox orphan restless let_go diverted diversion handover
"""
NAMES = "tell told tells say said says spoken aside quietly heard room rooms course courses landing"
CLASSES = """
    Taken Take Result Colour Bare Window Core Subject Task Visit End Account Together Common Said Words Heard Session
    Flight Lease Entry Habits Tally Counts Misses Watch Hub Token Seen Served Interference Slot Counted Link Source
    Local Service Guard Meter Asker PowerLog Handover Feeder Guarded Side Board Notice Stretch Patience Note
"""
# Either whole or as a part of a name: `let_the_pump_run` holds a pump, `compass` no pass.
WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(WORDS.split())})(?![A-Za-z])", re.IGNORECASE)
KEPT = re.compile(
    r"math\.floor|np\.floor|floor of|noise_floor|//|that is to say", re.IGNORECASE
)  # a line with these is in order
NAME = re.compile(
    rf"^_?({'|'.join(NAMES.split())})(_\w+)?$"
)  # of a function or variable; in a sentence these are plain English
CLASS = re.compile(rf"^\s*class ({'|'.join(CLASSES.split())})\b")
PUBLIC = {  # file and name of what users write already: names stay as they are, and why
    ("jitwarmup/integrations/sweep/results.py", "Result"),  # what Sweep.run() returns
}
SEARCHED = (
    "jitwarmup/**/*.py",
    "jitwarmup/**/*.md",
    "tests/**/*.py",
    "tests/**/*.md",
    "examples/**/*.py",
    "*.md",
    "*.cfg",
)
NOT_SEARCHED = {"tests/figures.py", "CHANGELOG.md"}


def searched() -> Iterator[tuple[str, int, str]]:
    """Place and text of every line in which old words are looked for."""
    for path in sorted({path for pattern in SEARCHED for path in ROOT.glob(pattern)}):
        place = path.relative_to(ROOT).as_posix()
        if place not in NOT_SEARCHED:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield place, number, line


def old_words() -> list[str]:
    """Where the words stand that the glossary replaced, in code, comments and tests."""
    return [
        f"{place}:{number}: {line.strip()}" for place, number, line in searched() if WORD.search(KEPT.sub("", line))
    ]


def old_names() -> list[str]:
    """Functions, arguments and variables, of the package and of tests, with a name that the glossary replaced."""
    found = []
    for path in sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "name", None) or getattr(node, "arg", None) or getattr(node, "attr", None)
            if isinstance(node, ast.Name):
                name = node.id
            place = path.relative_to(ROOT).as_posix()
            if isinstance(name, str) and NAME.match(name) and (place, name) not in PUBLIC:
                found.append(f"{place}:{getattr(node, 'lineno', 0)}: {name}")
    return sorted(set(found))


def old_classes() -> list[str]:
    """Definitions of classes of the package that the glossary renamed."""
    found = ((place, number, line) for place, number, line in searched() if place.startswith("jitwarmup/"))
    return [
        f"{place}:{number}: {line.strip()}"
        for place, number, line in found
        if (match := CLASS.match(line)) and (place, match[1]) not in PUBLIC
    ]


# ------------------------------------------------------------------ lengths


def files() -> dict[str, int]:
    """The package's files and their lines."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}


def functions() -> dict[str, int]:
    """Each function's lines, from ``def`` to its end, docstring included; overloads and protocols' stubs are none."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                last = node.body[-1]
                if isinstance(last, ast.Expr) and getattr(last.value, "value", None) is Ellipsis:
                    continue
                place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno} {node.name}"
                found[place] = node.end_lineno - node.lineno + 1
    return found


def packages() -> dict[str, int]:
    """How many modules each package holds, without those of its own packages; an ``__init__`` of one line is none."""
    folders = sorted({path.parent for path in PACKAGE.rglob("*.py")})
    return {
        folder.relative_to(ROOT).as_posix(): sum(path.read_text().count("\n") > 1 for path in folder.glob("*.py"))
        for folder in folders
    }


# ------------------------------------------------------------------ what a call enters


def entered(call: Callable[[], Any]) -> list[tuple[str, str]]:
    """File and name of each Python function of the package that a call enters, in order, each time."""
    found: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            found.append((code.co_filename, code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


def warm_call() -> list[tuple[str, str]]:
    """What a warm call of a function enters that does nothing and whose calls are counted, not announced."""
    import torch._dynamo  # noqa: F401 - where it is loaded the probes look at most

    from jitwarmup import warmed
    from jitwarmup.events.emit import captured
    from jitwarmup.events.sinks import Recorder

    function = warmed(emit="summary", iterations=2)(lambda: None)
    with captured(Recorder()):
        for _ in range(10):  # lazy imports and first-time paths are over
            function()
        return entered(function)


def stack(frame: FrameType | None) -> list[FrameType]:
    """The package's frames, the innermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_filename.startswith(str(PACKAGE)):
            found.append(frame)
        frame = frame.f_back
    return found


def to_the_emitter() -> int:
    """The most functions that an event leaves through, from the one that announces it to the user's emitter."""
    from jitwarmup import steady_state, warmed

    between: list[int] = []

    class Listener:
        def emit(self, event: str, level: str, fields: Any) -> None:
            files = [frame.f_code.co_filename for frame in stack(sys._getframe())]
            announced = [at for at, file in enumerate(files) if file.endswith("engine/announce.py")]
            between.extend(1 + at for at in announced[:1])  # none for a sink's first event, which a thread gives to it

    function = warmed(iterations=1)(lambda: None)
    with steady_state(log=Listener()) as steady:
        function()
        function()
        steady.measure(lambda: None)
    return max(between)


def to_pynvml(monitor: Any) -> int:
    """
    The most functions of the package between the timed region and pynvml, for a monitor of a (simulated) device.

    A job of the driver's thread is counted together with the frames of the thread that waits for it.
    """
    from jitwarmup import steady_state, warmed
    from jitwarmup.events.sinks import Recorder

    function = warmed(iterations=1)(lambda: None)
    caller, most = threading.get_ident(), 0

    def profile(frame: FrameType, event: str, _: Any) -> None:
        nonlocal most
        if event != "call" or Path(frame.f_code.co_filename).name != "pynvml.py":
            return
        frames = stack(frame)
        if threading.get_ident() != caller:
            frames += stack(sys._current_frames().get(caller))
        names = [each.f_code.co_filename for each in frames]
        if REGION in names:
            most = max(most, names.index(REGION))

    before = sys.getprofile()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        with steady_state(monitor=monitor, log=Recorder()):  # the driver's thread starts in here, and is profiled too
            function()
            function()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return most


# ------------------------------------------------------------------ all of them


def figures() -> dict[str, float]:
    """Every figure but the way to pynvml, which needs a (simulated) device."""
    lines, lengths, call = files(), functions(), warm_call()
    return {
        "lines of the package": sum(lines.values()),
        "functions, median lines": statistics.median(lengths.values()),
        "functions over 60 lines": sum(length > 60 for length in lengths.values()),
        "files over 350 lines": sum(count > 350 for count in lines.values()),
        "packages over 16 files": sum(count > 16 for count in packages().values()),
        "modules of a warm call": len({file for file, _ in call}),
        "Python calls of a warm call": len(call),
        "functions between the end of a run and the emitter": to_the_emitter(),
        "old words": len(old_words()),
        "old names": len(old_names()),
        "old class names": len(old_classes()),
    }


def main(verbose: bool) -> None:
    """Print the figures beside their budgets, and with ``-v`` what they count."""
    for name, value in figures().items():
        print(f"{'ok  ' if value <= LIMITS[name] else 'OVER'}  {name:52} {value:>8,.0f}  (at most {LIMITS[name]:,})")
    print("      functions between timed region and pynvml: counted by tests/test_budgets.py with a simulated device")
    lengths = functions()
    longest = max(lengths, key=lengths.__getitem__)
    print(f"      {len(lengths):,} functions; the longest has {lengths[longest]} lines: {longest}")
    if not verbose:
        return
    over = [f"{place}: {count} lines" for place, count in files().items() if count > 350]
    over += [f"{place}: {count} lines" for place, count in lengths.items() if count > 60]
    over += [f"{place}: {count} files" for place, count in packages().items() if count > 16]
    print(
        *over,
        "a warm call enters:",
        *(f"{Path(file).relative_to(ROOT)} {name}" for file, name in warm_call()),
        sep="\n  ",
    )
    print(*old_classes(), *old_names(), *old_words(), sep="\n  ")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main("-v" in sys.argv[1:])
