//! The bodies of the `net` fuzz targets: called by the fuzzer with what it invents, and by the tests of the `net` crate with
//! the committed corpora. A panic is a finding. Who includes this file has the module `frame` beside it.

use super::frame::{Frame, MAX_MESSAGE, Reader};

/// Cuts a client's bytes into frames: the same whatever pieces they come in (the first byte says how large), and never more
/// than a message and a piece of it held.
pub fn websocket(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    assert_eq!(
        frames(stream, stream.len().max(1)),
        frames(stream, usize::from(size).max(1))
    );
}

fn frames(stream: &[u8], size: usize) -> (Vec<Frame>, Option<u16>) {
    let (mut reader, mut frames) = (Reader::default(), Vec::new());
    for piece in stream.chunks(size) {
        reader.buffer_mut().extend_from_slice(piece);
        loop {
            match reader.poll_frame() {
                Ok(Some(Frame::Message(message))) if message.len() > MAX_MESSAGE => panic!("longer than may be"),
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(code) => {
                    assert!((1000..5000).contains(&code));
                    return (frames, Some(code));
                }
            }
        }
        // Beside a message a ping may be on its way: a head of 14 bytes at most, and 125.
        assert!(reader.buffered() <= MAX_MESSAGE + 14 + 125 + size);
    }
    (frames, None)
}
