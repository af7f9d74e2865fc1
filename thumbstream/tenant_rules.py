"""What `[tenant.NAME]` sections of the settings file say, as the rules that dialects read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from producers.dialects.exchange import TenantRules

_KNOWN = ("requesty_scale",)


def read(sections: Any) -> dict[str, TenantRules]:
    """Rules by tenant. ValueError names the section, the key and the reason."""
    if not isinstance(sections, Mapping):
        raise ValueError("tenant must be sections: [tenant.NAME]")  # noqa: TRY004 - callers catch one kind of error
    return {name: _rules(f"tenant.{name}", section) for name, section in sections.items()}


def _rules(place: str, section: Any) -> TenantRules:
    if not isinstance(section, Mapping):
        raise ValueError(f"{place} must be a section: [{place}]")  # noqa: TRY004 - as above
    for key in section:
        if key not in _KNOWN:
            raise ValueError(f"unknown setting {place}.{key}")
    scale = section.get("requesty_scale")
    return TenantRules(None if scale is None else _scale(f"{place}.requesty_scale", scale))


def _scale(place: str, value: Any) -> tuple[float, float]:
    numbers = value if isinstance(value, list) and len(value) == 2 else []
    if not numbers or not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        raise ValueError(f"{place} must be [lowest, highest]: two numbers")
    low, high = float(numbers[0]), float(numbers[1])
    if low >= high:
        raise ValueError(f"{place} must be [lowest, highest]: {low:g} is not below {high:g}")
    return low, high
