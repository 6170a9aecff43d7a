//! The SIP trace: every message in and out as text, without what would let its reader log in.

use sip::Flow;

/// Where it goes; `[log] level = "info,sip::trace=off"` keeps it out of a log although it is switched on.
const TARGET: &str = "sip::trace";

/// Writes one message to the log. `direction` is `received from` or `sent to`.
pub(crate) fn trace(direction: &str, flow: &Flow, bytes: &[u8]) {
    let (transport, local, peer) = (flow.transport.as_str(), flow.local, flow.peer);
    tracing::info!(target: TARGET, %transport, %local, %peer, "{direction}\n{}", masked(bytes));
}

/// The message as text with the response of each digest masked: with nonce and cnonce beside it, it is enough to try
/// passwords at leisure.
fn masked(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut masked = String::with_capacity(text.len());
    let mut secret = false;
    for line in text.split_inclusive('\n') {
        if let Some(key) = line.find("inline:").filter(|_| line.starts_with("a=crypto")) {
            masked.push_str(&line[..key]);
            masked.push_str("inline:***\r\n");
            continue;
        }
        secret = if line.starts_with([' ', '\t']) {
            secret
        } else {
            is_credentials(line)
        };
        if secret {
            mask_response(line, &mut masked)
        } else {
            masked.push_str(line)
        }
    }
    masked
}

/// Authorization and Proxy-Authorization.
fn is_credentials(line: &str) -> bool {
    let name = line
        .split(':')
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_ascii_lowercase();
    name == "authorization" || name == "proxy-authorization"
}

/// Copies a line with the value of each `response` parameter replaced.
fn mask_response(line: &str, into: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.to_ascii_lowercase().find("response") {
        let (before, after) = rest.split_at(at + "response".len());
        into.push_str(before);
        let value = after.trim_start().strip_prefix('=').map(str::trim_start);
        rest = match value {
            Some(value) => {
                into.push_str("=\"***\"");
                value.find([',', '\r', '\n']).map_or("", |end| &value[end..])
            }
            None => after,
        };
    }
    into.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_masked_and_all_else_is_left() {
        let message = "REGISTER sip:h SIP/2.0\r\nX: response=\"seen\"\r\n\
            Authorization: Digest username=\"a\", response=\"0123456789abcdef\", uri=\"sip:h\"\r\n\
            proxy-authorization : Digest nonce=\"n\",\r\n Response = 0123456789abcdef\r\n\
            To: <sip:h>\r\n\r\nAuthorization: response=\"body\"";
        let text = masked(message.as_bytes());
        assert!(!text.contains("0123456789abcdef"), "{text}");
        assert!(
            text.contains("username=\"a\", response=\"***\", uri=\"sip:h\"\r\n"),
            "{text}"
        );
        assert!(text.contains(" Response=\"***\"\r\nTo: <sip:h>\r\n"), "{text}");
        assert!(text.contains("X: response=\"seen\"\r\n"), "{text}");
    }

    #[test]
    fn keys_of_srtp_are_masked() {
        let text = masked(
            b"INVITE sip:h SIP/2.0\r\n\r\nv=0\r\na=crypto:1 AEAD_AES_128_GCM inline:c2VjcmV0|2^31\r\na=sendrecv\r\n",
        );
        assert!(!text.contains("c2VjcmV0"), "{text}");
        assert!(
            text.ends_with("a=crypto:1 AEAD_AES_128_GCM inline:***\r\na=sendrecv\r\n"),
            "{text}"
        );
    }

    #[test]
    fn binary_bodies_do_not_stop_it() {
        assert_eq!(
            masked(b"MESSAGE sip:h SIP/2.0\r\n\r\n\xff\x00"),
            "MESSAGE sip:h SIP/2.0\r\n\r\n\u{fffd}\0"
        );
    }
}
