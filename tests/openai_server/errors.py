"""Errors as the API answers them."""

from typing import Any


class ApiError(Exception):
    """An answer other than 200, with the body that the API gives it."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        return {"error": self.error}


def server_error(status: int = 500) -> ApiError:
    """Return what the API answers when it is in trouble itself."""
    return ApiError(
        status, "The server had an error while processing your request. Sorry about that!", kind="server_error"
    )


def rate_limited() -> ApiError:
    """Return what the API answers to too many requests."""
    message = "Rate limit reached for requests. Please try again later."
    return ApiError(429, message, "rate_limit_exceeded", kind="requests")


def no_money() -> ApiError:
    """Return what the API answers to a key without money."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(429, message, "insufficient_quota", kind="insufficient_quota")


def unknown_key(key: str) -> ApiError:
    """Return what the API answers to a key that it does not know, which it shows masked."""
    if not key:
        return ApiError(
            401, "You didn't provide an API key. You need to provide your API key in an Authorization header."
        )
    masked = key[:8] + "*" * max(len(key) - 12, 4) + key[-4:] if len(key) > 12 else "*" * len(key)
    return ApiError(401, f"Incorrect API key provided: {masked}.", "invalid_api_key")
