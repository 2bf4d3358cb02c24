//! The API's documentation: `/openapi.json` for programs, `/docs` for people. Both are files of this directory, built in.

use actix_web::{HttpResponse, http::header, web};

use super::producer::wrong_method;

/// The description of the producer API, OpenAPI 3.1.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");
const DOCS: &str = include_str!("docs.html");

/// The page loads nothing, so nothing may be loaded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

/// The routes of the documentation.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/openapi.json")
                .route(web::get().to(openapi))
                .default_service(web::to(|| wrong_method("GET"))),
        )
        .service(web::resource("/docs").route(web::get().to(docs)).default_service(web::to(|| wrong_method("GET"))));
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .body(OPENAPI)
}

async fn docs() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(DOCS)
}
