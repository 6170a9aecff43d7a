//! The command-line client: speaks the HTTP API over the Unix socket.
