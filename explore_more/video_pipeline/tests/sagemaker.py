"""A stand-in for SageMaker, which no package brings: it takes training jobs and really runs them, with Docker.

It knows CreateTrainingJob and DescribeTrainingJob. A container finds what SageMaker gives it under /opt/ml, and has no
network. Instances, roles and time limits are not looked at.
"""

import json
import subprocess
import tarfile
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit


class SageMaker(ThreadingHTTPServer):
    """`jobs` holds the descriptions by name; `s3` is a client of the account that the jobs belong to."""

    daemon_threads = True

    def __init__(self, address, s3):
        super().__init__(address, Handler)
        self.s3, self.jobs = s3, {}

    def create(self, request):
        name = request["TrainingJobName"]
        if name in self.jobs:
            return 400, {"__type": "ResourceInUse", "message": f"There is a training job named {name} already."}
        self.jobs[name] = {**request, "TrainingJobStatus": "InProgress"}
        Thread(target=self.run, args=(self.jobs[name],), daemon=True).start()
        return 200, {"TrainingJobArn": f"arn:aws:sagemaker:eu-west-1:000000000000:training-job/{name}"}

    def describe(self, request):
        if request["TrainingJobName"] not in self.jobs:
            return 400, {"__type": "ValidationException", "message": "Requested resource not found."}
        return 200, self.jobs[request["TrainingJobName"]]

    def run(self, job):
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.prepare(job, Path(folder))
                options = ["--rm", "--network", "none", "--volume", f"{folder}:/opt/ml"]
                command = ["docker", "run", *options, job["AlgorithmSpecification"]["TrainingImage"], "train"]
                job["log"] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                self.upload(job, Path(folder))
                job["TrainingJobStatus"] = "Completed"
            except subprocess.CalledProcessError as error:
                reason = Path(folder, "output/failure")
                said = reason.read_text() if reason.exists() else f"exit code {error.returncode}"
                job.update(log=error.stderr, FailureReason=f"AlgorithmError: {said}"[:1024], TrainingJobStatus="Failed")
            except Exception as error:
                job.update(FailureReason=f"InternalServerError: {error}", TrainingJobStatus="Failed")

    def prepare(self, job, folder):
        """Write what the container finds."""
        for name in ("input/config", "input/data", "model", "output"):
            (folder / name).mkdir(parents=True)
        (folder / "input/config/hyperparameters.json").write_text(json.dumps(job["HyperParameters"]))
        for channel in job["InputDataConfig"]:
            address = urlsplit(channel["DataSource"]["S3DataSource"]["S3Uri"])
            self.download(address.netloc, address.path[1:], folder / "input/data" / channel["ChannelName"])

    def download(self, bucket, prefix, folder):
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        if not found:
            raise ValueError(f"No S3 objects found under s3://{bucket}/{prefix}")
        for each in found:
            path = folder / each["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, each["Key"], str(path))

    def upload(self, job, folder):
        """Pack what the container wrote, and put it where the job says."""
        path = folder / "model.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder / "model", ".")
        address = urlsplit(job["OutputDataConfig"]["S3OutputPath"])
        key = f"{address.path[1:]}/{job['TrainingJobName']}/output/model.tar.gz"
        self.s3.upload_file(str(path), address.netloc, key)
        job["ModelArtifacts"] = {"S3ModelArtifacts": f"s3://{address.netloc}/{key}"}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        action = {"CreateTrainingJob": self.server.create, "DescribeTrainingJob": self.server.describe}
        status, content = action[self.headers["X-Amz-Target"].split(".")[1]](request)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
