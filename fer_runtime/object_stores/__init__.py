"""Objects in S3, Google Cloud Storage, Azure and behind https, as sources and outputs.

Needs the extra `cloud` (obstore), which finds credentials where the providers' own tools do; they
are never logged, and no error shows them.
"""
