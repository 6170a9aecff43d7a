//! Linear 16 bit samples in network byte order (RFC 3551 section 4.5.11).

/// Appends the samples of a payload; an odd byte at its end is nobody's.
pub fn decode(payload: &[u8], out: &mut Vec<i16>) {
    out.extend(
        payload
            .chunks_exact(2)
            .map(|pair| i16::from_be_bytes([pair[0], pair[1]])),
    );
}

/// Appends the payload of samples.
pub fn encode(samples: &[i16], out: &mut Vec<u8>) {
    out.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
}
