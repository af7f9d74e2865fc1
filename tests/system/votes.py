"""The real votes, counted by hand: what every view must say after the file was loaded."""

import csv
import gzip
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.system.conftest import Running

MAPPING = ("event_time=created_at", "metadata.model=reply_type", "metadata.prompt_id=article_id", "metadata.app=app")

Counts = Counter[tuple[str, str, bool]]  # (model, day, negative?) -> votes


def recount(file: Path) -> Counts:
    """From the file alone."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        return Counter((row["reply_type"], row["created_at"][:10], row["rating"] == "-1") for row in rows)


def start_load(up: Running, file: Path, api_key: str, *options: str) -> "subprocess.Popen[str]":
    """`thumbstream load`, as a person would call it."""
    mapping = [argument for pair in MAPPING for argument in ("--map", pair)]
    address = ["--url", up.ready["gateway_url"], "--api-key", api_key]
    command = [sys.executable, "-m", "thumbstream", "load", str(file), *mapping, *address, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def load(up: Running, file: Path, api_key: str) -> str:
    """Load and give what it printed; exit code 0 or the test fails."""
    process = start_load(up, file, api_key)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def by_current_votes(up: Running, tenant: str) -> Counts:
    """The same counts from current_votes."""
    query = """SELECT model, toString(toDate(voted_at)), polarity < 0, count() FROM current_votes
               WHERE tenant_id = {tenant:String} GROUP BY ALL"""
    return Counter({(model, day, bool(bad)): n for model, day, bad, n in up.rows(query, tenant=tenant)})


def by_day(up: Running, tenant: str) -> Counts:
    """The same counts from negative_rate_by_day."""
    query = """SELECT group_key, toString(day), negative, positive FROM negative_rate_by_day
               WHERE tenant_id = {tenant:String} AND rollup = 'model'"""
    counts: Counts = Counter()
    for model, day, negative, positive in up.rows(query, tenant=tenant):
        counts[model, day, True] = negative
        counts[model, day, False] = positive
    return +counts  # without zeros: a cell that became empty is there, and says so


def total_by_day(up: Running, tenant: str) -> tuple[int, int]:
    """(negative, votes) of the tenant rollup."""
    query = """SELECT sum(negative), sum(votes) FROM negative_rate_by_day
               WHERE tenant_id = {tenant:String} AND rollup = 'tenant'"""
    negative, votes = up.rows(query, tenant=tenant)[0]
    return negative, votes
