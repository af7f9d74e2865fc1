"""Addresses that no receiver may have unless its section allows it: whatever is not public. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_GLOBAL = IPv6Network("2000::/3")  # all that is given out; ranges beside it stand for IPv4 or for one's own site
_NAT64 = IPv6Network("64:ff9b::/96")


def is_address(text: str) -> bool:
    """True for an address, False for a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """True for an address of the public internet. An IPv6 address that stands for an IPv4 one is judged by that."""
    if not is_address(text):
        return False
    address = ip_address(text)
    inner = _inner(address) if isinstance(address, IPv6Address) else None
    judged = address if inner is None else inner
    if isinstance(judged, IPv6Address) and judged not in _GLOBAL:
        return False
    return judged.is_global and not judged.is_multicast


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to `address` end up at, if there is one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address.teredo[1] if address.teredo is not None else None
