#!/bin/sh
# Run the runtime client, inside the emulator unless a runtime API is there, as AWS's images do.
export PYTHONPATH=/var/runtime
if [ -z "$AWS_LAMBDA_RUNTIME_API" ]; then
  exec /usr/local/bin/aws-lambda-rie /var/lang/bin/python3 -m awslambdaric "$@"
fi
exec /var/lang/bin/python3 -m awslambdaric "$@"
