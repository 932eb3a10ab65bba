"""What a run costs: AWS's prices for us-east-1 and x86, without what is free each month."""

GB_SECOND = 0.0000166667  # https://aws.amazon.com/lambda/pricing/
INVOCATION = 0.20e-6
GET = 0.40e-6  # https://aws.amazon.com/s3/pricing/, also HEAD
PUT = 5e-6  # also LIST, of 1,000 keys at a time
TRANSITION = 25e-6  # https://aws.amazon.com/step-functions/pricing/, standard workflows

GETS_OF_A_BATCH = 3  # two to look for what is there, one of the command for the result
TRANSITIONS_OF_A_BATCH = 2  # its start and its task


def dollars(photos, batches, gigabyte_seconds):
    """Return what is paid, by item."""
    return {
        "computing": gigabyte_seconds * GB_SECOND,
        "reading": photos * GET,
        "listing": photos / 1000 * PUT,
        "requests": batches * (INVOCATION + GETS_OF_A_BATCH * GET + PUT),
        "map": batches * TRANSITIONS_OF_A_BATCH * TRANSITION,
    }
