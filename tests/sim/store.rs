//! The store as the switch sees it: operations take effect a while after they were asked, in order, many at once; those
//! with a token may fail; what had not taken effect when the switch died may or may not have.

use crate::random::Random;
use model::{Cdr, MessageId, StoreError, StoreOp, StoreReply, StoredMessage};
use std::collections::{HashMap, HashSet, VecDeque};
use switch::Token;
use tables::Tables;

#[path = "../../src/switch/testing/tables.rs"]
mod tables;

/// What is on disk, and what waits to be.
#[derive(Debug, Default)]
pub struct Store {
    tables: Tables,
    /// Call-IDs of all messages that ever were on disk.
    kept: HashSet<Box<str>>,
    /// What each of them says.
    texts: HashMap<MessageId, String>,
    /// Letters of which a notification could not be kept.
    failed: HashSet<String>,
    /// What was ever said in sessions and is on disk.
    said: HashSet<Box<str>>,
    waiting: VecDeque<(Option<Token>, StoreOp)>,
    /// In how many of 1000 cases an operation with a token fails.
    pub failing: u32,
}

impl Store {
    /// Takes an operation; true if a commit has to be made soon.
    pub fn ask(&mut self, token: Option<Token>, op: StoreOp) -> bool {
        self.waiting.push_back((token, op));
        self.waiting.len() == 1
    }

    /// All that waits takes effect; the replies.
    pub fn commit(&mut self, random: &mut Random) -> Vec<(Token, StoreReply)> {
        let mut replies = Vec::new();
        for (token, op) in std::mem::take(&mut self.waiting) {
            // Who does not know which devices there are owes them nothing: a switch that cannot read them at its start is not
            // what is looked at here.
            let may_fail = token.is_some() && !matches!(op, StoreOp::LoadDevices);
            let fails = may_fail && random.permille(self.failing);
            let reply = if fails {
                self.failed.extend(notified(&op));
                StoreReply::Failed(StoreError::Io)
            } else {
                self.run(op)
            };
            replies.extend(token.map(|token| (token, reply)));
        }
        replies
    }

    /// The switch died: of what waits, a part reached the disk, and nobody hears of it.
    pub fn crash(&mut self, random: &mut Random) {
        let reached = random.below(self.waiting.len() + 1);
        let waiting: Vec<_> = std::mem::take(&mut self.waiting).into_iter().take(reached).collect();
        for (_, op) in waiting {
            self.run(op);
        }
    }

    fn run(&mut self, op: StoreOp) -> StoreReply {
        match &op {
            StoreOp::AppendMessage(message) => {
                self.kept.insert(message.call_id.clone());
                let text = String::from_utf8_lossy(&message.body).trim().to_owned();
                self.texts.insert(message.id, text);
            }
            StoreOp::PutSessionMessage(message) => {
                self.said.insert(message.text.clone());
            }
            _ => {}
        }
        self.tables.apply(op)
    }

    /// Something that must not be; the caller says it aloud.
    pub fn take_fault(&mut self) -> Option<String> {
        self.tables.fault.take()
    }

    /// Whether a message of this Call-ID is, or was, on disk.
    pub fn has_kept(&self, call_id: &str) -> bool {
        self.kept.contains(call_id)
    }

    /// Whether a notification about this letter could not be kept: it is not told again before a restart.
    pub fn has_failed(&self, letter: &str) -> bool {
        self.failed.contains(letter)
    }

    /// Whether a text of a session is, or was, on disk.
    pub fn has_said(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    /// All of these.
    pub fn said(&self) -> impl Iterator<Item = &str> {
        self.said.iter().map(|text| &**text)
    }

    /// What a message that was kept says.
    pub fn text_of(&self, id: MessageId) -> Option<&str> {
        self.texts.get(&id).map(String::as_str)
    }

    /// Messages that wait, in the order of acceptance.
    pub fn messages(&self) -> impl Iterator<Item = &StoredMessage> {
        self.tables.messages.values()
    }

    pub fn bindings(&self) -> usize {
        self.tables.bindings.len()
    }

    pub fn cdrs(&self) -> impl Iterator<Item = &Cdr> {
        self.tables.cdrs.values()
    }

    /// Open sessions, and texts that are kept of any.
    pub fn sessions(&self) -> (usize, usize) {
        (self.tables.sessions.len(), self.tables.said.len())
    }
}

/// The letter that a message to be kept is a notification about.
fn notified(op: &StoreOp) -> Option<String> {
    let StoreOp::AppendMessage(message) = op else {
        return None;
    };
    let body = String::from_utf8_lossy(&message.body);
    let id = crate::text::element(&body, "message-id");
    (!id.is_empty()).then(|| id.to_owned())
}
