//! Whether senders are told the truth: by the answer to what they wrote, and by notifications of what became of it (RFC 5438).
//!
//! What no answer has come to says nothing (RFC 3428 section 7, as any timeout), and of what a device has taken without being
//! heard the switch may say that nobody has it. So what counts is what the switch knows: a device's 2xx that has come to it.

use super::Ledger;
use crate::talk::UNWRITTEN;
use crate::text::Text;
use clock::Mono;
use std::time::Duration;

/// The transaction of a copy is over after this (Timer F): a later 2xx says nothing any more.
const HEARD_FOR: Duration = Duration::from_secs(32);

/// What its sender was told of a letter, and what was so.
#[derive(Default)]
pub(super) struct Truth {
    /// He wants to hear what becomes of it.
    asks: bool,
    /// It is given up then.
    expires: Option<Mono>,
    /// The final answer that the switch has sent, whether or not it came.
    answer: u16,
    /// A device has said to the switch that runs that it has it.
    heard: bool,
    /// A device has refused it: it may be behind what was written after it.
    pub(super) refused: bool,
    /// A device has said that its reader has seen it.
    displayed: bool,
    told_delivered: bool,
    told_failed: bool,
    /// When something was last known of it.
    at: Mono,
    /// The switch died just then: what it knew may be forgotten.
    unsure: bool,
}

/// What a notification says.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    Delivered,
    Displayed,
    Failed,
}

impl Mark {
    /// Of the document of a notification.
    pub fn of(body: &str) -> Option<Mark> {
        [
            ("<delivered/>", Mark::Delivered),
            ("<displayed/>", Mark::Displayed),
            ("<failed/>", Mark::Failed),
        ]
        .into_iter()
        .find(|(element, _)| body.contains(element))
        .map(|(_, mark)| mark)
    }
}

impl Truth {
    pub(super) fn of(asks: bool, expires: Option<Mono>) -> Truth {
        Truth {
            asks,
            expires,
            ..Truth::default()
        }
    }

    /// It was given up for its age, or may have been.
    pub(super) fn is_over(&self, now: Mono) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The switch has died.
    pub(super) fn on_crash(&mut self, now: Mono) {
        self.heard = false;
        self.unsure |= self.answer == 0 || now.since(self.at) < UNWRITTEN;
    }
}

impl Ledger {
    /// The switch answers who wrote under this Call-ID.
    pub(super) fn on_final(&mut self, now: Mono, call_id: &str, status: u16) {
        let Some(id) = self.names.get(call_id).cloned() else {
            return;
        };
        let is_said = self.said.contains(&id);
        let Some(letter) = self.letters.get_mut(&id) else {
            return;
        };
        let truth = &mut letter.truth;
        truth.at = now;
        truth.answer = status;
        if status >= 300 && truth.heard {
            let what = format!("{status} to a message of which a device has said that it has it");
            self.violated(now, &id, &what);
        }
        if status >= 300 && is_said {
            self.violated(now, &id, &format!("{status} to a message that was said in a session"));
        }
    }

    /// Something comes to the switch. If it is a device's 2xx to a letter the switch knows from now on.
    pub fn on_heard(&mut self, now: Mono, bytes: &[u8]) {
        if !bytes.starts_with(b"SIP/2.0 2") {
            return;
        }
        let Some(text) = Text::parse(bytes).filter(|text| text.method() == "MESSAGE") else {
            return;
        };
        let Some((id, sent)) = self.copies.get(text.branch()).cloned() else {
            return;
        };
        let Some(letter) = self.letters.get_mut(&id) else {
            return;
        };
        letter.truth.at = now;
        match letter.truth.answer {
            _ if now.since(sent) >= HEARD_FOR => {}
            300.. => self.count("letters refused, and taken all the same"),
            _ => letter.truth.heard = true,
        }
    }

    /// Whether the switch may send this letter to a device: not what it has refused.
    pub(super) fn check_not_refused(&self, now: Mono, id: &str) {
        let refused = self.letters.get(id).filter(|letter| letter.truth.answer >= 300);
        if let Some(letter) = refused.filter(|letter| !letter.repeated) {
            let what = format!(
                "the switch sends a message to which it has said {}",
                letter.truth.answer
            );
            self.violated(now, id, &what);
        }
    }

    /// A device refuses a letter.
    pub fn on_refused(&mut self, id: &str, device: usize, status: u16) {
        self.count(&format!("a device refuses {status}"));
        self.refused.insert((id.to_owned(), device));
        if matches!(status, 415 | 486 | 488 | 603) {
            self.declined.insert((id.to_owned(), device));
        }
        if matches!(status, 415 | 488) {
            self.refused_for_good.insert((id.to_owned(), device));
        }
        self.talk.on_refused(id, device, matches!(status, 415 | 488));
        if let Some(letter) = self.letters.get_mut(id) {
            letter.truth.refused = true;
        }
    }

    /// Whether a letter may wait for another device until it is given up: all that there are have refused it for good, and none
    /// has taken it.
    pub fn may_wait(&self, id: &str, devices_of: impl Fn(usize) -> Vec<usize>) -> bool {
        let is_taken = self.letters.get(id).is_some_and(|letter| letter.taken.is_some());
        !is_taken && self.is_refused_by_all(id, devices_of)
    }

    /// Whether all devices of its reader have refused a letter for good.
    pub fn is_refused_by_all(&self, id: &str, devices_of: impl Fn(usize) -> Vec<usize>) -> bool {
        let has_refused = |device: usize| self.refused_for_good.contains(&(id.to_owned(), device));
        let letter = self.letters.get(id);
        letter.is_some_and(|letter| devices_of(letter.reader).into_iter().all(has_refused))
    }

    /// Whether this device has this letter already.
    pub fn has(&self, id: &str, device: usize) -> bool {
        self.devices.contains_key(&(id.to_owned(), device))
    }

    /// A device says that its reader has seen a letter.
    pub fn on_displayed(&mut self, id: &str) {
        self.count("displayed");
        if let Some(letter) = self.letters.get_mut(id) {
            letter.truth.displayed = true;
        }
    }

    /// A device of `user` is told what became of a letter with a reader.
    pub fn on_told(&mut self, now: Mono, id: &str, user: usize, reader: usize, mark: Mark) {
        self.count(&format!("told {mark:?}"));
        let is_said = self.said.contains(id);
        if is_said && let Err(lie) = self.talk.on_told(id, reader, mark) {
            self.violated(now, id, lie);
        }
        let Some(letter) = self.letters.get_mut(id) else {
            self.violated(now, id, "a notification about a message that nobody wrote");
        };
        let (is_taken, is_confirmed) = (letter.taken.is_some(), letter.confirmed);
        let truth = &mut letter.truth;
        let lie = match mark {
            _ if letter.user != user => Some("a notification reached somebody it was not for"),
            _ if !truth.asks => Some("a notification that nobody asked for"),
            // To several readers: each has his own.
            _ if is_said => None,
            Mark::Delivered if !is_taken => Some("told delivered, and no device has it"),
            Mark::Displayed if !truth.displayed => Some("told displayed, and no device has said so"),
            Mark::Failed if truth.heard || is_confirmed => Some("told failed, and a device has said that it has it"),
            Mark::Delivered if truth.told_failed && !truth.unsure => Some("told delivered after it failed"),
            Mark::Failed if truth.told_delivered && !truth.unsure => Some("told failed after it was delivered"),
            _ => None,
        };
        truth.told_delivered |= mark == Mark::Delivered;
        truth.told_failed |= mark == Mark::Failed;
        if let Some(lie) = lie {
            self.violated(now, id, lie);
        }
    }

    /// At the end: who asked has heard of all that was accepted, unless the switch died in the moment in which it happened or
    /// the disk did not take the notification.
    pub fn check_notifications(&self, now: Mono, unwritten: impl Fn(&str) -> bool) {
        for (id, letter) in &self.letters {
            let truth = &letter.truth;
            let is_followed = truth.asks && !truth.unsure && matches!(truth.answer, 200 | 202);
            if !is_followed || unwritten(id) || self.said.contains(id) && !self.talk.is_taken(id, letter.user) {
                continue;
            }
            if !truth.told_delivered && !truth.told_failed {
                let what = format!("{} to a message, and nobody was told what became of it", truth.answer);
                self.violated(now, id, &what);
            }
        }
    }
}
