//! What becomes of messages whose senders want to hear of it (RFC 5438): followed for each message, told once.
//!
//! The switch ends notifications: that a device took a message is told by the switch itself, that it was shown by the device,
//! and in both cases a device of the reader may say it as often as it likes. A notification is a message to the sender like
//! any other, stored while he is away, and asks for none itself. What has happened is on disk before it is told, and that it
//! was told only when a device or the disk has it: over a crash it may come twice under one Call-ID, and is never lost.

use super::letter::{Letter, rfc3339};
use super::post::{Fate, Outcome, Post};
use super::{Guise, Im};
use crate::core::{Core, Cx, aor_uri};
use crate::room::Room;
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, Event, MessageId, MessageState, Receipt, StoreOp};
use sip::Headers;
use sip::body::cpim::{self, Cpim};
use sip::body::imdn::{self, MARKS, Mark, Marks, Report};
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages followed, the oldest given up first: a day's worth of a busy site, and some 20 MB.
const MAX_RECEIPTS: usize = 100_000;
/// What is given up for its age is told in this time after that.
const LAST_WORD: Duration = Duration::from_secs(300);
/// The owner numbers of notifications: the message they are about is followed under its number.
const NOTICES: u64 = 1 << 55;

/// All messages that are followed.
#[derive(Debug)]
pub(super) struct Receipts {
    by_id: BTreeMap<MessageId, Followed>,
    /// By sender, reader and what the sender calls it.
    by_name: HashMap<(Aor, Aor, Box<str>), MessageId, RandomState>,
    /// Notifications on their way, by the number of their owner.
    notices: HashMap<u64, (MessageId, Mark), RandomState>,
    last_notice: u64,
}

/// What a sender wants to hear of a message, and what he calls it; neither is empty.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) imdn_id: Box<str>,
    pub(super) marks: Marks,
}

impl Wish {
    pub(super) fn of(letter: &Letter) -> Option<Wish> {
        let is_one = letter.wants != Marks::NONE && !letter.imdn_id.is_empty();
        is_one.then(|| Wish {
            imdn_id: letter.imdn_id.clone(),
            marks: letter.wants,
        })
    }
}

#[derive(Debug)]
struct Followed {
    receipt: Receipt,
    /// On disk: its sender was told 200 or 202.
    is_kept: bool,
    /// What a notification was sent of in this run of the switch.
    sent: Marks,
}

impl Receipts {
    pub(super) fn new(hasher: &RandomState) -> Receipts {
        Receipts {
            by_id: BTreeMap::new(),
            by_name: HashMap::with_hasher(hasher.clone()),
            notices: HashMap::with_hasher(hasher.clone()),
            last_notice: 0,
        }
    }

    /// A message turns out to be one that came before and has that id.
    pub(super) fn rename(&mut self, core: &mut Core, from: MessageId, to: MessageId) {
        let Some(mut followed) = self.by_id.remove(&from) else {
            return;
        };
        self.by_name.insert(name(&followed.receipt), to);
        if followed.is_kept {
            core.store(StoreOp::DeleteReceipt(from));
        }
        // What is known of the first one counts.
        if self.by_id.contains_key(&to) {
            return;
        }
        followed.receipt.id = to;
        if followed.is_kept {
            core.store(StoreOp::PutReceipt(Box::new(followed.receipt.clone())));
        }
        self.by_id.insert(to, followed);
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn insert(&mut self, core: &mut Core, receipt: Receipt, is_kept: bool) {
        self.by_name.insert(name(&receipt), receipt.id);
        let sent = Marks::NONE;
        self.by_id.insert(receipt.id, Followed { receipt, is_kept, sent });
        if self.by_id.len() > MAX_RECEIPTS
            && let Some((&oldest, _)) = self.by_id.first_key_value()
        {
            self.remove(core, oldest);
        }
    }

    fn remove(&mut self, core: &mut Core, id: MessageId) {
        let Some(followed) = self.by_id.remove(&id) else { return };
        let name = name(&followed.receipt);
        // Another message may have come under the same name.
        if self.by_name.get(&name) == Some(&id) {
            self.by_name.remove(&name);
        }
        if followed.is_kept {
            core.store(StoreOp::DeleteReceipt(id));
        }
    }
}

impl Im {
    /// A message was taken in: if its sender wants to hear of it, it is followed.
    pub(super) fn follow(&mut self, cx: &mut Cx<'_>, letter: &Letter) {
        let Some(Wish { imdn_id, marks }) = Wish::of(letter) else {
            return;
        };
        let receipt = Receipt {
            id: letter.id,
            sender: letter.from.clone(),
            reader: letter.to.clone(),
            imdn_id,
            wants: marks.0,
            seen: 0,
            told: 0,
            accepted_at: letter.accepted_at,
            expires_at: letter.expires_at.max(letter.accepted_at + cx.core.config.im.keep),
        };
        self.receipts.insert(cx.core, receipt, false);
    }

    /// A text was said in a session by a phone that wants to hear what becomes of it: it is followed for each reader.
    pub(super) fn follow_text(&mut self, cx: &mut Cx<'_>, sender: &Aor, wish: &Wish, readers: Vec<Aor>) {
        for reader in readers {
            let id = self.next_id(cx.now.wall);
            let receipt = Receipt {
                id,
                sender: sender.clone(),
                reader,
                imdn_id: wish.imdn_id.clone(),
                wants: wish.marks.0,
                seen: 0,
                told: 0,
                accepted_at: cx.now.wall,
                expires_at: cx.now.wall + cx.core.config.im.keep,
            };
            self.receipts.insert(cx.core, receipt, false);
            self.keep_receipt(cx.core, id);
        }
    }

    /// The sender is told 200 or 202, or the message goes to the disk: from now on it is followed over a restart, too.
    pub(super) fn keep_receipt(&mut self, core: &mut Core, id: MessageId) {
        if let Some(followed) = self.receipts.by_id.get_mut(&id).filter(|followed| !followed.is_kept) {
            followed.is_kept = true;
            core.store(StoreOp::PutReceipt(Box::new(followed.receipt.clone())));
        }
    }

    /// The sender is told by his answer that nobody has it.
    pub(super) fn drop_receipt(&mut self, core: &mut Core, id: MessageId) {
        self.receipts.remove(core, id);
    }

    /// What was followed before the restart. What had happened and was not told is told now.
    pub(crate) fn restore_receipts(&mut self, cx: &mut Cx<'_>, all: Vec<Receipt>) {
        for receipt in all {
            if self.receipts.by_id.contains_key(&receipt.id) {
                continue;
            }
            let id = receipt.id;
            self.receipts.insert(cx.core, receipt, true);
            self.tell_sender(cx, id);
        }
    }

    /// Something happened to a message: those who watch hear it, and its sender, if he wants to. Once.
    pub(super) fn mark(&mut self, cx: &mut Cx<'_>, (id, from, to): (MessageId, &Aor, &Aor), mark: Mark) {
        let Some(followed) = self.receipts.by_id.get_mut(&id) else {
            return announce(cx, id, from, to, state(mark));
        };
        let seen = Marks(followed.receipt.seen);
        // Section 7.1.2: nobody has seen what nobody got.
        let more = match mark {
            Mark::Displayed => seen.with(Mark::Delivered).with(mark),
            _ => seen.with(mark),
        };
        if seen.has(mark) || mark == Mark::Failed && seen != Marks::NONE {
            return;
        }
        followed.receipt.seen = more.0;
        if followed.is_kept {
            cx.core.store(StoreOp::PutReceipt(Box::new(followed.receipt.clone())));
        }
        announce(cx, id, from, to, state(mark));
        self.tell_sender(cx, id);
    }

    /// It was given up for its age, or dropped.
    pub(super) fn mark_failed(&mut self, cx: &mut Cx<'_>, id: MessageId) {
        let followed = self.receipts.by_id.get(&id);
        let of = followed.map(|one| (one.receipt.sender.clone(), one.receipt.reader.clone()));
        if let Some((from, to)) = of {
            self.mark(cx, (id, &from, &to), Mark::Failed);
        }
    }

    /// A device of `reader` says what became of a message.
    pub(super) fn on_report(&mut self, cx: &mut Cx<'_>, reader: &Aor, sender: &Aor, report: &Report) {
        match report.mark {
            Some(mark) => self.mark_named(cx, reader, sender, &report.message_id, mark),
            None => tracing::debug!(%reader, %sender, "notification of no news"),
        }
    }

    /// Something happened to the message that `sender` calls so.
    pub(super) fn mark_named(&mut self, cx: &mut Cx<'_>, reader: &Aor, sender: &Aor, imdn_id: &str, mark: Mark) {
        let name = (sender.clone(), reader.clone(), imdn_id.into());
        match self.receipts.by_name.get(&name) {
            Some(&id) => self.mark(cx, (id, sender, reader), mark),
            None => tracing::debug!(%reader, %sender, "news of nothing that is followed"),
        }
    }

    /// Sends what has happened, is wanted and was not told.
    fn tell_sender(&mut self, cx: &mut Cx<'_>, id: MessageId) {
        let Some(followed) = self.receipts.by_id.get_mut(&id) else {
            return;
        };
        let receipt = followed.receipt.clone();
        let due = Marks(receipt.seen).both(Marks(receipt.wants));
        let due = due.without(Marks(receipt.told)).without(followed.sent);
        followed.sent = Marks(followed.sent.0 | due.0);
        for mark in MARKS.into_iter().filter(|mark| due.has(*mark)) {
            self.receipts.last_notice += 1;
            let number = NOTICES | self.receipts.last_notice;
            self.receipts.notices.insert(number, (id, mark));
            cx.core.tally.receipts_told += 1;
            let post = notice(cx.core, &receipt, mark, number);
            self.post(cx, post);
        }
        self.finish_receipt(cx.core, id);
    }

    /// What came of a notification.
    pub(crate) fn handle_outcome(&mut self, cx: &mut Cx<'_>, outcome: &Outcome) {
        let Some((_, number)) = Room::of(outcome.owner) else {
            return;
        };
        let is_told = match outcome.what {
            Fate::Delivered | Fate::Stored => true,
            // Nobody to tell: the store is full or off. It is not tried again before a restart.
            Fate::Failed { .. } => false,
            _ => return,
        };
        let Some((id, mark)) = self.receipts.notices.remove(&number) else {
            return;
        };
        if let Some(followed) = self.receipts.by_id.get_mut(&id).filter(|_| is_told) {
            followed.receipt.told = Marks(followed.receipt.told).with(mark).0;
            if followed.is_kept {
                cx.core.store(StoreOp::PutReceipt(Box::new(followed.receipt.clone())));
            }
        }
        self.finish_receipt(cx.core, id);
    }

    /// Nothing that the sender wants to hear can follow any more.
    fn finish_receipt(&mut self, core: &mut Core, id: MessageId) {
        let Some(followed) = self.receipts.by_id.get(&id) else {
            return;
        };
        let (wants, told) = (Marks(followed.receipt.wants), Marks(followed.receipt.told));
        let seen = Marks(followed.receipt.seen);
        // What failed will not be delivered, and what was delivered does not fail.
        let impossible = match (seen.has(Mark::Failed), seen.has(Mark::Delivered)) {
            (true, _) => Marks::NONE.with(Mark::Delivered).with(Mark::Displayed),
            (_, true) => Marks::NONE.with(Mark::Failed),
            _ => Marks::NONE,
        };
        if wants.without(told).without(impossible) == Marks::NONE {
            self.receipts.remove(core, id);
        }
    }

    /// Gives up what nobody will say anything about any more. It says nothing itself: what became of a message that the switch
    /// forgot when it died nobody knows.
    pub(super) fn expire_receipts(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now.wall;
        let all = self.receipts.by_id.iter();
        let old = all.filter(|(_, one)| one.receipt.expires_at + LAST_WORD <= now);
        let old: Vec<MessageId> = old.map(|(id, _)| *id).take(StoreOp::EXPIRED_AT_ONCE).collect();
        for id in old {
            self.receipts.remove(cx.core, id);
        }
    }
}

fn name(receipt: &Receipt) -> (Aor, Aor, Box<str>) {
    (receipt.sender.clone(), receipt.reader.clone(), receipt.imdn_id.clone())
}

fn state(mark: Mark) -> MessageState {
    match mark {
        Mark::Delivered => MessageState::Delivered,
        Mark::Displayed => MessageState::Displayed,
        Mark::Failed => MessageState::Failed,
    }
}

/// Tells those who watch.
pub(super) fn announce(cx: &mut Cx<'_>, id: MessageId, from: &Aor, to: &Aor, state: MessageState) {
    cx.core.announce(|| Event::MessageChanged {
        id,
        from: from.clone(),
        to: to.clone(),
        state,
    });
}

/// The notification (section 7.2.1.1), from the reader in an envelope. Its Call-ID is made of the message's, so that it is
/// known for the same when it comes again after a crash.
fn notice(core: &mut Core, receipt: &Receipt, mark: Mark, number: u64) -> Post {
    let date = rfc3339(receipt.accepted_at);
    let xml = imdn::write(&receipt.imdn_id, &date, &aor_uri(&receipt.reader), mark);
    let body = Cpim {
        from: Some(format!("<{}>", aor_uri(&receipt.reader)).into()),
        to: Some(format!("<{}>", aor_uri(&receipt.sender)).into()),
        date: Some(date.into()),
        message_id: Some(format!("{}-{}", receipt.id, mark.wish()).into()),
        content_type: Some(imdn::MEDIA_TYPE.into()),
        is_notification: true,
        body: xml.as_bytes(),
        ..Cpim::default()
    };
    Post {
        from: receipt.reader.clone(),
        from_display: "".into(),
        to: receipt.sender.clone(),
        content_type: cpim::MEDIA_TYPE.into(),
        body: body.write(),
        guise: Some(Guise {
            call_id: format!("{}-{}@{}", receipt.id, mark.wish(), receipt.reader.domain()).into(),
            cseq: 1,
            tag: core.endpoint.new_tag().to_string().into(),
            headers: Headers::new(),
        }),
        keeps: true,
        text: None,
        owner: Some(Room::Im.owner(number)),
    }
}
