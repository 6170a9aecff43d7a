//! What a switch does, in terms of sip, media rooms and model; no async, SQL or HTTP.
