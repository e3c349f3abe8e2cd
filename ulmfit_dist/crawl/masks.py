"""Personal data in a text is masked: e-mail addresses, public IP addresses and, if asked for, telephone numbers.

Four numbers below 32 are left: in three translations of a manual some 200 of 286 masks stood for sections ("6.2.4.1.
Configuration") and versions. With them stays one in 4,000 of the addresses, 1.1.1.1 and 8.8.8.8 among them.

What stands instead is reserved for documentation (RFC 2606, 5737, 3849), so that text reads on as text.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

Mask = Literal["email", "ip", "phone"]
EMAIL, IPV4, IPV6, PHONE = "email@example.com", "192.0.2.1", "2001:db8::1", "+00 000 0000000"
# Bounded on both sides of the @: RFC 5321 allows 64 and 255, and an unbounded run costs its length squared.
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
# International form, or an area code in brackets: other runs of digits are more often no telephone.
_PHONE = re.compile(
    r"(?<![\w+])(?:\+\d{1,3}[ .-]?)(?:\(?\d{1,5}\)?[ .-]?){2,6}\d(?!\w)|(?<!\w)\(\d{2,5}\) ?\d[\d .-]{4,12}\d(?!\w)"
)
_GIVEN_IPV6 = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that IANA gives to anybody
_SMALL = 32
_MIN_PHONE_DIGITS, _MAX_PHONE_DIGITS = 7, 15


def mask(text: str, kinds: Collection[Mask]) -> tuple[str, dict[str, int]]:
    """Return the text with what is of these kinds masked, and how many of each kind there were (no zeros)."""
    counts: dict[str, int] = {}
    for kind, sign, pattern, replacement in _MASKS:
        # Most texts have no such sign; it begins with a fixed character, so that looking for it is cheap.
        if kind in kinds and sign.search(text):
            text, count = _replaced(text, pattern, replacement)
            if count:
                counts[kind] = counts.get(kind, 0) + count
    return text, counts


def _replaced(text: str, pattern: re.Pattern[str], replacement: Callable[[str], str]) -> tuple[str, int]:
    count = 0

    def one(match: re.Match[str]) -> str:
        nonlocal count
        new = replacement(match[0])
        count += new != match[0]
        return new

    return pattern.sub(one, text), count


def _ip(found: str) -> str:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return found  # a version number, a time of day
    if isinstance(address, ipaddress.IPv6Address):
        # What is not given to anybody is written "dead::beef" or "Abc::add" in programs; ff02::1 is all hosts.
        return IPV6 if address.is_global and address in _GIVEN_IPV6 else found
    is_section = max(address.packed) < _SMALL
    return IPV4 if address.is_global and not address.is_multicast and not is_section else found


def _phone(found: str) -> str:
    digits = sum(character.isdigit() for character in found)
    return PHONE if _MIN_PHONE_DIGITS <= digits <= _MAX_PHONE_DIGITS else found


_MASKS: tuple[tuple[Mask, re.Pattern[str], re.Pattern[str], Callable[[str], str]], ...] = (
    ("email", re.compile("@"), _EMAIL, lambda _: EMAIL),
    ("ip", re.compile(r"\.\d{1,3}\.\d"), _IPV4, _ip),
    ("ip", re.compile(":[0-9a-fA-F]{0,4}:"), _IPV6, _ip),
    ("phone", re.compile(r"\+\d"), _PHONE, _phone),
    ("phone", re.compile(r"\(\d"), _PHONE, _phone),
)
