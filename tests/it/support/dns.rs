//! A DNS on loopback that answers from a table, or never.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

const A: u16 = 1;
const SRV: u16 = 33;

/// What it knows: names in lower case, the type, and the data of its records.
#[derive(Default)]
pub struct Zone(Vec<(String, u16, Vec<Vec<u8>>)>);

impl Zone {
    /// The hosts of a service, each with its priority and port.
    pub fn srv(mut self, name: &str, hosts: &[(u16, u16, &str)]) -> Zone {
        let data = |(priority, port, host): &(u16, u16, &str)| {
            let numbers = [*priority, 0, *port].map(u16::to_be_bytes).concat();
            [numbers, labels(host)].concat()
        };
        self.0.push((name.to_owned(), SRV, hosts.iter().map(data).collect()));
        self
    }

    /// The address of a host.
    pub fn a(mut self, name: &str, ip: Ipv4Addr) -> Zone {
        self.0.push((name.to_owned(), A, vec![ip.octets().to_vec()]));
        self
    }

    /// Answers on a thread of its own for as long as the test runs.
    pub fn serve(self) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut query = [0; 1_500];
            while let Ok((length, peer)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&self.answer(&query[..length]), peer);
            }
        });
        at
    }

    /// RFC 1035 section 4.1: the question back, and the records; NXDOMAIN if there are none.
    fn answer(&self, query: &[u8]) -> Vec<u8> {
        let (mut at, mut asked) = (12, Vec::new());
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            asked.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
            at = end;
        }
        let (asked, kind) = (asked.join("."), u16::from_be_bytes([query[at + 1], query[at + 2]]));
        let found = self.0.iter().find(|(name, of, _)| *name == asked && *of == kind);
        let records = found.map_or(&[][..], |(_, _, records)| records);
        let status = if records.is_empty() { 3 } else { 0 };
        let mut out = query[..2].to_vec();
        out.extend_from_slice(&[0x81, 0x80 | status, 0, 1]);
        out.extend_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&[0, 0, 0, 0]);
        out.extend_from_slice(&query[12..at + 5]);
        for data in records {
            out.extend_from_slice(&[0xc0, 12]);
            out.extend_from_slice(&kind.to_be_bytes());
            out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            out.extend_from_slice(data);
        }
        out
    }
}

/// One that receives and never says anything; it lives as long as the socket.
pub fn dead() -> (SocketAddr, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket)
}

fn labels(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
