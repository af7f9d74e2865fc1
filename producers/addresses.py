"""Whose address a request comes from, through proxies that are trusted. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def address(peer: str, forwarded: str, proxies: int) -> str:
    """The address to count by: IPv4 as it is, of IPv6 the /64, which one household or machine has to itself.

    `peer` is the other end of the connection, `forwarded` the header `X-Forwarded-For`. With `proxies` in front, each
    of which appends to it whom it talks to, the entry that the outermost of them wrote counts; what stands to its left
    anybody may have sent.
    """
    if proxies > 0:
        entries = [entry.strip() for entry in forwarded.split(",")]
        peer = (entries[-proxies] if len(entries) >= proxies else "") or peer
    return _grouped(peer)


def _grouped(text: str) -> str:
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return text[:64]
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
