//! `rooms ...`: the questions and what is told of the answers.

use crate::RoomsVerb;
use crate::client::escaped;
use crate::remote::{counted, read};
use crate::table::{shown, table};
use hyper::Method;
use model::{RoomMemberView, RoomView};
use serde_json::{Value, json};

pub(crate) fn question(verb: &RoomsVerb) -> (Method, String) {
    let all = "/api/v1/rooms";
    let one = |room: &String| format!("{all}/{}", escaped(room));
    match verb {
        RoomsVerb::List => (Method::GET, all.to_owned()),
        RoomsVerb::Show { room } => (Method::GET, one(room)),
        RoomsVerb::Mute { room, member, .. } => (Method::PATCH, format!("{}/members/{member}", one(room))),
        RoomsVerb::Drop { room, member: None } => (Method::DELETE, one(room)),
        RoomsVerb::Drop {
            room,
            member: Some(member),
        } => (Method::DELETE, format!("{}/members/{member}", one(room))),
        RoomsVerb::Lock { room, .. } => (Method::PATCH, one(room)),
    }
}

pub(crate) fn body(verb: &RoomsVerb) -> Option<Value> {
    match verb {
        RoomsVerb::Mute { deaf: false, off, .. } => Some(json!({ "muted": !off })),
        RoomsVerb::Mute { deaf: true, off, .. } => Some(json!({ "deaf": !off })),
        RoomsVerb::Lock { off, .. } => Some(json!({ "locked": !off })),
        _ => None,
    }
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told(verb: &RoomsVerb, answer: &Value) -> Option<String> {
    match verb {
        RoomsVerb::List => Some(told_list(&read::<Vec<RoomView>>(&answer["rooms"])?)),
        RoomsVerb::Show { .. } => Some(told_room(&read(answer)?)),
        RoomsVerb::Drop { .. } => Some(format!("{} ended", counted(answer["done"].as_u64()?, "call"))),
        RoomsVerb::Mute { .. } | RoomsVerb::Lock { .. } => Some("done".to_owned()),
    }
}

fn told_list(rooms: &[RoomView]) -> String {
    let row = |room: &RoomView| {
        [
            room.name.to_string(),
            room.members.len().to_string(),
            if room.locked { "locked" } else { "open" }.to_owned(),
            format!("{} Hz", room.rate_hz),
            room.started_at.to_string(),
        ]
    };
    let rows: Vec<_> = rooms.iter().map(row).collect();
    table(
        ["ROOM", "MEMBERS", "DOOR", "RATE", "SINCE"],
        &rows,
        "nobody is in a room",
    )
}

fn told_room(room: &RoomView) -> String {
    let row = |member: &RoomMemberView| {
        [
            member.id.to_string(),
            member.shown.to_string(),
            member.state.to_string(),
            flags(member),
            member.came_at.to_string(),
            member.call.map(|call| call.to_string()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = room.members.iter().map(row).collect();
    let members = table(["MEMBER", "NAME", "STATE", "IS", "SINCE", "CALL"], &rows, "no members");
    let (name, rate, locked) = (
        shown(&room.name),
        room.rate_hz,
        if room.locked { ", locked" } else { "" },
    );
    let (count, max) = (room.members.len(), room.max_members);
    format!("{name} at {rate} Hz{locked}, {count} of {max} members\n{members}")
}

fn flags(member: &RoomMemberView) -> String {
    let flags = [
        (member.moderator, "moderator"),
        (member.muted, "muted"),
        (member.deaf, "deaf"),
        (member.talking, "talking"),
        (member.speaker, "speaker"),
    ];
    let set: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    set.join(" ")
}
