"""Why an embedded server cannot run."""


class EmbeddedServerError(Exception):
    """An embedded server cannot run; the message is a sentence with the remedy."""


class DataFolderInUseError(EmbeddedServerError):
    """Another process runs a server on the same data folder."""
