"""Other people's tuners, each in an environment and a process of its own, asked and told by JSON lines over a
pipe."""
