"""What DESIGN promises, measured (``python -m benchmarks``), and tuners compared (``python -m
benchmarks.compare``)."""
