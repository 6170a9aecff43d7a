//! Data for the tests of this crate.

use clock::Wall;
use model::{
    Aor, Binding, BindingKey, Cdr, Direction, EndReason, EndedBy, Endpoint, ImAsked, ImConsult, ImEnd, ImMessage,
    ImParty, ImSession, ImStanding, ImState, InteractionId, KeptSession, KeptSubscription, LegId, MessageId, PartyId,
    SessionId, StoreOp, StoredMessage, Transport,
};

pub(crate) fn aor(user: &str) -> Aor {
    Aor::new(user, "tandem.test")
}

pub(crate) fn binding(user: &str, cseq: u32) -> Binding {
    Binding {
        aor: aor(user),
        key: BindingKey("<urn:uuid:1>;1".into()),
        contact: format!("sip:{user}@192.0.2.7:5060;transport=udp").into(),
        params: ";+sip.instance=\"<urn:uuid:1>\"".into(),
        q: 700,
        call_id: "reg-1".into(),
        cseq,
        expires_at: Wall(1_800_000_000_000),
        created_at: Wall(1_700_000_000_000),
        path: "<sip:edge.example;lr>".into(),
        user_agent: "desk phone".into(),
        endpoint: Endpoint {
            transport: Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            peer: "[2001:db8::7]:50000".parse().unwrap(),
        },
    }
}

pub(crate) fn put_binding(user: &str, cseq: u32) -> StoreOp {
    StoreOp::PutBinding(Box::new(binding(user, cseq)))
}

/// A binding with a contact of `bytes`.
pub(crate) fn put_binding_of(user: &str, bytes: usize) -> StoreOp {
    StoreOp::PutBinding(Box::new(Binding {
        contact: "c".repeat(bytes).into(),
        ..binding(user, 1)
    }))
}

pub(crate) fn delete_binding(user: &str) -> StoreOp {
    StoreOp::DeleteBinding {
        aor: aor(user),
        key: binding(user, 1).key,
    }
}

/// A message from alice to bob with a Call-ID of its own.
pub(crate) fn message(id: u64) -> StoredMessage {
    StoredMessage {
        id: MessageId(id),
        to: aor("bob"),
        from: aor("alice"),
        from_display: "Alice".into(),
        call_id: format!("call-{id}").into(),
        cseq: 1,
        content_type: "text/plain;charset=utf-8".into(),
        body: format!("number {id}").into_bytes(),
        accepted_at: Wall(1_700_000_000_000),
        expires_at: Wall(1_700_000_600_000),
        is_taken: false,
        owed: Vec::new(),
        imdn_id: "".into(),
        wants: 0,
    }
}

pub(crate) fn append(id: u64) -> StoreOp {
    StoreOp::AppendMessage(Box::new(message(id)))
}

/// A message with a body of `bytes`.
pub(crate) fn append_of(id: u64, bytes: usize) -> StoreOp {
    StoreOp::AppendMessage(Box::new(StoredMessage {
        body: vec![b'x'; bytes],
        ..message(id)
    }))
}

pub(crate) fn load(user: &str) -> StoreOp {
    StoreOp::LoadMessages {
        to: aor(user),
        device: "".into(),
        after: MessageId(0),
        limit: 1_000,
    }
}

pub(crate) fn cdr(leg: u64) -> Cdr {
    Cdr {
        interaction: InteractionId(u64::MAX - 1),
        leg: LegId(leg),
        direction: Direction::In,
        user: Some(aor("alice")),
        caller: "\"Alice\" <alice>".into(),
        callee: "bob".into(),
        call_id: "call-1".into(),
        started_at: Wall(1_700_000_000_000),
        ringing_at: Some(Wall(1_700_000_000_100)),
        answered_at: None,
        ended_at: Wall(1_700_000_009_000),
        ended_by: EndedBy::Other,
        reason: EndReason::AnsweredElsewhere,
        status: 487,
        codec: "PCMU/8000".into(),
        packets: (u64::MAX, 2, 3),
        quality: model::Quality {
            jitter_ms: 4,
            remote_lost: u64::MAX,
            remote_jitter_ms: 5,
            round_trip_ms: Some(60),
            mos_hundredths: leg.is_multiple_of(2).then_some(437),
        },
        link: (leg % 2 == 1).then_some(model::CdrLink {
            interaction: InteractionId(u64::MAX - 2),
            how: model::Purpose::Transfer,
        }),
        transferred_to: if leg % 2 == 1 { "carol" } else { "" }.into(),
    }
}

pub(crate) fn put_cdr(leg: u64) -> StoreOp {
    StoreOp::PutCdr(Box::new(cdr(leg)))
}

/// A lamp of alice's.
pub(crate) fn subscription(tag: u64) -> KeptSubscription {
    KeptSubscription {
        tag,
        user: aor("alice"),
        event: "dialog;id=7".into(),
        resource: "bob".into(),
        contact: "<sip:bob@192.0.2.1:5060>".into(),
        call_id: "sub-1".into(),
        remote_tag: "their".into(),
        local: "<sip:bob@tandem.test>;tag=0000000000000001".into(),
        remote: "\"Alice\" <sip:alice@tandem.test>;tag=their".into(),
        routes: "<sip:p1;lr>\n<sip:p2;lr>".into(),
        target: "sip:alice@192.0.2.7".into(),
        local_cseq: u32::MAX,
        remote_cseq: 7,
        secure: true,
        endpoint: binding("alice", 1).endpoint,
        version: 12,
        kept_at: Wall(1_700_000_000_000),
        expires_at: Wall(1_700_003_600_000),
    }
}

/// A session of these users that has ended, `at` ms after the others.
pub(crate) fn session(id: u64, users: &[&str], at: i64) -> KeptSession {
    let party = |(place, user): (usize, &&str)| ImParty {
        id: PartyId(place as u64 + 1),
        user: aor(user),
        shown: format!("\"{user}\" <{user}>").into(),
        standing: ImStanding::Connected,
        state: ImState::Ended,
        by_phone: place > 0,
        done: true,
        invited_by: (place > 0).then_some(PartyId(1)),
        replaces: None,
        group: Some("2000".into()),
        delivered: u64::MAX,
        displayed: 1,
        since: 0,
        until: Some(1),
    };
    KeptSession {
        session: ImSession {
            id: SessionId(id),
            state: ImState::Ended,
            end: Some(ImEnd::Ended),
            ended_by: Some(PartyId(1)),
            owner: PartyId(1),
            target: "bob".into(),
            consult: None,
            parties: users.iter().enumerate().map(party).collect(),
            opened_at: Wall(1_700_000_000_000),
            connected_at: Some(Wall(1_700_000_000_500)),
            ended_at: Some(Wall(1_700_000_001_000 + at)),
            last_seq: 2,
        },
        cseqs: vec![(PartyId(2), 7)],
        settled: vec![(PartyId(2), 1)],
        asked: vec![ImAsked {
            seq: 2,
            imdn_id: "34jk324j".into(),
        }],
    }
}

/// The same as a consultation about an interaction.
pub(crate) fn consult(id: u64, users: &[&str], interaction: u64) -> KeptSession {
    let mut kept = session(id, users, 0);
    kept.session.consult = Some(ImConsult {
        interaction: InteractionId(interaction),
        contacts: vec!["<+4930>".into()],
        case_data: [("product".into(), "violin".into())].into(),
        voice: None,
    });
    kept
}

/// A message in a session.
pub(crate) fn said(session: u64, seq: u64, text: &str) -> ImMessage {
    ImMessage {
        session: SessionId(session),
        seq,
        at: Wall(1_700_000_000_000 + seq.cast_signed()),
        from: PartyId(u64::MAX),
        shown: "\"Alice\" <alice>".into(),
        text: text.into(),
        failed: Vec::new(),
        request: u64::MAX >> 1,
    }
}

pub(crate) fn put_said(session: u64, seq: u64, text: &str) -> StoreOp {
    StoreOp::PutSessionMessage(Box::new(said(session, seq, text)))
}

pub(crate) fn close(kept: &KeptSession, keep_text: bool) -> StoreOp {
    let kept = Box::new(kept.clone());
    StoreOp::CloseSession { kept, keep_text }
}
