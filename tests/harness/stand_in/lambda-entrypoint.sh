#!/bin/sh
# Start the function that the first argument names, inside the emulator unless a runtime API is there, as AWS's images do.
export _HANDLER="$1"
[ -n "$AWS_LAMBDA_RUNTIME_API" ] || exec /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
exec /var/runtime/bootstrap
