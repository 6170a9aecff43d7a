//! What a session leaves behind for an INVITE that may be answered once more: RFC 3261 section 13.2.2.4 wants an ACK for
//! each 2xx, also after the BYE.

use crate::dialog::Dialog;
use crate::draft::{Draft, Tag};
use crate::endpoint::Destination;
use crate::{Flow, Message, Method, Name};

/// Forks beyond this many that answer a call which is over already get no BYE of ours; their own timers end them.
const MAX_STRANGERS: usize = 32;

/// The last ACK of a session, kept with the transaction of its INVITE until Timer M.
#[derive(Debug)]
pub struct Remains {
    tag: Tag,
    remote: Box<[u8]>,
    destination: Destination,
    ack: Draft,
    /// Tags of other forks that have been sent away.
    strangers: Vec<Box<[u8]>>,
}

/// What a late 2xx is due.
pub(super) struct Due {
    pub destination: Destination,
    pub ack: Draft,
    pub bye: Option<Draft>,
}

impl Remains {
    /// `tag` is our own, `ack` what the last 2xx of `dialog` got, `strangers` the forks that have had their BYE.
    pub(crate) fn new(tag: Tag, dialog: &Dialog, ack: Draft, strangers: Vec<Box<[u8]>>) -> Remains {
        Remains {
            tag,
            remote: dialog.id().remote().into(),
            destination: dialog.destination(),
            ack,
            strangers,
        }
    }

    /// The same ACK for the fork that had the call; ACK, and once a BYE, for one that comes too late.
    pub(super) fn on_success(&mut self, flow: Flow, message: &Message) -> Option<Due> {
        if *message.to_tag() == *self.remote {
            let (destination, ack) = (self.destination.clone(), self.ack.clone());
            return Some(Due {
                destination,
                ack,
                bye: None,
            });
        }
        let known = self.strangers.iter().any(|tag| **tag == *message.to_tag());
        if !known && self.strangers.len() >= MAX_STRANGERS {
            return None;
        }
        let header = |name| message.header(name).unwrap_or_default();
        let mut stranger = Dialog::as_caller(flow, message, header(Name::From), self.tag, header(Name::To));
        let ack = stranger.ack(message.cseq());
        let bye = (!known).then(|| stranger.request(Method::Bye));
        self.strangers.extend((!known).then(|| message.to_tag().into()));
        Some(Due {
            destination: stranger.destination(),
            ack,
            bye,
        })
    }
}
