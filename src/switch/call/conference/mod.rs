//! Standing conference rooms: who dials one is in its media room with all others who did. Each member is a call of its own
//! to the switch, which has a small room of its own too: there its caller enters a PIN, or waits for a moderator, and is
//! then moved among the others without a gap. A room is there while somebody is in it.

mod command;
mod door;
mod roster;
#[cfg(test)]
mod tests;

pub(crate) use roster::{MemberPlace, MemberView, Roster, Since};

use super::ending::reason_header;
use super::room::{Engine, leg_id, room_id};
use super::{Calls, Failure, LegKey, State, leg_timer};
use crate::arena::Key;
use crate::config::conference::RoomSettings;
use crate::core::{Cx, aor_uri};
use crate::interaction::{Interaction, Party};
use crate::route;
use crate::subscribe::Watched;
use crate::text::split_shown;
use clock::{Mono, Wall};
use door::{Failures, Guesser};
use media::plan::{Audience, Matrix, Sound};
use media::tone::Tone;
use media::{Plan, PlayerId, RoomId, WorkerId};
use model::{Aor, EndReason, EndedBy, Event, Insiders};
use roster::Gone;
use sip::endpoint::Alarm;
use sip::{Name, Reply};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of a leg: no key was pressed in time.
pub(super) const TIMER_PIN: u32 = 20;

/// Rooms of conferences have this bit, rooms of calls have not.
const CONFERENCE_ROOM: u64 = 1 << 62;

/// The player for what all members hear, and the one for what a member hears before it is inside.
const PLAYER: PlayerId = PlayerId(1);

/// All rooms with somebody in them.
#[derive(Debug, Default)]
pub(crate) struct Conferences {
    /// By name. At most [`crate::config::conference::Conferences::max_rooms`].
    open: BTreeMap<Arc<str>, Conference>,
    /// In which room a leg is, by its packed key.
    seats: BTreeMap<u64, Arc<str>>,
    /// Names media rooms; never used again.
    last_number: u64,
    failures: Failures,
}

/// One room.
#[derive(Debug)]
struct Conference {
    number: u64,
    /// Where all its legs have their ports.
    worker: WorkerId,
    settings: RoomSettings,
    started_at: Wall,
    /// Nobody may come in, but moderators by name.
    locked: bool,
    /// In the order they came.
    members: Vec<Member>,
    last_member: u32,
    /// Counts what watchers may see change.
    changes: u64,
    /// Who left lately.
    gone: Gone,
    /// The users who are in it: they are told what happens.
    audience: Insiders,
}

/// One who dialled the room.
#[derive(Debug)]
struct Member {
    /// For operators: counts up in the room.
    id: u32,
    leg: LegKey,
    /// The call by which its leg hears the room: its own, or a consultation that it hears as a line.
    call: Key<Interaction>,
    user: Option<Aor>,
    /// As shown to others: `"Name" <number>`.
    shown: Box<str>,
    /// Names it to watchers: its address, made unique.
    entity: Box<str>,
    came_at: Wall,
    moderator: bool,
    muted: bool,
    deaf: bool,
    talking: bool,
    /// The loudest of late.
    speaks: bool,
    place: Place,
    /// When watchers last saw it change, in the room's count.
    changed: u64,
}

/// How far a member has come.
#[derive(Debug)]
enum Place {
    /// Answered; its sound is not agreed yet.
    Arriving,
    /// Enters a PIN.
    Door(Entry),
    /// Waits for a moderator.
    Waiting,
    /// Among the others.
    Inside,
}

/// A PIN that is being entered.
#[derive(Debug)]
struct Entry {
    /// Never shown or logged.
    digits: String,
    /// Wrong ones so far.
    wrong: u32,
    alarm: Alarm,
}

/// Whether a media room is a conference's and not a call's.
pub(super) fn is_conference(room: RoomId) -> bool {
    room.0 & CONFERENCE_ROOM != 0
}

impl Conference {
    fn room(&self) -> RoomId {
        RoomId(CONFERENCE_ROOM | self.number)
    }

    /// Who is told, after somebody came or left.
    fn count_audience(&mut self) {
        let mut users: Vec<Aor> = self.members.iter().filter_map(|member| member.user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        self.audience = Insiders::new(users);
    }

    fn member_mut(&mut self, leg: LegKey) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.leg == leg)
    }

    /// RFC 4575 section 5.6: unique in the room. A second device of a user, or a second caller without a name, has its
    /// number written behind.
    fn entity(&self, domain: &str, shown: &str) -> Box<str> {
        let (_, number) = split_shown(shown);
        let address = aor_uri(&Aor::new(number, domain));
        match self.members.iter().any(|member| *member.entity == *address) {
            true => format!("{address};member={}", self.last_member).into(),
            false => address.into(),
        }
    }

    fn moderated(&self) -> bool {
        self.members.iter().any(|member| member.moderator && member.is_inside())
    }

    /// Watchers may see a change of this member.
    fn note(&mut self, leg: LegKey) {
        self.changes += 1;
        let changes = self.changes;
        if let Some(member) = self.member_mut(leg) {
            member.changed = changes;
        }
    }
}

impl Member {
    fn is_inside(&self) -> bool {
        matches!(self.place, Place::Inside)
    }
}

impl Conferences {
    /// Whether a leg is in a room.
    pub(super) fn has_seat(&self, leg: LegKey) -> bool {
        self.seats.contains_key(&leg.pack())
    }

    /// Whether the sound of a leg that has this call is among the others of a room, and not in the call's own.
    pub(super) fn have_taken(&self, leg: LegKey, call: Key<Interaction>) -> bool {
        let conference = self.seats.get(&leg.pack()).and_then(|name| self.open.get(name));
        let is_it = |member: &Member| member.leg == leg && member.call == call && member.is_inside();
        conference.is_some_and(|conference| conference.members.iter().any(is_it))
    }

    fn at(&mut self, leg: LegKey) -> Option<&mut Conference> {
        let name = self.seats.get(&leg.pack())?;
        self.open.get_mut(name)
    }

    fn room_of(&self, leg: LegKey) -> Option<Arc<str>> {
        self.seats.get(&leg.pack()).cloned()
    }

    /// The member a leg is, and its room.
    fn member(&mut self, leg: LegKey) -> Option<(&RoomSettings, &mut Member)> {
        let conference = self.at(leg)?;
        let member = conference.members.iter_mut().find(|member| member.leg == leg)?;
        Some((&conference.settings, member))
    }
}

impl Calls {
    /// The same for the room that the caller of a call has dialled.
    pub(super) fn knock_dialled(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
    ) -> Result<Option<WorkerId>, Failure> {
        let name = self.dialled_room(cx, key).ok_or_else(|| Failure::of(404))?;
        let caller = self.caller_of(key).and_then(|leg| self.legs.get(leg)?.user.clone());
        self.knock(cx, &name, caller.as_ref())
    }

    /// Whether a user may come into a room, as far as can be said before he is answered. If it is open,
    /// where his port has to be. A full room is 486, a locked one 403, each with the reason in Warning; no more rooms is
    /// 503.
    pub(super) fn knock(
        &mut self,
        cx: &mut Cx<'_>,
        name: &str,
        user: Option<&Aor>,
    ) -> Result<Option<WorkerId>, Failure> {
        let guesser = Guesser::of(user, name);
        if self.conferences.failures.are_too_many(cx.now.mono, &guesser) {
            return Err(turned_away(403, "too many wrong PINs"));
        }
        let Some(conference) = self.conferences.open.get(name) else {
            let all_taken = self.conferences.open.len() >= cx.core.config.conferences.max_rooms;
            return if all_taken { Err(Failure::congested()) } else { Ok(None) };
        };
        if !is_moderator(user, &conference.settings) {
            if conference.members.len() >= conference.settings.max_members {
                return Err(turned_away(486, "the conference room is full"));
            }
            if conference.locked {
                return Err(turned_away(403, "the conference room is locked"));
            }
        }
        Ok(Some(conference.worker))
    }

    /// The room that a call's dialled number means.
    fn dialled_room(&self, cx: &Cx<'_>, key: Key<Interaction>) -> Option<Arc<str>> {
        let (context, dialled) = self.dialled_service(cx.core, key);
        route::room(cx.core, context, dialled).map(Into::into)
    }

    /// Who is in this room, past its door.
    pub(super) fn is_inside(&mut self, leg: LegKey) -> bool {
        self.conferences
            .member(leg)
            .is_some_and(|(_, member)| member.is_inside())
    }

    /// The media room of the conference that a call has led into.
    pub(super) fn room_inside(&self, call: Key<Interaction>) -> Option<RoomId> {
        let leads = matches!(self.state(call), Some(State::Service(route::Target::Room)));
        let is_there = |room: &&Conference| {
            room.members
                .iter()
                .any(|member| member.call == call && member.is_inside())
        };
        let room = self.conferences.open.values().filter(|_| leads).find(is_there)?;
        Some(room.room())
    }

    /// The caller is answered: he has a seat from now on.
    pub(super) fn take_seat(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some((call, user)) = self.legs.get(leg).map(|leg| (leg.place, leg.user.clone())) else {
            return;
        };
        let worker = self.interactions.get(call).and_then(|call| call.call.worker);
        let (Some(name), Some(worker)) = (self.dialled_room(cx, call), worker) else {
            return;
        };
        let begins = self.open_conference(cx, &name, worker);
        let moderator = match self.conferences.open.get(&name) {
            Some(conference) => is_moderator(user.as_ref(), &conference.settings),
            None => return,
        };
        let parties = self.interactions.get(call).map(|call| &call.parties);
        let own = |party: &&Party| party.legs.contains(&leg) || party.line == Some(leg);
        let party = parties.and_then(|parties| parties.iter().find(own));
        let shown = party.map(|party| party.shown.clone());
        let shown = shown.unwrap_or_default();
        let Some(conference) = self.conferences.open.get_mut(&name) else {
            return;
        };
        conference.last_member += 1;
        let entity = conference.entity(&cx.core.config.domain, &shown);
        conference.members.push(Member {
            id: conference.last_member,
            leg,
            call,
            user,
            shown,
            entity,
            came_at: cx.now.wall,
            moderator,
            muted: false,
            deaf: false,
            talking: false,
            speaks: false,
            place: Place::Arriving,
            changed: 0,
        });
        conference.count_audience();
        self.conferences.seats.insert(leg.pack(), name.clone());
        if begins {
            self.announce_room(cx, &name);
        }
        self.room_changed(cx, leg);
    }

    /// False if it was open before.
    fn open_conference(&mut self, cx: &mut Cx<'_>, name: &Arc<str>, worker: WorkerId) -> bool {
        if self.conferences.open.contains_key(name) {
            return false;
        }
        self.conferences.last_number += 1;
        let settings = cx.core.config.conferences.of(name).clone();
        tracing::info!(room = %name, "conference begins");
        let conference = Conference {
            number: self.conferences.last_number,
            worker,
            settings,
            started_at: cx.now.wall,
            locked: false,
            members: Vec::new(),
            last_member: 0,
            changes: 0,
            gone: Gone::default(),
            audience: Insiders::default(),
        };
        let (room, rate, matrix) = (conference.room(), conference.settings.rate, Matrix::Everyone);
        cx.core.media(worker, Plan::OpenRoom { room, matrix, rate });
        if conference.settings.level_control {
            let (leg, on) = (None, true);
            cx.core.media(worker, Plan::ControlLevel { room, leg, on });
        }
        self.conferences.open.insert(name.clone(), conference);
        true
    }

    /// The member comes among the others.
    fn go_inside(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(conference) = self.conferences.at(leg) else {
            return;
        };
        let (room, worker, tone) = (conference.room(), conference.worker, conference.settings.join_tone);
        let Some(member) = conference.member_mut(leg) else {
            return;
        };
        member.place = Place::Inside;
        let moderator = member.moderator;
        self.seat_sound(cx, leg);
        if tone {
            play_to_all(cx, worker, room, joined());
        }
        self.room_changed(cx, leg);
        if moderator {
            self.let_in_who_waits(cx, leg);
        }
    }

    /// The sound of a member that is inside goes from its own small room among the others, when it hears no other call.
    fn seat_sound(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(conference) = self.conferences.at(leg) else {
            return;
        };
        let (room, worker) = (conference.room(), conference.worker);
        let lobby = conference.member_mut(leg).map(|member| member.call);
        let Some(lobby) = lobby.filter(|&call| self.attends(leg, call)) else {
            return;
        };
        self.forget_seat(lobby, leg);
        let (lobby, player) = (room_id(lobby), PLAYER);
        cx.core.media(worker, Plan::StopPlay { room: lobby, player });
        cx.core.media(worker, Plan::MoveLeg { leg: leg_id(leg), room });
        self.restrict(cx, leg);
    }

    /// A line comes to its room: for the first time, or back from another call.
    pub(super) fn come_to_seat(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        match self.conferences.member(leg).map(|(_, member)| &member.place) {
            None => {
                self.take_seat(cx, leg);
                self.at_the_door(cx, leg);
            }
            Some(Place::Inside) => self.seat_sound(cx, leg),
            Some(_) => self.remind(cx, leg),
        }
    }

    /// A line goes from this call for good: its seat there is free.
    pub(super) fn give_up_seat(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, line: LegKey) {
        if self
            .conferences
            .member(line)
            .is_some_and(|(_, member)| member.call == call)
        {
            self.vacate(cx, line);
        }
    }

    /// Whether a member hears the call by which it is in its room, and not another one.
    fn attends(&self, leg: LegKey, call: Key<Interaction>) -> bool {
        let leg = self.legs.get(leg).filter(|leg| leg.place == call && !leg.is_over());
        leg.and_then(|leg| leg.sound.as_ref())
            .is_some_and(|sound| matches!(sound.engine, Engine::Open))
    }

    /// A moderator is there.
    fn let_in_who_waits(&mut self, cx: &mut Cx<'_>, moderator: LegKey) {
        let Some(conference) = self.conferences.at(moderator) else {
            return;
        };
        let waiting = |member: &Member| matches!(member.place, Place::Waiting).then_some(member.leg);
        let waiting: SmallVec<[LegKey; 8]> = conference.members.iter().filter_map(waiting).collect();
        for leg in waiting {
            self.go_inside(cx, leg);
        }
    }

    /// Tells the engine whether a member is heard, and hears.
    fn restrict(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(conference) = self.conferences.at(leg) else {
            return;
        };
        let worker = conference.worker;
        let Some(member) = conference.member_mut(leg).filter(|member| member.is_inside()) else {
            return;
        };
        let (muted, deaf, call) = (member.muted, member.deaf, member.call);
        if !self.attends(leg, call) {
            return;
        }
        let leg = leg_id(leg);
        cx.core.media(worker, Plan::Restrict { leg, muted, deaf });
    }

    /// A leg has left its call, and the engine has closed it: if it was a member, its seat is free.
    pub(super) fn vacate(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(name) = self.conferences.seats.remove(&leg.pack()) else {
            return;
        };
        let conference = self.conferences.open.get(&name);
        let member = conference.and_then(|room| room.members.iter().find(|member| member.leg == leg));
        let lobby = member.filter(|member| member.is_inside() && self.attends(leg, member.call));
        let lobby = lobby.map(|member| room_id(member.call));
        if let Some(call) = member.map(|member| member.call) {
            self.end_room_record(cx, call);
        }
        let Some(conference) = self.conferences.open.get_mut(&name) else {
            return;
        };
        let Some(at) = conference.members.iter().position(|member| member.leg == leg) else {
            return;
        };
        // A line lives on: it is in no room that may close now.
        if let Some(room) = lobby {
            cx.core
                .media(conference.worker, Plan::MoveLeg { leg: leg_id(leg), room });
        }
        let audience = conference.audience.clone();
        let member = conference.members.remove(at);
        conference.count_audience();
        conference.changes += 1;
        conference.gone.push(member.entity.clone(), conference.changes);
        if let Place::Door(entry) = &member.place {
            cx.core.endpoint.cancel_timer(entry.alarm);
        }
        if member.is_inside() && conference.settings.leave_tone && !conference.members.is_empty() {
            play_to_all(cx, conference.worker, conference.room(), left());
        }
        let shown = self.shown_member(&member);
        cx.core.announce(|| Event::RoomLeft {
            room: (&*name).into(),
            member: shown,
            audience,
        });
        let Some(conference) = self.conferences.open.get(&name) else {
            return;
        };
        let over = conference.members.is_empty();
        let orphaned = member.moderator && member.is_inside() && !conference.moderated();
        let ends = orphaned && conference.settings.end_with_moderator;
        self.tell_room(cx, &name);
        if over || ends {
            self.close_conference(cx, &name);
        }
    }

    /// All who are still in it are told to go.
    fn close_conference(&mut self, cx: &mut Cx<'_>, name: &Arc<str>) {
        let Some(conference) = self.conferences.open.remove(name) else {
            return;
        };
        let room = conference.room();
        for member in conference.members {
            self.conferences.seats.remove(&member.leg.pack());
            if let Place::Door(entry) = &member.place {
                cx.core.endpoint.cancel_timer(entry.alarm);
            }
            self.end_member(cx, member.call, EndedBy::Other, EndReason::Normal);
        }
        tracing::info!(room = %name, "conference ends");
        cx.core.media(conference.worker, Plan::CloseRoom { room });
        let audience = conference.audience;
        cx.core.announce(|| Event::RoomEnded {
            room: (&**name).into(),
            audience,
        });
        cx.core.touch(Watched::Conference(name.clone()));
    }

    /// The call ends by which a member is in its room.
    fn end_member(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: EndedBy, reason: EndReason) {
        self.end(cx, call, by, reason, &reason_header(reason));
    }

    /// Somebody began or ceased to speak.
    pub(super) fn on_talking(&mut self, cx: &mut Cx<'_>, leg: LegKey, talking: bool) {
        let call = self.conferences.member(leg).map(|(_, member)| member.call);
        // What a member says to others, whom its line hears now, is nothing to the room.
        let attends = call.is_some_and(|call| self.attends(leg, call));
        if let Some((_, member)) = self.conferences.member(leg) {
            member.talking = talking && attends;
            self.announce_member(cx, leg);
        }
    }

    /// Another member is the loudest now: who was before is told of as well as who is.
    pub(super) fn on_active_speaker(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(conference) = self.conferences.at(leg) else {
            return;
        };
        let mut changed: SmallVec<[LegKey; 2]> = SmallVec::new();
        for member in &mut conference.members {
            let speaks = member.leg == leg;
            if std::mem::replace(&mut member.speaks, speaks) != speaks {
                changed.push(member.leg);
            }
        }
        for leg in changed {
            self.announce_member(cx, leg);
        }
    }

    /// Something that watchers may see of a member has changed.
    fn room_changed(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(name) = self.conferences.seats.get(&leg.pack()).cloned() else {
            return;
        };
        if let Some(conference) = self.conferences.open.get_mut(&name) {
            conference.note(leg);
        }
        self.announce_member(cx, leg);
        self.tell_room(cx, &name);
    }

    fn tell_room(&self, cx: &mut Cx<'_>, name: &Arc<str>) {
        cx.core.touch(Watched::Conference(name.clone()));
    }

    /// # Errors
    /// What is wrong, for the log.
    pub(super) fn audit_conferences(&self) -> Result<(), String> {
        let mut seated = 0;
        for (name, conference) in &self.conferences.open {
            if conference.members.is_empty() {
                return Err(format!("conference {name} has nobody in it"));
            }
            for member in &conference.members {
                seated += 1;
                let state = self.state(member.call);
                let lives = self.legs.get(member.leg).is_some_and(|leg| !leg.is_over());
                let is_here = lives && matches!(state, Some(State::Service(route::Target::Room)));
                if !is_here || self.conferences.seats.get(&member.leg.pack()) != Some(name) {
                    return Err(format!("member {} of conference {name} is not there", member.id));
                }
            }
        }
        match seated == self.conferences.seats.len() {
            true => Ok(()),
            false => Err(format!("{seated} members, {} seats", self.conferences.seats.len())),
        }
    }

    /// Rooms of the media plane with somebody in them.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn standing_rooms(&self) -> impl Iterator<Item = (RoomId, String)> {
        let open = self.conferences.open.iter();
        open.map(|(name, conference)| (conference.room(), format!("standing room {name}")))
    }
}

/// A moderator by name.
fn is_moderator(user: Option<&Aor>, settings: &RoomSettings) -> bool {
    user.is_some_and(|user| settings.moderators.iter().any(|name| **name == *user.user()))
}

/// A refusal that says why, to people (Warning 399) and in the record.
fn turned_away(status: u16, why: &str) -> Failure {
    let reply = Reply::new(status).header(Name::Warning, format!("399 tandem \"{why}\""));
    let reason = super::cdr::reason_of(status);
    Failure::new(reply, reason)
}

fn play_to_all(cx: &mut Cx<'_>, worker: WorkerId, room: RoomId, tone: Tone) {
    let (sound, to) = (Sound::Tone(tone), Audience::Room);
    let player = PLAYER;
    cx.core.media(
        worker,
        Plan::Play {
            room,
            player,
            sound,
            to,
        },
    );
}

/// Somebody has come: a rising pair would need two tones; one short high beep is known from everywhere.
fn joined() -> Tone {
    Tone {
        cadence_ms: SmallVec::from_slice(&[150]),
        repeat: Some(1),
        ..Tone::steady(1_000.0, -20.0)
    }
}

/// Somebody has left: lower.
fn left() -> Tone {
    Tone {
        cadence_ms: SmallVec::from_slice(&[150]),
        repeat: Some(1),
        ..Tone::steady(500.0, -20.0)
    }
}

/// A moment of the monotonic clock after which old failures no longer count.
fn forgotten_at(now: Mono) -> Mono {
    now + door::FAILURES_COUNT_FOR
}
