"""Output in parts: a folder, here or in an object store, of files that are complete one by one.

What is finished is known from the folder alone, so that a run continues on another machine, and
several runs may write their shares side by side.
"""
