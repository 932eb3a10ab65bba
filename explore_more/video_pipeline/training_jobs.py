"""Start a training job on SageMaker, once for each event of S3 however often it comes.

HYPERPARAMETERS is a JSON object of strings for the job, such as {"candidates": "40"} for the tracker.
"""

import hashlib
import json
import os

import models
import storage
from aws import MODELS, client

SECONDS = 3600
GIGABYTES = 10


def start(task, source, folder, name, built_in):
    """Train on the objects under `folder`; return the job's name, and whether it is new.

    `source` is the bucket, key and ETag of the object that starts the training. The job gets what is in use now, the
    file `name`, to compare with: `built_in()` before any training did well.
    """
    bucket = source[0]
    job = f"video-pipeline-{task}-{hashlib.sha256('/'.join(source).encode()).hexdigest()[:32]}"
    _, current = models.find(task, name)
    storage.store.write(MODELS, f"current/{job}/{name}", current or built_in(), previous=None)
    sagemaker = client("sagemaker")
    try:
        sagemaker.create_training_job(
            TrainingJobName=job,
            RoleArn=os.environ["TRAINING_ROLE"],
            AlgorithmSpecification={"TrainingImage": os.environ["TRAINING_IMAGE"], "TrainingInputMode": "File"},
            HyperParameters={"task": task, **json.loads(os.environ.get("HYPERPARAMETERS") or "{}")},
            InputDataConfig=[
                make_channel("training", bucket, folder),
                make_channel("current", MODELS, f"current/{job}/"),
            ],
            OutputDataConfig={"S3OutputPath": f"s3://{MODELS}/{task}"},
            ResourceConfig={
                "InstanceType": os.environ["TRAINING_INSTANCE"],
                "InstanceCount": 1,
                "VolumeSizeInGB": GIGABYTES,
            },
            StoppingCondition={"MaxRuntimeInSeconds": SECONDS},
            EnableNetworkIsolation=True,
        )
    except sagemaker.exceptions.ResourceInUse:
        return job, False
    return job, True


def make_channel(name, bucket, prefix):
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{prefix}", "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}
