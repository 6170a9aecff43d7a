//! What every backend must do. Each test here runs against each of them.

use crate::backend::Backend;
use crate::location::Location;
use crate::memory::Shared;
use crate::samples::{
    aor, append, binding, cdr, close, consult, delete_binding, load, message, put_binding, put_cdr, put_said, said,
    session, subscription,
};
use crate::{CdrQuery, Reader, TranscriptQuery};
use clock::Wall;
use model::{
    Aor, Binding, BindingKey, Cdr, Direction, EndReason, EndedBy, InteractionId, KeptSession, LegId, MessageId,
    RecordingRow, SessionId, StoreError, StoreOp, StoreReply, StoredMessage, UserSettings,
};
use model::{KnownDevice, Receipt, WaitingMessage};

/// One backend, and the way to read beside it.
struct Subject {
    backend: Box<dyn Backend>,
    location: Location,
    memory: Shared,
    _directory: Option<tempfile::TempDir>,
}

impl Subject {
    fn memory() -> Subject {
        Subject::at(Location::Memory, None)
    }

    fn sqlite() -> Subject {
        let directory = tempfile::tempdir().unwrap();
        Subject::at(Location::Sqlite(directory.path().join("test.db")), Some(directory))
    }

    fn at(location: Location, directory: Option<tempfile::TempDir>) -> Subject {
        let memory = Shared::default();
        let backend = location.open(&memory).unwrap();
        Subject {
            backend,
            location,
            memory,
            _directory: directory,
        }
    }

    /// Carries out `ops` in one transaction.
    fn run(&mut self, ops: &[StoreOp]) -> Vec<StoreReply> {
        self.backend.transact(ops, &mut || Ok(())).unwrap()
    }

    fn ask(&mut self, op: StoreOp) -> StoreReply {
        self.run(&[op]).remove(0)
    }

    /// Carries out `ops` in a transaction whose commit fails.
    fn run_in_vain(&mut self, ops: &[StoreOp], why: StoreError) {
        assert_eq!(self.backend.transact(ops, &mut || Err(why)), Err(why));
    }

    fn reader(&self) -> Reader {
        self.location.reader(&self.memory).unwrap()
    }

    fn bindings(&mut self) -> Vec<Binding> {
        match self.ask(StoreOp::LoadBindings) {
            StoreReply::Bindings(all) => all,
            other => panic!("{other:?}"),
        }
    }

    fn messages(&mut self, op: StoreOp) -> Vec<StoredMessage> {
        match self.ask(op) {
            StoreReply::Messages(all) => all,
            other => panic!("{other:?}"),
        }
    }

    fn waiting(&mut self) -> (Vec<(Aor, u64)>, u64) {
        match self.ask(StoreOp::CountMessages) {
            StoreReply::Waiting { per_user, last_id } => (per_user, last_id.0),
            other => panic!("{other:?}"),
        }
    }
}

macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[test] fn $test() { super::$test(super::Subject::memory()); })+
        }
        mod sqlite {
            $(#[test] fn $test() { super::$test(super::Subject::sqlite()); })+
        }
    };
}

suite! {
    an_empty_store_answers_every_question,
    a_binding_is_read_back_as_it_was_put,
    a_binding_replaces_the_one_of_the_same_aor_and_key,
    bindings_come_by_aor_and_age,
    a_deleted_binding_is_gone_and_none_is_no_error,
    a_message_is_read_back_as_it_was_appended,
    messages_come_in_rising_order_for_their_target_only,
    messages_come_in_pages,
    the_same_message_twice_is_kept_once,
    the_same_message_for_two_targets_is_kept_for_both,
    an_id_given_twice_is_refused_and_the_others_of_the_batch_stay,
    an_id_that_no_backend_can_order_is_refused,
    a_deleted_message_is_gone_but_known_until_retries_end,
    a_message_is_for_each_device_that_is_owed_it,
    a_device_that_will_not_have_a_message_is_owed_it_no_more,
    a_device_that_is_forgotten_is_owed_nothing,
    devices_are_read_back_replaced_and_removed,
    receipts_are_read_back_replaced_and_removed,
    texts_of_a_conversation_are_forgotten_up_to_one_of_them,
    messages_expire_at_their_time,
    expiry_names_a_bounded_number_the_oldest_first,
    messages_are_dropped_one_or_all_but_some_and_stay_known,
    what_waits_for_somebody_is_listed_without_its_text,
    the_highest_id_outlives_its_message,
    counts_messages_per_target,
    a_record_is_read_back_as_it_was_put,
    a_recording_is_read_back_as_it_was_put_last_until_it_is_too_old,
    the_same_leg_twice_is_recorded_once,
    legs_that_were_up_when_the_switch_died_get_their_records_once,
    calls_that_are_passed_on_are_recorded_when_somebody_hangs_up_or_nobody_ever_does,
    records_are_forgotten_at_their_time,
    records_come_latest_first_in_pages,
    the_records_of_one_call_come_in_their_order,
    records_are_found_by_call_user_and_time,
    records_are_read_on_from_a_number,
    what_a_user_set_is_read_back_and_replaced,
    a_subscription_is_read_back_replaced_and_removed,
    a_question_sees_what_the_same_batch_wrote,
    a_failed_commit_leaves_nothing,
    a_failed_commit_takes_back_changes_of_old_rows,
    works_again_after_a_failed_commit,
    a_reader_sees_what_is_committed,
    hostile_text_is_only_text,
    an_open_session_is_read_back_with_what_was_said_in_order,
    a_closed_session_is_a_record_and_its_text_only_where_it_is_kept,
    records_of_sessions_are_found_by_who_when_and_what_was_said,
    consultations_are_found_by_their_interaction_and_in_nobodys_records,
    an_erased_session_is_gone_and_so_are_those_that_are_too_old,
    what_is_done_to_sessions_in_vain_is_undone
}

fn an_empty_store_answers_every_question(mut s: Subject) {
    assert_eq!(s.bindings(), []);
    assert_eq!(s.messages(load("bob")), []);
    assert_eq!(s.waiting(), (vec![], 0));
    assert_eq!(
        s.ask(StoreOp::ExpireMessages(Wall(i64::MAX))),
        StoreReply::Expired(vec![])
    );
    assert_eq!(s.reader().cdrs(10, None).unwrap(), []);
    assert_eq!(s.reader().messages_waiting(), Ok(0));
    assert_eq!(s.run(&[]), []);
}

fn a_binding_is_read_back_as_it_was_put(mut s: Subject) {
    assert_eq!(s.ask(put_binding("alice", 4_294_967_295)), StoreReply::Done);
    assert_eq!(s.bindings(), [binding("alice", 4_294_967_295)]);
}

fn a_binding_replaces_the_one_of_the_same_aor_and_key(mut s: Subject) {
    let other_key = Binding {
        key: BindingKey("sip:other".into()),
        ..binding("alice", 7)
    };
    s.run(&[
        put_binding("alice", 1),
        StoreOp::PutBinding(Box::new(other_key.clone())),
        put_binding("alice", 2),
    ]);
    assert_eq!(s.bindings(), [binding("alice", 2), other_key]);
}

fn bindings_come_by_aor_and_age(mut s: Subject) {
    let made = |user: &str, key: &str, at| Binding {
        key: BindingKey(key.into()),
        created_at: Wall(at),
        ..binding(user, 1)
    };
    let all = [
        made("alice", "z", 1),
        made("alice", "m", 2),
        made("alice", "a", 3),
        made("bob", "a", 0),
    ];
    for at in [3, 1, 0, 2] {
        s.ask(StoreOp::PutBinding(Box::new(all[at].clone())));
    }
    assert_eq!(s.bindings(), all);
}

fn a_deleted_binding_is_gone_and_none_is_no_error(mut s: Subject) {
    s.run(&[put_binding("alice", 1), put_binding("bob", 1)]);
    assert_eq!(s.ask(delete_binding("alice")), StoreReply::Done);
    assert_eq!(s.ask(delete_binding("alice")), StoreReply::Done);
    assert_eq!(s.bindings(), [binding("bob", 1)]);
}

fn a_message_is_read_back_as_it_was_appended(mut s: Subject) {
    let odd = StoredMessage {
        body: (0..=255).collect(),
        from_display: "".into(),
        cseq: u32::MAX,
        ..message(2)
    };
    assert_eq!(s.ask(append(1)), StoreReply::Done);
    assert_eq!(s.ask(StoreOp::AppendMessage(Box::new(odd.clone()))), StoreReply::Done);
    assert_eq!(s.messages(load("bob")), [message(1), odd]);
}

fn messages_come_in_rising_order_for_their_target_only(mut s: Subject) {
    let for_carol = StoredMessage {
        to: aor("carol"),
        ..message(3)
    };
    s.run(&[
        append(5),
        append(1),
        StoreOp::AppendMessage(Box::new(for_carol.clone())),
        append(4),
    ]);
    assert_eq!(s.messages(load("bob")), [message(1), message(4), message(5)]);
    assert_eq!(s.messages(load("carol")), [for_carol]);
    assert_eq!(s.messages(load("bo")), []);
}

fn messages_come_in_pages(mut s: Subject) {
    s.run(&(1..=7).map(append).collect::<Vec<_>>());
    let page = |after, limit| StoreOp::LoadMessages {
        to: aor("bob"),
        device: "".into(),
        after: MessageId(after),
        limit,
    };
    assert_eq!(s.messages(page(0, 3)), [message(1), message(2), message(3)]);
    assert_eq!(s.messages(page(3, 3)), [message(4), message(5), message(6)]);
    assert_eq!(s.messages(page(6, 3)), [message(7)]);
    assert_eq!(s.messages(page(7, 3)), []);
    assert_eq!(s.messages(page(0, 0)), []);
    assert_eq!(s.messages(page(u64::MAX, 3)), []);
}

fn the_same_message_twice_is_kept_once(mut s: Subject) {
    s.ask(append(1));
    let retry = StoredMessage {
        id: MessageId(2),
        body: b"again".to_vec(),
        ..message(1)
    };
    let known = StoreReply::Known(Some(MessageId(1)));
    assert_eq!(s.ask(StoreOp::AppendMessage(Box::new(retry))), known);
    assert_eq!(s.ask(append(1)), known);
    assert_eq!(s.messages(load("bob")), [message(1)]);
    let next = StoredMessage {
        id: MessageId(3),
        cseq: 2,
        ..message(1)
    };
    s.ask(StoreOp::AppendMessage(Box::new(next.clone())));
    assert_eq!(s.messages(load("bob")), [message(1), next]);
}

fn the_same_message_for_two_targets_is_kept_for_both(mut s: Subject) {
    let copy = StoredMessage {
        id: MessageId(2),
        to: aor("carol"),
        ..message(1)
    };
    s.run(&[append(1), StoreOp::AppendMessage(Box::new(copy.clone()))]);
    assert_eq!(s.messages(load("bob")), [message(1)]);
    assert_eq!(s.messages(load("carol")), [copy]);
}

fn an_id_given_twice_is_refused_and_the_others_of_the_batch_stay(mut s: Subject) {
    let other = StoreOp::AppendMessage(Box::new(StoredMessage {
        call_id: "another".into(),
        ..message(1)
    }));
    let replies = s.run(&[append(1), other, append(2)]);
    assert_eq!(
        replies,
        [
            StoreReply::Done,
            StoreReply::Failed(StoreError::Conflict),
            StoreReply::Done
        ]
    );
    assert_eq!(s.messages(load("bob")), [message(1), message(2)]);
}

fn an_id_that_no_backend_can_order_is_refused(mut s: Subject) {
    assert_eq!(s.ask(append(u64::MAX)), StoreReply::Failed(StoreError::Conflict));
    assert_eq!(s.ask(append(i64::MAX as u64)), StoreReply::Done);
    assert_eq!(s.waiting().1, i64::MAX as u64);
}

fn a_deleted_message_is_gone_but_known_until_retries_end(mut s: Subject) {
    s.run(&[append(1), append(2)]);
    assert_eq!(s.ask(StoreOp::DeleteMessage(MessageId(1))), StoreReply::Done);
    assert_eq!(s.ask(StoreOp::DeleteMessage(MessageId(1))), StoreReply::Done);
    assert_eq!(s.ask(StoreOp::DeleteMessage(MessageId(99))), StoreReply::Done);
    assert_eq!(s.messages(load("bob")), [message(2)]);

    let retry = || {
        StoreOp::AppendMessage(Box::new(StoredMessage {
            id: MessageId(3),
            ..message(1)
        }))
    };
    let retries_end = message(1).accepted_at + StoreOp::RETRY_WINDOW;
    s.ask(StoreOp::ExpireMessages(Wall(retries_end.0 - 1)));
    assert_eq!(s.ask(retry()), StoreReply::Known(None));
    assert_eq!(s.messages(load("bob")), [message(2)]);
    assert_eq!(s.ask(StoreOp::ExpireMessages(retries_end)), StoreReply::Expired(vec![]));
    assert_eq!(s.ask(retry()), StoreReply::Done);
    assert_eq!(s.messages(load("bob")).len(), 2);
}

/// A message that these devices are to get.
fn owed(id: u64, devices: &[&str]) -> StoredMessage {
    StoredMessage {
        owed: devices.iter().map(|device| (*device).into()).collect(),
        imdn_id: "their-own".into(),
        wants: 7,
        ..message(id)
    }
}

fn put_owed(id: u64, devices: &[&str]) -> StoreOp {
    StoreOp::AppendMessage(Box::new(owed(id, devices)))
}

fn take(id: u64, device: &str) -> StoreOp {
    StoreOp::TakeMessage {
        id: MessageId(id),
        device: device.into(),
        has_it: true,
    }
}

fn refuse(id: u64, device: &str) -> StoreOp {
    StoreOp::TakeMessage {
        id: MessageId(id),
        device: device.into(),
        has_it: false,
    }
}

fn ids_for(s: &mut Subject, device: &str) -> Vec<u64> {
    let load = StoreOp::LoadMessages {
        to: aor("bob"),
        device: device.into(),
        after: MessageId(0),
        limit: 100,
    };
    s.messages(load).iter().map(|message| message.id.0).collect()
}

fn a_message_is_for_each_device_that_is_owed_it(mut s: Subject) {
    s.run(&[put_owed(1, &["desk", "soft"]), put_owed(2, &["soft"]), append(3)]);
    let load = StoreOp::LoadMessages {
        to: aor("bob"),
        device: "soft".into(),
        after: MessageId(0),
        limit: 1,
    };
    assert_eq!(s.messages(load), [owed(1, &["desk", "soft"])]);
    for device in ["", "desk", "soft", "new"] {
        assert_eq!(ids_for(&mut s, device), [1, 2, 3], "nobody has any: {device}");
    }
    assert_eq!(s.ask(take(1, "new")), StoreReply::Left(2));
    s.run_in_vain(&[take(1, "desk"), take(1, "soft")], StoreError::Io);
    assert_eq!(s.ask(take(2, "soft")), StoreReply::Left(0));
    assert_eq!(ids_for(&mut s, "desk"), [1, 3]);
    assert_eq!(ids_for(&mut s, "soft"), [1, 3]);
    assert_eq!(ids_for(&mut s, ""), [3]);
    assert_eq!(
        s.run(&[take(1, "soft"), take(1, "soft")]),
        [StoreReply::Left(1), StoreReply::Left(1)]
    );
    assert_eq!(
        (ids_for(&mut s, "soft"), ids_for(&mut s, "desk")),
        (vec![3], vec![1, 3])
    );
    assert_eq!(s.waiting().0, [(aor("bob"), 2)]);
    assert_eq!(
        s.run(&[take(1, "desk"), take(1, "desk"), take(99, "desk")]),
        [StoreReply::Left(0), StoreReply::Left(0), StoreReply::Left(0)]
    );
    assert_eq!(s.waiting().0, [(aor("bob"), 1)]);
    s.run(&[put_owed(4, &["desk"]), StoreOp::DeleteMessage(MessageId(4))]);
    assert_eq!(ids_for(&mut s, "desk"), [3]);
}

fn a_device_that_will_not_have_a_message_is_owed_it_no_more(mut s: Subject) {
    s.run(&[put_owed(1, &["desk", "soft"]), put_owed(2, &["desk"])]);
    s.run_in_vain(&[refuse(1, "desk")], StoreError::Io);
    assert_eq!(s.ask(refuse(1, "desk")), StoreReply::Left(2), "soft, and nobody has it");
    assert_eq!(s.ask(refuse(1, "soft")), StoreReply::Left(1));
    assert_eq!(ids_for(&mut s, "new"), [1, 2], "it waits for another one");
    assert_eq!(s.ask(take(1, "new")), StoreReply::Left(0));
    assert_eq!(s.ask(take(2, "new")), StoreReply::Left(1));
    assert_eq!(s.ask(refuse(2, "desk")), StoreReply::Left(0));
    assert_eq!(s.ask(refuse(99, "desk")), StoreReply::Left(0));
    assert_eq!(s.waiting().0, []);
}

fn a_device_that_is_forgotten_is_owed_nothing(mut s: Subject) {
    let known = KnownDevice {
        aor: aor("bob"),
        key: "desk".into(),
        seen_at: Wall(1),
        takes: 0,
    };
    let forget = |user: &str| StoreOp::ForgetDevice {
        aor: aor(user),
        key: "desk".into(),
    };
    s.run(&[
        StoreOp::PutDevice(Box::new(known.clone())),
        put_owed(1, &["desk", "soft"]),
        put_owed(2, &["desk"]),
        put_owed(3, &["desk"]),
        take(1, "new"),
        take(2, "new"),
    ]);
    assert_eq!(s.ask(forget("carol")), StoreReply::Expired(vec![]));
    s.run_in_vain(&[forget("bob")], StoreError::Full);
    assert_eq!(ids_for(&mut s, "desk"), [1, 2, 3]);
    assert_eq!(
        s.ask(forget("bob")),
        StoreReply::Expired(vec![(MessageId(2), aor("bob"))])
    );
    assert_eq!(s.ask(StoreOp::LoadDevices), StoreReply::Devices(vec![]));
    assert_eq!(ids_for(&mut s, "soft"), [1, 3]);
    assert_eq!(ids_for(&mut s, "desk"), [3], "nobody has it yet");
}

fn devices_are_read_back_replaced_and_removed(mut s: Subject) {
    let device = |user: &str, key: &str, takes| KnownDevice {
        aor: aor(user),
        key: key.into(),
        seen_at: Wall(1_700_000_000_000),
        takes,
    };
    let put = |one: KnownDevice| StoreOp::PutDevice(Box::new(one));
    s.run(&[
        put(device("bob", "b", 1)),
        put(device("bob", "a", 2)),
        put(device("alice", "z", 3)),
        put(device("bob", "b", u32::MAX)),
    ]);
    s.run_in_vain(&[put(device("bob", "c", 1))], StoreError::Io);
    let all = vec![
        device("alice", "z", 3),
        device("bob", "a", 2),
        device("bob", "b", u32::MAX),
    ];
    assert_eq!(s.ask(StoreOp::LoadDevices), StoreReply::Devices(all));
}

fn receipts_are_read_back_replaced_and_removed(mut s: Subject) {
    let receipt = |id, told| Receipt {
        id: MessageId(id),
        sender: aor("alice"),
        reader: aor("bob"),
        imdn_id: "their-own".into(),
        wants: 7,
        seen: 3,
        told,
        accepted_at: Wall(1_700_000_000_000),
        expires_at: Wall(1_700_000_600_000),
    };
    let put = |id, told| StoreOp::PutReceipt(Box::new(receipt(id, told)));
    s.run(&[
        put(2, 0),
        put(1, 0),
        put(2, 1),
        put(3, 0),
        StoreOp::DeleteReceipt(MessageId(3)),
    ]);
    s.run_in_vain(&[StoreOp::DeleteReceipt(MessageId(1)), put(4, 0)], StoreError::Io);
    assert_eq!(s.ask(StoreOp::DeleteReceipt(MessageId(9))), StoreReply::Done);
    assert_eq!(
        s.ask(StoreOp::LoadReceipts),
        StoreReply::Receipts(vec![receipt(1, 0), receipt(2, 1)])
    );
}

fn texts_of_a_conversation_are_forgotten_up_to_one_of_them(mut s: Subject) {
    let text = |id, call_id: &str, cseq| {
        StoreOp::AppendMessage(Box::new(StoredMessage {
            call_id: call_id.into(),
            cseq,
            ..message(id)
        }))
    };
    let for_kate = StoreOp::AppendMessage(Box::new(StoredMessage {
        to: aor("kate"),
        call_id: "talk".into(),
        cseq: 1,
        ..message(9)
    }));
    let said = [
        text(1, "talk", 256),
        text(2, "other", 256),
        text(3, "talk", 512),
        text(4, "talk", 768),
    ];
    s.run(&said);
    s.run(&[for_kate]);
    let forget = |until| StoreOp::ForgetTexts {
        to: aor("bob"),
        call_id: "talk".into(),
        until,
    };
    let gone = |ids: &[u64]| StoreReply::Expired(ids.iter().map(|id| (MessageId(*id), aor("bob"))).collect());
    s.run_in_vain(&[forget(512)], StoreError::Full);
    assert_eq!(s.ask(forget(512)), gone(&[1, 3]));
    assert_eq!(s.ask(forget(512)), gone(&[]));
    assert_eq!(s.waiting(), (vec![(aor("bob"), 2), (aor("kate"), 1)], 9));
    // Who sends it again after a restart does not bring it back.
    s.run(&said[..1]);
    assert_eq!(ids_for(&mut s, "desk"), [2, 4]);
}

fn messages_expire_at_their_time(mut s: Subject) {
    let until = |id, at| {
        StoreOp::AppendMessage(Box::new(StoredMessage {
            expires_at: Wall(message(1).accepted_at.0 + at),
            ..message(id)
        }))
    };
    s.run(&[until(1, 2_000), until(2, 1_000), until(3, 3_000)]);
    let at = |at| StoreOp::ExpireMessages(Wall(message(1).accepted_at.0 + at));
    assert_eq!(s.ask(at(999)), StoreReply::Expired(vec![]));
    assert_eq!(
        s.ask(at(2_000)),
        StoreReply::Expired(vec![(MessageId(1), aor("bob")), (MessageId(2), aor("bob"))])
    );
    assert_eq!(s.ask(at(2_000)), StoreReply::Expired(vec![]));
    assert_eq!(s.waiting(), (vec![(aor("bob"), 1)], 3));
}

fn expiry_names_a_bounded_number_the_oldest_first(mut s: Subject) {
    let count = StoreOp::EXPIRED_AT_ONCE as u64 + 1;
    let old = |id: u64| StoredMessage {
        expires_at: Wall(10_000 - id as i64),
        ..message(id)
    };
    s.run(
        &(1..=count)
            .map(|id| StoreOp::AppendMessage(Box::new(old(id))))
            .collect::<Vec<_>>(),
    );
    let expired = |from: u64, to: u64| StoreReply::Expired((from..=to).map(|id| (MessageId(id), aor("bob"))).collect());
    assert_eq!(s.ask(StoreOp::ExpireMessages(Wall(10_000))), expired(2, count));
    assert_eq!(s.ask(StoreOp::ExpireMessages(Wall(10_000))), expired(1, 1));
}

fn drop_for(user: &str, id: Option<u64>, except: &[u64]) -> StoreOp {
    StoreOp::DropMessages {
        to: aor(user),
        id: id.map(MessageId),
        except: except.iter().copied().map(MessageId).collect(),
    }
}

fn messages_are_dropped_one_or_all_but_some_and_stay_known(mut s: Subject) {
    let for_kate = StoreOp::AppendMessage(Box::new(StoredMessage {
        to: aor("kate"),
        ..message(9)
    }));
    s.run(&[append(1), append(2), put_owed(3, &["desk"]), append(4), for_kate]);
    let gone = |ids: &[u64]| StoreReply::Expired(ids.iter().map(|id| (MessageId(*id), aor("bob"))).collect());
    assert_eq!(s.ask(drop_for("bob", Some(9), &[])), gone(&[]), "another's");
    assert_eq!(s.ask(drop_for("bob", Some(2), &[])), gone(&[2]));
    assert_eq!(s.ask(drop_for("bob", Some(2), &[])), gone(&[]));
    assert_eq!(s.ask(drop_for("bob", None, &[4])), gone(&[1, 3]));
    assert_eq!(s.waiting(), (vec![(aor("bob"), 1), (aor("kate"), 1)], 9));
    assert_eq!(ids_for(&mut s, "desk"), [4]);
    // Who sends it again after a restart does not bring it back.
    s.run(&[append(1), append(2)]);
    assert_eq!(ids_for(&mut s, "desk"), [4]);
    let count = StoreOp::EXPIRED_AT_ONCE as u64 + 1;
    s.run(&(11..11 + count).map(append).collect::<Vec<_>>());
    let first: Vec<u64> = (11..10 + count).collect();
    assert_eq!(s.ask(drop_for("bob", None, &[4])), gone(&first));
    assert_eq!(s.ask(drop_for("bob", None, &[])), gone(&[4, 10 + count]));
}

fn what_waits_for_somebody_is_listed_without_its_text(mut s: Subject) {
    let taken = StoreOp::AppendMessage(Box::new(StoredMessage {
        is_taken: true,
        ..owed(2, &["desk", "car"])
    }));
    s.run(&[append(1), taken, append(3), StoreOp::DeleteMessage(MessageId(3))]);
    let rows = s.reader().waiting_of(&aor("bob"), MessageId(0), 10).unwrap();
    let first = WaitingMessage {
        id: MessageId(1),
        from: aor("alice"),
        accepted_at: message(1).accepted_at,
        expires_at: message(1).expires_at,
        content_type: message(1).content_type,
        bytes: message(1).body.len() as u64,
        is_taken: false,
        owed: Vec::new(),
    };
    let second = WaitingMessage {
        id: MessageId(2),
        is_taken: true,
        owed: vec!["car".into(), "desk".into()],
        ..first.clone()
    };
    assert_eq!(rows, [first, second.clone()]);
    let page = |after, limit| s.reader().waiting_of(&aor("bob"), MessageId(after), limit).unwrap();
    assert_eq!((page(1, 10), page(0, 1).len()), (vec![second], 1));
    assert_eq!(s.reader().waiting_of(&aor("kate"), MessageId(0), 10), Ok(Vec::new()));
}

fn the_highest_id_outlives_its_message(mut s: Subject) {
    s.run(&[append(7), append(9), append(8), StoreOp::DeleteMessage(MessageId(9))]);
    s.ask(StoreOp::ExpireMessages(Wall(i64::MAX)));
    assert_eq!(s.waiting(), (vec![], 9));
}

fn counts_messages_per_target(mut s: Subject) {
    let to = |user: &str, id| {
        StoreOp::AppendMessage(Box::new(StoredMessage {
            to: aor(user),
            ..message(id)
        }))
    };
    s.run(&[
        to("carol", 1),
        to("bob", 2),
        to("carol", 3),
        to("alice", 4),
        StoreOp::DeleteMessage(MessageId(4)),
    ]);
    assert_eq!(s.waiting(), (vec![(aor("bob"), 1), (aor("carol"), 2)], 4));
    assert_eq!(s.reader().messages_waiting(), Ok(3));
    assert_eq!(
        s.reader().waiting_by_user(),
        Ok(vec![(aor("bob"), 1), (aor("carol"), 2)])
    );
}

fn a_recording_is_read_back_as_it_was_put_last_until_it_is_too_old(mut s: Subject) {
    let begun = |name: &str, call, at| RecordingRow {
        name: name.into(),
        interaction: InteractionId(call),
        started_at: Wall(at),
        ended_at: None,
        length_ms: 0,
        missing_ms: 0,
        bytes: 0,
        error: None,
    };
    let put = |row: &RecordingRow| StoreOp::PutRecording(Box::new(row.clone()));
    let rows = [
        begun("a", u64::MAX, 1_000),
        begun("b", 7, 2_000),
        begun("c", u64::MAX, 3_000),
    ];
    s.run(&rows.each_ref().map(put));
    let ended = RecordingRow {
        ended_at: Some(Wall(5_000)),
        length_ms: 4_000,
        missing_ms: 20,
        bytes: 64_044,
        error: Some("no space left".into()),
        ..begun("a", u64::MAX, 1_000)
    };
    s.run_in_vain(&[put(&ended)], StoreError::Io);
    assert_eq!(
        s.reader().recordings_of(InteractionId(u64::MAX)),
        Ok(vec![rows[0].clone(), rows[2].clone()])
    );
    s.run(&[put(&ended)]);
    assert_eq!(s.reader().recordings(2), Ok(vec![rows[2].clone(), rows[1].clone()]));
    assert_eq!(s.reader().recordings(9).unwrap()[2], ended);
    s.run_in_vain(&[StoreOp::ExpireCdrs(Wall(2_000))], StoreError::Io);
    assert_eq!(s.reader().recordings(9).unwrap().len(), 3);
    s.ask(StoreOp::ExpireCdrs(Wall(2_000)));
    assert_eq!(s.reader().recordings(9), Ok(vec![rows[2].clone()]));
}

fn a_record_is_read_back_as_it_was_put(mut s: Subject) {
    let outside = Cdr {
        user: None,
        direction: Direction::Out,
        ringing_at: None,
        answered_at: Some(Wall(1_700_000_000_200)),
        ended_by: EndedBy::Peer,
        reason: EndReason::Normal,
        ..cdr(u64::MAX)
    };
    s.run(&[put_cdr(1), StoreOp::PutCdr(Box::new(outside.clone()))]);
    let rows = s.reader().cdrs(10, None).unwrap();
    assert_eq!(
        rows.into_iter().map(|row| row.cdr).collect::<Vec<_>>(),
        [outside, cdr(1)]
    );
}

fn the_same_leg_twice_is_recorded_once(mut s: Subject) {
    let again = Cdr { status: 200, ..cdr(1) };
    let replies = s.run(&[put_cdr(1), StoreOp::PutCdr(Box::new(again))]);
    assert_eq!(replies, [StoreReply::Done, StoreReply::Done]);
    assert_eq!(s.ask(put_cdr(1)), StoreReply::Done);
    let rows = s.reader().cdrs(10, None).unwrap();
    assert_eq!(rows.into_iter().map(|row| row.cdr).collect::<Vec<_>>(), [cdr(1)]);
}

fn legs_that_were_up_when_the_switch_died_get_their_records_once(mut s: Subject) {
    let at = Wall(1_700_000_077_000);
    let open = |leg| {
        StoreOp::OpenCdr(Box::new(Cdr {
            codec: "".into(),
            reason: EndReason::Restart,
            ..cdr(leg)
        }))
    };
    // The second ended in time, the third was told of twice.
    s.run(&[open(1), open(2), open(3), open(3), put_cdr(2)]);
    assert_eq!(s.reader().cdrs(10, None).unwrap().len(), 1);
    for _ in 0..2 {
        s.run(&[StoreOp::CloseOpenCdrs(at)]);
        let rows = s.reader().cdrs(10, None).unwrap();
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.cdr.leg.0, row.cdr.reason, row.cdr.packets))
            .collect();
        let nothing = (0, 0, 0);
        let expected = [
            (3, EndReason::Restart, nothing),
            (1, EndReason::Restart, nothing),
            (2, cdr(2).reason, cdr(2).packets),
        ];
        assert_eq!(told, expected);
        assert_eq!((rows[0].cdr.ended_at, &rows[0].cdr.caller), (at, &cdr(3).caller));
    }
    // Whose record comes late has it already.
    s.run(&[put_cdr(1)]);
    assert_eq!(s.reader().cdrs(10, None).unwrap().len(), 3);
}

fn calls_that_are_passed_on_are_recorded_when_somebody_hangs_up_or_nobody_ever_does(mut s: Subject) {
    let passed = |leg, answered_at| {
        StoreOp::OpenCdr(Box::new(Cdr {
            codec: "".into(),
            reason: EndReason::SignallingTimeout,
            answered_at: Some(Wall(answered_at)),
            ..cdr(leg)
        }))
    };
    let (end, by) = (Wall(1_700_000_077_000), EndedBy::Other);
    let at_end = |leg| StoreOp::EndCdr {
        leg: LegId(leg),
        at: end,
        by,
    };
    s.run(&[passed(1, 1_000), passed(2, 2_000), passed(3, 3_000)]);
    s.run(&[StoreOp::CloseOpenCdrs(Wall(5_000))]);
    assert_eq!(
        s.reader().cdrs(10, None).unwrap().len(),
        0,
        "they go on without the switch"
    );
    // Said twice, and of a leg that nobody knows.
    s.run(&[at_end(2), at_end(2), at_end(9)]);
    let rows = s.reader().cdrs(10, None).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.cdr.leg.0, row.cdr.reason, row.cdr.ended_at, row.cdr.ended_by))
        .collect();
    assert_eq!(told, [(2, EndReason::Normal, end, by)]);
    assert_eq!(rows[0].cdr.answered_at, Some(Wall(2_000)));
    let give_up = StoreOp::GiveUpCdrs {
        answered_until: Wall(1_000),
        at: Wall(9_000),
    };
    s.run(&[give_up.clone(), give_up, at_end(1)]);
    let rows = s.reader().cdrs(10, None).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.cdr.leg.0, row.cdr.reason, row.cdr.ended_at))
        .collect();
    assert_eq!(told[0], (1, EndReason::SignallingTimeout, Wall(9_000)));
    assert_eq!(told.len(), 2, "the third is still up");
    s.run(&[at_end(3)]);
    assert_eq!(s.reader().cdrs(10, None).unwrap()[0].cdr.leg, LegId(3));
}

fn records_are_forgotten_at_their_time(mut s: Subject) {
    let ended = |leg, at| match put_cdr(leg) {
        StoreOp::PutCdr(cdr) => StoreOp::PutCdr(Box::new(model::Cdr {
            ended_at: Wall(at),
            ..*cdr
        })),
        _ => unreachable!(),
    };
    s.run(&[ended(1, 1_000), ended(2, 2_000), ended(3, 3_000)]);
    let legs = |s: &Subject| -> Vec<u64> {
        let rows = s.reader().cdrs(10, None).unwrap();
        rows.iter().map(|row| row.cdr.leg.0).collect()
    };
    assert_eq!(s.ask(StoreOp::ExpireCdrs(Wall(999))), StoreReply::Done);
    assert_eq!(legs(&s), [3, 2, 1]);
    s.run_in_vain(&[StoreOp::ExpireCdrs(Wall(2_000))], StoreError::Io);
    assert_eq!(legs(&s), [3, 2, 1]);
    s.ask(StoreOp::ExpireCdrs(Wall(2_000)));
    assert_eq!(legs(&s), [3]);
    s.run(&[ended(4, 4_000)]);
    assert_eq!(legs(&s), [4, 3]);
    s.ask(StoreOp::ExpireCdrs(Wall(9_000)));
    assert_eq!(legs(&s), [4], "numbers go on from the last one");
    s.run(&[ended(5, 5_000)]);
    assert_eq!(s.reader().cdrs_after(4, 9).unwrap().len(), 1);
}

fn records_come_latest_first_in_pages(mut s: Subject) {
    let legs = [30, 10, 50, 20, 40];
    s.run(&legs.map(put_cdr));
    let mut reader = s.reader();
    let first = reader.cdrs(2, None).unwrap();
    let second = reader.cdrs(2, Some(first[1].seq)).unwrap();
    let third = reader.cdrs(2, Some(second[1].seq)).unwrap();
    let got: Vec<_> = [&first, &second, &third]
        .into_iter()
        .flatten()
        .map(|row| row.cdr.leg)
        .collect();
    assert_eq!(got, [40, 20, 50, 10, 30].map(LegId));
    assert_eq!(reader.cdrs(2, Some(third[0].seq)).unwrap(), []);
    assert_eq!(reader.cdrs(2, Some(u64::MAX)).unwrap(), first);
}

fn the_records_of_one_call_come_in_their_order(mut s: Subject) {
    let of = |call, leg| {
        StoreOp::PutCdr(Box::new(Cdr {
            interaction: InteractionId(call),
            ..cdr(leg)
        }))
    };
    s.run(&[of(1, 30), of(u64::MAX, 10), of(1, 20)]);
    let legs = |s: &Subject, call| -> Vec<LegId> {
        let rows = s.reader().cdrs_of(InteractionId(call)).unwrap();
        rows.into_iter().map(|row| row.cdr.leg).collect()
    };
    assert_eq!(legs(&s, 1), [LegId(30), LegId(20)]);
    assert_eq!(legs(&s, u64::MAX), [LegId(10)]);
    assert_eq!(legs(&s, 2), []);
}

fn records_are_found_by_call_user_and_time(mut s: Subject) {
    let at = |leg, user: &str, ended_at| {
        StoreOp::PutCdr(Box::new(Cdr {
            interaction: InteractionId(leg / 10),
            user: Some(Aor::new(user, "a")),
            ended_at: Wall(ended_at),
            ..cdr(leg)
        }))
    };
    s.run(&[at(10, "x", 100), at(11, "y", 200), at(20, "x", 300), at(21, "y", 400)]);
    let mut reader = s.reader();
    let mut legs = |query: CdrQuery| -> Vec<u64> {
        let rows = reader.find_cdrs(&query, 3).unwrap();
        rows.into_iter().map(|row| row.cdr.leg.0).collect()
    };
    let all = CdrQuery::default;
    assert_eq!(legs(all()), [21, 20, 11]);
    assert_eq!(
        legs(CdrQuery {
            before: Some(3),
            ..all()
        }),
        [11, 10]
    );
    assert_eq!(
        legs(CdrQuery {
            call: Some(InteractionId(1)),
            ..all()
        }),
        [11, 10]
    );
    assert_eq!(
        legs(CdrQuery {
            user: Some(Aor::new("x", "a")),
            ..all()
        }),
        [20, 10]
    );
    let (since, until) = (Some(Wall(200)), Some(Wall(400)));
    assert_eq!(legs(CdrQuery { since, until, ..all() }), [20, 11]);
}

fn records_are_read_on_from_a_number(mut s: Subject) {
    s.run(&[30, 10, 50, 20].map(put_cdr));
    let mut reader = s.reader();
    let first = reader.cdrs_after(0, 3).unwrap();
    assert_eq!(first.iter().map(|row| row.cdr.leg.0).collect::<Vec<_>>(), [30, 10, 50]);
    let second = reader.cdrs_after(first[2].seq, 3).unwrap();
    assert_eq!(second.iter().map(|row| row.cdr.leg.0).collect::<Vec<_>>(), [20]);
    assert_eq!(reader.cdrs_after(second[0].seq, 3).unwrap(), []);
}

fn a_question_sees_what_the_same_batch_wrote(mut s: Subject) {
    let replies = s.run(&[
        append(1),
        load("bob"),
        StoreOp::DeleteMessage(MessageId(1)),
        load("bob"),
    ]);
    assert_eq!(replies[1], StoreReply::Messages(vec![message(1)]));
    assert_eq!(replies[3], StoreReply::Messages(vec![]));
}

fn a_failed_commit_leaves_nothing(mut s: Subject) {
    s.run_in_vain(&[put_binding("alice", 1), append(1), put_cdr(1)], StoreError::Full);
    assert_eq!(s.bindings(), []);
    assert_eq!(s.messages(load("bob")), []);
    assert_eq!(s.waiting(), (vec![], 0));
    assert_eq!(s.reader().cdrs(10, None).unwrap(), []);
}

fn a_failed_commit_takes_back_changes_of_old_rows(mut s: Subject) {
    s.run(&[
        put_binding("alice", 1),
        put_binding("bob", 1),
        append(1),
        append(2),
        put_cdr(1),
    ]);
    let expire = StoreOp::ExpireMessages(Wall(i64::MAX));
    let delete = StoreOp::DeleteMessage(MessageId(1));
    s.run_in_vain(
        &[
            put_binding("alice", 2),
            delete_binding("bob"),
            append(3),
            delete,
            expire,
            put_cdr(1),
            put_cdr(2),
        ],
        StoreError::Io,
    );
    assert_eq!(s.bindings(), [binding("alice", 1), binding("bob", 1)]);
    assert_eq!(s.messages(load("bob")), [message(1), message(2)]);
    assert_eq!(s.waiting(), (vec![(aor("bob"), 2)], 2));
    assert_eq!(s.reader().cdrs(10, None).unwrap().len(), 1);
}

fn works_again_after_a_failed_commit(mut s: Subject) {
    s.run_in_vain(&[append(1), put_cdr(1)], StoreError::Full);
    s.run_in_vain(&[], StoreError::Full);
    s.run(&[append(1), put_cdr(1)]);
    assert_eq!(s.messages(load("bob")), [message(1)]);
    assert_eq!(s.reader().cdrs(10, None).unwrap().len(), 1);
}

fn a_reader_sees_what_is_committed(mut s: Subject) {
    let mut reader = s.reader();
    s.ask(append(1));
    assert_eq!(reader.messages_waiting(), Ok(1));
    let mut seen_inside = None;
    let mut other = s.reader();
    if !matches!(s.location, Location::Memory) {
        let mut look = || {
            seen_inside = Some(other.messages_waiting());
            Ok(())
        };
        s.backend.transact(&[append(2)], &mut look).unwrap();
        assert_eq!(seen_inside, Some(Ok(1)));
    }
}

fn hostile_text_is_only_text(mut s: Subject) {
    let hostile = "'); DROP TABLE message; --\0\"\u{202e}\r\n%s{}$1?1:name";
    let nasty = StoredMessage {
        to: Aor::from(hostile),
        from: Aor::from(hostile),
        from_display: hostile.into(),
        call_id: hostile.into(),
        content_type: hostile.into(),
        ..message(1)
    };
    let bound = Binding {
        aor: Aor::from(hostile),
        key: BindingKey(hostile.into()),
        contact: hostile.into(),
        ..binding("alice", 1)
    };
    let record = Cdr {
        user: Some(Aor::from(hostile)),
        caller: hostile.into(),
        callee: hostile.into(),
        ..cdr(1)
    };
    s.run(&[
        append(2),
        StoreOp::AppendMessage(Box::new(nasty.clone())),
        StoreOp::PutBinding(Box::new(bound.clone())),
        StoreOp::PutCdr(Box::new(record.clone())),
    ]);
    let theirs = StoreOp::LoadMessages {
        to: Aor::from(hostile),
        device: "".into(),
        after: MessageId(0),
        limit: 9,
    };
    assert_eq!(s.messages(theirs), [nasty]);
    assert_eq!(s.bindings(), [bound]);
    assert_eq!(s.reader().cdrs(9, None).unwrap()[0].cdr, record);
    assert_eq!(s.messages(load("bob")), [message(2)]);
}

fn what_a_user_set_is_read_back_and_replaced(mut s: Subject) {
    let nothing = UserSettings::of(aor("alice"));
    let all = UserSettings {
        do_not_disturb: true,
        call_waiting: Some(false),
        forward_always: Some("1001".into()),
        forward_busy: Some("1002".into()),
        forward_no_answer: Some("*971001".into()),
        voice: Some(model::Said {
            willing: model::Willing::NotReady,
            reason: "meal; -- 'x".into(),
            since: clock::Wall(1_767_225_600_000),
        }),
        ..nothing.clone()
    };
    let other = UserSettings::of(aor("bob"));
    s.run(&[
        StoreOp::PutUserSettings(Box::new(other.clone())),
        StoreOp::PutUserSettings(Box::new(nothing)),
        StoreOp::PutUserSettings(Box::new(all.clone())),
    ]);
    s.run_in_vain(
        &[StoreOp::PutUserSettings(Box::new(UserSettings::of(aor("alice"))))],
        StoreError::Full,
    );
    assert_eq!(
        s.ask(StoreOp::LoadUserSettings),
        StoreReply::UserSettings(vec![all, other])
    );
}

fn a_subscription_is_read_back_replaced_and_removed(mut s: Subject) {
    let newer = model::KeptSubscription {
        version: 13,
        routes: "".into(),
        secure: false,
        ..subscription(u64::MAX)
    };
    s.run(&[
        StoreOp::PutSubscription(Box::new(subscription(u64::MAX))),
        StoreOp::PutSubscription(Box::new(newer.clone())),
        StoreOp::PutSubscription(Box::new(subscription(1))),
        StoreOp::PutSubscription(Box::new(subscription(2))),
        StoreOp::DeleteSubscription(2),
        StoreOp::DeleteSubscription(3),
    ]);
    s.run_in_vain(&[StoreOp::DeleteSubscription(1)], StoreError::Io);
    let all = StoreReply::Subscriptions(vec![subscription(1), newer]);
    assert_eq!(s.ask(StoreOp::LoadSubscriptions), all);
}

fn put(kept: &KeptSession) -> StoreOp {
    StoreOp::PutSession(Box::new(kept.clone()))
}

fn found(s: &Subject, query: &TranscriptQuery) -> Vec<u64> {
    let rows = s.reader().transcripts(query, 100).unwrap();
    assert!(rows.is_sorted_by(|a, b| a.seq > b.seq), "the latest first");
    rows.iter().map(|row| row.session.id.0).collect()
}

fn an_open_session_is_read_back_with_what_was_said_in_order(mut s: Subject) {
    let (mut first, second) = (session(2, &["alice", "bob"], 0), session(1, &["bob", "carol"], 0));
    s.run(&[
        put(&first),
        put_said(2, 2, "two"),
        put_said(2, 1, "one"),
        put_said(2, 1, "one again"),
        put_said(1, 1, "other"),
        put(&second),
    ]);
    first.session.last_seq = 9;
    s.run(&[put(&first)]);
    let open = StoreReply::Sessions(vec![
        (second, vec![said(1, 1, "other")]),
        (first, vec![said(2, 1, "one"), said(2, 2, "two")]),
    ]);
    assert_eq!(s.ask(StoreOp::LoadSessions), open);
    assert!(found(&s, &TranscriptQuery::default()).is_empty(), "they are not over");
    // As many of the last messages as a session has in memory.
    let many = u64::from(StoreOp::SESSION_MESSAGES) + 5;
    s.run(&(3..=many).map(|seq| put_said(2, seq, "more")).collect::<Vec<_>>());
    let StoreReply::Sessions(open) = s.ask(StoreOp::LoadSessions) else {
        panic!()
    };
    let messages = &open[1].1;
    assert_eq!(
        (messages.len(), messages[0].seq),
        (StoreOp::SESSION_MESSAGES as usize, 6)
    );
}

fn a_closed_session_is_a_record_and_its_text_only_where_it_is_kept(mut s: Subject) {
    let (kept, bare) = (session(1, &["alice", "bob"], 0), session(2, &["alice", "bob"], 1));
    s.run(&[
        put(&kept),
        put_said(1, 1, "kept"),
        put(&bare),
        put_said(2, 1, "forgotten"),
    ]);
    s.run(&[close(&kept, true), close(&bare, false)]);
    assert_eq!(s.ask(StoreOp::LoadSessions), StoreReply::Sessions(Vec::new()));
    let texts = |id: u64| s.reader().transcript(SessionId(id)).unwrap().unwrap();
    assert_eq!(
        (texts(1).session, texts(1).messages),
        (kept.session.clone(), vec![said(1, 1, "kept")])
    );
    assert_eq!(
        (texts(2).session, texts(2).messages),
        (bare.session.clone(), Vec::new())
    );
    let rows = s.reader().transcripts(&TranscriptQuery::default(), 100).unwrap();
    let has_text: Vec<_> = rows.iter().map(|row| (row.session.id.0, row.has_text)).collect();
    assert_eq!(has_text, [(2, false), (1, true)]);
    // Closed once: a late word changes nothing.
    s.run(&[put(&bare), close(&kept, false)]);
    assert_eq!(s.reader().transcript(SessionId(1)).unwrap().unwrap().messages.len(), 1);
    assert_eq!(s.ask(StoreOp::LoadSessions), StoreReply::Sessions(Vec::new()));
    assert_eq!(s.reader().transcript(SessionId(9)).unwrap(), None);
}

fn records_of_sessions_are_found_by_who_when_and_what_was_said(mut s: Subject) {
    for (id, users, text) in [
        (5, ["alice", "bob"], "The violin is ready, \u{e9}t\u{e9}!"),
        (4, ["bob", "carol"], "a \"cello\" AND a bow"),
        (3, ["alice", "carol"], "violin strings"),
    ] {
        let kept = session(id, &users, i64::try_from(id).unwrap() * 1_000);
        s.run(&[
            put(&kept),
            put_said(id, 1, text),
            put_said(id, 2, "bye"),
            close(&kept, true),
        ]);
    }
    let all = TranscriptQuery::default;
    assert_eq!(found(&s, &all()), [3, 4, 5], "in the order of closing");
    let of = |user: &str| TranscriptQuery {
        user: Some(aor(user)),
        ..all()
    };
    assert_eq!(
        (found(&s, &of("alice")), found(&s, &of("bob")), found(&s, &of("dave"))),
        (vec![3, 5], vec![4, 5], vec![])
    );
    let text = |text: &str| TranscriptQuery {
        text: Some(text.into()),
        ..all()
    };
    assert_eq!(found(&s, &text("violin")), [3, 5]);
    assert_eq!(found(&s, &text("VIOLIN ready")), [5]);
    assert_eq!(found(&s, &text("violin bye")), [] as [u64; 0], "in one message");
    assert_eq!(found(&s, &text("cello")), [4]);
    for odd in [
        "",
        "\"",
        "AND",
        "viol*",
        "NOT x",
        "a OR b",
        "text:violin",
        "^",
        "(",
        "'; DROP TABLE im_session",
    ] {
        let _ = found(&s, &text(odd));
    }
    assert_eq!(found(&s, &text("cello AND bow")), [4], "words, not an expression");
    let (since, until) = (Some(Wall(1_700_000_005_000)), Some(Wall(1_700_000_006_000)));
    let in_time = TranscriptQuery { since, until, ..all() };
    assert_eq!(found(&s, &in_time), [4]);
    let first = s.reader().transcripts(&all(), 1).unwrap().remove(0);
    let before = TranscriptQuery {
        before: Some(first.seq),
        ..all()
    };
    assert_eq!(found(&s, &before), [4, 5]);
}

fn consultations_are_found_by_their_interaction_and_in_nobodys_records(mut s: Subject) {
    let (one, other) = (
        consult(1, &["alice", "bob"], u64::MAX),
        consult(2, &["alice", "bob"], 7),
    );
    s.run(&[
        put(&one),
        put_said(1, 1, "secret"),
        close(&one, false),
        close(&other, false),
    ]);
    let of = |user: &str| TranscriptQuery {
        user: Some(aor(user)),
        ..TranscriptQuery::default()
    };
    assert!(found(&s, &of("alice")).is_empty() && found(&s, &of("bob")).is_empty());
    let about = TranscriptQuery {
        interaction: Some(InteractionId(u64::MAX)),
        ..TranscriptQuery::default()
    };
    assert_eq!(found(&s, &about), [1]);
    assert!(
        s.reader()
            .transcript(SessionId(1))
            .unwrap()
            .unwrap()
            .messages
            .is_empty()
    );
}

fn an_erased_session_is_gone_and_so_are_those_that_are_too_old(mut s: Subject) {
    for id in 1..=4 {
        let kept = session(id, &["alice", "bob"], i64::try_from(id).unwrap());
        s.run(&[put(&kept), put_said(id, 1, "violin")]);
        if id < 4 {
            s.run(&[close(&kept, true)]);
        }
    }
    assert_eq!(s.ask(StoreOp::EraseSession(SessionId(2))), StoreReply::Done);
    assert_eq!(
        s.ask(StoreOp::EraseSession(SessionId(4))),
        StoreReply::Done,
        "it is open: left alone"
    );
    let text = TranscriptQuery {
        text: Some("violin".into()),
        ..TranscriptQuery::default()
    };
    assert_eq!(found(&s, &text), [3, 1]);
    s.run(&[StoreOp::ExpireSessions(Wall(1_700_000_001_001))]);
    assert_eq!(found(&s, &text), [3]);
    assert_eq!(s.reader().transcript(SessionId(1)).unwrap(), None);
    s.run(&[StoreOp::ExpireSessions(Wall(i64::MAX))]);
    assert!(found(&s, &TranscriptQuery::default()).is_empty());
    let StoreReply::Sessions(open) = s.ask(StoreOp::LoadSessions) else {
        panic!()
    };
    assert_eq!((open.len(), open[0].1.len()), (1, 1), "what is open is not old");
}

fn what_is_done_to_sessions_in_vain_is_undone(mut s: Subject) {
    let kept = session(1, &["alice", "bob"], 0);
    s.run(&[put(&kept), put_said(1, 1, "one")]);
    let vain = [
        put_said(1, 2, "two"),
        close(&kept, false),
        put(&session(2, &["bob", "carol"], 0)),
    ];
    s.run_in_vain(&vain, StoreError::Full);
    let open = StoreReply::Sessions(vec![(kept.clone(), vec![said(1, 1, "one")])]);
    assert_eq!(s.ask(StoreOp::LoadSessions), open);
    s.run(&[close(&kept, true)]);
    s.run_in_vain(&[StoreOp::EraseSession(SessionId(1))], StoreError::Io);
    assert_eq!(found(&s, &TranscriptQuery::default()), [1]);
}
