"""What can be wrong with a study's file."""


class StorageError(RuntimeError):
    """A study's file cannot be used, or contradicts what is to be written. Says which, and the remedy."""


class Taken(StorageError):
    """Another process has logged a trial of the same configuration a moment before."""
