"""A rehearsal on one machine for any serverless system; it knows none of them. It needs nothing but Python and Docker.

servers      free ports, waiting, stopping, a folder over HTTP, a TCP forwarder
emulator     AWS's runtime interface emulator around a handler
containers   Docker: the base image or its stand-in, building, running
aws          an AWS account: ministack behind a proxy that counts calls and makes them fail
"""
