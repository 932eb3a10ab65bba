"""Classify all photos below a folder, on this machine, or below a prefix of a bucket, on AWS. classify.sh runs this.

    ./classify.sh photos/                              a process for each core of this machine
    ./classify.sh s3://bucket/prefix                   the stack that `make deploy` made
    ./classify.sh s3://bucket/prefix --keys keys.csv   the photos of a list, or of an inventory's manifest.json
    ./classify.sh s3://bucket/prefix --name NAME --resume

It ends with OUTPUT/table.csv, summary.json and sheet.jpg. A prefix is a folder; `s3://bucket/2024-*` takes all keys
that start so. A run goes on at AWS when this command ends: call it again with the run's name to wait for it.
"""

import argparse
import csv
import gzip
import io
import json
import re
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError
from tqdm import tqdm

import prices
from batch import unpack
from engines import Cloud, Here
from report import Report, write
from storage import Bucket

MAX_BATCH_CHARACTERS = 200_000  # of keys; Step Functions hands on 256 KiB
READERS = 32


def main():
    options = parse()
    try:
        sys.exit(classify(options))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS refuses: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\nLeft alone; {options.engine.after_leaving} Its name: {options.name}")


def parse():
    """Return the options; exit where they make no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="a folder, or s3://bucket/prefix")
    parser.add_argument("--name", help="the run's name; the same name does not run twice")
    parser.add_argument("--output", help="where the table goes: a folder, or s3://bucket/prefix")
    parser.add_argument("--keys", help="a CSV with keys in its first column, or the manifest.json of an inventory")
    parser.add_argument("--resume", action="store_true", help="do what an ended run with this name has left")
    parser.add_argument("--stop", action="store_true", help="stop the run with this name; --resume goes on with it")
    parser.add_argument("--concurrency", type=int, default=100, help="functions at once, at AWS; 100 if not given")
    parser.add_argument("--batch-size", type=int, help="photos in a batch; chosen by their number if not given")
    parser.add_argument("--stack", default="explore-more-million-photos", help="the stack's name")
    options = parser.parse_args()
    if (options.resume or options.stop) and not options.name:
        parser.error("--resume and --stop need the --name of the run, which it printed when it started")
    options.name = options.name or datetime.now().strftime("run-%Y%m%d-%H%M%S")
    if not re.fullmatch("[A-Za-z0-9_-]{1,70}", options.name):
        parser.error("--name may have 70 letters, digits, - and _")
    if options.keys and not options.source.startswith("s3://"):
        parser.error("--keys is for photos in S3")
    options.engine = Cloud(options) if options.source.startswith("s3://") else Here(options)
    return options


def classify(options):
    """Make or find the run of that name, have it done, and write its outputs; return the exit status."""
    engine = options.engine
    if options.stop:
        return engine.stop()
    run, batches = find_run(engine, options)
    results = {}
    read_new(engine.store, results)
    left = [batch for batch in batches if batch["number"] not in results]
    if left:
        engine.go(left, run, options.resume)
        watch(engine, run, results)
    else:
        print(f"All photos of run {options.name} were classified before; nothing runs twice.", file=sys.stderr)
    return finish(engine, run, batches, results)


def find_run(engine, options):
    """Return what is known about a run, and its batches; plan it unless a run has that name."""
    known = engine.store.get("run.json")
    if known is None and options.resume:
        sys.exit(f"There is no run with the name {options.name}.")
    if known is None:
        engine.store.put("run.json", json.dumps(plan(engine, options)).encode(), once=True)
    run = json.loads(engine.store.get("run.json"))
    asked = {"source": options.source, "keys": options.keys}
    if any(run[name] != value for name, value in asked.items()):
        sys.exit(f"The name {options.name} belongs to a run over {run['source']}; choose another --name.")
    return run, [json.loads(line) for line in engine.store.get(run["plan"]).decode().splitlines()]


def plan(engine, options):
    """List the photos, write their batches, a line each, and return what is to be known about the run."""
    print(f"Listing {options.source} …", file=sys.stderr)
    keys = list_keys(options) if options.keys else engine.keys()
    keys = list(dict.fromkeys(keys))
    if not keys:
        sys.exit(f"There are no photos below {options.source}; is the name right? A prefix is a folder.")
    batches = cut(keys, options.batch_size or engine.batch_size(len(keys)))
    name = write_plan(engine.store, batches)
    print(f"Run {options.name}: {len(keys):,} photos in {len(batches):,} batches", file=sys.stderr)
    return {"source": options.source, "keys": options.keys, "photos": len(keys), "batches": len(batches), "plan": name}


def cut(keys, size):
    """Return numbered batches of at most `size` keys and MAX_BATCH_CHARACTERS."""
    batches, characters = [], 0
    for key in keys:
        length = len(json.dumps(key)) + 2
        if not batches or len(batches[-1]["keys"]) == size or characters + length > MAX_BATCH_CHARACTERS:
            batches.append({"number": len(batches), "keys": []})
            characters = 0
        batches[-1]["keys"].append(key)
        characters += length
    return batches


def write_plan(store, batches):
    """Write batches under a name of their own, a line each; return the name."""
    name = f"plans/{uuid.uuid4()}.jsonl"
    store.put(name, "\n".join(map(json.dumps, batches)).encode())
    return name


def list_keys(options):
    """Return the keys of a list or an inventory that lie below the source."""
    prefix = options.engine.source.prefix
    if options.keys.endswith("manifest.json"):
        manifest = json.loads(read_list(options.keys))
        if manifest.get("fileFormat") != "CSV":
            sys.exit(f"{options.keys}: the inventory must be in CSV.")
        bucket = manifest["destinationBucket"].split(":")[-1]
        columns = [column.strip() for column in manifest["fileSchema"].split(",")]
        keys = []
        for file in manifest["files"]:
            for row in csv.reader(io.StringIO(read_list(f"s3://{bucket}/{file['key']}"))):
                entry = dict(zip(columns, row))
                if entry.get("IsLatest", "true") == "true" and entry.get("IsDeleteMarker", "false") == "false":
                    keys.append(unquote_plus(entry["Key"]))
    else:
        keys = [row[0] for row in csv.reader(io.StringIO(read_list(options.keys))) if row]
    return [key for key in keys if key and key.startswith(prefix)]


def read_list(where):
    """Return the text of a file or an object, unpacked if its name ends in .gz."""
    if where.startswith("s3://"):
        bucket, _, key = where[5:].partition("/")
        data = Bucket(bucket).get(key)
    else:
        data = Path(where).read_bytes() if Path(where).is_file() else None
    if data is None:
        sys.exit(f"{where} is not there.")
    return (gzip.decompress(data) if where.endswith(".gz") else data).decode()


def read_new(store, results):
    """Read the results that are not known yet into {number: bytes}; return the new ones."""
    found = {int(Path(name).name.split(".")[0]): name for name in store.names("results/")}
    new = [number for number in found if number not in results]
    with ThreadPoolExecutor(READERS) as pool:
        results.update(zip(new, pool.map(lambda number: store.get(found[number]), new)))
    return {number: results[number] for number in new}


def watch(engine, run, results):
    """Show how far a run is, until it ends."""
    failed, gigabyte_seconds = 0, 0.0
    with tqdm(total=run["photos"], unit=" photos", smoothing=0.1, dynamic_ncols=True) as bar:
        new, ended = results, False
        while True:
            for result in new.values():
                rows, seconds, megabytes = unpack(result)
                failed += sum("error" in row for row in rows)
                gigabyte_seconds += seconds * megabytes / 1024
                bar.update(len(rows))
            if new is results:
                bar.initial = bar.n  # done before; not part of the speed
                bar.start_t = bar.last_print_t = time.time()
            bar.set_postfix_str(engine.so_far(failed, prices.dollars(bar.n, len(results), gigabyte_seconds)))
            if ended:
                return
            time.sleep(engine.pause)
            ended = engine.ended()
            new = read_new(engine.store, results)


def finish(engine, run, batches, results):
    """Write the table, the summary and the sheet, and print the summary; return the exit status."""
    with tempfile.NamedTemporaryFile(
        "w", suffix=".csv", newline="", errors="surrogateescape", encoding="utf-8"
    ) as table:
        report = Report(table)
        write(report, batches, results)
        table.flush()
        engine.output.put("table.csv", Path(table.name).read_bytes())
    about = [unpack(result)[1:] for result in results.values()]
    gigabyte_seconds = sum(seconds * megabytes / 1024 for seconds, megabytes in about)
    summary = {"run": engine.name, "source": run["source"], **report.summary()}
    summary["dollars"] = engine.bill(prices.dollars(run["photos"], len(results), gigabyte_seconds))
    engine.output.put("summary.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    sheet = report.sheet(engine.source)
    if sheet:
        engine.output.put("sheet.jpg", sheet)
    print(json.dumps(summary, indent=1, ensure_ascii=False))
    print(f"{engine.output}: table.csv, summary.json{', sheet.jpg' if sheet else ''}", file=sys.stderr)
    if not summary["failures"].get("not_done"):
        return 0
    print(f"{summary['failures']['not_done']:,} photos are not done. {engine.why()}", file=sys.stderr)
    print(f"Go on with them: --name {engine.name} --resume", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
