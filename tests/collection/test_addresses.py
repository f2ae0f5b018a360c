"""Which addresses are public ones."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.collection.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1"),
        *("203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("100.100.100.200", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "fe80::1"),
        *("fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "64:ff9b::7f00:1"),
        *("64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::", "100::1", "no address", ""),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_an_address_that_is_public(address: str) -> None:
    assert is_public(address)


PRIVATE = st.one_of(
    *(st.ip_addresses(network=network) for network in ("10.0.0.0/8", "127.0.0.0/8", "192.168.0.0/16", "100.64.0.0/10"))
)


@given(PRIVATE)
def test_no_way_of_writing_a_private_address_makes_it_public(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    carriers = {
        "mapped": ipaddress.IPv6Address((0xFFFF << 32) | number),
        "compatible": ipaddress.IPv6Address(number),
        "6to4": ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        "NAT64": ipaddress.IPv6Address((0x64FF9B << 96) | number),
    }
    assert not is_public(str(address))
    assert not {name for name, carrier in carriers.items() if is_public(str(carrier))}
