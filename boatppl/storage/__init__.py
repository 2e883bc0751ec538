"""Every trial in one SQLite file, on the disk before the call that logs it returns.

One file holds several studies by name. What is in it is plain text: JSON columns that any SQLite browser
shows, each row with a digest, so that a damaged row is named and never read wrongly. Nothing is ever
unpickled.

Durability is SQLite's write-ahead log with ``synchronous=FULL``: a killed process loses no acknowledged
trial, and its unfinished ones stay RUNNING for the study to reconcile. Writers in other processes wait
their turn (``BEGIN IMMEDIATE``), and a trial's number is given out inside the transaction that inserts it.
"""

from boatppl.storage.errors import StorageError, Taken
from boatppl.storage.rows import SessionRecord, StudyRecord
from boatppl.storage.storage import Storage, open_storage

__all__ = ["SessionRecord", "Storage", "StorageError", "StudyRecord", "Taken", "open_storage"]
