"""The smallest function."""


def lambda_handler(event, context):
    return "PONG"
