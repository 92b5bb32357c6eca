"""Videos: which frames are wanted, how they are decoded, and a copy with boxes drawn on it.

Rows of a video come from `fer_runtime.sources.video`; tracks from `fer_runtime.faces.tracks`. PyAV
(extra `video`) is imported only when a video or a camera is opened.
"""
