"""The long campaign: ``make campaign MINUTES=30``, or ``python tests/campaign/run.py --minutes 30 [--reader NAME]``.

Tries go on where the last run stopped, so that each run sees other damage. How they ended is added to ``table.json``
beside this file, printed, and written into ``docs/campaign.md``. A damaged file that was not read as it should be is
kept in ``runs/campaign/``, with what was said; fix its kind, and put a small one into ``cases/``.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "src")]

from campaign import page  # noqa: E402
from campaign.page import TABLE  # noqa: E402
from campaign.readers import READERS  # noqa: E402
from campaign.tries import BAD, GOOD, Tries  # noqa: E402

KEPT = HERE.parents[1] / "runs" / "campaign"
HANGS = 30.0  # seconds of the processor without a word from the worker; ten times as long by the clock
STARTING = 120.0  # while a reader's libraries load, and its files are made
SAVE_EVERY = 60.0


def main() -> int:
    """Run for so many minutes; the exit status is 1 where a try ended badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--reader", action="append", default=[], help="its name; all if not given")
    options = parser.parse_args()
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"next": 0, "readers": {}}
    end, bad = time.monotonic() + 60 * options.minutes, 0
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        place = 0
        while time.monotonic() < end:
            table["next"], place, found = watch(folder, table, place, end, options.reader)
            bad += found
            save(table)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = page.tries_table(table)
    page.write("tries", lines)
    print(*lines, sep="\n")
    return 1 if bad else 0


def watch(folder: Path, table: dict[str, Any], skip: int, end: float, names: list[str]) -> tuple[int, int, int]:
    """One worker's life: the number and the place in the list where the next begins, and how many tries were bad."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words = [sys.executable, "-m", "campaign.worker", str(folder), str(table["next"]), str(skip), *names]
    path = os.pathsep.join(sys.path[:2])
    env = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    said = (folder / "stderr").open("w+")
    worker = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, env=env, bufsize=0)
    assert worker.stdout is not None
    now: dict[str, Any] = {"start": "", "place": skip, "n": table["next"]}
    bad, patience, ended, waiting, saved = 0, STARTING, False, b"", time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        heard, used = time.monotonic(), 0.0
        while time.monotonic() < end:
            if not selector.select(5.0):
                hangs = time.monotonic() > heard + 10 * patience or processor_time(worker.pid) > used + patience
                if hangs and (ended := time.monotonic() < end):
                    break
                continue
            if not (data := os.read(worker.stdout.fileno(), 1 << 16)):
                ended = True
                break
            heard, used = time.monotonic(), processor_time(worker.pid)
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                facts = json.loads(line)
                if "broken" in facts:
                    worker.kill()
                    raise SystemExit(f"the whole files of {facts['broken']} are not read:\n{facts['said']}")
                if "kind" in facts:
                    bad += count(table, facts)
                else:
                    now, patience = facts, STARTING if "whole" in facts else HANGS
            if time.monotonic() > saved + SAVE_EVERY:
                saved, table["next"] = time.monotonic(), now["n"]
                save(table)
    worker.kill()
    worker.wait()
    if ended:  # it died, or hung
        said.flush()
        what = (folder / "stderr").read_text(errors="replace")[-3000:]
        name = now.get("start") or now.get("whole", "")
        bad += count(
            table, {"reader": name, "n": now["n"], "kind": "crash", "said": f"status {worker.returncode}\n{what}"}
        )
    return now["n"], now["place"] + 1, bad


def processor_time(pid: int) -> float:
    """Seconds that a process has used, 0 where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def count(table: dict[str, Any], facts: dict[str, Any]) -> int:
    """Add a try to the table; one that ended badly is kept. Returns 1 for such a one."""
    row = table["readers"].setdefault(facts["reader"], dict.fromkeys(("tries", *GOOD, *BAD), 0))
    row["tries"] += 1
    row[facts["kind"]] += 1
    row["slowest"] = max(row.get("slowest", 0.0), round(facts.get("seconds", 0.0), 2))
    row["largest"] = max(row.get("largest", 0), facts.get("memory", 0) >> 20)
    if facts["kind"] in GOOD:
        return 0
    keep(facts)
    return 1


def keep(facts: dict[str, Any]) -> None:
    """The damaged file, and what was said of it."""
    reader = next(each for each in READERS if each.name == facts["reader"])
    place = KEPT / f"{reader.name.replace(' ', '-')}-{facts['n']}-{facts['kind']}"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        name, data = Tries(reader, Path(folder)).damage(facts["n"])
    (place / Path(name).name).write_bytes(data)
    (place / "said.txt").write_text(f"{reader.name}, try {facts['n']}: {facts['kind']}\n{facts.get('said', '')}\n")
    print(f"{facts['kind']}: {place}: {facts.get('said', '').strip().splitlines()[-1:]}", flush=True)


def save(table: dict[str, Any]) -> None:
    """Write the table, whole."""
    aside = TABLE.with_suffix(".new")
    aside.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    aside.replace(TABLE)


if __name__ == "__main__":
    sys.exit(main())
