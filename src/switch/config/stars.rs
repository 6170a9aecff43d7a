//! Star codes and what they switch.

/// features.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stars {
    /// Codes as dialled; of two that fit, the longer counts.
    pub codes: Vec<(Box<str>, StarCode)>,
    /// Forwards one call may follow; one more is 482.
    pub max_forwards: u8,
    /// A second call rings while a user is in one, unless the user said otherwise.
    pub call_waiting: bool,
    /// Members of a group may pick up each other's ringing calls, whatever their roles.
    pub pick_up_groups: Vec<Vec<Box<str>>>,
}

/// What a star code does.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StarCode {
    /// Calls are refused as busy.
    DoNotDisturbOn,
    /// No longer.
    DoNotDisturbOff,
    /// All calls go to the number dialled behind it.
    ForwardAlwaysOn,
    /// No longer.
    ForwardAlwaysOff,
    /// Calls while busy do.
    ForwardBusyOn,
    /// No longer.
    ForwardBusyOff,
    /// Calls that are not answered do.
    ForwardNoAnswerOn,
    /// No longer.
    ForwardNoAnswerOff,
    /// A second call rings.
    CallWaitingOn,
    /// A second call is busy.
    CallWaitingOff,
    /// An agent logs in, and is ready; refused with 403 to who is none.
    AgentLogin,
    /// Logs out; likewise.
    AgentLogout,
    /// Is ready; likewise.
    AgentReady,
    /// Is not ready; likewise.
    AgentNotReady,
}

impl StarCode {
    /// All, with their names in features.toml and the codes people know.
    pub const ALL: [(StarCode, &'static str, &'static str); 14] = [
        (StarCode::DoNotDisturbOn, "do_not_disturb_on", "*78"),
        (StarCode::DoNotDisturbOff, "do_not_disturb_off", "*79"),
        (StarCode::ForwardAlwaysOn, "forward_always_on", "*72"),
        (StarCode::ForwardAlwaysOff, "forward_always_off", "*73"),
        (StarCode::ForwardBusyOn, "forward_busy_on", "*90"),
        (StarCode::ForwardBusyOff, "forward_busy_off", "*91"),
        (StarCode::ForwardNoAnswerOn, "forward_no_answer_on", "*92"),
        (StarCode::ForwardNoAnswerOff, "forward_no_answer_off", "*93"),
        (StarCode::CallWaitingOn, "call_waiting_on", "*43"),
        (StarCode::CallWaitingOff, "call_waiting_off", "*44"),
        (StarCode::AgentLogin, "agent_login", "*41"),
        (StarCode::AgentLogout, "agent_logout", "*42"),
        (StarCode::AgentReady, "agent_ready", "*45"),
        (StarCode::AgentNotReady, "agent_not_ready", "*46"),
    ];

    /// A number is dialled behind it.
    #[must_use]
    pub fn takes_number(self) -> bool {
        use StarCode::{ForwardAlwaysOn, ForwardBusyOn, ForwardNoAnswerOn};
        matches!(self, ForwardAlwaysOn | ForwardBusyOn | ForwardNoAnswerOn)
    }
}

impl Default for Stars {
    fn default() -> Stars {
        let codes = StarCode::ALL
            .iter()
            .map(|(code, _, dialled)| ((*dialled).into(), *code));
        Stars {
            codes: codes.collect(),
            max_forwards: 3,
            call_waiting: true,
            pick_up_groups: Vec::new(),
        }
    }
}

impl Stars {
    /// Whether two users share a pick-up group.
    #[must_use]
    pub fn share_group(&self, one: &str, other: &str) -> bool {
        let is_in = |group: &[Box<str>], user: &str| group.iter().any(|member| **member == *user);
        let mut groups = self.pick_up_groups.iter();
        groups.any(|group| is_in(group, one) && is_in(group, other))
    }

    /// The code that was dialled, and the number behind it.
    #[must_use]
    pub fn dialled<'d>(&self, dialled: &'d str) -> Option<(StarCode, &'d str)> {
        let fits = |(code, what): &(Box<str>, StarCode)| {
            let rest = dialled.strip_prefix(&**code).filter(|_| !code.is_empty())?;
            (rest.is_empty() || what.takes_number()).then_some((code.len(), *what, rest))
        };
        let longest = self.codes.iter().filter_map(fits).max_by_key(|(length, ..)| *length);
        longest.map(|(_, what, rest)| (what, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialled_code_is_the_longest_that_fits() {
        let stars = Stars::default();
        assert_eq!(stars.dialled("*78"), Some((StarCode::DoNotDisturbOn, "")));
        assert_eq!(stars.dialled("*721001"), Some((StarCode::ForwardAlwaysOn, "1001")));
        assert_eq!(stars.dialled("*781"), None, "this one takes no number");
        assert_eq!(
            [stars.dialled("1001"), stars.dialled("*"), stars.dialled("")],
            [None; 3]
        );
    }
}
