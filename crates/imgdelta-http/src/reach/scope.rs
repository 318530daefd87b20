//! Scopes of addresses: the internet, private networks, the link, this machine.
//!
//! Pure. An address of IPv6 that contains one of IPv4 has the scope of that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The machines that an address can belong to, the widest scope first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AddressScope {
    /// Any machine of the internet.
    Public,
    /// A machine of the same private network.
    Private,
    /// A machine on the same link, or the cloud's service for this machine.
    Link,
    /// This machine, or no machine.
    Machine,
}

impl AddressScope {
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 127 | 224..=255, ..] => Self::Machine,
            [169, 254, ..] => Self::Link,
            // RFC 1918, carriers' shared addresses, protocol assignments, benchmarks.
            [10, ..] | [192, 168, ..] | [192, 0, 0, _] => Self::Private,
            [172, second, ..] if second & 0xf0 == 16 => Self::Private,
            [100, second, ..] if second & 0xc0 == 64 => Self::Private,
            [198, second, ..] if second & 0xfe == 18 => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let segments = address.segments();
        let v4 = |high: u16, low: u16| {
            Self::of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        };
        match segments {
            // Unspecified, loopback.
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Machine,
            // Mapped, translated, compatible, NAT64, and 6to4 addresses contain one of IPv4.
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => v4(high, low),
            // The local prefix of NAT64.
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [first, ..] if first & 0xffc0 == 0xfe80 => Self::Link,
            // Unique local, and the site-local addresses of old.
            [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Self::Private,
            [first, ..] if first & 0xff00 == 0xff00 => Self::Machine,
            _ => Self::Public,
        }
    }

    /// Returns the words for an address of this scope.
    pub fn words(self) -> &'static str {
        match self {
            Self::Public => "a public address",
            Self::Private => "an address of a private network",
            Self::Link => "a link-local address",
            Self::Machine => "an address of this machine",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_has_its_scope() {
        use AddressScope::{Link, Machine, Private, Public};
        for (scope, addresses) in [
            (Machine, &["127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "224.0.0.1"][..]),
            (Machine, &["255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1"]),
            (Machine, &["64:ff9b::127.0.0.1", "2002:7f00:1::", "::ffff:0:127.0.0.1", "ff02::1"]),
            (Link, &["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.169.254"]),
            (Private, &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"]),
            (Private, &["100.127.0.1", "198.18.0.1", "198.19.0.1", "192.0.0.8", "fc00::1"]),
            (Private, &["fdff::1", "fec0::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b:1::1"]),
            (Public, &["8.8.8.8", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"]),
            (Public, &["198.17.0.1", "169.253.0.1", "192.169.0.1", "11.0.0.1", "2001:db8::1"]),
            (Public, &["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2600::1"]),
        ] {
            for address in addresses {
                assert_eq!(AddressScope::of(address.parse().unwrap()), scope, "{address}");
            }
        }
    }
}
