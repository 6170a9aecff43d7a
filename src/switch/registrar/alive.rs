//! Flows that have to show that they are there (RFC 5626 sections 4.4 and 5.4). A device that registers flows is told
//! Flow-Timer, and promises to be heard that often. One that is not has lost its way to us, and would not be reached by it: of
//! datagrams the binding ends, a stream is closed. A proxy between keeps its own flow to the device, and websockets are asked
//! by ourselves.

use super::{Bound, Registrar};
use crate::Output;
use crate::core::Core;
use clock::{Mono, Now};
use model::Binding;
use sip::{Flow, Transport};
use smallvec::SmallVec;
use std::time::Duration;

/// What devices are told: NATs forget UDP after half a minute, and devices that know ask more often; TCP lives through minutes.
pub(super) const FLOW_TIMER: Duration = Duration::from_secs(120);
/// Without a sign of life for so long a flow is given up: the timer, and what a keep-alive that is lost on its way takes to be
/// sent again until one arrives (40 s, RFC 8489 section 6.2.1) or to be taken for lost.
const SILENT_AFTER: Duration = Duration::from_secs(180);
/// Of bindings of which nothing is expected.
const NEVER: Mono = Mono(u64::MAX);

/// When a binding over datagrams ends if its device is not heard.
pub(super) fn silent_at(binding: &Binding, now: Now) -> Mono {
    match super::transport(binding.endpoint.transport) {
        Transport::Udp if is_direct_flow(binding) => now.mono + SILENT_AFTER,
        _ => NEVER,
    }
}

fn is_direct_flow(binding: &Binding) -> bool {
    super::outbound::is_flow(&binding.key) && binding.path.is_empty()
}

impl Registrar {
    /// A device was heard on this flow.
    pub(crate) fn on_alive(&mut self, now: Now, flow: Flow) {
        let Registrar { records, watched, .. } = self;
        for index in watched.get(&flow).into_iter().flatten() {
            let bindings = records.get_mut(*index as usize).map(|record| &mut record.bindings);
            for bound in bindings.into_iter().flatten().filter(|bound| bound.is_watched_on(flow)) {
                bound.silent_at = now.mono + SILENT_AFTER;
            }
        }
    }

    /// From now on its device is expected to be heard on its flow, if it has promised that.
    pub(super) fn watch(&mut self, core: &mut Core, index: u32, place: usize) {
        let bound = &self.records[index as usize].bindings[place];
        let Some(flow) = bound.flow().filter(|_| is_direct_flow(&bound.binding)) else {
            return;
        };
        match flow.transport {
            Transport::Udp => {
                let records = self.watched.entry(flow).or_default();
                if !records.contains(&index) {
                    records.push(index);
                }
            }
            Transport::Tcp | Transport::Tls => core.outputs.push_back(Output::Expect {
                flow,
                within: SILENT_AFTER,
            }),
            Transport::Ws | Transport::Wss => {}
        }
    }

    /// A binding of this record was reached by a flow, and is no more.
    pub(super) fn unwatch(&mut self, index: u32, flow: Option<Flow>) {
        let Some(flow) = flow.filter(|flow| flow.transport == Transport::Udp) else {
            return;
        };
        let bindings = self.records.get(index as usize).map(|record| &record.bindings);
        if bindings.into_iter().flatten().any(|bound| bound.is_watched_on(flow)) {
            return;
        }
        let Some(records) = self.watched.get_mut(&flow) else {
            return;
        };
        records.retain(|record| *record != index);
        if records.is_empty() {
            self.watched.remove(&flow);
        }
    }

    /// Nothing was heard of it for so long that its flow has failed.
    pub(super) fn fall_silent(&mut self, core: &mut Core, index: u32, place: usize) {
        let binding = &self.records[index as usize].bindings[place].binding;
        let peer = binding.endpoint.peer;
        tracing::info!(aor = %binding.aor, contact = &*binding.contact, %peer, "flow is silent, contact unbound");
        core.tally.flows_failed += 1;
        self.remove(core, index, place);
    }

    /// What is watched is there.
    pub(super) fn audit_watched(&self) -> Result<(), String> {
        let is_there = |(flow, records): (&Flow, &SmallVec<[u32; 1]>)| {
            records.iter().all(|index| {
                let bindings = self.records.get(*index as usize).map(|record| &record.bindings);
                bindings.into_iter().flatten().any(|bound| bound.is_watched_on(*flow))
            })
        };
        match self.watched.iter().all(is_there) {
            true => Ok(()),
            false => Err("registrar: a flow is watched on which nobody is bound".to_owned()),
        }
    }
}

impl Bound {
    /// When it ends if nothing happens.
    pub(super) fn ends_at(&self) -> Mono {
        self.deadline.min(self.silent_at)
    }

    fn is_watched_on(&self, flow: Flow) -> bool {
        self.is_watched() && self.flow() == Some(flow)
    }

    pub(super) fn is_watched(&self) -> bool {
        self.silent_at != NEVER
    }
}
