"""Tools to rehearse any serverless system on one machine. They need only Python and Docker, and know no system.

servers      free ports, waiting, stopping, a folder over HTTP, a TCP forwarder
emulator     AWS's runtime interface emulator around a handler
containers   Docker: the base image or its stand-in, building, running
aws          an AWS account: ministack behind a proxy that counts calls and makes them fail
"""
