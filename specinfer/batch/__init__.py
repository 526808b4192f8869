"""Catalogues of millions: inputs become chunks, workers write parts, a manifest vouches for them.

Data flow one way: `counting` and `plan` (inputs to chunks), `work` (one chunk in a worker: read,
classify, write its part), `run` (the chunks through Dask), `manifest` (what is finished).
"""
