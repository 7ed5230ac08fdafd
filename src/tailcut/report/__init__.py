"""The report: a run's summary in, one self-contained HTML page out; no torch, no network."""
