//! `/sip`: SIP over websocket (RFC 7118). What is said there is no business of the API: the connection is handed to the node.

use crate::Context;
use crate::access::Ends;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::routing::get;
use axum::{Extension, Router};

pub(crate) fn router() -> Router<Context> {
    Router::new().route("/sip", get(open))
}

async fn open(State(context): State<Context>, Extension(ends): Extension<Ends>, request: Request) -> Response<String> {
    let Ends { local, peer, is_secure } = ends;
    context.node.sip_websocket(request.map(drop), (local, peer), is_secure)
}
