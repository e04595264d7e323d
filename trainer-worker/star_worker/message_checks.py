"""Checks of messages: what does not hold is a StarError ARGUMENT_INVALID that names the field."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TypeVar

from star_worker.errors import StarError

_Choice = TypeVar("_Choice")


def checked_schedule(given: Iterable[float], window_start: int, window_size: int, name: str) -> tuple[float, ...]:
    """Return the sigmas when they fall strictly to 0 and the window lies inside their steps."""
    sigmas = tuple(given)
    falling = all(after < before for before, after in pairwise(sigmas))
    require(
        len(sigmas) >= 2 and falling and sigmas[0] <= 1 and sigmas[-1] == 0,
        f"{name}.sigmas: expected at least 2 strictly falling values from <= 1 to 0, received {list(sigmas)}",
    )
    require(
        window_start >= 0 and window_size >= 0 and window_start + window_size < len(sigmas),
        f"{name}: expected a window inside {len(sigmas) - 1} steps, received {window_size} from {window_start}",
    )
    return sigmas


def fields_of(message: Any) -> dict[str, Any]:
    """All fields by name; only for messages whose names and types equal those of the dataclass."""
    return {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}


def choice(choices: Mapping[Any, _Choice], value: object, name: str) -> _Choice:
    """Return the own value of a wire value."""
    require(value in choices, f"{name}: expected one of {sorted(map(str, choices.values()))}, received {value!r}")
    return choices[value]


def require_positive(message: Any, name: str) -> None:
    """Require a field > 0."""
    value = getattr(message, name)
    require(value > 0, f"config: expected {name} > 0, received {value}")


def require(condition: bool, message: str) -> None:
    """Raise ARGUMENT_INVALID unless the condition holds."""
    if not condition:
        raise StarError("ARGUMENT_INVALID", message)
