"""What does a run's batches: processes of this machine, or Step Functions and Lambda."""

import fcntl
import json
import os
import queue
import sys
import threading
import uuid

from batch import AccessDenied, Worker, run_batch
from storage import Bucket, Folder, aws, open_place

OWN_PREFIXES = ("batches/", "arrived/", "runs/")  # of the stack's bucket, which hold no photos to classify


class Here:
    """This machine, with a process for each core."""

    pause = 0.5
    after_leaving = "go on with --resume."

    def __init__(self, options):
        if not os.path.isdir(options.source):
            sys.exit(f"{options.source} is no folder; S3 is s3://bucket/prefix")
        self.name = options.name
        self.source = Folder(options.source)
        self.output = open_place(options.output or f"runs/{options.name}")
        if not isinstance(self.output, Folder):
            sys.exit("--output must be a folder for photos in a folder")
        self.store = Folder(self.output.path / "batches" / options.name)
        self.cores = len(os.sched_getaffinity(0))
        self.errors = []

    def keys(self):
        return self.source.keys(leave_out=[self.output.path])

    def batch_size(self, photos):
        """Return a size by which the cores end together, and not much is lost with a batch."""
        return max(1, min(50, photos // (4 * self.cores)))

    def lock(self):
        """Exit where another process does this run; the lock ends with this process."""
        self.store.path.mkdir(parents=True, exist_ok=True)
        self.locked = (self.store.path / "lock").open("w")
        try:
            fcntl.flock(self.locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(f"Another process runs {self.name}.")

    def go(self, batches, run, resume):
        """Start a thread with a process for each core."""
        self.lock()
        if self.store.names("results/") and not resume:
            sys.exit(f"Run {self.name} was interrupted. Go on with it: --name {self.name} --resume")
        left = queue.SimpleQueue()
        for batch in batches:
            left.put(batch)
        self.threads = [threading.Thread(target=self.work, args=[left], daemon=True) for _ in range(self.cores)]
        for thread in self.threads:
            thread.start()

    def work(self, left):
        with Worker() as worker:
            while not left.empty():
                try:
                    run_batch(self.store, self.source, left.get_nowait(), worker.classify)
                except queue.Empty:
                    return
                except (AccessDenied, OSError) as error:
                    self.errors.append(str(error))

    def ended(self):
        return not any(thread.is_alive() for thread in self.threads)

    def so_far(self, failed, dollars):
        return f"{failed} failed"

    def bill(self, dollars):
        return None

    def why(self):
        return self.errors[0] if self.errors else ""

    def stop(self):
        sys.exit("A run on this machine is stopped with Ctrl-C.")


class Cloud:
    """The stack that `make deploy` made."""

    pause = 3.0
    after_leaving = "it goes on at AWS: the same command waits for it, --stop stops it."

    def __init__(self, options):
        self.name = options.name
        self.stack = {output["OutputKey"]: output["OutputValue"] for output in self.outputs(options.stack)}
        self.source = self.open_source(options.source)
        bucket = self.stack["Bucket"]
        self.output = open_place(options.output or f"s3://{bucket}/runs/{options.name}/")
        if isinstance(self.output, Bucket) and self.output.prefix and not self.output.prefix.endswith("/"):
            self.output.prefix += "/"
        self.store = Bucket(bucket, f"batches/{options.name}/")
        self.machine = self.stack["StateMachine"]
        self.concurrency = self.allowed(options.concurrency)
        self.execution = None

    @staticmethod
    def outputs(stack):
        try:
            return aws("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
        except aws("cloudformation").exceptions.ClientError as error:
            sys.exit(f"There is no stack {stack}; make deploy makes it. ({error})")

    @staticmethod
    def open_source(where):
        """Return the bucket and prefix of a source: a folder unless it ends with an asterisk."""
        place = open_place(where)
        if not isinstance(place, Bucket):
            sys.exit(f"{where} has no bucket; S3 is s3://bucket/prefix")
        if place.prefix.endswith("*"):
            place.prefix = place.prefix[:-1]
        elif place.prefix and not place.prefix.endswith("/"):
            place.prefix += "/"
        return place

    def keys(self):
        return self.source.keys(leave_out=OWN_PREFIXES if self.source.name == self.stack["Bucket"] else ())

    def batch_size(self, photos):
        """Return 500, or less where more functions can work at once."""
        return max(10, min(500, -(-photos // self.concurrency)))

    def attempt(self, number):
        """Return the execution of a run's first, second … attempt, or None."""
        name = self.name if number == 1 else f"{self.name}-{number}"
        arn = self.machine.replace(":stateMachine:", ":execution:") + f":{name}"
        try:
            return aws("stepfunctions").describe_execution(executionArn=arn)
        except aws("stepfunctions").exceptions.ExecutionDoesNotExist:
            return None

    def last_attempt(self):
        """Return the number of the last attempt, 0 without one, and its execution."""
        number, last = 0, None
        while (execution := self.attempt(number + 1)) is not None:
            number, last = number + 1, execution
        return number, last

    def go(self, batches, run, resume):
        """Wait for the run if it runs; start it if it never did, or if it ended and shall go on."""
        number, last = self.last_attempt()
        self.execution = last and last["executionArn"]
        if last and last["status"] == "RUNNING":
            print(f"Run {self.name} runs already; waiting for it.", file=sys.stderr)
        elif last is None:
            self.start(self.name, run["plan"])
        elif resume:
            plan = f"plans/{uuid.uuid4()}.jsonl"
            self.store.put(plan, "\n".join(map(json.dumps, batches)).encode())
            self.start(f"{self.name}-{number + 1}", plan)
        else:
            print(f"Run {self.name} has ended: {last['status']}.", file=sys.stderr)

    def start(self, name, plan):
        """Start an execution. AWS takes a name once: whoever comes second waits for the first one's."""
        states = aws("stepfunctions")
        content = {"run": self.name, "bucket": self.source.name, "plan": self.store.prefix + plan}
        content["concurrency"] = self.concurrency
        try:
            started = states.start_execution(stateMachineArn=self.machine, name=name, input=json.dumps(content))
            self.execution = started["executionArn"]
        except states.exceptions.ExecutionAlreadyExists:
            self.execution = self.machine.replace(":stateMachine:", ":execution:") + f":{name}"

    def allowed(self, wanted):
        """Return how many functions may run at once: as many as is wanted, if the account's quota lets them."""
        quota = aws("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
        if wanted > quota:
            print(
                f"The account lets {quota} functions run at once, and not {wanted}; AWS raises it if asked.",
                file=sys.stderr,
            )
        return max(1, min(wanted, quota))

    def ended(self):
        if self.execution is None:
            return True
        return aws("stepfunctions").describe_execution(executionArn=self.execution)["status"] != "RUNNING"

    def so_far(self, failed, dollars):
        return f"{failed} failed, ${sum(dollars.values()):.2f}"

    def bill(self, dollars):
        return {**{name: round(value, 4) for name, value in dollars.items()}, "sum": round(sum(dollars.values()), 4)}

    def why(self):
        """Return how the run ended, and why the first of its failed batches did."""
        states = aws("stepfunctions")
        if self.execution is None:
            self.execution = (self.last_attempt()[1] or {}).get("executionArn")
        said = [states.describe_execution(executionArn=self.execution)["status"]]
        for run in states.list_map_runs(executionArn=self.execution)["mapRuns"]:
            failed = states.list_executions(mapRunArn=run["mapRunArn"], statusFilter="FAILED", maxResults=1)
            for child in failed["executions"]:
                execution = states.describe_execution(executionArn=child["executionArn"])
                said.append(f"{execution.get('error')}: {execution.get('cause')}")
        return " ".join(said)

    def stop(self):
        """Stop the run; return the exit status."""
        _, last = self.last_attempt()
        if last is None or last["status"] != "RUNNING":
            sys.exit(f"No run {self.name} is running.")
        aws("stepfunctions").stop_execution(executionArn=last["executionArn"])
        print(f"Stopped. Go on with it: --name {self.name} --resume", file=sys.stderr)
        return 0
