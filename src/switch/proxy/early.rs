//! Early dialogs of a forked INVITE that have ended although others go on (RFC 6228): who asked is told 199, if he knows it.

use super::Relay;
use crate::core::Cx;
use bytes::Bytes;
use sip::endpoint::ClientId;
use sip::{Message, Method, Name, Splice, Writer};

/// The early dialogs there are.
#[derive(Debug)]
pub(super) struct Early {
    /// He supports 199, and does not insist on reliable responses, which a proxy cannot make (section 6).
    is_wanted: bool,
    dialogs: Vec<(ClientId, Bytes)>,
}

/// Early dialogs of one request that are kept: a target that makes more is a fork beyond us, which tells of them itself.
const MAX_DIALOGS: usize = 16;

impl Early {
    #[must_use]
    pub(super) fn of(request: &Message) -> Early {
        Early {
            is_wanted: request.method() == Method::Invite
                && request.lists(Name::Supported, "199")
                && !request.lists(Name::Require, "100rel"),
            dialogs: Vec::new(),
        }
    }

    /// A provisional response has come.
    pub(super) fn note(&mut self, client: ClientId, message: &Message) {
        let tag = message.to_tag();
        if !self.is_wanted || tag.is_empty() {
            return;
        }
        let known = self
            .dialogs
            .iter()
            .position(|(of, known)| *of == client && **known == *tag);
        match (known, message.status()) {
            // Its own target has told of its end.
            (Some(place), 199) => drop(self.dialogs.swap_remove(place)),
            (None, 101..=198) if self.dialogs.len() < MAX_DIALOGS => {
                self.dialogs.push((client, message.share(tag)));
            }
            _ => {}
        }
    }

    /// The tags of a branch's dialogs, which are forgotten.
    fn take(&mut self, client: ClientId) -> Vec<Bytes> {
        let (ended, left) = std::mem::take(&mut self.dialogs)
            .into_iter()
            .partition(|(of, _)| *of == client);
        self.dialogs = left;
        ended.into_iter().map(|(_, tag): (_, Bytes)| tag).collect()
    }
}

impl Relay {
    /// A branch was refused, and its refusal does not go back now because others are awaited.
    pub(super) fn end_early(&mut self, cx: &mut Cx<'_>, place: usize, status: u16) {
        let goes_on = self.waits() || self.fork.as_ref().is_some_and(|fork| !fork.later.is_empty());
        let client = self.branches[place].client;
        let Some(fork) = self.fork.as_mut().filter(|_| goes_on) else {
            return;
        };
        let (tags, source) = (fork.early.take(client), fork.onward.source.peer);
        for tag in tags {
            let tag = String::from_utf8_lossy(&tag);
            let ended = Writer::response(&fork.onward.request, 199, "Early Dialog Terminated", &tag, source)
                .header(Name::Reason, format!("SIP;cause={status}"))
                .finish();
            if let Ok(ended) = Message::parse(ended) {
                let core = &mut *cx.core;
                core.endpoint
                    .pass(cx.now.mono, self.server, &Splice::of(&ended), &mut core.effects);
            }
        }
    }
}
