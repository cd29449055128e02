"""
The command line of Joblet's users: one module for each verb, written on `joblet.client`.

`main` finds the verb and turns every failure into words and an exit status, `flags` reads the arguments,
`output` writes text and JSON, `startup` keeps the start short.

Runs in: the user's terminal, scripts, CI pipelines. May not: know the wire.
"""
