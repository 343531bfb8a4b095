"""Checks that the numbers of a configuration lie in their range; whatever does not raises ``ConfigError``."""

from vesalius.errors import ConfigError


def check_positive(settings: object, *names: str) -> None:
    """These fields have to be above 0."""
    for name in names:
        if getattr(settings, name) <= 0:
            raise ConfigError(f"{name} must be above 0, got {getattr(settings, name)}.")


def check_at_least(settings: object, least: int, *names: str) -> None:
    """These fields have to be so much at least."""
    for name in names:
        if getattr(settings, name) < least:
            raise ConfigError(f"{name} must be at least {least}, got {getattr(settings, name)}.")


def check_below_one(settings: object, *names: str) -> None:
    """These fields have to be at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise ConfigError(f"{name} must be at least 0 and below 1, got {getattr(settings, name)}.")
