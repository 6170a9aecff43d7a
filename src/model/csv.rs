//! Call records as comma-separated values (RFC 4180), for spreadsheets and billing.

use crate::Cdr;
use clock::Wall;
use serde::Serialize;
use std::fmt::Write;

/// The first line of a file, with its end.
pub const CSV_HEADER: &str = "seq,interaction,leg,direction,user,caller,callee,call_id,started_at,ringing_at,answered_at,\
    ended_at,talked_s,ended_by,reason,status,codec,packets_received,packets_sent,packets_lost,\
    jitter_ms,round_trip_ms,mos,linked,linked_how,transferred_to\r\n";

/// One record as a line, with its end. Times are UTC, RFC 3339; `talked_s` has milliseconds. Text that came from a peer and
/// that a spreadsheet would take for a formula has an apostrophe before it.
#[must_use]
pub fn csv_row(seq: u64, cdr: &Cdr) -> String {
    let mut line = seq.to_string();
    let mut field = |text: &str| {
        line.push(',');
        quote(&mut line, text);
    };
    let at = |at: Option<Wall>| at.map(|at| at.to_string()).unwrap_or_default();
    field(&cdr.interaction.to_string());
    field(&cdr.leg.to_string());
    field(&word(&cdr.direction));
    field(&guarded(cdr.user.as_ref().map_or("", |user| user.as_str())));
    field(&guarded(&cdr.caller));
    field(&guarded(&cdr.callee));
    field(&guarded(&cdr.call_id));
    field(&at(Some(cdr.started_at)));
    field(&at(cdr.ringing_at));
    field(&at(cdr.answered_at));
    field(&at(Some(cdr.ended_at)));
    field(&talked(cdr));
    field(&word(&cdr.ended_by));
    field(&word(&cdr.reason));
    field(&cdr.status.to_string());
    field(&guarded(&cdr.codec));
    let (received, sent, lost) = cdr.packets;
    // Writing to a String cannot fail.
    let _ = write!(line, ",{received},{sent},{lost},{}", cdr.quality.jitter_ms);
    let round_trip = cdr.quality.round_trip_ms.map(|ms| ms.to_string());
    let mos = cdr
        .quality
        .mos_hundredths
        .map(|mos| format!("{}.{:02}", mos / 100, mos % 100));
    let _ = write!(line, ",{},{}", round_trip.unwrap_or_default(), mos.unwrap_or_default());
    let mut field = |text: &str| {
        line.push(',');
        quote(&mut line, text);
    };
    field(&cdr.link.map(|link| link.interaction.to_string()).unwrap_or_default());
    field(&cdr.link.map(|link| word(&link.how)).unwrap_or_default());
    field(&guarded(&cdr.transferred_to));
    line.push_str("\r\n");
    line
}

/// Seconds between answer and end; empty if it was never answered.
fn talked(cdr: &Cdr) -> String {
    let lasted = cdr.answered_at.map(|at| at.until(cdr.ended_at));
    lasted
        .map(|lasted| format!("{}.{:03}", lasted.as_secs(), lasted.subsec_millis()))
        .unwrap_or_default()
}

/// The name of a unit variant, as in JSON.
fn word(value: &impl Serialize) -> String {
    let name = serde_json::to_value(value).ok();
    name.as_ref()
        .and_then(|name| name.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Spreadsheets calculate what begins so; OWASP's advice is an apostrophe. Control characters become spaces: a record is one
/// line, also to programs that know no quotes.
fn guarded(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.trim_start().chars().next() {
        Some('=' | '+' | '-' | '@') => format!("'{plain}"),
        _ => plain,
    }
}

/// RFC 4180 section 2: what holds a comma or quote is put in quotes, and quotes are doubled.
fn quote(line: &mut String, text: &str) {
    if text.contains([',', '"']) {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aor, CdrLink, Direction, EndReason, EndedBy, InteractionId, LegId, Purpose, Quality};

    fn cdr() -> Cdr {
        Cdr {
            interaction: InteractionId(1),
            leg: LegId(2),
            direction: Direction::In,
            user: Some(Aor::new("1000", "a")),
            caller: "\"Kate, Bush\" <1000>".into(),
            callee: "+4930".into(),
            call_id: "=cmd|' /C calc'!A0".into(),
            started_at: Wall(0),
            ringing_at: None,
            answered_at: Some(Wall(1_000)),
            ended_at: Wall(62_005),
            ended_by: EndedBy::Peer,
            reason: EndReason::MediaTimeout,
            status: 200,
            codec: "PCMU/8000".into(),
            packets: (1, 2, 3),
            quality: Quality {
                jitter_ms: 4,
                round_trip_ms: Some(60),
                mos_hundredths: Some(405),
                ..Quality::default()
            },
            link: Some(CdrLink {
                interaction: InteractionId(3),
                how: Purpose::Consult,
            }),
            transferred_to: "+1002".into(),
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_stands_in_it() {
        let row = csv_row(7, &cdr());
        let expected = "7,i-0000000000000001,l-0000000000000002,in,1000@a,\"\"\"Kate, Bush\"\" <1000>\",'+4930,\
            '=cmd|' /C calc'!A0,1970-01-01T00:00:00.000Z,,1970-01-01T00:00:01.000Z,1970-01-01T00:01:02.005Z,61.005,peer,\
            media-timeout,200,PCMU/8000,1,2,3,4,60,4.05,i-0000000000000003,consult,'+1002\r\n";
        assert_eq!(row, expected);
        assert_eq!(CSV_HEADER.split(',').count(), 26);
    }

    #[test]
    fn no_peer_can_make_a_line_of_their_own_or_a_formula() {
        for hostile in ["a\r\n8,i-1", "\"", "@SUM(A1)", "\t=1", "-1+1", "\r=1", "\n=1"] {
            let cdr = Cdr {
                caller: hostile.into(),
                ..cdr()
            };
            let row = csv_row(7, &cdr);
            let field = row.split(",1000@a,").nth(1).unwrap();
            assert!(!field.trim_start().starts_with(['=', '+', '-', '@']), "{row:?}");
            assert!(row.matches(char::is_control).eq(["\r", "\n"]), "{row:?}");
        }
    }
}
