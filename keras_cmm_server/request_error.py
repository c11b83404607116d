"""The error for a request that the server refuses."""

from keras_cmm_runtime.utils import shortened


class RequestError(Exception):
    """A request that is refused. The client gets the status and `{"error": message}`.

    Args:
        status: The HTTP status, 4xx or 5xx.
        message: One sentence: what was given, what was expected and how to mend it. It never names
            a path of the server.
        retry_after: Seconds after which the client should try again, or `None`.

    Example:
        >>> RequestError(429, "the server is busy", retry_after=1).headers
        {'Retry-After': '1'}
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        # A name or value in the message may come from the client.
        self.message = shortened(" ".join(message.split()), 500)
        super().__init__(self.message)
        self.status = status
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
