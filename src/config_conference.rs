//! conference.toml: how conference rooms are, all of them, by kind and one by one.

use crate::config_dialplan::parse_match;
use crate::config_section::{At, Section};
use crate::config_users::wrong_extension;
use media::plan::Rate;
use std::time::Duration;
use switch::config::Pattern;
use switch::config::conference::{Conferences, Pin, RoomSettings};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn read(mut top: Section<'_>) -> Conferences {
    let max_rooms = top.within("max_rooms", 300, 1..=10_000);
    let default = settings(&mut top, &RoomSettings::default());
    let classes = top
        .list("class")
        .into_iter()
        .filter_map(|section| class(section, &default));
    let classes: Vec<(Pattern, RoomSettings)> = classes.collect();
    let mut conferences = Conferences {
        max_rooms,
        default,
        classes,
        rooms: Vec::new(),
    };
    let rooms = top.inner("room").named();
    conferences.rooms = rooms
        .into_iter()
        .map(|(name, section)| room(name, section, &conferences))
        .collect();
    conferences
}

/// `[[class]]`: rooms whose names match, beside what holds for all.
fn class(mut section: Section<'_>, default: &RoomSettings) -> Option<(Pattern, RoomSettings)> {
    let found: At<String> = section.need("match")?;
    let settings = settings(&mut section, default);
    match parse_match(&found.value) {
        Ok(pattern) => Some((pattern, settings)),
        Err(wrong) => {
            section.problem(&found.place, format!("`match`: {wrong}"));
            None
        }
    }
}

/// `[room.3001]`: beside what holds for its class.
fn room(name: At<String>, mut section: Section<'_>, conferences: &Conferences) -> (Box<str>, RoomSettings) {
    if let Some(wrong) = wrong_extension(&name.value) {
        section.problem(&name.place, wrong.replace("an extension", "the name of a room"));
    }
    let settings = settings(&mut section, conferences.of(&name.value));
    (name.value.into(), settings)
}

fn settings(section: &mut Section<'_>, base: &RoomSettings) -> RoomSettings {
    let settings = RoomSettings {
        rate: rate(section).unwrap_or(base.rate),
        max_members: section.within("max_members", base.max_members, 1..=10_000),
        join_tone: section.or("join_tone", base.join_tone),
        leave_tone: section.or("leave_tone", base.leave_tone),
        level_control: section.or("level_control", base.level_control),
        pin: pin(section, "pin").unwrap_or_else(|| base.pin.clone()),
        moderator_pin: pin(section, "moderator_pin").unwrap_or_else(|| base.moderator_pin.clone()),
        pin_attempts: section.within("pin_attempts", base.pin_attempts, 1..=10),
        pin_timeout: section.within("pin_timeout", base.pin_timeout, 4 * SECOND..=120 * SECOND),
        moderators: match section.read::<Vec<String>>("moderators") {
            Some(names) => names.into_iter().map(Into::into).collect(),
            None => base.moderators.clone(),
        },
        wait_for_moderator: section.or("wait_for_moderator", base.wait_for_moderator),
        waiting: section.or("waiting", base.waiting),
        end_with_moderator: section.or("end_with_moderator", base.end_with_moderator),
    };
    if settings.pin.is_some() && settings.pin == settings.moderator_pin {
        let text = "`pin` and `moderator_pin` are the same: everybody would be a moderator".to_owned();
        section.problem(&section.place(), text);
    }
    let has_moderators = settings.moderator_pin.is_some() || !settings.moderators.is_empty();
    if settings.wait_for_moderator && !has_moderators {
        let text = "`wait_for_moderator`, but there is none: add `moderators` or `moderator_pin`".to_owned();
        section.problem(&section.place(), text);
    }
    settings
}

fn rate(section: &mut Section<'_>) -> Option<Rate> {
    let found: At<u32> = section.read("rate")?;
    let rates = [Rate::Narrow, Rate::Wide, Rate::Full];
    let rate = rates.into_iter().find(|rate| rate.hz() == found.value);
    if rate.is_none() {
        let text = format!("`rate`: expected 8000 or 16000 or 48000, found {}", found.value);
        section.problem(&found.place, text);
    }
    rate
}

/// The outer `None`: not said here. An empty text takes away what the class says.
fn pin(section: &mut Section<'_>, key: &'static str) -> Option<Option<Pin>> {
    let found: At<String> = section.read(key)?;
    let pin = Pin::new(&found.value);
    if pin.is_none() && !found.value.is_empty() {
        section.problem(&found.place, format!("`{key}`: expected a text of 4 to 16 digits"));
    }
    Some(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_section::Problems;
    use crate::config_toml::parse;

    fn read_text(text: &str) -> (Conferences, Vec<String>) {
        let mut syntax = Vec::new();
        let table = parse(&"conference.toml".into(), text, &mut syntax);
        let problems = Problems::new(syntax);
        let conferences = read(Section::new(table, &problems));
        let mut found: Vec<String> = problems.into_inner().iter().map(ToString::to_string).collect();
        found.sort();
        (conferences, found)
    }

    #[test]
    fn a_room_takes_from_its_class_and_a_class_from_all() {
        let text = "max_members = 20\n[[class]]\nmatch = \"_31XX\"\nrate = 16000\npin = \"4711\"\n\
                    [room.3101]\nmoderators = [\"1000\"]\nwait_for_moderator = true\n[room.3102]\npin = \"\"\n";
        let (conferences, problems) = read_text(text);
        assert_eq!(problems, Vec::<String>::new());
        let of = |name| conferences.of(name);
        assert_eq!((of("3000").rate, of("3000").max_members), (Rate::Narrow, 20));
        assert_eq!(
            (of("3100").rate, of("3100").pin.is_some(), of("3100").max_members),
            (Rate::Wide, true, 20)
        );
        assert_eq!(
            (of("3101").rate, of("3101").wait_for_moderator, of("3101").pin.is_some()),
            (Rate::Wide, true, true)
        );
        assert!(of("3102").pin.is_none());
    }

    #[test]
    fn mistakes_are_named_and_pins_are_not() {
        let text = "rate = 11025\npin = \"12x4\"\nmoderator_pins = \"1\"\n[room.3001]\nwait_for_moderator = true\n\
                    [room.3002]\npin = \"7777\"\nmoderator_pin = \"7777\"\n";
        let (_, problems) = read_text(text);
        let expected = [
            "`rate`: expected 8000 or 16000 or 48000, found 11025",
            "`pin`: expected a text of 4 to 16 digits",
            "unknown key `moderator_pins` (did you mean `moderator_pin`?)",
            "`wait_for_moderator`, but there is none",
            "`pin` and `moderator_pin` are the same",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for text in expected {
            assert!(
                problems.iter().any(|problem| problem.contains(text)),
                "{text}: {problems:#?}"
            );
        }
        assert!(!problems.concat().contains("7777"));
    }
}
