//! RTCP (RFC 3550 section 6): reading what a device reports, writing our own reports.

use clock::Mono;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// RFC 4585 section 6.1.
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
/// Likewise.
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;

/// Report blocks read of one packet; the count field holds no more.
pub const MAX_BLOCKS: usize = 31;

/// What a sender says about its own stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock in 32.32 fixed point; ours counts from the start of the node.
    pub ntp: u64,
    /// The same moment in RTP time.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub bytes: u32,
}

/// What a receiver says about a stream (RFC 3550 section 6.4.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost in all, 24 bits; negative counts (duplicates) read as 0.
    pub lost: u32,
    /// Highest sequence number, extended by the wraps.
    pub highest: u32,
    /// In clock units.
    pub jitter: u32,
    /// Middle 32 bits of the `ntp` of the last sender report seen, 0 if none.
    pub last_sr: u32,
    /// Time since that, in 1/65536 s.
    pub delay: u32,
}

/// One packet of a compound that matters to us.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// SR.
    Sender {
        /// Whose.
        ssrc: u32,
        /// About its own stream.
        info: SenderInfo,
        /// About the streams it hears.
        blocks: Blocks<'a>,
    },
    /// RR.
    Receiver {
        /// Whose.
        ssrc: u32,
        /// About the streams it hears.
        blocks: Blocks<'a>,
    },
    /// BYE.
    Goodbye,
    /// Anything else.
    Other,
}

impl Report<'_> {
    /// Who made it, where that is said.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        match self {
            Report::Sender { ssrc, .. } | Report::Receiver { ssrc, .. } => Some(*ssrc),
            Report::Goodbye | Report::Other => None,
        }
    }
}

/// Report blocks, read as they are asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Blocks<'a>(&'a [u8]);

impl Iterator for Blocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first_chunk::<24>()?;
        self.0 = rest;
        let lost = word(&block[4..]) & 0xff_ffff;
        Some(ReportBlock {
            ssrc: word(block),
            fraction_lost: block[4],
            lost: if lost & 0x80_0000 == 0 { lost } else { 0 },
            highest: word(&block[8..]),
            jitter: word(&block[12..]),
            last_sr: word(&block[16..]),
            delay: word(&block[20..]),
        })
    }
}

/// The packets of a valid compound (RFC 3550 appendix A.2), or of feedback that some send alone (RFC 5506); `None` if any part
/// of it is not.
#[must_use]
pub fn parse(compound: &[u8]) -> Option<impl Iterator<Item = Report<'_>>> {
    let first = compound.get(1)?;
    let may_be_first = matches!(
        *first,
        SENDER_REPORT | RECEIVER_REPORT | TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK
    );
    let begins_well = may_be_first && compound[0] & 0x20 == 0;
    (begins_well && is_sound(compound)).then(|| Packets(compound).map(|(head, body)| read(head, body)))
}

/// Every length fits, and together they cover the datagram.
fn is_sound(compound: &[u8]) -> bool {
    let mut packets = Packets(compound);
    let whole = packets.by_ref().all(|(head, body)| body.len() >= least_body(head));
    whole && packets.0.is_empty()
}

fn least_body(head: [u8; 4]) -> usize {
    let count = usize::from(head[0] & 0x1f);
    match head[1] {
        SENDER_REPORT => 24 + 24 * count,
        RECEIVER_REPORT => 4 + 24 * count,
        GOODBYE => 4 * count,
        _ => 0,
    }
}

/// Splits a compound; stops at the first packet that is not version 2 or does not fit, and leaves the rest.
pub(super) struct Packets<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = ([u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        let length = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[0] >> 6 != 2 || rest.len() < length {
            return None;
        }
        let (body, rest) = rest.split_at(length);
        self.0 = rest;
        Some((*head, body))
    }
}

fn read(head: [u8; 4], body: &[u8]) -> Report<'_> {
    let blocks = 24 * usize::from(head[0] & 0x1f);
    match head[1] {
        SENDER_REPORT if body.len() >= 24 + blocks => Report::Sender {
            ssrc: word(body),
            info: SenderInfo {
                ntp: u64::from(word(&body[4..])) << 32 | u64::from(word(&body[8..])),
                timestamp: word(&body[12..]),
                packets: word(&body[16..]),
                bytes: word(&body[20..]),
            },
            blocks: Blocks(&body[24..24 + blocks]),
        },
        RECEIVER_REPORT if body.len() >= 4 + blocks => Report::Receiver {
            ssrc: word(body),
            blocks: Blocks(&body[4..4 + blocks]),
        },
        GOODBYE => Report::Goodbye,
        _ => Report::Other,
    }
}

/// Big-endian word; 0 where there is none, which `least_body` has excluded.
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Longest compound [`write`] makes: SR, one block, CNAME.
pub const MAX_COMPOUND: usize = 28 + 24 + 28;

/// Writes SR (with `info`) or RR, at most one block, and our CNAME (RFC 7022: 16 characters that say nothing). The
/// buffer holds at least [`MAX_COMPOUND`] bytes; returns the length.
pub fn write(buffer: &mut [u8], ssrc: u32, info: Option<SenderInfo>, block: Option<ReportBlock>, cname: u64) -> usize {
    let mut out = Writer { buffer, at: 0 };
    let words = 1 + if info.is_some() { 5 } else { 0 } + if block.is_some() { 6 } else { 0 };
    let kind = if info.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    out.bytes(&[0x80 | u8::from(block.is_some()), kind, 0, words]);
    out.word(ssrc);
    if let Some(info) = info {
        out.bytes(&info.ntp.to_be_bytes());
        [info.timestamp, info.packets, info.bytes]
            .into_iter()
            .for_each(|word| out.word(word));
    }
    if let Some(block) = block {
        out.word(block.ssrc);
        out.word(u32::from(block.fraction_lost) << 24 | block.lost & 0xff_ffff);
        [block.highest, block.jitter, block.last_sr, block.delay]
            .into_iter()
            .for_each(|word| out.word(word));
    }
    out.bytes(&[0x81, SOURCE_DESCRIPTION, 0, 6]);
    out.word(ssrc);
    out.bytes(&[1, 16]);
    (0..16)
        .rev()
        .for_each(|nibble| out.bytes(&[b"0123456789abcdef"[(cname >> (4 * nibble)) as usize & 15]]));
    out.bytes(&[0, 0]);
    out.at
}

struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.buffer[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }
}

/// Time since the node started in the 32.32 format of sender reports, which need no relation to the wall clock
/// (RFC 3550 section 6.4.1).
#[must_use]
pub fn ntp(now: Mono) -> u64 {
    ((u128::from(now.0) << 32) / 1_000_000_000) as u64
}

/// The middle 32 bits, in 1/65536 s.
#[must_use]
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const INFO: SenderInfo = SenderInfo {
        ntp: 0x0102_0304_0506_0708,
        timestamp: 9,
        packets: 10,
        bytes: 11,
    };
    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 1,
        fraction_lost: 2,
        lost: 3,
        highest: 4,
        jitter: 5,
        last_sr: 6,
        delay: 7,
    };

    fn compound(info: Option<SenderInfo>, block: Option<ReportBlock>) -> Vec<u8> {
        let mut buffer = [0; MAX_COMPOUND];
        let len = write(&mut buffer, 77, info, block, 0xabc);
        buffer[..len].to_vec()
    }

    #[test]
    fn reads_the_reports_it_writes() {
        let bytes = compound(Some(INFO), Some(BLOCK));
        let reports: Vec<_> = parse(&bytes).unwrap().collect();
        let Report::Sender {
            ssrc: 77,
            info: INFO,
            blocks,
        } = reports[0]
        else {
            panic!("{reports:?}")
        };
        assert_eq!(blocks.collect::<Vec<_>>(), [BLOCK]);
        assert_eq!(reports[1], Report::Other);
        let bytes = compound(None, None);
        assert!(matches!(
            parse(&bytes).unwrap().next(),
            Some(Report::Receiver { ssrc: 77, .. })
        ));
    }

    #[test]
    fn refuses_every_cut_of_a_compound() {
        let bytes = compound(Some(INFO), Some(BLOCK));
        // 52 bytes hold the whole sender report: a compound without CNAME is sloppy, but sound.
        for len in (0..bytes.len()).filter(|&len| len != 52) {
            assert!(parse(&bytes[..len]).is_none(), "{len}");
        }
    }

    #[test]
    fn refuses_more_blocks_than_bytes() {
        let mut bytes = compound(None, Some(BLOCK));
        bytes[0] = 0x80 | 31;
        assert!(parse(&bytes).is_none());
    }

    #[test]
    fn a_negative_loss_reads_as_none() {
        let mut bytes = compound(None, Some(BLOCK));
        bytes[13..16].copy_from_slice(&[0xff, 0xff, 0xfe]);
        let Some(Report::Receiver { mut blocks, .. }) = parse(&bytes).unwrap().next() else {
            panic!()
        };
        assert_eq!(blocks.next().unwrap().lost, 0);
    }

    proptest! {
        #[test]
        fn survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 199u8..205) {
            let mut bytes = bytes;
            if bytes.len() > 3 {
                (bytes[0], bytes[1], bytes[2]) = (0x80 | bytes[0] & 0x1f, kind, 0);
            }
            if let Some(reports) = parse(&bytes) {
                for report in reports {
                    if let Report::Sender { blocks, .. } | Report::Receiver { blocks, .. } = report {
                        prop_assert!(blocks.count() <= MAX_BLOCKS);
                    }
                }
            }
        }
    }
}
