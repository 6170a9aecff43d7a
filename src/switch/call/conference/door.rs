//! The way in: PIN, and waiting for a moderator. What is entered is compared and forgotten; it is in no log, view or record.

use super::{Calls, Entry, LegKey, Place, TIMER_PIN, forgotten_at, leg_timer};
use crate::config::conference::{RoomSettings, Waiting};
use crate::core::Cx;
use clock::Mono;
use media::plan::Sound;
use media::tone::Tone;
use model::{Aor, EndReason, EndedBy};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::time::Duration;

/// Wrong PINs of one user, in whatever calls, before his calls to rooms are refused for a while: 10 tries in 10 minutes find
/// a PIN of four digits in a week at the earliest.
const FAILURES_MAX: u32 = 10;

/// The same of all who call one room from outside, where a number is no name to count by: a PIN of four digits in two days,
/// and callers who mistype close no door to others.
const FAILURES_OUTSIDE_MAX: u32 = 30;

/// For so long after the last one.
pub(super) const FAILURES_COUNT_FOR: Duration = Duration::from_secs(600);

/// Users and rooms with failures at one time; of more the one that would be forgotten first is forgotten now.
const FAILING_USERS_MAX: usize = 4_096;

/// Who entered wrong PINs lately.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<Guesser, (u32, Mono)>);

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Guesser {
    User(Aor),
    /// Callers of this room who are no users.
    Outside(Box<str>),
}

impl Guesser {
    pub(super) fn of(user: Option<&Aor>, room: &str) -> Guesser {
        user.map_or_else(|| Guesser::Outside(room.into()), |user| Guesser::User(user.clone()))
    }

    fn limit(&self) -> u32 {
        match self {
            Guesser::User(_) => FAILURES_MAX,
            Guesser::Outside(_) => FAILURES_OUTSIDE_MAX,
        }
    }
}

impl Failures {
    pub(super) fn are_too_many(&mut self, now: Mono, guesser: &Guesser) -> bool {
        self.0.retain(|_, (_, until)| *until > now);
        let failed = self.0.get(guesser);
        failed.is_some_and(|(count, _)| *count >= guesser.limit())
    }

    fn count(&mut self, now: Mono, guesser: Guesser) {
        let entry = self.0.entry(guesser).or_insert((0, now));
        *entry = (entry.0 + 1, forgotten_at(now));
        if self.0.len() > FAILING_USERS_MAX {
            let first = self.0.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(first) = first.map(|(guesser, _)| guesser.clone()) {
                self.0.remove(&first);
            }
        }
    }
}

/// What an entered PIN opens.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Member,
    Moderator,
    Wrong,
}

fn verdict(settings: &RoomSettings, entered: &str) -> Verdict {
    let is = |pin: &Option<crate::config::conference::Pin>| pin.as_ref().is_some_and(|pin| pin.is(entered));
    match (is(&settings.moderator_pin), is(&settings.pin)) {
        (true, _) => Verdict::Moderator,
        (false, true) => Verdict::Member,
        // A room that only moderators have a PIN for: the others press # alone.
        (false, false) if settings.pin.is_none() && entered.is_empty() => Verdict::Member,
        (false, false) => Verdict::Wrong,
    }
}

impl Calls {
    /// The engine has the member's sound: he enters a PIN, or waits, or comes in.
    pub(in crate::call) fn at_the_door(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let locked = self.is_locked(leg);
        let Some((settings, member)) = self.conferences.member(leg) else {
            return;
        };
        if locked && !member.moderator {
            return self.turn_out(cx, leg);
        }
        if member.moderator || settings.longest_pin() == 0 {
            return self.pass_the_door(cx, leg);
        }
        let alarm = pin_alarm(cx, leg, settings.pin_timeout);
        let (digits, wrong) = (String::new(), 0);
        member.place = Place::Door(Entry { digits, wrong, alarm });
        self.play_at_door(cx, leg, Sound::Tone(asks()));
        self.room_changed(cx, leg);
    }

    /// A key on a member's device.
    pub(in crate::call) fn on_room_key(&mut self, cx: &mut Cx<'_>, leg: LegKey, key: char) {
        let Some((settings, member)) = self.conferences.member(leg) else {
            return;
        };
        let Place::Door(entry) = &mut member.place else { return };
        match key {
            '0'..='9' if entry.digits.len() < crate::config::conference::Pin::MAX => entry.digits.push(key),
            // What is entered begins anew.
            '*' => entry.digits.clear(),
            '#' => return self.on_pin(cx, leg),
            _ => {}
        }
        if entry.digits.len() == settings.longest_pin() {
            return self.on_pin(cx, leg);
        }
        cx.core.endpoint.cancel_timer(entry.alarm);
        entry.alarm = pin_alarm(cx, leg, settings.pin_timeout / 4);
    }

    /// No key for a while.
    pub(in crate::call) fn on_pin_timeout(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        match self.conferences.member(leg).map(|(_, member)| &member.place) {
            Some(Place::Door(entry)) if entry.digits.is_empty() => self.turn_out(cx, leg),
            Some(Place::Door(_)) => self.on_pin(cx, leg),
            _ => {}
        }
    }

    /// A PIN is entered as a whole.
    fn on_pin(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let locked = self.is_locked(leg);
        let Some((settings, member)) = self.conferences.member(leg) else {
            return;
        };
        let Place::Door(entry) = &mut member.place else { return };
        let verdict = verdict(settings, &std::mem::take(&mut entry.digits));
        cx.core.endpoint.cancel_timer(entry.alarm);
        if verdict != Verdict::Wrong && locked {
            return self.turn_out(cx, leg);
        }
        if verdict != Verdict::Wrong {
            member.moderator = verdict == Verdict::Moderator;
            member.place = Place::Arriving;
            return self.pass_the_door(cx, leg);
        }
        entry.wrong += 1;
        let last = entry.wrong >= settings.pin_attempts;
        entry.alarm = pin_alarm(cx, leg, settings.pin_timeout);
        let user = member.user.clone();
        let Some(room) = self.conferences.room_of(leg) else {
            return;
        };
        tracing::info!(user = user.as_ref().map(Aor::as_str), %room, "wrong PIN of a conference room");
        self.conferences
            .failures
            .count(cx.now.mono, Guesser::of(user.as_ref(), &room));
        match last {
            true => self.turn_out(cx, leg),
            false => self.play_at_door(cx, leg, Sound::Tone(says_wrong())),
        }
    }

    pub(in crate::call) fn pass_the_door(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(conference) = self.conferences.at(leg) else {
            return;
        };
        let waits = conference.settings.wait_for_moderator && !conference.moderated();
        let waiting = conference.settings.waiting;
        let Some(member) = conference.member_mut(leg) else {
            return;
        };
        if !waits || member.moderator {
            return self.go_inside(cx, leg);
        }
        member.place = Place::Waiting;
        if waiting == Waiting::Music {
            self.play_at_door(cx, leg, Sound::hold_music());
        }
        self.room_changed(cx, leg);
    }

    /// Who has heard another call meanwhile is told again what is awaited.
    pub(super) fn remind(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some((settings, member)) = self.conferences.member(leg) else {
            return;
        };
        match (&member.place, settings.waiting) {
            (Place::Door(_), _) => self.play_at_door(cx, leg, Sound::Tone(asks())),
            (Place::Waiting, Waiting::Music) => self.play_at_door(cx, leg, Sound::hold_music()),
            _ => {}
        }
    }

    fn play_at_door(&mut self, cx: &mut Cx<'_>, leg: LegKey, sound: Sound) {
        let call = self.conferences.member(leg).map(|(_, member)| member.call);
        if call.is_some_and(|call| self.attends(leg, call)) {
            self.play(cx, leg, sound);
        }
    }

    /// The room was locked while this member was at its door: who has not passed it stays outside. Moderators by name are
    /// asked for no PIN.
    fn is_locked(&mut self, leg: LegKey) -> bool {
        self.conferences.at(leg).is_some_and(|conference| conference.locked)
    }

    /// Without the PIN nobody stays, nor before a locked door.
    fn turn_out(&mut self, cx: &mut Cx<'_>, leg: LegKey) {
        if let Some(call) = self.conferences.member(leg).map(|(_, member)| member.call) {
            self.end_member(cx, call, EndedBy::Switch, EndReason::Declined);
        }
    }
}

fn pin_alarm(cx: &mut Cx<'_>, leg: LegKey, after: Duration) -> sip::endpoint::Alarm {
    cx.core
        .endpoint
        .set_timer(cx.now.mono + after, leg_timer(leg), TIMER_PIN)
}

/// Enter your PIN: two short beeps.
fn asks() -> Tone {
    Tone {
        cadence_ms: SmallVec::from_slice(&[120, 120]),
        repeat: Some(2),
        ..Tone::steady(1_000.0, -16.0)
    }
}

/// That was wrong: one long low tone.
fn says_wrong() -> Tone {
    Tone {
        cadence_ms: SmallVec::from_slice(&[600]),
        repeat: Some(1),
        ..Tone::steady(400.0, -16.0)
    }
}
