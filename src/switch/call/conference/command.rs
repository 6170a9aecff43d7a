//! What operators see of rooms and do with them.

use super::{Calls, Conference, LegKey, Member, Place};
use crate::core::Cx;
use crate::{Answer, Command, Refusal, Token};
use model::{Aor, EndReason, EndedBy, Event, RoomMemberView, RoomView};
use std::sync::Arc;

impl Calls {
    /// `Rooms`, `Room`, `RoomMute`, `RoomDrop` and `RoomLock`.
    pub(crate) fn handle_room_command(&mut self, cx: &mut Cx<'_>, token: Token, command: &Command) {
        let answer = match command {
            Command::Rooms => Ok(Answer::Rooms(self.room_views())),
            Command::Room(name) => self.room_view(name).map(|view| Answer::Rooms(vec![view])),
            Command::RoomMute {
                room,
                member,
                muted,
                deaf,
            } => self.mute_member(cx, room, *member, (*muted, *deaf)),
            Command::RoomDrop { room, member } => self.drop_members(cx, room, *member),
            Command::RoomLock { room, locked } => self.lock_room(cx, room, *locked),
            _ => Err(Refusal::Conflict("this is not about conference rooms".into())),
        };
        match answer {
            Ok(answer) => cx.core.tell(token, answer),
            Err(refusal) => cx.core.refuse(token, refusal),
        }
    }

    fn mute_member(
        &mut self,
        cx: &mut Cx<'_>,
        room: &str,
        id: u32,
        (muted, deaf): (Option<bool>, Option<bool>),
    ) -> Result<Answer, Refusal> {
        let conference = self.conferences.open.get_mut(room).ok_or_else(|| no_room(room))?;
        let member = conference.members.iter_mut().find(|member| member.id == id);
        let member = member.ok_or_else(|| no_member(room, id))?;
        member.muted = muted.unwrap_or(member.muted);
        member.deaf = deaf.unwrap_or(member.deaf);
        let leg = member.leg;
        self.restrict(cx, leg);
        self.room_changed(cx, leg);
        Ok(Answer::Done(1))
    }

    /// One member's call ends, or all.
    fn drop_members(&mut self, cx: &mut Cx<'_>, room: &str, id: Option<u32>) -> Result<Answer, Refusal> {
        let conference = self.conferences.open.get(room).ok_or_else(|| no_room(room))?;
        let wanted = |member: &&Member| id.is_none_or(|id| member.id == id);
        let calls: Vec<_> = conference
            .members
            .iter()
            .filter(wanted)
            .map(|member| member.call)
            .collect();
        if let (true, Some(id)) = (calls.is_empty(), id) {
            return Err(no_member(room, id));
        }
        let count = calls.len() as u64;
        for call in calls {
            self.end_member(cx, call, EndedBy::Switch, EndReason::Operator);
        }
        Ok(Answer::Done(count))
    }

    /// Whether a member may have others called into its room: who is inside, and of a locked one its moderators.
    pub(in crate::call) fn may_invite(&self, leg: LegKey) -> bool {
        let name = self.conferences.seats.get(&leg.pack());
        let conference = name.and_then(|name| self.conferences.open.get(name));
        conference.is_some_and(|conference| {
            let mut members = conference.members.iter().filter(|member| member.leg == leg);
            members.any(|member| member.is_inside() && (member.moderator || !conference.locked))
        })
    }

    /// A moderator takes the members with this number out of his room, or a member itself.
    pub(in crate::call) fn dismiss_member(&mut self, cx: &mut Cx<'_>, by: LegKey, number: &str) -> Result<(), u16> {
        let name = self.conferences.seats.get(&by.pack()).cloned().ok_or(481u16)?;
        let members = self.conferences.open.get(&name).map(|conference| &conference.members);
        let members = members.ok_or(481u16)?;
        let moderates = members.iter().any(|member| member.leg == by && member.moderator);
        let is_meant = |member: &&Member| member.user.as_ref().is_some_and(|user| user.user() == number);
        let meant: Vec<_> = members.iter().filter(is_meant).map(|m| (m.leg, m.call)).collect();
        if meant.is_empty() {
            return Err(404);
        }
        if !moderates && meant.iter().any(|(leg, _)| *leg != by) {
            return Err(403);
        }
        for (_, call) in meant {
            self.end_member(cx, call, EndedBy::Other, EndReason::Normal);
        }
        Ok(())
    }

    fn lock_room(&mut self, cx: &mut Cx<'_>, room: &str, locked: bool) -> Result<Answer, Refusal> {
        let conference = self.conferences.open.get_mut(room).ok_or_else(|| no_room(room))?;
        conference.locked = locked;
        conference.changes += 1;
        let audience = conference.audience.clone();
        cx.core.announce(|| Event::RoomLocked {
            room: room.into(),
            locked,
            audience,
        });
        let name: Arc<str> = room.into();
        self.tell_room(cx, &name);
        Ok(Answer::Done(1))
    }

    /// Tells those who watch that a room has been opened.
    pub(super) fn announce_room(&self, cx: &mut Cx<'_>, name: &str) {
        if let Some(conference) = self.conferences.open.get(name) {
            cx.core.announce(|| Event::RoomStarted {
                room: self.room_shown(name, conference),
                audience: conference.audience.clone(),
            });
        }
    }

    /// Tells those who watch how a member is now.
    pub(super) fn announce_member(&self, cx: &mut Cx<'_>, leg: LegKey) {
        let Some(name) = self.conferences.seats.get(&leg.pack()) else {
            return;
        };
        let Some(conference) = self.conferences.open.get(name) else {
            return;
        };
        if let Some(member) = conference.members.iter().find(|member| member.leg == leg) {
            cx.core.announce(|| Event::RoomMember {
                room: (&**name).into(),
                member: self.shown_member(member),
                audience: conference.audience.clone(),
            });
        }
    }

    /// All rooms, or those a user is in.
    pub(crate) fn watched_rooms(&self, user: Option<&Aor>) -> Vec<RoomView> {
        let open = self.conferences.open.iter();
        let meant = open.filter(|(_, conference)| user.is_none_or(|user| conference.audience.contains(user)));
        meant
            .map(|(name, conference)| self.room_shown(name, conference))
            .collect()
    }

    /// All rooms with somebody in them, by name.
    pub(crate) fn room_views(&self) -> Vec<RoomView> {
        let open = self.conferences.open.iter();
        open.map(|(name, conference)| self.room_shown(name, conference))
            .collect()
    }

    fn room_view(&self, room: &str) -> Result<RoomView, Refusal> {
        let conference = self.conferences.open.get(room).ok_or_else(|| no_room(room))?;
        Ok(self.room_shown(room, conference))
    }

    fn room_shown(&self, name: &str, conference: &Conference) -> RoomView {
        RoomView {
            name: name.into(),
            rate_hz: conference.settings.rate.hz(),
            started_at: conference.started_at,
            locked: conference.locked,
            max_members: conference.settings.max_members as u64,
            members: conference
                .members
                .iter()
                .map(|member| self.shown_member(member))
                .collect(),
        }
    }

    pub(super) fn shown_member(&self, member: &Member) -> RoomMemberView {
        let call = self.interactions.get(member.call);
        RoomMemberView {
            id: member.id,
            call: call.map(|call| call.id),
            user: member.user.clone(),
            shown: member.shown.clone(),
            state: match member.place {
                Place::Arriving => "arriving",
                Place::Door(_) => "pin",
                Place::Waiting => "waiting",
                Place::Inside => "inside",
            }
            .into(),
            moderator: member.moderator,
            muted: member.muted,
            deaf: member.deaf,
            talking: member.talking && !member.muted,
            speaker: member.speaks && !member.muted,
            came_at: member.came_at,
        }
    }
}

fn no_room(room: &str) -> Refusal {
    Refusal::NotFound(format!("nobody is in a room {room:?}").into())
}

fn no_member(room: &str, id: u32) -> Refusal {
    Refusal::NotFound(format!("room {room} has no member {id}").into())
}
