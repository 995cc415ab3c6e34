"""The names of DNS types, classes, codes and flags (IANA, Domain Name System Parameters)."""

from __future__ import annotations

TYPES = {
    1: "A", 2: "NS", 3: "MD", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR",
    10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP",
    18: "AFSDB", 21: "RT", 24: "SIG", 25: "KEY", 26: "PX", 28: "AAAA", 29: "LOC", 30: "NXT",
    33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS",
    44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3",
    51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS", 60: "CDNSKEY",
    61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF", 249: "TKEY",
    250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip
CLASSES = {1: "IN", 3: "CH", 4: "HS", 254: "NONE", 255: "ANY"}
OPCODES = {0: "QUERY", 1: "IQUERY", 2: "STATUS", 4: "NOTIFY", 5: "UPDATE", 6: "DSO"}
RCODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED",
    6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS",
    17: "BADKEY", 18: "BADTIME", 23: "BADCOOKIE",
}  # fmt: skip
# Bits of the header's second word, opcode and response code left out.
FLAGS = {"aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "z": 0x40, "ad": 0x20, "cd": 0x10}
EDNS_DO = 0x8000


def name_of(number: int, names: dict[int, str], prefix: str) -> str:
    """``A``, or ``TYPE123`` (RFC 3597, 5) for a number without a name here."""
    return names.get(number) or f"{prefix}{number}"


def number_of(name: str, names: dict[int, str], prefix: str) -> int:
    """The reverse of `name_of`.  Raises `ValueError`."""
    for number, known in names.items():
        if known == name:
            return number
    return int(name.removeprefix(prefix))


def flag_names(word: int) -> list[str]:
    """The flags set in the header's second word."""
    return [name for name, bit in FLAGS.items() if word & bit]


def flag_bits(names: list[str]) -> int:
    """The reverse of `flag_names`."""
    return sum(FLAGS[name] for name in names)
