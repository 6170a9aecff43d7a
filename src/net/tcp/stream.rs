//! One connection, from its first byte to its last. Anything that reads and writes bytes can be one.

use super::StreamEvent;
use super::cutter::{Cutter, Piece};
use super::table::{Inbound, Load, Seat, Table, Unfinished};
use crate::wake::Post;
use crate::ws::frame;
use bytes::{Bytes, BytesMut};
use sip::{Flow, Transport};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

/// Messages written in one call, and bytes: a burst to one peer costs few packets and a small buffer.
const GATHER: usize = 64;
const GATHER_BYTES: usize = 64 * 1024;

/// Bytes read in one call: a message or a few.
const READ: usize = 4 * 1024;

/// Bytes read and thrown away at most after our last one: with the largest message and one read, less than 128 KB are taken from
/// who sends what has no end.
const LINGER_BYTES: usize = 32 * 1024;

/// Why a connection ended.
#[derive(Debug)]
enum Ending {
    /// The peer closed it.
    PeerClosed,
    /// We closed it.
    WeClosed,
    /// The network did.
    Broken(io::Error),
    /// What came cannot be SIP.
    Garbled,
    /// A message was begun and not finished in time.
    Unfinished,
    /// Too much of unfinished messages is held already.
    Crowded,
    /// Nothing came for long.
    Idle,
    /// The peer did not read what we wrote.
    TooSlow,
    /// The event loop has ended.
    NobodyListens,
}

/// Runs a connection to its end and reports Opened, its messages, and Closed.
pub(super) async fn run<S: AsyncRead + AsyncWrite>(
    stream: S,
    flow: Flow,
    seat: Seat,
    token: Option<u64>,
    events: &Post<StreamEvent>,
) {
    let inbound = seat.open();
    if events.put(StreamEvent::Opened { flow, token }).await.is_ok() {
        tracing::debug!(peer = %flow.peer, connection = flow.connection, "stream opened");
        let ending = talk(stream, flow, seat.table(), inbound, events).await;
        count(&ending, seat.table());
        tracing::debug!(peer = %flow.peer, connection = flow.connection, ?ending, "stream closed");
    }
    // The place is free and sending fails before anybody hears of the end.
    drop(seat);
    let _ = events.put(StreamEvent::Closed { flow }).await;
}

/// Reads and writes side by side until one of them ends, and then lets the other finish.
async fn talk<S: AsyncRead + AsyncWrite>(
    stream: S,
    flow: Flow,
    table: &Table,
    inbound: Inbound,
    events: &Post<StreamEvent>,
) -> Ending {
    let settings = &table.settings;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let Inbound { line, load, cut, quiet } = inbound;
    let ending = {
        let reading = read(&mut reader, flow, table, quiet, events);
        let writing = write(&mut writer, line, &load, table, flow.transport);
        tokio::pin!(reading, writing);
        tokio::select! {
            ending = &mut reading => {
                table.close(flow.connection);
                let _ = timeout(settings.linger, writing).await;
                ending
            }
            ending = &mut writing => ending,
            () = cut.notified() => Ending::TooSlow,
        }
    };
    if matches!(
        ending,
        Ending::WeClosed | Ending::Garbled | Ending::Unfinished | Ending::Crowded | Ending::Idle
    ) {
        linger(&mut reader, table).await;
    }
    ending
}

/// Reads messages until something ends it.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    flow: Flow,
    table: &Table,
    mut quiet: Receiver<Duration>,
    events: &Post<StreamEvent>,
) -> Ending {
    let settings = &table.settings;
    let (mut cutter, mut unfinished) = (Cutter::new(flow.transport), Unfinished::new(table));
    // When the message that is not complete yet was begun.
    let mut begun: Option<Instant> = None;
    let mut pinged = false;
    loop {
        let patience = if cutter.is_websocket() {
            settings.ping_after
        } else {
            *quiet.borrow_and_update()
        };
        let until = begun.map_or_else(|| Instant::now() + patience, |begun| begun + settings.message_within);
        cutter.buffer_mut().reserve(READ);
        let read = tokio::select! {
            biased;
            () = changed(&mut quiet) => continue,
            read = timeout_at(until, reader.read_buf(cutter.buffer_mut())) => read,
        };
        match read {
            Err(_) if begun.is_some() => return Ending::Unfinished,
            Err(_) if cutter.is_websocket() && !pinged => {
                pinged = true;
                let _ = table.send(flow.connection, frame::ping());
                continue;
            }
            Err(_) => return Ending::Idle,
            Ok(Err(e)) => return Ending::Broken(e),
            Ok(Ok(0)) => return Ending::PeerClosed,
            Ok(Ok(read)) => table.counters.bytes_in.add(read as u64),
        }
        pinged = false;
        let handed_on = match hand_on(&mut cutter, flow, table, events).await {
            Ok(handed_on) => handed_on,
            Err(ending) => return ending,
        };
        begun = match (cutter.buffered(), handed_on) {
            (0, _) => None,
            (_, 0) => begun.or_else(|| Some(Instant::now())),
            _ => Some(Instant::now()),
        };
        if !unfinished.set(cutter.buffered()) {
            return Ending::Crowded;
        }
    }
}

/// Comes when another patience is asked for; not after the end of those who could.
async fn changed(quiet: &mut Receiver<Duration>) {
    if quiet.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Hands on what is complete; gives how many messages that was. What may be said about garbage is put in line.
async fn hand_on(cutter: &mut Cutter, flow: Flow, table: &Table, events: &Post<StreamEvent>) -> Result<usize, Ending> {
    let mut handed_on = 0;
    loop {
        match cutter.poll_piece(|| table.tag(flow.connection), flow.peer) {
            Ok(None) => return Ok(handed_on),
            Ok(Some(Piece::Message(bytes))) => {
                handed_on += 1;
                table.counters.messages_in.one();
                events
                    .put(StreamEvent::Message { flow, bytes })
                    .await
                    .map_err(|_| Ending::NobodyListens)?;
            }
            Ok(Some(Piece::Ping(pong))) => {
                table.counters.pings.one();
                let _ = table.send(flow.connection, pong);
            }
            Ok(Some(Piece::Nothing)) => {}
            Ok(Some(Piece::Farewell(answer))) => {
                let _ = table.send(flow.connection, answer);
                return Err(Ending::PeerClosed);
            }
            Err(broken) => {
                tracing::info!(peer = %flow.peer, reason = %broken.reason, "stream cannot be read any further");
                if let Some(answer) = broken.answer {
                    let _ = table.send(flow.connection, answer);
                }
                return Err(Ending::Garbled);
            }
        }
    }
}

/// Writes what is in line until the line ends, then says that no more will come.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    mut line: mpsc::Receiver<Bytes>,
    load: &Load,
    table: &Table,
    transport: Transport,
) -> Ending {
    let is_websocket = matches!(transport, Transport::Ws | Transport::Wss);
    let (mut messages, mut is_closed) = (Vec::new(), false);
    while line.recv_many(&mut messages, GATHER).await > 0 {
        table.counters.messages_out.add(messages.len() as u64);
        is_closed = is_websocket && messages.last().is_some_and(|last| frame::is_close(last));
        while !messages.is_empty() {
            let bytes = gather(&mut messages);
            match timeout(table.settings.write_within, put(writer, &bytes)).await {
                Err(_) => return Ending::TooSlow,
                Ok(Err(e)) => return Ending::Broken(e),
                Ok(Ok(())) => table.counters.bytes_out.add(bytes.len() as u64),
            }
            load.release(bytes.len());
        }
    }
    let end = async {
        // RFC 6455 section 7.1.2.
        if is_websocket && !is_closed {
            put(writer, &frame::close(frame::GOING_AWAY)).await?;
        }
        writer.shutdown().await
    };
    let _ = timeout(table.settings.linger, end).await;
    Ending::WeClosed
}

/// TLS keeps records that the kernel did not take; flushed, they are out.
async fn put(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}

/// Takes the next messages, as many as one packet train should carry. A single one is not copied.
fn gather(messages: &mut Vec<Bytes>) -> Bytes {
    let mut size = 0;
    let fits = |message: &&Bytes| {
        size += message.len();
        size <= GATHER_BYTES
    };
    match messages.iter().take_while(fits).count() {
        0 | 1 => messages.remove(0),
        many => messages
            .drain(..many)
            .fold(BytesMut::new(), |mut all, message| {
                all.extend_from_slice(&message);
                all
            })
            .freeze(),
    }
}

/// A close with unread bytes is a reset, which would overtake our last message: so they are read and thrown away.
async fn linger(reader: &mut (impl AsyncRead + Unpin), table: &Table) {
    let drain = async {
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            table.counters.bytes_in.add(read as u64);
            left = left.saturating_sub(read);
            if left == 0 {
                break;
            }
        }
    };
    let _ = timeout(table.settings.linger, drain).await;
}

fn count(ending: &Ending, table: &Table) {
    match ending {
        Ending::Garbled => table.counters.garbled.one(),
        Ending::Unfinished => table.counters.unfinished.one(),
        Ending::Crowded => table.counters.crowded.one(),
        Ending::Idle => table.counters.idle.one(),
        Ending::TooSlow => table.counters.too_slow.one(),
        Ending::Broken(e) => tracing::debug!(error = %e, "stream broke"),
        Ending::PeerClosed | Ending::WeClosed | Ending::NobodyListens => {}
    }
}
