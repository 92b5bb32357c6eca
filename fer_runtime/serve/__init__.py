"""The model behind HTTP: Starlette and uvicorn, micro-batches, the Open Inference Protocol.

A request's bytes are decoded (small JPEGs at once, everything else on threads), wait with those of
other requests, and go through the one session in whatever batch is there when it is free.
Needs the extra `serve`.
"""
