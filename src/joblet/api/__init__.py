"""
The gRPC adapter: wire in, use cases called, wire out.

Runs in: server loop. May not: decide anything a user would call a rule (services and domain do).
"""
