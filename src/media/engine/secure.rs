//! The encryption of one leg: its keys with what they have seen, which outlives every change of what feeds the leg.

use crate::event::LegStats;
use crate::srtp::{KeyPair, Receiver, Rejected, Sender};

pub(super) struct Secure {
    keys: KeyPair,
    /// Without them (keys that no suite has) nothing is sent or taken: never in the clear instead.
    sender: Option<Sender>,
    receiver: Option<Receiver>,
}

impl Secure {
    /// For what was agreed now. A key that stays keeps its rollover counter and what it has seen; a new one begins at 0.
    pub fn renewed(before: Option<Box<Secure>>, keys: Option<&KeyPair>) -> Option<Box<Secure>> {
        let keys = keys?;
        let mut secure = before.unwrap_or_else(|| Box::new(Secure::new(keys)));
        if secure.keys.ours != keys.ours {
            secure.sender = Sender::new(&keys.ours);
        }
        if secure.keys.theirs != keys.theirs {
            secure.receiver = Receiver::new(&keys.theirs);
        }
        secure.keys.clone_from(keys);
        Some(secure)
    }

    fn new(keys: &KeyPair) -> Secure {
        Secure {
            keys: keys.clone(),
            sender: Sender::new(&keys.ours),
            receiver: Receiver::new(&keys.theirs),
        }
    }

    /// The packet is signed with the device's key and did not come before.
    pub fn is_authentic(&self, packet: &[u8]) -> bool {
        let receiver = self.receiver.as_ref();
        receiver.is_some_and(|receiver| receiver.is_authentic(packet))
    }

    /// The same of a report.
    pub fn is_authentic_report(&self, packet: &[u8]) -> bool {
        let receiver = self.receiver.as_ref();
        receiver.is_some_and(|receiver| receiver.is_authentic_report(packet))
    }

    /// Decrypts a packet in place; what is not the device's is counted.
    pub fn open_rtp<'a>(&mut self, packet: &'a mut [u8], figures: &mut LegStats) -> Option<&'a mut [u8]> {
        let opened = self.receiver.as_mut()?.open_rtp(packet);
        counted(opened, packet, figures)
    }

    /// The same for a report.
    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8], figures: &mut LegStats) -> Option<&'a mut [u8]> {
        let opened = self.receiver.as_mut()?.open_rtcp(packet);
        counted(opened, packet, figures)
    }

    pub fn protect_rtp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.sender.as_mut()?.protect_rtp(buffer, len)
    }

    pub fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Option<usize> {
        self.sender.as_mut()?.protect_rtcp(buffer, len)
    }
}

fn counted<'a>(opened: Result<usize, Rejected>, packet: &'a mut [u8], figures: &mut LegStats) -> Option<&'a mut [u8]> {
    match opened {
        Ok(length) => packet.get_mut(..length),
        Err(Rejected::Forged) => {
            figures.forged += 1;
            None
        }
        Err(Rejected::Replayed) => {
            figures.replayed += 1;
            None
        }
    }
}
