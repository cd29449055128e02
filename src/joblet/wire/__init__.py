"""
The generated messages and calls of `proto/joblet.proto`; `nox -s proto` writes the modules beside this one.

Runs in: server loop, client, conformance suite. May not: be imported anywhere else, be edited by hand.
"""
