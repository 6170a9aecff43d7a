//! STUN for keep-alives over UDP (RFC 5626 sections 4.4.2 and 8): a Binding request on the SIP port is told where it came from.
//! So a phone keeps its NAT open, and learns that the flow has failed when the answer is another one. No more of STUN is
//! spoken here (RFC 8489).

use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0, 0x20];
const HEADER: usize = 20;

/// Whether this is a Binding request.
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    let Some(header) = datagram.get(..HEADER) else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_request = header[..2] == BINDING_REQUEST && header[4..8] == MAGIC_COOKIE;
    is_request && datagram.len() == HEADER + length && length.is_multiple_of(4)
}

/// The answer to a Binding request; `None` for everything else, which includes all SIP.
#[must_use]
pub fn answer(datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    if !is_request(datagram) {
        return None;
    }
    let header = &datagram[..HEADER];
    // The port and the address mixed with the cookie and the transaction id: some NATs change addresses they find in packets.
    let mask = &header[4..HEADER];
    let mut value = vec![0, if source.is_ipv4() { 1 } else { 2 }];
    value.extend(xored(&source.port().to_be_bytes(), mask));
    match source.ip() {
        IpAddr::V4(ip) => value.extend(xored(&ip.octets(), mask)),
        IpAddr::V6(ip) => value.extend(xored(&ip.octets(), mask)),
    }
    let size = |length: usize| u16::try_from(length).unwrap_or_default().to_be_bytes();
    let mut out = Vec::with_capacity(HEADER + 4 + value.len());
    out.extend_from_slice(&BINDING_SUCCESS);
    out.extend_from_slice(&size(4 + value.len()));
    out.extend_from_slice(mask);
    out.extend_from_slice(&XOR_MAPPED_ADDRESS);
    out.extend_from_slice(&size(value.len()));
    out.extend_from_slice(&value);
    Some(out.into())
}

fn xored<'a>(bytes: &'a [u8], mask: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    bytes.iter().zip(mask).map(|(byte, mask)| byte ^ mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn request(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&BINDING_REQUEST[..], &length, &MAGIC_COOKIE, &ID, attributes].concat()
    }

    /// The addresses of RFC 5769 sections 2.2 and 2.3, with their transaction id.
    #[test]
    fn a_binding_request_is_told_where_it_came_from() {
        let v4 = answer(&request(&[]), "192.0.2.1:32853".parse().unwrap()).unwrap();
        let mapped = [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(v4[..], [&[1, 1, 0, 12][..], &MAGIC_COOKIE, &ID, &mapped].concat());
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = answer(&request(b"\x80\x22\0\x04test"), source).unwrap();
        let mapped = [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(v6[HEADER..], mapped);
    }

    #[test]
    fn nothing_else_is_answered() {
        let source = "192.0.2.1:5060".parse().unwrap();
        let sound = request(&[]);
        for cut in 0..sound.len() {
            assert_eq!(answer(&sound[..cut], source), None);
        }
        assert_eq!(answer(b"OPTIONS sip:a@b SIP/2.0\r\n\r\n", source), None);
        let mut indication = sound.clone();
        indication[1] = 0x11;
        let mut no_cookie = sound.clone();
        no_cookie[4] = 0;
        let mut too_long = sound.clone();
        too_long.push(0);
        for wrong in [indication, no_cookie, too_long, request(&[0; 3])] {
            assert_eq!(answer(&wrong, source), None);
        }
    }
}
