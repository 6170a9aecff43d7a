//! What is decided about a packet before anybody reads it: dropped, refused at once, or put in line, and in which.

use super::bans::{Bans, OPERATOR};
use super::emergency::seems_emergency;
use super::known::KnownFlows;
use super::pace::{Pace, Rate};
use super::recent::Recent;
use super::source::Source;
use crate::config::{Config, Network};
use crate::core::Core;
use crate::security;
use crate::users::UserIndex;
use ahash::RandomState;
use clock::{Mono, Now};
use sip::Flow;
use sip::peek::Class;
use std::net::IpAddr;
use std::time::Duration;

/// Sources remembered in each of two generations: 6 MB, if a flood comes from so many.
const MAX_SOURCES: usize = 32_768;
/// Users remembered likewise: only those who ask for something from outside of exempt networks.
const MAX_USERS: usize = 32_768;
/// Refusals a second to one source that wants too much; beyond that there is silence.
const REFUSALS: (u32, u32) = (10, 20);
/// What a registered phone is heard of in a second (at once) though its address sends too much: of what goes on, of refreshes and
/// of calls for help each. More than a phone with some calls says, while its neighbours behind one address, or somebody
/// who forges it, flood.
const SPARED: (u32, u32) = (20, 40);
/// Such phones remembered in each of two generations: 2 MB.
const MAX_SPARED: usize = 32_768;
/// Offences count for so long.
const WINDOW: Duration = Duration::from_secs(600);
/// One line for a source that goes too fast in this time.
const LINE_EACH: Duration = Duration::from_secs(60);

/// What becomes of a packet. The first five are lines, the most important first.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admit {
    /// It belongs to something that is there, and comes from a registered phone, a trunk or an exempt network.
    Ongoing,
    /// REGISTER or a keep-alive from a flow that has a registration.
    Refresh,
    /// It would begin something, and comes from such a flow.
    Known,
    /// It says to belong to something that is there, and comes from elsewhere: a phone that has moved, or somebody who makes
    /// such requests up.
    Stray,
    /// It would begin something.
    New,
    /// Too much comes from there: [`crate::Input::Unheard`].
    Refuse,
    /// Nothing: not even an answer.
    Drop,
}

/// What is known of senders.
#[derive(Debug)]
pub(crate) struct Admission {
    known: KnownFlows,
    bans: Bans,
    exempt: Vec<Network>,
    sources: Recent<Source, Traffic>,
    users: Recent<u64, Pace>,
    /// By flow and line.
    spared: Recent<u64, Pace>,
    hasher: RandomState,
    packets: Rate,
    new: Rate,
    refusals: Rate,
    user: Rate,
}

/// What came from one source lately.
#[derive(Debug, Default)]
struct Traffic {
    packets: Pace,
    new: Pace,
    refusals: Pace,
    offences: u32,
    first_offence: Mono,
    /// When a line about its pace was written.
    told: Option<Mono>,
}

impl Admission {
    pub(crate) fn new(config: &Config, hasher: &RandomState) -> Admission {
        let mut admission = Admission {
            known: KnownFlows::new(hasher),
            bans: Bans::new(hasher),
            exempt: Vec::new(),
            sources: Recent::new(MAX_SOURCES, hasher),
            users: Recent::new(MAX_USERS, hasher),
            spared: Recent::new(MAX_SPARED, hasher),
            hasher: hasher.clone(),
            packets: Rate::new(1, 1),
            new: Rate::new(1, 1),
            refusals: Rate::new(REFUSALS.0, REFUSALS.1),
            user: Rate::new(1, 1),
        };
        admission.reload(config);
        admission
    }

    /// New settings are in force.
    pub(crate) fn reload(&mut self, config: &Config) {
        let abuse = &config.security.abuse;
        let trunks = config.trunks.iter().flat_map(|trunk| &trunk.sources);
        self.exempt = abuse
            .exempt
            .iter()
            .copied()
            .chain(trunks.map(|source| Network::from(*source)))
            .collect();
        self.packets = Rate::new(abuse.packets_per_second, abuse.packets_per_second);
        self.new = Rate::new(abuse.new_per_second, abuse.new_burst);
        self.user = Rate::new(abuse.user_per_second, abuse.user_burst);
    }

    /// Whether this address is free of all limits: an exempt network, or a trunk.
    pub(crate) fn exempts(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }

    /// A phone has registered on this flow.
    pub(crate) fn know(&mut self, flow: &Flow) {
        self.known.insert(flow);
    }

    /// Whether a phone has registered on this flow.
    pub(crate) fn knows(&self, flow: &Flow) -> bool {
        self.known.contains(flow)
    }

    pub(crate) fn bans(&mut self) -> &mut Bans {
        &mut self.bans
    }

    /// Bans in force, or over and not yet forgotten.
    pub(crate) fn banned(&self) -> usize {
        self.bans.len()
    }

    /// Sources of which something is remembered.
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// Whether this flow is not listened to.
    pub(crate) fn stops(&mut self, now: Mono, flow: &Flow) -> bool {
        !self.bans.is_empty() && self.bans.stop(now, flow.peer.ip().into(), self.known.contains(flow))
    }

    pub(crate) fn audit(&self) -> Result<(), String> {
        self.bans.audit()
    }

    /// The line a packet belongs in, if nothing is against it.
    fn line(&self, flow: &Flow, class: Class, is_exempt: bool) -> Admit {
        match class {
            Class::Ongoing if is_exempt || self.known.contains(flow) => Admit::Ongoing,
            Class::Ongoing => Admit::Stray,
            Class::Register | Class::New if !self.known.contains(flow) => Admit::New,
            Class::Register => Admit::Refresh,
            Class::New => Admit::Known,
            // Who is not registered keeps nothing alive.
            Class::KeepAlive if is_exempt || self.known.contains(flow) => Admit::Refresh,
            Class::KeepAlive | Class::Garbage => Admit::Drop,
        }
    }
}

/// Decides about a packet. A table or two are asked, whatever it is; of the datagram no more than its first line is read, and
/// that only when it would be dropped.
pub(crate) fn admit(core: &mut Core, now: Now, flow: &Flow, class: Class, datagram: &[u8]) -> Admit {
    let Core { admission, tally, .. } = core;
    if admission.stops(now.mono, flow) {
        tally.banned_dropped += 1;
        return Admit::Drop;
    }
    let address = flow.peer.ip();
    let is_exempt = admission.exempts(address);
    let line = admission.line(flow, class, is_exempt);
    if is_exempt {
        return line;
    }
    if class == Class::Garbage {
        offend(core, now, address, "malformed");
        return Admit::Drop;
    }
    let traffic = admission.sources.of(now.mono, address.into());
    let is_too_fast = !traffic.packets.take(now.mono, admission.packets);
    if !is_too_fast && (line != Admit::New || traffic.new.take(now.mono, admission.new)) {
        return line;
    }
    if is_too_fast && spares(core, now, flow, line, datagram) {
        return line;
    }
    let traffic = core.admission.sources.of(now.mono, address.into());
    let is_told = traffic.told.is_some_and(|told| now.mono.since(told) < LINE_EACH);
    let is_refused = !is_too_fast && traffic.refusals.take(now.mono, core.admission.refusals);
    if !is_told {
        traffic.told = Some(now.mono);
        security::line(core, now, "rate-limited", flow, "");
    }
    if is_refused {
        return Admit::Refuse;
    }
    core.tally.rate_dropped += 1;
    Admit::Drop
}

/// Whether a packet is heard though its address sends too much: a registered phone has a share of its own.
fn spares(core: &mut Core, now: Now, flow: &Flow, line: Admit, datagram: &[u8]) -> bool {
    let may = match line {
        Admit::Ongoing | Admit::Refresh => true,
        Admit::Known => seems_emergency(core, datagram),
        _ => false,
    };
    let admission = &mut core.admission;
    let share = admission.hasher.hash_one((flow, line as u8));
    let (rate, paces) = (Rate::new(SPARED.0, SPARED.1), &mut admission.spared);
    may && paces.of(now.mono, share).take(now.mono, rate)
}

/// Whether this user, who has proved to be it, may ask for something more now.
pub(crate) fn user_may(core: &mut Core, now: Mono, flow: &Flow, user: UserIndex) -> bool {
    if core.admission.exempts(flow.peer.ip()) {
        return true;
    }
    let admission = &mut core.admission;
    let key = admission.hasher.hash_one(core.users[user].aor.as_str());
    let may = admission.users.of(now, key).take(now, admission.user);
    core.tally.users_limited += u64::from(!may);
    may
}

/// Somebody did what only guessers and scanners do; when it is too often, they are banned.
pub(crate) fn offend(core: &mut Core, now: Now, address: IpAddr, why: &'static str) {
    if core.admission.exempts(address) {
        return;
    }
    let traffic = core.admission.sources.of(now.mono, address.into());
    if traffic.offences == 0 || now.mono.since(traffic.first_offence) >= WINDOW {
        (traffic.offences, traffic.first_offence) = (0, now.mono);
    }
    traffic.offences = traffic.offences.saturating_add(1);
    if traffic.offences >= core.config.security.abuse.ban_after {
        traffic.offences = 0;
        ban(core, now, address, why, core.config.security.abuse.ban_for);
    }
}

/// Bans a source, unless it is exempt; an operator can ban those as well.
pub(crate) fn ban(core: &mut Core, now: Now, address: IpAddr, why: &'static str, time: Duration) {
    if why != OPERATOR && core.admission.exempts(address) {
        return;
    }
    let source = Source::from(address);
    let is_new = !core.admission.bans.has(now.mono, source);
    core.admission.bans.put(now.mono, source, why, time);
    if is_new {
        core.tally.bans += 1;
        security::banned(core, now, address, why, time);
    }
}
