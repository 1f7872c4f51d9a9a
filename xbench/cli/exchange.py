"""Verbs that speak with other tools: export, import, cite, log."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from xbench.cli.app import app
from xbench.cli.arguments import ManyValues
from xbench.cli.given import given_file, given_name
from xbench.cli.options import Force
from xbench.cli.streams import progress, put
from xbench.errors import UserError
from xbench.files.writing import check_targets, write_file

Format = Literal["csv", "json", "latex", "markdown", "xlsx", "pytest-benchmark", "asv", "bmf"]

SUFFIX = {"csv": "csv", "json": "json", "latex": "tex", "markdown": "md", "xlsx": "xlsx"}


@app.command("export", cls=ManyValues, epilog="Exit code: 0 written · 2 bad input, or nothing to write.")
def export_runs(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their names in results/runs.")],
    to: Annotated[Format, typer.Option("--format", help="Who is to read it.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file; a folder for asv, or where there are several runs.")
    ],
    force: Force = False,
) -> None:
    """Writes runs as tables, as pytest-benchmark JSON, as results of asv, or in Bencher Metric Format.

    latex (booktabs) and markdown are the tables as they are shown; csv, json and xlsx the figures as numbers, a row for
    each arm and metric, with intervals and ratios. For example:

    xbench export my-run --format latex -o table.tex

    xbench export my-run --format pytest-benchmark -o my-run.json && pytest-benchmark compare my-run.json

    xbench export results/reports --format asv -o dashboard && cd dashboard && asv publish
    """
    import json

    from xbench.analysis.figures import figures
    from xbench.analysis.runs import ledgers, newest, read_run
    from xbench.exchange.asv import write_asv
    from xbench.exchange.bencher import bencher_metrics
    from xbench.exchange.pytest_benchmark import to_pytest_benchmark
    from xbench.records.ledger import read_records
    from xbench.report.tables.portable import portable

    found = ledgers(*map(given_name, runs))
    say = progress().print
    if to == "asv":
        written, left = write_asv([record for ledger in found for record in read_records([ledger])], out, force=force)
        say(
            f"{written} figures in {out}; {left} left out, of commits that this checkout does not know.",
            soft_wrap=True,
        )
        return
    if to in SUFFIX:
        paths = [out] if len(found) == 1 else [out / f"{ledger.parent.resolve().name}.{SUFFIX[to]}" for ledger in found]
        check_targets(paths, force=force)
        for ledger, path in zip(found, paths, strict=True):
            write_file(path, portable(read_run(ledger.parent), to))
            say(f"{path}", soft_wrap=True)
        return
    make: Any = {"pytest-benchmark": to_pytest_benchmark, "bmf": bencher_metrics}[to]
    # pytest-benchmark sorts and names the files of a folder by such numbers.
    names = [f"{number:04}_{ledger.parent.resolve().name}.json" for number, ledger in enumerate(found, start=1)]
    paths = [out] if len(found) == 1 else [out / name for name in names]
    check_targets(paths, force=force)
    for ledger, path in zip(found, paths, strict=True):
        document = make(figures(newest(read_records([ledger]))))
        benchmarks = document["benchmarks"] if to == "pytest-benchmark" else document
        if not benchmarks:
            raise UserError(f"{ledger.parent} has nothing that {to} could take.")
        write_file(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
        say(f"{len(benchmarks)} benchmarks in {path}.", soft_wrap=True)


@app.command("import", epilog="Exit code: 0 imported · 2 bad input.")
def import_file(
    file: Annotated[Path, typer.Argument(help="JSON of pytest-benchmark: --benchmark-json, or from .benchmarks.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; what it holds stays.")],
) -> None:
    """Turns pytest-benchmark's JSON into a run. Its samples are kept; conditions that it does not name stay unknown.

    What xbench export and tests/benchmarks wrote comes back whole.

    Benchmarks of other suites are times of a call, for xbench show, history and export.
    """
    from xbench.exchange.pytest_benchmark import from_pytest_benchmark
    from xbench.files.run_folders import LEDGER
    from xbench.records.ledger import Ledger

    records = from_pytest_benchmark(given_file(file))
    ledger = Ledger(out / LEDGER)
    there = {(record.run, record.key, record.launch, record.heat, str(record.case)) for record in ledger.read()}
    new = [r for r in records if (r.run, r.key, r.launch, r.heat, str(r.case)) not in there]
    ledger.append(new)
    progress().print(f"{len(new)} records in {out}, {len(records) - len(new)} were there.", soft_wrap=True)


@app.command(cls=ManyValues, epilog="Exit code: 0 printed · 2 bad input.")
def cite(
    names: Annotated[list[str], typer.Argument(help="Attentions, or runs: folders or names in results/runs.")],
) -> None:
    """Prints what to cite, as BibTeX: of attentions their papers, of a run itself and all that it rests on.

    For example:

    xbench cite xfa mhsa

    xbench cite last >> paper.bib
    """
    from xbench.analysis.runs import question_of, read_run, run_folder
    from xbench.attention.spec import parse_attention
    from xbench.exchange.bibtex import attention_bibtex, run_bibtex

    entries: dict[str, None] = {}
    specs = []
    for name in map(given_name, names):
        try:
            specs.append(str(parse_attention(name)))
        except UserError as no_attention:
            try:
                folder = run_folder(name)
            except UserError:
                raise no_attention from None
            results = read_run(name)
            found = run_bibtex(results, folder.resolve().name, question_of(name, results))
            entries |= dict.fromkeys(found)
    entries |= dict.fromkeys(attention_bibtex(specs) if specs else [])
    put("\n\n".join(entries))


@app.command("log", cls=ManyValues, epilog="Exit code: 0 logged · 2 bad input, or the tracker did not take it.")
def log_runs(
    runs: Annotated[list[str], typer.Argument(help="Folders of runs, or their names in results/runs.")],
    to: Annotated[str, typer.Option("--to", help="wandb, mlflow or trackio.", metavar="TRACKER")],
    project: Annotated[str, typer.Option("--project", help="The project or experiment there.")] = "xbench",
) -> None:
    """Logs runs to Weights & Biases, MLflow or trackio, by the library of each, which has to be installed.

    Where the tracker's server is, its own settings say: WANDB_MODE=offline, MLFLOW_TRACKING_URI=… For example:

    xbench log last --to mlflow
    """
    from xbench.analysis.runs import read_run, run_folder
    from xbench.exchange.trackers import log_run

    for run in map(given_name, runs):
        folder = run_folder(run)
        count = log_run(to, read_run(run), folder, folder.resolve().name, project)
        progress().print(f"{count} figures of {folder} in {to}, project {project}", soft_wrap=True, highlight=False)
