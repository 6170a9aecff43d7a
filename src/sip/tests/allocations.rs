//! Reading a message allocates the box it is moved in, and nothing else. A binary of its own, since it counts what its thread allocates.
#![allow(unsafe_code, clippy::unwrap_used)] // the counting allocator needs the one, a test may do the other

use bytes::Bytes;
use sip::digest::{Algorithm, Question};
use sip::header::Auth;
use sip::{Message, Name, peek};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u32> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; the count has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(run: impl FnOnce()) -> u32 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

const REGISTER: &[u8] = b"REGISTER sip:tandem.example SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.31:5062;rport;branch=z9hG4bKPj0f1e2d3c4b5a6978\r\n\
    Max-Forwards: 70\r\n\
    From: \"Ada\" <sip:1000@tandem.example>;tag=0f1e2d3c\r\n\
    To: <sip:1000@tandem.example>\r\n\
    Call-ID: 8f7e6d5c\r\n\
    CSeq: 1207 REGISTER\r\n\
    Contact: <sip:1000@192.0.2.31:5062;ob>;expires=300, <sip:1000@192.0.2.32>;q=0.5\r\n\
    Supported: path, outbound, gruu\r\n\
    Authorization: Digest username=\"1000\", realm=\"tandem.example\", nonce=\"00c5a1f2\", uri=\"sip:tandem.example\", \
    response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5, cnonce=\"a1b2\", qop=auth, nc=00000003\r\n\
    Content-Length: 0\r\n\r\n";

#[test]
fn reading_sorting_and_checking_a_message_allocates_one_box() {
    let bytes = Bytes::from_static(REGISTER);
    assert!(
        allocations(|| drop(Bytes::copy_from_slice(REGISTER))) > 0,
        "the count counts"
    );
    let count = allocations(|| {
        assert_eq!(peek::class(&bytes), peek::Class::Register);
        let message = Message::parse(bytes.clone()).unwrap();
        assert_eq!(
            message
                .addresses(Name::Contact)
                .filter(|c| c.is_ok_and(|c| c.uri().is_ok()))
                .count(),
            2
        );
        assert!(message.lists(Name::Supported, "outbound") && message.via().is_some());
        let auth = Auth::parse(message.header(Name::Authorization).unwrap()).unwrap();
        let text = |name: &str| auth.text(name).unwrap();
        let question = Question {
            algorithm: Algorithm::Md5,
            nonce: &text("nonce"),
            nc: &text("nc"),
            cnonce: &text("cnonce"),
            method: message.method_bytes(),
            uri: &text("uri"),
        };
        assert!(!question.is_answer(b"0123456789abcdef0123456789abcdef", &text("response")));
    });
    assert_eq!(count, 1);
}
