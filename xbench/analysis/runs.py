"""Runs on disk: which there are, what each holds, and the figures of any of them as one table.

A run is a folder that holds records.jsonl. Code or policy may have changed between two measurements into one folder;
then the newer records stand, and the older ones are history.
"""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbench.errors import UserError
from xbench.files.run_folders import LEDGER, NAMED_BY_TIME, REPORT, RUNS
from xbench.files.writing import is_ledger
from xbench.records.ledger import read_ledger, read_records, warn_of
from xbench.records.record import Record, parse_time
from xbench.study.conditions import Conditions

if TYPE_CHECKING:
    import pandas as pd

    from xbench.analysis.results import Results

LAST = "last"  # the newest of results/runs


@dataclass(frozen=True)
class RunInfo:
    """What a run's ledger says of it at a glance.

    Attributes:
        path: its folder.
        when: time of its last record; of the file where there is none.
        study: name of its study, or names.
        question: what its report answers; empty where it has none.
        arms: labels in the order of the ledger, the control left out.
        sizes: resolutions and numbers of tokens, as ``Conditions.show_extent`` writes them.
        ok, failed: figures (one per arm, conditions and metric) that are there, and that are not, for whatever reason.
        launches: the most that any of its comparisons had.
        seconds: what its runs took; None where none of them came to its end.
        machine: processor and cores, or GPU.
        commit: of the code that measured last, as far as it is known.
        problem: why nothing else is known; empty where it is.
    """

    path: Path
    when: datetime
    study: str = ""
    question: str = ""
    arms: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    ok: int = 0
    failed: int = 0
    launches: int = 0
    seconds: float | None = None
    machine: str = ""
    commit: str = ""
    problem: str = ""

    def is_about(self, text: str) -> bool:
        """Whether the text is a part of its name, an arm's, its question or its machine, in any case of letters."""
        parts = (self.path.name, self.study, self.question, *self.arms, self.machine)
        return any(text.casefold() in part.casefold() for part in parts)


def find_runs(folder: str | Path = RUNS) -> list[RunInfo]:
    """The runs in a folder and in the folders in it, newest first. One that cannot be read says so in ``problem``.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} here. xbench compare makes {RUNS} and keeps its runs there.")
    return sorted(map(_describe, folder.rglob(LEDGER)), key=lambda run: run.when, reverse=True)


def _describe(ledger: Path) -> RunInfo:
    changed = datetime.fromtimestamp(ledger.lstat().st_mtime, UTC)
    try:
        records = newest(read_records([ledger]))
    except UserError as error:
        return RunInfo(ledger.parent, changed, problem=str(error))
    if not records:
        return RunInfo(ledger.parent, changed, problem="holds no records")
    figures: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.case and not record.case.get("control"):
            figures.setdefault(_cell(record), []).append(record)
    cases = (found[0].case for found in figures.values())
    sizes = dict.fromkeys(Conditions.of(case).show_extent() for case in cases if "level" in case)
    ok = sum(found[-1].status == "ok" for found in figures.values())
    took = {record.run: record.detail["total_seconds"] for record in records if record.metric == "overhead"}
    last = records[-1]
    return RunInfo(
        path=ledger.parent,
        when=parse_time(last.time) if last.time else changed,
        study=_studies(records),
        question=_question(ledger.parent),
        arms=tuple(dict.fromkeys(found[0].case["arm"] for found in figures.values())),
        sizes=tuple(sizes),
        ok=ok,
        failed=len(figures) - ok,
        launches=max((len({(r.run, r.launch) for r in found if r.launch}) for found in figures.values()), default=0),
        seconds=sum(took.values()) if took else None,
        machine=machine_name(last.machine),
        commit=last.commit,
    )


def _studies(records: Iterable[Record]) -> str:
    return ", ".join(dict.fromkeys(record.study for record in records))


def machine_name(facts: dict[str, Any]) -> str:
    """ "AMD EPYC, 2 cores", or the GPU with its driver."""
    cores = facts.get("physical_cores")
    return str(facts.get("gpu") or facts.get("cpu", "") + (f", {cores} cores" if cores else ""))


def _question(folder: Path) -> str:
    try:
        first = (folder / REPORT).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""
    return first.removeprefix("# ") if first.startswith("# ") else ""


def newest(records: Iterable[Record]) -> list[Record]:
    """The records that compare: of each arm, conditions and metric those with the key of the last one."""
    records = list(records)
    last = {_cell(record): record.key for record in records}
    return [record for record in records if record.key == last[_cell(record)]]


def _cell(record: Record) -> tuple[str, str]:
    return record.place, record.metric


def run_folder(run: str | Path) -> Path:
    """The folder of one run, by its path, that of its records.jsonl, or its name among ``results/runs``, with or
    without the time before it, where the newest of that name is meant; "last" is the newest of all.

    Raises:
        UserError: it does not exist, or is no run or several.
    """
    return _ledger(run).parent


def read_run(run: str | Path) -> "Results":
    """The results of one run, named as for ``run_folder``.

    Raises:
        UserError: see ``run_folder``; or it holds no records.
    """
    from xbench.analysis.results import Results

    reading = read_ledger(_ledger(run))
    warn_of(reading.skipped)
    records = newest(reading.records)
    if not any(record.case for record in records):
        raise UserError(f"{run} holds no records.")
    return Results(records, skipped=reading.skipped)


def question_of(run: str | Path, results: "Results") -> str:
    """What a run was asked: as it recorded, else by the title of its report, else the name of its study, or names.

    Args:
        run: as for ``run_folder``.
        results: what ``read_run`` gives for it.
    """
    recorded = (results.overhead or {}).get("question", "")
    return recorded or _question(run_folder(run)) or _studies(results.records)


def load(*paths: str | Path) -> "pd.DataFrame":
    """The figures of any number of runs as one tidy table: ``xbench.load().query("metric == 'throughput'")``.

    Args:
        paths: each the folder of a run, a file of records, a folder of runs to any depth, or the name of a run in
            ``results/runs``; without any, all that lie in ``results/runs``.

    Returns:
        ``tidy_frame`` of each run, as ``read_run`` reads it, with the columns ``run`` (name of the folder, its path
        where two have the same) and ``study`` (name of its study, or names) before the others. Intervals and ratios
        are within a run, never across runs.

    Raises:
        UserError: a path does not exist or holds no records.
    """
    import pandas as pd

    from xbench.analysis.frame import tidy_frame
    from xbench.analysis.results import Results

    ledgers: dict[Path, list[Record]] = {}
    for path in paths or (RUNS,):
        found = {ledger.resolve(): newest(read_records([ledger])) for ledger in _ledgers(path)}
        if not any(record.case for records in found.values() for record in records):
            raise UserError(f"{path} holds no records.")
        ledgers |= found
    names = _names(list(ledgers))
    frames = []
    for ledger, records in ledgers.items():
        frame = tidy_frame(Results(records))
        if not frame.empty:
            frame.insert(0, "study", _studies(records))
            frame.insert(0, "run", names[ledger])
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _names(ledgers: Sequence[Path]) -> dict[Path, str]:
    """What to call the runs: by folder, which is shorter, or by place, where folders of one name lie in two places."""
    short = {ledger: ledger.parent.name if ledger.name == LEDGER else ledger.stem for ledger in ledgers}
    times = Counter(short.values())
    return {ledger: name if times[name] == 1 else str(ledger.parent) for ledger, name in short.items()}


def ledgers(*paths: str | Path) -> list[Path]:
    """The files of records that the paths stand for, each once.

    Args:
        paths: as for ``load``.

    Raises:
        UserError: a path does not exist, or holds no records.
    """
    found = {ledger.resolve(): ledger for path in paths or (RUNS,) for ledger in _ledgers(path)}
    return list(found.values())


def _ledger(run: str | Path) -> Path:
    ledger, *others = _ledgers(run)
    if others:
        names = ", ".join(str(path.parent) for path in (ledger, *others))
        raise UserError(f"{run} holds several runs; name one of {names}.")
    return ledger


def among(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Of several paths those of runs, and what there is and holds none; all of them where that is one alone."""
    others = [path for path in paths if Path(path).exists() and not _holds_records(Path(path))]
    return ([path for path in paths if path not in others], others) if len(others) < len(paths) else (list(paths), [])


def _holds_records(place: Path) -> bool:
    return is_ledger(place) if place.is_file() else any(place.rglob(LEDGER))


def _newest_folder() -> Path | None:
    found = sorted(RUNS.rglob(LEDGER), key=lambda ledger: ledger.stat().st_mtime) if RUNS.is_dir() else []
    return found[-1].parent if found else None


def _ledgers(path: str | Path) -> list[Path]:
    """The files of records that a path or the name of a run stands for; one or more."""
    place = next((place for place in (Path(path), RUNS / path) if place.exists()), None)
    if place is None and str(path) == LAST:
        place = _newest_folder()
    if place is None and len(Path(path).parts) == 1:
        place = max(RUNS.glob(f"{NAMED_BY_TIME[:-1]}{glob.escape(str(path))}"), default=None)
    if place is None:
        raise UserError(f"there is no run '{path}'.{_closest(path)}")
    found = [place] if place.is_file() else sorted(place.rglob(LEDGER))
    if not found:
        raise UserError(f"{place} holds no {LEDGER}, nor does a folder in it.")
    return found


def _closest(path: str | Path) -> str:
    beside = Path(path).parent
    known: dict[str, Any] = {ledger.parent.name: None for ledger in RUNS.glob(f"*/{LEDGER}")}
    known |= {str(ledger.parent): None for ledger in beside.glob(f"*/{LEDGER}")}
    close = get_close_matches(str(path), known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else " xbench show lists what there is."
