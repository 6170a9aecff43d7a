//! What operators ask, and the figures they are shown.

use crate::admission;
use crate::agent::{self, Agents};
use crate::core::cx;
use crate::tally::METHODS;
use crate::{Act, Answer, By, Command, Counters, Refusal, Switch, Token, Verb};
use clock::Now;
use model::{Aor, Event, InteractionId, Snapshot, StatusView};
use std::net::IpAddr;

/// The order of the response counters.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx"];

impl Switch {
    /// Carries out a command, or hands it to the calls.
    pub(crate) fn on_command(&mut self, now: Now, token: Token, command: Command) {
        match command {
            Command::Status => {
                let status = self.status(now);
                self.core.tell(token, Answer::Status(Box::new(status)));
            }
            Command::Registrations(aor) => {
                let views = self.registrar.views(now, aor.as_ref());
                self.core.tell(token, Answer::Registrations(views));
            }
            Command::DropRegistration { aor, contact } => self.drop_registration(token, &aor, contact.as_deref()),
            Command::Bans => {
                let views = self.core.admission.bans().views(now.mono);
                self.core.tell(token, Answer::Bans(views));
            }
            Command::Ban { address, time } => {
                admission::ban(&mut self.core, now, address, admission::OPERATOR, time);
                self.core.tell(token, Answer::Done(1));
            }
            Command::LiftBan(address) => self.lift_ban(token, address),
            Command::Snapshot { scope, user } => {
                let snapshot = self.snapshot(now, scope.as_ref(), user.as_ref());
                self.core.tell(token, Answer::Snapshot(Box::new(snapshot)));
            }
            // The shell's business: it traces what it moves, and answers this before it comes here.
            Command::Trace(_) => self.core.tell(token, Answer::Done(1)),
            Command::Drain { .. } => {
                self.core.draining = true;
                self.core.announce(|| Event::Draining);
                self.registrar.flush_all(&mut self.core);
                self.core.tell(token, Answer::Done(self.calls.len() as u64));
                self.calls.handle_command(cx!(self, now), token, command);
            }
            Command::DropMessages { by, to, id } => self.im.drop_messages(cx!(self, now), token, &by, to, id),
            Command::Im(_) | Command::ImSessions { .. } | Command::ImErase(_) | Command::Aware { .. } => {
                self.sessions
                    .handle_command(cx!(self, now), &mut self.calls, token, command);
            }
            Command::Act(ref act) if self.is_consulted_only(act) => {
                // R076: who is consulted by messages reads the case and changes nothing.
                let why = "the case is read-only for who is consulted";
                self.core.refuse(token, Refusal::Forbidden(why.into()));
            }
            Command::Rooms
            | Command::Room(_)
            | Command::RoomMute { .. }
            | Command::RoomDrop { .. }
            | Command::RoomLock { .. } => self.calls.handle_room_command(cx!(self, now), token, &command),
            Command::Agents { .. } | Command::SetAgent(_) | Command::Groups { .. } | Command::Look(_) => {
                Agents::handle_command(cx!(self, now), &self.calls, token, command)
            }
            Command::Calls
            | Command::Call(_)
            | Command::Hangup(_)
            | Command::Interactions(_)
            | Command::Act(_)
            | Command::Originate(_)
            | Command::Record { .. }
            | Command::Inspect(_)
            | Command::RouteTest { .. } => {
                let case = case_of(&command);
                self.calls.handle_command(cx!(self, now), token, command);
                let data = case.and_then(|id| self.calls.interaction(id));
                if let Some(view) = data {
                    self.sessions.on_case_changed(cx!(self, now), view.id, &view.case_data);
                }
            }
        }
    }

    /// Whether somebody wants to change the case of an interaction about which he is only consulted.
    fn is_consulted_only(&self, act: &Act) -> bool {
        let (Verb::SetCaseData { interaction, .. }, By::User(user)) = (&act.verb, &act.by) else {
            return false;
        };
        let takes_part = || {
            self.calls
                .interaction(*interaction)
                .is_some_and(|view| view.includes(user))
        };
        self.sessions.is_consulted(user, *interaction) && !takes_part()
    }

    fn drop_registration(&mut self, token: Token, aor: &Aor, contact: Option<&str>) {
        match self.registrar.drop_bindings(&mut self.core, aor, contact) {
            0 => self.core.refuse(
                token,
                Refusal::NotFound(format!("{aor} has no such registration").into()),
            ),
            dropped => self.core.tell(token, Answer::Done(dropped)),
        }
    }

    fn lift_ban(&mut self, token: Token, address: Option<IpAddr>) {
        let bans = self.core.admission.bans();
        match address {
            None => {
                let lifted = bans.lift_all();
                self.core.tell(token, Answer::Done(lifted as u64));
            }
            Some(address) if bans.lift(address.into()) => self.core.tell(token, Answer::Done(1)),
            Some(address) => {
                let text = format!("{address} is not banned");
                self.core.refuse(token, Refusal::NotFound(text.into()));
            }
        }
    }

    fn snapshot(&mut self, now: Now, scope: Option<&Aor>, user: Option<&Aor>) -> Snapshot {
        self.core.watch();
        let (presence, groups) = agent::shown(cx!(self, now), &self.calls, user);
        Snapshot {
            presence,
            groups,
            seq: self.core.last_event(),
            registrations: self.registrar.views(now, scope),
            calls: self.calls.watched(scope),
            interactions: self.calls.watched_interactions(scope),
            sessions: user.map(|user| self.sessions.transcripts(user)).unwrap_or_default(),
            rooms: self.calls.watched_rooms(scope),
        }
    }

    fn status(&self, now: Now) -> StatusView {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        StatusView {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: now.mono.since(self.started.mono).as_secs(),
            state: if self.core.draining { "draining" } else { "running" }.into(),
            registrations: count(self.registrar.len()),
            calls: count(self.calls.len()),
            transactions: self.core.transactions(),
            messages_waiting: count(self.im.stored()),
            rtp_ports: count(self.calls.rtp_ports()),
        }
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut values = Vec::with_capacity(48);
        self.count_own(&mut values);
        self.subscriptions.count(&mut values);
        self.count_endpoint(&mut values);
        self.calls.count(&mut values);
        self.proxy.count(&mut values);
        let requests = METHODS.iter().zip(self.core.tally.requests);
        Counters {
            values,
            requests: requests.map(|(method, count)| (name(*method), count)).collect(),
            responses: CLASSES.into_iter().zip(self.core.tally.responses).collect(),
        }
    }

    fn count_own(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let tally = &self.core.tally;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        values.extend([
            ("registrations", count(self.registrar.len()), true),
            ("contacts_asked", count(self.registrar.questions()), true),
            ("messages_under_way", count(self.im.under_way()), true),
            ("messages_waiting", count(self.im.stored()), true),
            ("im_sessions", count(self.sessions.len()), true),
            ("im_devices", count(self.im.devices()), true),
            ("im_receipts", count(self.im.receipts()), true),
            ("publications", count(self.core.published.len()), true),
            ("nonces", count(self.auth.nonces()), true),
            ("packets_received_total", tally.packets_in, false),
            ("packets_sent_total", tally.packets_out, false),
            ("challenges_total", tally.challenges, false),
            ("digests_total", tally.digests, false),
            ("auth_failures_total", tally.auth_failures, false),
            ("auth_limited_total", tally.auth_limited, false),
            ("bans", count(self.core.admission.banned()), true),
            ("sources_remembered", count(self.core.admission.sources()), true),
            ("bans_total", tally.bans, false),
            ("banned_dropped_total", tally.banned_dropped, false),
            ("rate_dropped_total", tally.rate_dropped, false),
            ("users_limited_total", tally.users_limited, false),
            ("scanners_total", tally.scanners, false),
            ("security_lines_dropped_total", tally.security_lines_dropped, false),
            ("overloads_total", tally.overloads, false),
            ("held_dropped_total", tally.held_dropped, false),
            ("bindings_expired_total", tally.bindings_expired, false),
            ("flows_failed_total", tally.flows_failed, false),
            ("messages_delivered_total", tally.messages_delivered, false),
            ("messages_stored_total", tally.messages_stored, false),
            ("messages_forwarded_total", tally.messages_forwarded, false),
            ("messages_refused_total", tally.messages_refused, false),
            ("messages_expired_total", tally.messages_expired, false),
            ("messages_dropped_total", tally.messages_dropped, false),
            ("receipts_told_total", tally.receipts_told, false),
            ("notifies_total", tally.notifies, false),
            ("subscriptions_ended_by_switch_total", tally.subscriptions_ended, false),
            ("store_failures_total", tally.store_failures, false),
            ("recoveries_total", tally.recoveries, false),
        ]);
    }

    fn count_endpoint(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let endpoint = self.core.endpoint.counters();
        values.extend([
            ("transactions", self.core.transactions(), true),
            ("dialogs", endpoint.dialogs_alive, true),
            ("retransmissions_sent_total", endpoint.retransmissions_sent, false),
            (
                "retransmissions_absorbed_total",
                endpoint.retransmissions_absorbed,
                false,
            ),
            ("transaction_timeouts_total", endpoint.timeouts, false),
            ("send_failures_total", endpoint.send_failures, false),
            ("failovers_total", endpoint.failovers, false),
            ("trunk_requests_held_back_total", endpoint.held_back, false),
            ("unanswered_total", endpoint.unanswered, false),
            ("unacknowledged_total", endpoint.unacknowledged, false),
            ("strays_total", endpoint.strays, false),
            ("malformed_total", endpoint.malformed, false),
            ("transactions_evicted_total", endpoint.evicted, false),
        ]);
    }
}

/// The interaction whose case this changes.
fn case_of(command: &Command) -> Option<InteractionId> {
    match command {
        Command::Act(act) => match act.verb {
            Verb::SetCaseData { interaction, .. } => Some(interaction),
            _ => None,
        },
        _ => None,
    }
}

fn name(method: sip::Method) -> &'static str {
    match method {
        sip::Method::Other => "other",
        known => known.as_str(),
    }
}
