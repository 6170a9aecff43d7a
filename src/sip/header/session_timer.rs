//! Session-Expires (RFC 4028 section 4).

use super::{Invalid, Value, lex};

/// How long a session lives without refresh, and who refreshes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Interval in seconds.
    pub seconds: u32,
    /// `Some(true)`: the client (uac) refreshes; `Some(false)`: the server (uas); `None`: not said.
    pub refresher_is_uac: Option<bool>,
}

impl SessionExpires {
    /// Reads the value.
    pub fn parse(value: &[u8]) -> Result<SessionExpires, Invalid> {
        let value = Value::parse(value)?;
        let seconds = lex::need(lex::seconds(value.value), "Session-Expires without seconds")?;
        let refresher_is_uac = match value.params.get("refresher") {
            Some(r) if r.eq_ignore_ascii_case(b"uac") => Some(true),
            Some(r) if r.eq_ignore_ascii_case(b"uas") => Some(false),
            Some(_) => return Err(Invalid("refresher is uac or uas")),
            None => None,
        };
        Ok(SessionExpires {
            seconds,
            refresher_is_uac,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_interval_and_refresher() {
        let read = |text: &str| SessionExpires::parse(text.as_bytes());
        assert_eq!(
            read("1800;refresher=UAS"),
            Ok(SessionExpires {
                seconds: 1800,
                refresher_is_uac: Some(false)
            })
        );
        assert_eq!(
            read("90"),
            Ok(SessionExpires {
                seconds: 90,
                refresher_is_uac: None
            })
        );
        assert!(read("90;refresher=me").is_err());
        assert!(read("x").is_err());
    }
}
