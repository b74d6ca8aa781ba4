"""`make soak`: the promises of RELIABILITY.md over many cases, for as long as it takes.

A part is a module beside this one that has

    cases(full) -> list[str]      names of cases, always the same ones; the sample is some of the full list's
    run(case, folder) -> str      what came out, one of the part's few words, in an empty folder of its own;
                                  AssertionError where a promise is broken; or (word, {name: figure})

Each case's result is a line of OUT/<part>.jsonl, so that a stopped run goes on after the last of them. At the
end OUT/summary.md counts what came out; the exit status is 1 if any promise was broken.
"""

import importlib
import json
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import click
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
PARTS = sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith(("_", "test_")))
BROKEN = "BROKEN"


def run_case(part, case):
    """{case, outcome, seconds} and figures, or the trace of a promise that is broken."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mhkd_soak_") as folder:
        try:
            result = part.run(case, Path(folder))
            outcome, figures = (result, {}) if isinstance(result, str) else result
        except Exception:
            outcome, figures = BROKEN, {"trace": traceback.format_exc()}
    return {"case": case, "outcome": outcome, "seconds": round(time.monotonic() - begun, 2), **figures}


def known_results(path):
    """{case: result} of a file that an earlier run left, without a last line cut short."""
    results = {}
    if path.exists():
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                result = json.loads(line)
                results[result["case"]] = result
    return results


def run_part(name, full, out, again):
    """All results of the part's cases; those that are broken are run once more if `again`."""
    part = importlib.import_module(name)
    path = out / f"{name}.jsonl"
    known = {k: v for k, v in known_results(path).items() if not (again and v["outcome"] == BROKEN)}
    path.write_text("".join(json.dumps(result) + "\n" for result in known.values()))
    cases = part.cases(full)
    with path.open("a") as lines:
        for case in tqdm([c for c in cases if c not in known], desc=name, unit="case"):
            known[case] = run_case(part, case)
            print(json.dumps(known[case]), file=lines, flush=True)
    return [known[case] for case in cases]


def row(name, results):
    counts = Counter(result["outcome"] for result in results)
    words = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    slowest = max(result["seconds"] for result in results)
    memory = max((result["mib"] for result in results if "mib" in result), default=None)
    most = "" if memory is None else f"{memory} MiB"
    return f"| {name} | {len(results)} | {words} | {slowest:.1f} s | {most} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--parts", default=",".join(PARTS), show_default=True, help="Some of them, by name.")
@click.option("--full", is_flag=True, help="All cases; else a sample of about half an hour.")
@click.option("--again", is_flag=True, help="Run once more what was broken.")
@click.option("--out", type=click.Path(path_type=Path), default="output/soak", show_default=True)
def main(parts, full, again, out):
    """Try the promises of RELIABILITY.md over many cases; stopped, the same command goes on."""
    unknown = set(parts.split(",")) - set(PARTS)
    if unknown:
        raise click.UsageError(f"No part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.")
    out.mkdir(parents=True, exist_ok=True)
    results = {name: run_part(name, full, out, again) for name in parts.split(",")}
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True
    )
    table = [
        f"Commit {commit.stdout.strip() or 'unknown'}, {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}.",
        "",
        "| part | cases | what came out | slowest | most memory above the start |",
        "|---|---|---|---|---|",
        *(row(name, part) for name, part in results.items()),
    ]
    (out / "summary.md").write_text("\n".join(table) + "\n")
    click.echo("\n".join(table))
    broken = [result for part in results.values() for result in part if result["outcome"] == BROKEN]
    for result in broken:
        click.echo(f"\n{result['case']}\n{result['trace']}", err=True)
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
