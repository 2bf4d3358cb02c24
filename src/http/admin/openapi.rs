//! The admin API's description, made from its table of routes.

use actix_web::HttpResponse;
use serde_json::{Map, Value, json};

use super::{ROUTES, Route};

/// The description as text.
pub(super) fn text() -> String {
    let mut paths: Map<String, Value> = Map::new();
    for Route { method, path, summary, body, query } in ROUTES {
        let names = path.split('{').skip(1).filter_map(|part| part.split('}').next());
        let mut parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let in_query = |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        parameters.extend(query.iter().map(in_query));
        let mut operation = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {
                "2XX": {"description": "Done", "content": {"application/json": {}}},
                "4XX": {"$ref": "#/components/responses/Problem"},
                "503": {"$ref": "#/components/responses/Problem"},
            },
        });
        if !body.is_empty() {
            let example: Value = serde_json::from_str(body).unwrap_or_default();
            operation["requestBody"] = json!({"content": {"application/json": {"example": example}}});
        }
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the console does, for programs. Every change is one entry of the list of changes.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "The setting admin_token"}},
            "responses": {"Problem": {
                "description": "RFC 9457; `errors` names fields, each with a stable code",
                "content": {"application/problem+json": {"schema": {"type": "object", "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "errors": {"type": "array", "items": {"type": "object", "properties": {
                        "field": {"type": "string"}, "code": {"type": "string"}, "message": {"type": "string"},
                    }}},
                }}}},
            }},
        },
    })
    .to_string()
}

/// The description.
pub(super) async fn show() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(text())
}
