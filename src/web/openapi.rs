//! The description of the API (OpenAPI 3.1) at `/openapi.json`, made from the handlers themselves, and a page for people at
//! `/docs`. Everything is in the binary: nothing is fetched from outside.

use crate::error::{Code, Problem};
use crate::socket::frame::{FromClient, ToClient};
use crate::verbs::Wish;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};
use utoipa_swagger_ui::SwaggerUi;

/// Scripts and styles are files of our own; the page's pictures are in its styles. Its renderer sets styles on elements,
/// which this does not forbid; a style or script inside the page would be.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tandem",
        description = "What agents, supervisors and operators can ask of the switch. JSON names follow the field. Times are \
            milliseconds since 1970 UTC. Errors are `application/problem+json` (RFC 9457). docs/api.md tells the whole story."
    ),
    components(schemas(Problem, Code, Wish, FromClient, ToClient)),
    security(("token" = []), ("password" = [])),
    modifiers(&Schemes),
    tags(
        (name = "login", description = "Who one is."),
        (name = "live", description = "Events and commands over a websocket."),
        (name = "calls", description = "Calls, and what can be done to them."),
        (name = "interactions", description = "Who takes part, who hears whom, and what belongs to the case."),
        (name = "agents", description = "Who can be given what, groups of agents, and the directory."),
        (name = "rooms", description = "Conference rooms with somebody in them."),
        (name = "bans", description = "Who is not listened to."),
        (name = "registrations", description = "Who can be reached where."),
        (name = "messages", description = "Sessions of instant messages, their records, and messages that wait."),
        (name = "records", description = "What was."),
        (name = "operations", description = "The node as a whole."),
    )
)]
struct Frame;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, api: &mut OpenApi) {
        let components = api.components.get_or_insert_with(Components::new);
        let scheme = |scheme| SecurityScheme::Http(Http::new(scheme));
        components.add_security_scheme("token", scheme(HttpAuthScheme::Bearer));
        components.add_security_scheme("password", scheme(HttpAuthScheme::Basic));
    }
}

/// What the description says before any route is added.
pub(crate) fn frame() -> OpenApi {
    Frame::openapi()
}

/// Says for every operation how it fails: in one place, as it is done in one place.
pub(crate) fn finish(mut api: OpenApi) -> OpenApi {
    for item in api.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            let failure = ResponseBuilder::new()
                .description("It did not work.")
                .content(
                    "application/problem+json",
                    Content::new(Some(Ref::from_schema_name("Problem"))),
                )
                .build();
            operation
                .responses
                .responses
                .insert("default".to_owned(), RefOr::T(failure));
        }
    }
    api
}

/// `/openapi.json` and `/docs`.
pub(crate) fn pages<S: Clone + Send + Sync + 'static>(api: OpenApi) -> Router<S> {
    let page: Router<S> = SwaggerUi::new("/docs").url("/openapi.json", api).into();
    page.layer(axum::middleware::map_response(page_policy))
}

async fn page_policy(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
