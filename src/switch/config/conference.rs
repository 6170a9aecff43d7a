//! Conference rooms as they are configured.

use super::Pattern;
use crate::route::dialplan;
use media::plan::Rate;
use std::fmt;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// What rooms there may be, and how each is. Defaults are those of the shipped conference.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conferences {
    /// Rooms with somebody in them at one time; one more is answered 503.
    pub max_rooms: usize,
    /// A room that nothing else is said of.
    pub default: RoomSettings,
    /// Kinds of rooms by their names, the first that matches.
    pub classes: Vec<(Pattern, RoomSettings)>,
    /// Single rooms by name, before all classes.
    pub rooms: Vec<(Box<str>, RoomSettings)>,
}

/// How a room is. It keeps to what held when its first member came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSettings {
    /// Highest sampling rate of its mix.
    pub rate: Rate,
    /// One member more is answered 486.
    pub max_members: usize,
    /// All hear a tone when somebody joins.
    pub join_tone: bool,
    /// All hear a tone when somebody leaves.
    pub leave_tone: bool,
    /// What members say is brought to one level.
    pub level_control: bool,
    /// Members have to enter it.
    pub pin: Option<Pin>,
    /// Who enters it is a moderator.
    pub moderator_pin: Option<Pin>,
    /// Wrong PINs before the call is ended.
    pub pin_attempts: u32,
    /// How long the first key is waited for; after another, a quarter of it.
    pub pin_timeout: Duration,
    /// Extensions of users who are moderators and are asked for no PIN.
    pub moderators: Vec<Box<str>>,
    /// Members wait until a moderator is there.
    pub wait_for_moderator: bool,
    /// What they hear meanwhile.
    pub waiting: Waiting,
    /// When the last moderator leaves, the others' calls end.
    pub end_with_moderator: bool,
}

/// What those hear who wait for a moderator.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Music on hold.
    Music,
    /// Nothing.
    Silence,
}

/// Digits to be entered. Not shown in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Pin(Box<str>);

impl Pin {
    /// Longest PIN: more digits nobody remembers, and what is entered has to be bounded.
    pub const MAX: usize = 16;

    /// 4 to 16 digits; fewer could be tried out.
    #[must_use]
    pub fn new(digits: &str) -> Option<Pin> {
        let is_pin = (4..=Pin::MAX).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        is_pin.then(|| Pin(digits.into()))
    }

    /// Whether this is what was entered; how much of it is right does not show in the time this takes.
    #[must_use]
    pub fn is(&self, entered: &str) -> bool {
        self.0.as_bytes().ct_eq(entered.as_bytes()).into()
    }

    /// How many digits.
    #[must_use]
    pub fn digits(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}

impl Default for Conferences {
    fn default() -> Conferences {
        Conferences {
            max_rooms: 300,
            default: RoomSettings::default(),
            classes: Vec::new(),
            rooms: Vec::new(),
        }
    }
}

impl Default for RoomSettings {
    fn default() -> RoomSettings {
        RoomSettings {
            rate: Rate::Narrow,
            max_members: 100,
            join_tone: true,
            leave_tone: true,
            level_control: false,
            pin: None,
            moderator_pin: None,
            pin_attempts: 3,
            pin_timeout: Duration::from_secs(20),
            moderators: Vec::new(),
            wait_for_moderator: false,
            waiting: Waiting::Music,
            end_with_moderator: false,
        }
    }
}

impl Conferences {
    /// How the room of this name is.
    #[must_use]
    pub fn of(&self, name: &str) -> &RoomSettings {
        let single = self.rooms.iter().find(|(room, _)| **room == *name);
        let class = || self.classes.iter().find(|(class, _)| dialplan::matches(class, name));
        let found = single.map(|(_, settings)| settings);
        found
            .or_else(|| class().map(|(_, settings)| settings))
            .unwrap_or(&self.default)
    }
}

impl RoomSettings {
    /// Digits of its longest PIN; 0 if it asks for none.
    #[must_use]
    pub fn longest_pin(&self) -> usize {
        let pins = [&self.pin, &self.moderator_pin];
        pins.into_iter().flatten().map(Pin::digits).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_is_as_its_name_says_then_as_its_class_says() {
        let with = |max_members| RoomSettings {
            max_members,
            ..RoomSettings::default()
        };
        let conferences = Conferences {
            classes: vec![(Pattern::Digits("30XX".into()), with(30)), (Pattern::Any, with(9))],
            rooms: vec![("3001".into(), with(1))],
            ..Conferences::default()
        };
        let members = |name| conferences.of(name).max_members;
        assert_eq!([members("3001"), members("3002"), members("lobby")], [1, 30, 9]);
    }

    #[test]
    fn a_pin_is_some_digits_and_is_not_shown() {
        assert!(
            ["123", "12345678901234567", "12a4", "12 4"]
                .iter()
                .all(|pin| Pin::new(pin).is_none())
        );
        let pin = Pin::new("0471").unwrap();
        assert!(pin.is("0471") && !pin.is("047") && !pin.is("0472"));
        assert_eq!(format!("{pin:?}"), "Pin(..)");
    }
}
