//! Which record first: RFC 3403 section 4.1 for NAPTR, RFC 2782 for SRV.

use super::{Naptr, Srv};
use crate::Transport;

/// The transports that NAPTR records offer and we speak, in the order of the records, each with the name to ask for.
pub(super) fn ways(mut records: Vec<Naptr>, speaks: &[Transport]) -> Vec<(Transport, Box<str>)> {
    records.sort_by_key(|record| (record.order, record.preference));
    let way = |record: Naptr| {
        let transport = transport(&record.service).filter(|transport| speaks.contains(transport))?;
        Some((transport, record.replacement))
    };
    records.into_iter().filter_map(way).collect()
}

/// RFC 3263 section 4.1. Those for websockets (RFC 7118 section 7) are not for who calls a server.
fn transport(service: &str) -> Option<Transport> {
    let known = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
    ];
    let is = |(name, _): &&(&str, Transport)| name.eq_ignore_ascii_case(service);
    known.iter().find(is).map(|(_, transport)| *transport)
}

/// Lower priorities first; among equals at random, by weight. A host named `.` is none.
pub(super) fn in_order(mut records: Vec<Srv>, random: &mut dyn FnMut() -> u64) -> Vec<Srv> {
    records.retain(|record| &*record.target != ".");
    // Those of weight 0 stand first, so that they have their small chance.
    records.sort_by_key(|record| (record.priority, record.weight > 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = records.iter().take_while(|record| record.priority == priority).count();
        let chosen = pick(&records[..equals], random());
        ordered.push(records.remove(chosen));
    }
    ordered
}

/// The first whose running sum of weights reaches a number between 0 and the sum of all.
fn pick(equals: &[Srv], random: u64) -> usize {
    let sum: u64 = equals.iter().map(|record| u64::from(record.weight)).sum();
    let number = random % (sum + 1);
    let mut running = 0;
    let reaches = |record: &Srv| {
        running += u64::from(record.weight);
        running >= number
    };
    equals.iter().position(reaches).unwrap_or(0)
}
